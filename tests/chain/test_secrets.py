"""The wallet's key is in nothing that is left behind: references, handshakes, errors, logs, representations, files."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from tests.support.chain import KEY, Account, execute
from tests.support.venues import order

from basis.models.errors import ComponentError
from basis.testkit.chain.aave import WAD
from basis.testkit.runs import mode_config
from basis.venues.live.chain import factory
from basis.venues.live.chain.wallet import Wallet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.chain import Opened

_PIECES = (KEY, KEY[:32], KEY[32:], str(int(KEY, 16)))
"""The key, its halves, and as a number."""


def assert_absent(*texts: object) -> None:
    """No piece of the key in any spelling."""
    for text in texts:
        for written in (str(text), repr(text)):
            assert not [piece for piece in _PIECES if piece.lower() in written.lower()], "the key leaked"


async def test_key_is_nowhere(
    account: Account, opened: Opened, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """After success, refusal and failure, with every library logging all it can."""
    caplog.set_level(logging.DEBUG)
    venue = await opened()
    left: list[object] = [venue, vars(venue), account.wallet, vars(account.wallet)["_account"].address, account.config]
    orders = (order("supply", "aave_v3", 1.0, source_token="WETH"),)
    prepared = await venue.prepare(orders)
    left += [prepared, prepared.reference, await venue.send(orders, prepared), await venue.resolve(orders, prepared)]
    left += await execute(venue, order("stake", "lido", 1.0, source_token="ETH"))
    for wrong in (
        order("supply", "aave_v3", 1e6, source_token="WETH"),
        order("borrow", "aave_v3", 1e6, target_token="WETH"),
        order("swap", "uniswap", 1.0, source_token="DOGE", target_token="ETH"),
    ):
        with pytest.raises(ComponentError) as error:
            await venue.prepare((wrong,))
        left += [error.value, "".join(traceback.format_exception(error.value)), vars(error.value)]
    account.node.fund(account.address, WAD // 100)
    with pytest.raises(ComponentError) as error:
        await venue.prepare(orders)
    left += [error.value, "".join(traceback.format_exception(error.value))]
    await venue.close()
    assert account.node.url not in caplog.text, "the node's address holds a key; web3 says it when it closes"
    left += [caplog.text, *(vars(record) for record in caplog.records)]
    file = tmp_path / "left.txt"
    file.write_text("\n".join(map(str, left)), encoding="utf-8")
    assert_absent(file.read_text(encoding="utf-8"), *left)


@pytest.mark.parametrize("key", [KEY[:-1], KEY + "00", "not a key", KEY[:-2] + "zz", ""])
def test_key_that_is_none_is_refused_without_being_repeated(key: str) -> None:
    """Whoever mistypes a key must not find it in a log."""
    with pytest.raises(ComponentError, match="VEN-005") as error:
        Wallet(SecretStr(key))
    assert_absent("".join(traceback.format_exception(error.value)))
    assert error.value.__cause__ is None


def test_factory_reads_secrets_from_environment_or_file_and_names_what_is_missing(
    account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And gives the same object for every on-chain venue of a run."""
    config = mode_config("eth_leveraged")
    for name in ("BASIS_RPC_URL", "BASIS_WALLET_KEY", "BASIS_CHAIN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ComponentError, match="BASIS_RPC_URL"):
        factory.make("wallet", config, account.clock)
    monkeypatch.setenv("BASIS_RPC_URL", "http://127.0.0.1:1")
    with pytest.raises(ComponentError, match="BASIS_WALLET_KEY"):
        factory.make("wallet", config, account.clock)
    monkeypatch.setenv("BASIS_WALLET_KEY_FILE", str(tmp_path / "missing"))
    with pytest.raises(ComponentError, match="BASIS_WALLET_KEY_FILE"):
        factory.make("wallet", config, account.clock)
    (tmp_path / "key").write_text(KEY + "\n", encoding="utf-8")
    monkeypatch.setenv("BASIS_WALLET_KEY_FILE", str(tmp_path / "key"))
    one, two = factory.make("wallet", config, account.clock), factory.make("aave_v3", config, account.clock)
    assert one is two
    assert one.address == account.address
    assert_absent(one, vars(one))
    bad = tmp_path / "chain.yaml"
    bad.write_text("chain_id: 0\n", encoding="utf-8")
    monkeypatch.setenv("BASIS_CHAIN_CONFIG", str(bad))
    with pytest.raises(ComponentError, match="CONFIG-003"):
        factory.load_addresses()


def test_mainnet_addresses_are_spelt_with_their_checksums() -> None:
    """A digit mistyped in configs/live would fail here."""
    from basis.testkit.runs import CONFIGS
    from basis.venues.live.chain.abi import checksummed

    def addresses(value: object) -> list[str]:
        if isinstance(value, dict):
            return [one for inner in value.values() for one in addresses(inner)]
        return [value] if isinstance(value, str) and value.startswith("0x") else []

    found = addresses(factory.load_addresses(CONFIGS / "live" / "ethereum.yaml").model_dump())
    assert len(found) == 20
    assert [checksummed(one, "mainnet") for one in found] == found
