"""The local exchanges against unmodified ccxt: what the live interface's tests stand on."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.exchange import INVERSE, PERP, SPOT, VENUES, ccxt_client, fund

from basis.testkit.exchange import ExchangeServer
from basis.testkit.exchange.instruments import LISTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=VENUES)
def server(request: pytest.FixtureRequest) -> Iterator[ExchangeServer]:
    with ExchangeServer(request.param) as found:
        fund(found)
        yield found


async def placed(
    client: Any, symbol: str, kind: str, side: str, amount: float, price: float | None = None, **params: Any
) -> dict[str, Any]:
    """Place an order, and read what became of it."""
    found: dict[str, Any] = await client.create_order(symbol, kind, side, amount, price, params)
    acknowledged = {"acknowledged": True} if client.id == "bybit" else {}
    order_now: dict[str, Any] = await client.fetch_order(found["id"], symbol, acknowledged)
    return order_now


def test_markets_are_those_of_the_configurations() -> None:
    for venue, listings in LISTINGS.items():
        configured = yaml.safe_load((ROOT / "configs" / "venues" / f"{venue}.yaml").read_text())["markets"]
        names = {f"{symbol}{'' if kind == 'spot' else '-PERP'}": one for (symbol, kind), one in listings.items()}
        assert names.keys() == configured.keys()
        for name, listing in names.items():
            market = configured[name]
            found = (listing.kind, float(listing.lot), float(listing.tick), float(listing.min_notional))
            assert found == (market["kind"], market["lot"], market["tick"], market["min_notional"]), (venue, name)


async def test_market_orders_fill_and_move_balances(server: ExchangeServer) -> None:
    async with ccxt_client(server) as client:
        spot = await placed(client, SPOT, "market", "buy", 1)
        assert (spot["status"], spot["filled"], spot["average"]) == ("closed", 1.0, 3000.0)
        (trade,) = await client.fetch_order_trades(spot["id"], SPOT)
        assert trade["fee"]["currency"] == "ETH"
        assert trade["fee"]["cost"] == pytest.approx(0.001)
        held = await client.fetch_balance({"type": "spot"})
        assert (held["ETH"]["total"], held["USDT"]["total"]) == (pytest.approx(0.999), 97_000.0)
        await placed(client, PERP, "market", "sell", 10 if client.id == "okx" else 1)
        (position,) = await client.fetch_positions([PERP])
        assert (position["side"], position["contracts"] * position["contractSize"]) == ("short", 1.0)


async def test_limits_rest_cross_cancel_and_stay_out_of_the_book(server: ExchangeServer) -> None:
    async with ccxt_client(server) as client:
        resting = await placed(client, SPOT, "limit", "buy", 1, 2900)
        assert resting["status"] == "open"
        assert len(await client.fetch_open_orders(SPOT)) == 1
        server.exchange.set_price("ETHUSDT", "spot", 2899)
        assert not await client.fetch_open_orders(SPOT)
        resting = await placed(client, SPOT, "limit", "buy", 1, 2000)
        await client.cancel_order(resting["id"], SPOT)
        assert not await client.fetch_open_orders(SPOT)
        server.exchange.liquidity["ETHUSDT", "spot"] = 1 * server.exchange.listings["ETHUSDT", "spot"].lot * 5000
        part = await placed(client, SPOT, "limit", "buy", 1, 2950, timeInForce="IOC")
        assert part["filled"] == float(5000 * server.exchange.listings["ETHUSDT", "spot"].lot)
        # ccxt calls it closed where Bybit says PartiallyFilledCanceled
        assert part["status"] in ({"closed"} if client.id == "bybit" else {"expired", "canceled"})
        try:
            post = await placed(client, SPOT, "limit", "buy", 1, 2950, postOnly=True)
        except Exception as error:  # noqa: BLE001 - by name: ccxt is imported lazily
            assert type(error).__name__ == "OrderImmediatelyFillable"
        else:
            assert (post["status"], post["filled"]) == ("canceled", 0.0)


@pytest.mark.parametrize(
    ("order", "params", "errors"),
    [
        ((SPOT, "market", "buy", 1000), {}, {"InsufficientFunds"}),
        ((PERP, "market", "buy", 100_000), {}, {"InsufficientFunds", "ExchangeError"}),
        ((SPOT, "market", "buy", 0.0001), {}, {"InvalidOrder", "BadRequest"}),
        ((PERP, "market", "sell", 1), {"reduceOnly": True}, {"InvalidOrder", "ExchangeError"}),
    ],
    ids=["funds", "margin", "notional", "reduce-only"],
)
async def test_rules_are_kept(server: ExchangeServer, order: Any, params: dict[str, Any], errors: set[str]) -> None:
    async with ccxt_client(server) as client:
        with pytest.raises(Exception, match=server.venue) as raised:
            await client.create_order(*order, None, params)
        assert type(raised.value).__name__ in errors
    assert not server.exchange.account.trades


async def test_client_order_ids_are_unique_but_for_done_spot_orders_of_binance(server: ExchangeServer) -> None:
    async with ccxt_client(server) as client:
        for symbol, amount in ((SPOT, 1), (PERP, 1)):
            await client.create_order(symbol, "market", "buy", amount, None, {"clientOrderId": "same1"})
            before = len(server.exchange.account.trades)
            if symbol == SPOT and server.venue == "binance":
                await client.create_order(symbol, "market", "buy", amount, None, {"clientOrderId": "same1"})
                assert len(server.exchange.account.trades) == before + 1
                continue
            with pytest.raises(Exception, match=r"(?i)duplicate|exists"):
                await client.create_order(symbol, "market", "buy", amount, None, {"clientOrderId": "same1"})
            assert len(server.exchange.account.trades) == before


async def test_funding_is_paid_to_shorts_and_listed(server: ExchangeServer) -> None:
    async with ccxt_client(server) as client:
        await client.create_order(PERP, "market", "sell", 10 if client.id == "okx" else 1)
        before = (await client.fetch_balance({"type": "swap"}))["USDT"]["total"]
        server.exchange.fund("ETHUSDT", "linear", "0.0001")
        after = (await client.fetch_balance({"type": "swap"}))["USDT"]["total"]
        assert after - before == pytest.approx(0.3)
        (paid,) = await client.fetch_funding_history(PERP)
        sign = -1 if client.id == "bybit" else 1  # ccxt hands on Bybit's fee, whose sign is the other way round
        assert sign * paid["amount"] == pytest.approx(0.3)
        (rate,) = await client.fetch_funding_rate_history(PERP)
        assert rate["fundingRate"] == 0.0001


async def test_inverse_perp_of_binance_is_margined_in_bitcoin() -> None:
    with ExchangeServer("binance") as server:
        fund(server, btc=1.0)
        async with ccxt_client(server) as client:
            order = await placed(client, INVERSE, "market", "buy", 300)
            assert order["filled"] == 300
            server.exchange.set_price("BTCUSD", "inverse", 66_000)
            held = await client.fetch_balance({"type": "swap", "subType": "inverse"})
            gain = 30_000 * (1 / 60_000 - 1 / 66_000)
            assert held["BTC"]["total"] == pytest.approx(1 + gain - 0.5 * 0.0005, rel=1e-9)


async def test_deposits_and_withdrawals_take_their_time(server: ExchangeServer) -> None:
    now = [server.exchange.now_ms()]
    server.exchange.clock = lambda: now[0]
    server.exchange.withdrawal_delay_ms = server.exchange.deposit_delay_ms = 60_000
    server.exchange.receive("USDT", 10, "0xabc")
    cash = {"binance": "spot", "bybit": "fund", "okx": "funding"}[server.venue]
    server.exchange.withdraw("USDT", server.exchange.account.wallets[cash]["USDT"] / 2, "0x" + "34" * 20, "ETH")
    assert server.exchange.account.wallets[cash]["USDT"] == 50_000
    async with ccxt_client(server) as client:
        client.nonce = lambda: now[0]
        client.milliseconds = lambda: now[0]
        for status, txid in (("pending", None), ("ok", "0x")):
            (deposit,), (withdrawal,) = await client.fetch_deposits("USDT"), await client.fetch_withdrawals("USDT")
            assert (deposit["status"], withdrawal["status"]) == (status, status)
            assert (withdrawal["txid"] or "").startswith(txid or "")
            now[0] += 60_001
    assert server.exchange.account.wallets[cash]["USDT"] == 50_010


async def test_signatures_and_clocks_are_checked(server: ExchangeServer) -> None:
    async with ccxt_client(server, secret="wrong", password="wrong") as liar:
        with pytest.raises(Exception, match=r"(?i)sign|auth"):
            await liar.fetch_balance()
    async with ccxt_client(server) as client:
        await client.fetch_balance()
        for skew in (60_000, -60_000):
            server.skew_ms = skew
            with pytest.raises(Exception, match=r"(?i)time") as raised:
                await client.fetch_balance()
            assert type(raised.value).__name__ == "InvalidNonce"


FAULTS = {
    "error_before": (0, {"ExchangeNotAvailable", "OperationFailed"}),
    "error_after": (1, {"ExchangeNotAvailable", "OperationFailed"}),
    "timeout_before": (0, {"RequestTimeout"}),
    "timeout_after": (1, {"RequestTimeout"}),
    "disconnect_before": (0, {"ExchangeNotAvailable", "NetworkError"}),
    "disconnect_after": (1, {"ExchangeNotAvailable", "NetworkError"}),
    "rate": (0, {"RateLimitExceeded", "DDoSProtection"}),
    "banned": (0, {"RateLimitExceeded", "DDoSProtection"}),
    "reject": (0, {"InvalidOrder", "ExchangeError"}),
}


async def test_faults_happen_on_demand(server: ExchangeServer) -> None:
    done = 0
    async with ccxt_client(server, timeout=300) as client:
        await client.load_markets()
        for number, (fault, (effects, names)) in enumerate(FAULTS.items()):
            server.faults.add("order.create", fault)
            with pytest.raises(Exception, match=server.venue) as raised:
                await client.create_order(SPOT, "market", "buy", 0.1, None, {"clientOrderId": f"fault{number}"})
            assert type(raised.value).__name__ in names, fault
            done += effects
            assert len(server.exchange.account.trades) == done, fault
        await client.create_order(SPOT, "market", "buy", 0.1)
        assert len(server.exchange.account.trades) == done + 1


async def test_control_works_over_http(server: ExchangeServer) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        for what, given in (
            ("price", {"symbol": "ETHUSDT", "kind": "spot", "price": 3500}),
            ("fault", {"operation": "order", "kind": "rate"}),
            ("set", {"half_spread": 0.001}),
            ("skew", {"ms": 5000}),
        ):
            async with session.post(f"{server.url}/_control/{what}", json=given) as answer:
                assert "wallets" in await answer.json()
    listing = server.exchange.listings["ETHUSDT", "spot"]
    assert float(server.exchange.mark(listing)) == 3500.0
    assert float(server.exchange.touch(listing, buy=True)) == 3503.5
    assert (server.skew_ms, len(server.faults.waiting)) == (5000, 1)


def test_server_runs_as_a_process_at_the_time_of_a_clock_file(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_bytes(struct.pack("<d", 1_700_000_000.0))
    command = [sys.executable, "-m", "basis.testkit.exchange", "--venue", "bybit", "--clock-file", str(clock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            for at in (1_700_000_000, 1_700_003_600):
                clock.write_bytes(struct.pack("<d", float(at)))
                with urllib.request.urlopen(f"{said['url']}/v5/market/time") as answer:
                    assert json.load(answer)["result"]["timeSecond"] == str(at)
        finally:
            process.kill()
