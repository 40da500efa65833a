"""What on-chain venues accept and refuse, simulated or live, and the suite of their kind; not yet who answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tests.support.venue_cases import ETH, OP, USDT, VenueCases
from tests.support.venues import order

from basis.testkit.conformance.lending import LendingConformance
from basis.testkit.conformance.on_chain import OnChainConformance

if TYPE_CHECKING:
    from basis.models.order import Order
    from basis.testkit.conformance.cases import Case

EIGEN, ETHFI = "wallet:BaseToken:EIGEN", "wallet:BaseToken:ETHFI"
CEX_USDT, CEX_ETH = "binance:BaseToken:USDT", "binance:BaseToken:ETH"
A_USDT, A_WETH, A_WEETH = "aave_v3:aToken:aUSDT", "aave_v3:aToken:aWETH", "aave_v3:aToken:aweETH"
D_USDT, D_WETH = "aave_v3:debtToken:debtUSDT", "aave_v3:debtToken:debtWETH"
WEETH, WSTETH = "etherfi:LST:weETH", "lido:LST:wstETH"
OWED = "morpho:debtToken:flashWETH"


# ----------------------------------------------------------------------------------------------------------- wallet


def transfer(amount: float, token: str = "USDT", source: str = "wallet", target: str = "binance") -> Order:
    return order("transfer", source, amount, source_venue=source, target_venue=target, source_token=token)


class WalletCases(VenueCases, OnChainConformance):
    KEYS: ClassVar[tuple[str, ...]] = (USDT, ETH, CEX_USDT, CEX_ETH)
    VENUE = "wallet"
    OFFERED = frozenset({OP.TRANSFER})
    LEDGER: ClassVar[dict[str, float]] = {USDT: 1000.0, ETH: 5.0, CEX_USDT: 10.0, CEX_ETH: 1.0}

    def accepted(self) -> list[Case]:
        return [
            self.case("usdt to an exchange", transfer(100.0)),
            self.case("ether to an exchange", transfer(2.0, "ETH")),
            self.case("weth is ether", transfer(0.5, "WETH")),
            self.case("usdt to the client", transfer(100.0, target="client")),
            self.case("all of the usdt", transfer(1000.0)),
        ]

    def refused(self) -> list[tuple[Case, str]]:
        return [
            self.refusal("more than there is", "VEN-008", transfer(1001.0)),
            self.refusal("all ether but no gas", "VEN-008", transfer(5.0, "ETH")),
            self.refusal("to itself", "VEN-009", transfer(1.0, target="wallet")),
            self.refusal("to a venue not held", "VEN-001", transfer(1.0, target="okx")),
            self.refusal("unknown token", "VEN-001", transfer(1.0, "DOGE")),
            self.refusal("no gas", "VEN-008", transfer(1.0), ledger={USDT: 10.0}),
            self.refusal(
                "what another venue holds",
                "VEN-001",
                order("transfer", "wallet", 1.0, source_venue="binance", target_venue="wallet", source_token="USDT"),
            ),
        ]


class WalletWithDelayCases(WalletCases):
    """The exchange needs two hours and a half until a deposit is usable."""

    KEYS = (USDT, ETH, CEX_USDT, CEX_ETH, "transit:BaseToken:USDT", "transit:BaseToken:ETH")
    CHANGES: ClassVar[dict[str, dict[str, Any]]] = {"binance": {"deposit_delay_s": 9000}}


# ------------------------------------------------------------------------------------------------------------- aave


def aave(operation: str, amount: float, token: str = "USDT", number: int = 0) -> Order:
    side = "source_token" if operation in {"supply", "repay"} else "target_token"
    return order(operation, "aave_v3", amount, number, **{side: token})


EMODE = {"ltv": 0.93, "liquidation_threshold": 0.95, "liquidation_bonus": 0.01, "reserve_factor": 0.1}


class AaveCases(VenueCases, LendingConformance):
    KEYS = (USDT, ETH, A_USDT, D_USDT, A_WETH, D_WETH, A_WEETH, WEETH)
    VENUE = "aave_v3"
    OFFERED = frozenset({OP.SUPPLY, OP.BORROW, OP.REPAY, OP.WITHDRAW})
    LEDGER: ClassVar[dict[str, float]] = {USDT: 1e4, ETH: 10.0, A_USDT: 1e4, D_WETH: 1.0, WEETH: 5.0, A_WEETH: 1.0}

    def accepted(self) -> list[Case]:
        return [
            self.case("supply usdt", aave("supply", 1000.0)),
            self.case("supply weth", aave("supply", 2.0, "WETH")),
            self.case("supply an lst", aave("supply", 2.0, "weETH")),
            self.case("borrow weth", aave("borrow", 0.5, "WETH")),
            self.case("borrow usdt", aave("borrow", 200.0)),
            self.case("repay a part", aave("repay", 0.5, "WETH")),
            self.case("repay all", aave("repay", 1.08, "WETH")),
            self.case("withdraw usdt", aave("withdraw", 100.0)),
            self.case("withdraw an lst", aave("withdraw", 0.5, "weETH")),
        ]

    def refused(self) -> list[tuple[Case, str]]:
        return [
            self.refusal("supply more than there is", "VEN-008", aave("supply", 1e5)),
            self.refusal("supply above the cap", "VEN-009", aave("supply", 1e10), ledger=self.LEDGER | {USDT: 1e11}),
            self.refusal("unknown reserve", "VEN-009", aave("supply", 1.0, "DOGE")),
            self.refusal("reserve that the mode does not hold", "VEN-001", aave("supply", 1.0, "wstETH")),
            self.refusal("borrow above the limit", "VEN-009", aave("borrow", 10.0, "WETH")),
            self.refusal("borrow without collateral", "VEN-009", aave("borrow", 0.1, "WETH"), ledger={ETH: 1.0}),
            self.refusal("repay more than is owed", "VEN-008", aave("repay", 5.0, "WETH")),
            self.refusal("withdraw more than there is", "VEN-008", aave("withdraw", 1e5)),
            self.refusal(
                "withdraw below a health factor of one",
                "VEN-009",
                aave("withdraw", 10_000.0),
                ledger={USDT: 1e4, ETH: 1.0, A_USDT: 1e4, D_WETH: 1.0},
            ),
            self.refusal("no gas", "VEN-008", aave("supply", 1.0), ledger={USDT: 10.0}),
        ]

    def under_water(self) -> list[Case]:
        return [
            self.case("usdt against weth", ledger={A_USDT: 6000.0, D_WETH: 1.4}),
            self.case("weth against usdt", ledger={A_WETH: 1.0, D_USDT: 2000.0}),
            self.case("two of each", ledger={A_USDT: 6000.0, A_WEETH: 1.0, D_WETH: 1.5, D_USDT: 1000.0}),
        ]


class AaveEmodeCases(AaveCases):
    """ETH-correlated e-mode: nothing but WETH and LSTs may be borrowed."""

    CHANGES: ClassVar[dict[str, dict[str, Any]]] = {"aave_v3": {"emode": EMODE}}

    def accepted(self) -> list[Case]:
        return [case for case in super().accepted() if case.name != "borrow usdt"]

    def refused(self) -> list[tuple[Case, str]]:
        usdt = self.refusal("borrow usdt in e-mode", "VEN-009", aave("borrow", 1.0))
        return [*super().refused(), usdt]


# ----------------------------------------------------------------------------------------------------------- morpho


def loan(amount: float, repaid: float | None = None) -> tuple[Order, Order]:
    repaid = amount if repaid is None else repaid
    return order("flash_borrow", "morpho", amount, 0, "g"), order("flash_repay", "morpho", repaid, 1, "g")


class MorphoCases(VenueCases, OnChainConformance):
    KEYS = (ETH, OWED)
    VENUE = "morpho"
    OFFERED = frozenset({OP.FLASH_BORROW, OP.FLASH_REPAY})
    LEDGER: ClassVar[dict[str, float]] = {ETH: 5.0}

    def accepted(self) -> list[Case]:
        two = (*loan(100.0), *loan(50.0))
        again = [
            one.model_copy(update={"operation_id": f"op-{n}", "sequence_in_group": n}) for n, one in enumerate(two)
        ]
        return [
            self.case("borrow and repay", *loan(100.0)),
            self.case("a small loan", *loan(1e-3)),
            self.case("two loans in a row", *again),
            self.case("all but the gas", *loan(100.0), ledger={ETH: 0.2}),
        ]

    def refused(self) -> list[tuple[Case, str]]:
        return [
            self.refusal("repaid too little", "VEN-009", *loan(100.0, 99.0)),
            self.refusal("repaid too much", "VEN-009", *loan(100.0, 101.0)),
            self.refusal("never repaid", "VEN-009", *loan(100.0)[:1]),
            self.refusal("repaid without a loan", "VEN-009", loan(100.0)[1]),
            self.refusal("no gas", "VEN-008", *loan(100.0), ledger={ETH: 0.0}),
            self.refusal("borrowed outside a group", "VEN-009", order("flash_borrow", "morpho", 1.0)),
            self.refusal("repaid outside a group", "VEN-009", order("flash_repay", "morpho", 1.0)),
        ]


class MorphoWithFeeCases(MorphoCases):
    CHANGES: ClassVar[dict[str, dict[str, Any]]] = {"morpho": {"fee": 0.0009}}


# ---------------------------------------------------------------------------------------------------------- staking


def stake(amount: float, venue: str = "etherfi", lst: str = "weETH", given: str = "ETH") -> Order:
    return order("stake", venue, amount, source_token=given, target_token=lst)


def unstake(amount: float, venue: str = "etherfi", lst: str = "weETH") -> Order:
    return order("unstake", venue, amount, source_token=lst, target_token="ETH")


class EtherfiCases(VenueCases, OnChainConformance):
    KEYS = (ETH, EIGEN, ETHFI, WEETH, A_WEETH, "etherfi:BaseToken:ETH")
    VENUE = "etherfi"
    OFFERED = frozenset({OP.STAKE, OP.UNSTAKE})
    LEDGER: ClassVar[dict[str, float]] = {ETH: 10.0, WEETH: 5.0, A_WEETH: 2.0}
    CLAIM = "etherfi:BaseToken:ETH"

    def queue(self, tick: int) -> dict[str, float]:
        """The ledger with a claim that is due at a tick."""
        return self.LEDGER | {self.CLAIM: 0.7, f"etherfi:unstaking:ETH@{tick}": 0.7}

    def accepted(self) -> list[Case]:
        return [
            self.case("stake", stake(2.0)),
            self.case("stake weth", stake(1.0, given="WETH")),
            self.case("unstake a part", unstake(1.0)),
            self.case("unstake all", unstake(5.0)),
            self.case("unstake behind a claim", unstake(0.3), ledger=self.queue(9)),
            self.case("unstake beside a claim of the same tick", unstake(0.3), ledger=self.queue(3 + 7 * 24)),
        ]

    def refused(self) -> list[tuple[Case, str]]:
        return [
            self.refusal("stake more than there is", "VEN-008", stake(11.0)),
            self.refusal("stake all but no gas", "VEN-008", stake(10.0)),
            self.refusal("unstake more than there is", "VEN-008", unstake(6.0)),
            self.refusal("another lst", "VEN-009", stake(1.0, lst="wstETH")),
            self.refusal("not ether", "VEN-009", stake(1.0, given="USDT")),
            self.refusal("unstake another lst", "VEN-009", unstake(1.0, lst="wstETH")),
        ]


class LidoCases(VenueCases, OnChainConformance):
    KEYS: ClassVar[tuple[str, ...]] = (ETH, EIGEN, ETHFI, WSTETH)
    VENUE = "lido"
    OFFERED = frozenset({OP.STAKE, OP.UNSTAKE})
    LEDGER: ClassVar[dict[str, float]] = {ETH: 10.0, WSTETH: 5.0}

    def accepted(self) -> list[Case]:
        return [
            self.case("stake", stake(2.0, "lido", "wstETH")),
            self.case("stake weth", stake(1.0, "lido", "wstETH", "WETH")),
            self.case("unstake a part", unstake(1.0, "lido", "wstETH")),
            self.case("unstake all", unstake(5.0, "lido", "wstETH")),
        ]

    def refused(self) -> list[tuple[Case, str]]:
        return [
            self.refusal("stake more than there is", "VEN-008", stake(11.0, "lido", "wstETH")),
            self.refusal("unstake more than there is", "VEN-008", unstake(6.0, "lido", "wstETH")),
            self.refusal("another lst", "VEN-009", stake(1.0, "lido")),
            self.refusal("no gas", "VEN-008", unstake(1.0, "lido", "wstETH"), ledger={WSTETH: 0.001}),
        ]


# ---------------------------------------------------------------------------------------------------------- uniswap


def swap(amount: float, source: str, target: str, **fields: Any) -> Order:
    return order("swap", "uniswap", amount, source_token=source, target_token=target, **fields)


class UniswapCases(VenueCases, OnChainConformance):
    KEYS = (ETH, EIGEN, ETHFI, WEETH, WSTETH)
    VENUE = "uniswap"
    OFFERED = frozenset({OP.SWAP})
    LEDGER: ClassVar[dict[str, float]] = {ETH: 10.0, EIGEN: 500.0, ETHFI: 500.0, WEETH: 5.0, WSTETH: 5.0}
    CHANGES: ClassVar[dict[str, dict[str, Any]]] = {"uniswap": {}}

    def accepted(self) -> list[Case]:
        return [
            self.case("weeth to ether", swap(1.0, "weETH", "ETH")),
            self.case("wsteth to ether", swap(5.0, "wstETH", "WETH")),
            self.case("eigen to ether", swap(100.0, "EIGEN", "ETH")),
            self.case("all ethfi to ether", swap(500.0, "ETHFI", "ETH")),
            self.case("ether to eigen", swap(1.0, "ETH", "EIGEN")),
            self.case("ether to weeth", swap(1.0, "ETH", "weETH")),
            # the pool pays more than the oracle's rate: a gain is no negative cost, the swap is at the pool's price
            self.case(
                "weeth to ether above the oracle's rate",
                swap(1.0, "weETH", "ETH"),
                market={"dex_price_eth:weETH": 1.06},
                prices={WEETH: 1.06 * 3000.0},
            ),
            self.case(
                "ether to weeth below the oracle's rate",
                swap(1.0, "ETH", "weETH"),
                market={"dex_price_eth:weETH": 1.01},
                prices={WEETH: 1.01 * 3000.0},
            ),
        ]

    def refused(self) -> list[tuple[Case, str]]:
        return [
            self.refusal("more than there is", "VEN-008", swap(6.0, "weETH", "ETH")),
            self.refusal("no such pair", "VEN-001", swap(1.0, "weETH", "wstETH")),
            self.refusal("unknown token", "VEN-001", swap(1.0, "DOGE", "ETH")),
            self.refusal("ether to ether", "VEN-001", swap(1.0, "ETH", "WETH")),
            self.refusal("cost above tolerance", "VEN-009", swap(1.0, "weETH", "ETH", slippage_tolerance=0.001)),
            self.refusal("no gas", "VEN-008", swap(1e-4, "weETH", "ETH"), ledger={WEETH: 1.0}),
        ]
