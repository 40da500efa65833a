"""Aave v3.3, deployed as its own deployment does: libraries, provider, pool, configurator, oracle, reserves, e-mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from eth_abi.abi import encode

if TYPE_CHECKING:
    from basis.models.venue_config import AaveConfig, AaveReserveConfig
    from basis.testkit.chain.install import Installation
    from basis.testkit.chain.node import Contract, Node

RAY: Final = 10**27
WAD: Final = 10**18
ZERO: Final = "0x" + "00" * 20
EMODE: Final = 1
"""Category of the ETH-correlated e-mode."""
_LIBRARIES = (
    "PoolLogic",
    "SupplyLogic",
    "BorrowLogic",
    "LiquidationLogic",
    "EModeLogic",
    "BridgeLogic",
    "ConfiguratorLogic",
    "FlashLoanLogic",
)
"""FlashLoanLogic needs BorrowLogic: it is deployed last."""
_CURVES: Final = {"USDT": (9200, 0, 550, 3500), "WETH": (9000, 0, 270, 4000)}
"""Token -> optimal usage, base rate, first slope, second slope; basis points."""
_CURVE = (4500, 0, 700, 30_000)
_FLASH_PREMIUM_BPS = 5


class Aave:
    """The market.

    Args:
        node: the chain.
        made: where the contracts are.
    """

    def __init__(self, node: Node, made: Installation) -> None:
        self._node, self._made = node, made
        libraries: dict[str, str] = {}
        for name in _LIBRARIES:
            libraries[name] = node.deploy(made.aave(name), libraries=libraries).address
        self.provider = node.deploy(made.aave("PoolAddressesProvider"), "basis-test", node.accounts[0])
        self._roles()
        for setter, name in (("setPoolImpl", "PoolInstance"), ("setPoolConfiguratorImpl", "PoolConfiguratorInstance")):
            args = (self.provider.address,) if name == "PoolInstance" else ()
            made_at = node.deploy(made.aave(name), *args, libraries=libraries).address
            self.provider.send(setter, made_at)
        self.pool = self.at("PoolInstance", self.provider.call("getPool"))
        self._configurator = self.at("PoolConfiguratorInstance", self.provider.call("getPoolConfigurator"))
        self.oracle = node.deploy(made.aave("AaveOracle"), self.provider.address, [], [], ZERO, ZERO, 10**8)
        self.provider.send("setPriceOracle", self.oracle.address)
        self.data = node.deploy(made.aave("AaveProtocolDataProvider"), self.provider.address)
        self.provider.send("setPoolDataProvider", self.data.address)
        pool = self.pool.address
        self._impl = {
            name: node.deploy(made.aave(name), pool).address for name in ("ATokenInstance", "VariableDebtTokenInstance")
        }
        strategy = made.aave("DefaultReserveInterestRateStrategyV2")
        self._strategy = node.deploy(strategy, self.provider.address).address
        self._configurator.send("updateFlashloanPremiumTotal", _FLASH_PREMIUM_BPS)

    def at(self, name: str, address: str) -> Contract:
        """A contract of the market by the name of its artefact."""
        from eth_utils.address import to_checksum_address  # noqa: PLC0415

        from basis.testkit.chain.node import Contract  # noqa: PLC0415

        return Contract(self._node, to_checksum_address(address), self._made.aave(name).abi, self._node.accounts[0])

    def list_reserve(self, symbol: str, token: Contract, feed: str, terms: AaveReserveConfig) -> None:
        """A reserve with the terms of the venue's configuration."""
        node, configure = self._node, self._configurator.send
        self.oracle.send("setAssetSources", [token.address], [feed])
        curve = encode(["uint16", "uint32", "uint32", "uint32"], _CURVES.get(symbol, _CURVE))
        names = (f"Aave {symbol}", f"a{symbol}", f"Aave debt {symbol}", f"debt{symbol}")
        a_token, debt = self._impl["ATokenInstance"], self._impl["VariableDebtTokenInstance"]
        row = (a_token, debt, True, self._strategy, token.address, node.accounts[0], ZERO, *names, b"", curve)
        configure("initReserves", [row])
        bonus = 10_000 + _bps(terms.liquidation_bonus)
        thresholds = (_bps(terms.ltv), _bps(terms.liquidation_threshold), bonus)
        configure("configureReserveAsCollateral", token.address, *thresholds)
        configure("setReserveBorrowing", token.address, terms.borrowing_enabled)
        configure("setReserveFlashLoaning", token.address, True)
        configure("setReserveFactor", token.address, _bps(terms.reserve_factor))
        for setter, cap in (("setSupplyCap", terms.supply_cap), ("setBorrowCap", terms.borrow_cap)):
            if cap:
                configure(setter, token.address, int(cap))

    def open_emode(self, terms: AaveReserveConfig, tokens: tuple[Contract, ...]) -> None:
        """The ETH-correlated e-mode, over some tokens."""
        bonus = 10_000 + _bps(terms.liquidation_bonus)
        thresholds = (_bps(terms.ltv), _bps(terms.liquidation_threshold), bonus)
        self._configurator.send("setEModeCategory", EMODE, *thresholds, "ETH correlated")
        for token in tokens:
            for setter in ("setAssetCollateralInEMode", "setAssetBorrowableInEMode"):
                self._configurator.send(setter, token.address, EMODE, True)

    def set_flash_premium(self, bps: int) -> None:
        """Fee of flash loans, basis points."""
        self._configurator.send("updateFlashloanPremiumTotal", bps)

    def reserve(self, token: str) -> dict[str, Any]:
        """``getReserveData`` by the names of its fields."""
        (found,) = [one for one in self.pool.abi if one.get("name") == "getReserveData"]
        names = [one["name"] for one in found["outputs"][0]["components"]]
        return dict(zip(names, self.pool.call("getReserveData", token), strict=True))

    def account(self, holder: str) -> dict[str, int]:
        """``getUserAccountData``: collateral and debt in 1e-8 USD, thresholds in basis points, health factor in 1e-18."""
        names = ("collateral", "debt", "available", "threshold", "ltv", "health_factor")
        return dict(zip(names, self.pool.call("getUserAccountData", holder), strict=True))

    def _roles(self) -> None:
        node, provider = self._node, self.provider
        provider.send("setACLAdmin", node.accounts[0])
        acl = node.deploy(self._made.aave("ACLManager"), provider.address)
        provider.send("setACLManager", acl.address)
        for role in ("addPoolAdmin", "addRiskAdmin", "addEmergencyAdmin", "addAssetListingAdmin"):
            acl.send(role, node.accounts[0])


def terms_of(config: AaveConfig, token: str) -> AaveReserveConfig:
    """Terms of a reserve outside the e-mode."""
    return config.reserves[token]


def _bps(fraction: float) -> int:
    return round(fraction * 10_000)
