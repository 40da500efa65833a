"""ccxt clients as they are set up: hosts, test networks, time, and nothing that says a key."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from basis.models.errors import InputError
from basis.models.live_cex_config import CexLiveConfig
from basis.runtime.clock import SystemClock
from basis.venues.live.cex.clients import Credentials, make_client
from basis.venues.live.cex.connection import Connection

KEYS = Credentials(SecretStr("k" * 20), SecretStr("s" * 20), SecretStr("p" * 20))


def client(venue: str, **config: Any) -> Any:
    async def make() -> Any:
        found = make_client(venue, CexLiveConfig.model_validate(config), KEYS, lambda: 1_700_000_000_000)
        await found.close()
        return found

    return asyncio.run(make())


def hosts(found: Any) -> set[str]:
    names = {"rest", "public", "private", "fapiPublic", "fapiPrivate", "dapiPrivate", "sapi"}
    urls = {url for name, url in found.urls["api"].items() if name in names}
    return {found.implode_hostname(url).split("/")[2] for url in urls}


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx"])
def test_production_is_the_exchanges_own_hosts(venue: str) -> None:
    found = hosts(client(venue))
    assert found
    assert all(venue in host for host in found), found
    assert not any("test" in host or "demo" in host for host in found), found


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx"])
def test_testnet_never_talks_to_production(venue: str) -> None:
    found = client(venue, testnet=True)
    if venue == "okx":  # one host, told apart by a header
        assert found.headers["x-simulated-trading"] == "1"
        return
    for name in ("public", "private", "fapiPrivate", "dapiPrivate"):
        url = found.urls["api"].get(name)
        if url is not None:
            assert "test" in url or "demo" in url, (name, url)


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx"])
def test_base_url_is_for_every_api(venue: str) -> None:
    found = client(venue, base_url="http://127.0.0.1:9", testnet=True)
    assert {url.split("/")[2] for url in found.urls["api"].values()} == {"127.0.0.1:9"}


def test_okx_orders_say_when_they_expire() -> None:
    """OKX's own window is half a minute; what a timeout leaves behind must not arrive that late."""
    found = client("okx", recv_window_ms=1234)
    signed = found.sign("trade/batch-orders", "private", "POST", [{"instId": "ETH-USDT", "clOrdId": "x"}])
    assert signed["headers"]["expTime"] == str(1_700_000_000_000 + 1234)
    assert "expTime" not in found.sign("account/balance", "private", "GET", {})["headers"]


def test_binance_errors_do_not_depend_on_the_host() -> None:
    """ccxt knows which API was asked by its host: with another host it must know as well."""
    found = client("binance", base_url="http://127.0.0.1:9")
    for path, code in (("/fapi/v1/order", "-2019"), ("/dapi/v1/order", "-2019"), ("/api/v3/order", "-1008")):
        assert code in found.get_exceptions_by_url(f"http://127.0.0.1:9{path}", "exact"), path


def test_unknown_exchange_is_refused() -> None:
    with pytest.raises(InputError, match="no exchange 'kraken'"):
        make_client("kraken", CexLiveConfig(), None)


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx"])
async def test_an_order_does_not_wait_behind_questions(venue: str) -> None:
    link = Connection(venue, CexLiveConfig(), KEYS, SystemClock())
    try:
        limits = link.client.throttler.config
        await link.client.throttle(limits["maxWeight"] or 1e5)  # all that is allowed for some seconds, or minutes
        question = asyncio.create_task(link.ask("time", link.client.throttle, 1))
        await asyncio.sleep(0)
        await asyncio.wait_for(link.send("order", link.client.throttle, 1), 4)
        assert not question.done(), "the question waits: limits are kept to"
        question.cancel()
        await asyncio.gather(question, return_exceptions=True)
    finally:
        await link.close()
