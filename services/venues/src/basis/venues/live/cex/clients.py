"""ccxt clients: keys, host, time, limits. What ccxt asks and how is ccxt's; an order does not wait behind questions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from basis.models.errors import InputError
from basis.venues.live import lease
from basis.venues.live.secrets import read_secret, require_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import SecretStr

    from basis.models.live_cex_config import CexLiveConfig

_TYPES = {"binance": ["spot", "linear", "inverse"], "bybit": ["spot", "linear"], "okx": ["spot", "swap"]}
"""Markets to load, in ccxt's words."""
_BINANCE_HOSTS = {"/fapi/": "https://fapi.binance.com", "/dapi/": "https://dapi.binance.com"}
_SILENT = logging.CRITICAL + 1


class Credentials(NamedTuple):
    """Keys of an account; never printed."""

    key: SecretStr
    secret: SecretStr
    password: SecretStr | None
    """Passphrase; OKX alone."""

    @classmethod
    def read(cls, venue: str, environ: Mapping[str, str] | None = None) -> Credentials:
        """``BASIS_<VENUE>_API_KEY``, ``_API_SECRET`` and, for OKX, ``_API_PASSWORD``, or the same with ``_FILE``.

        Raises:
            InputError: VEN-005, one is missing.
        """
        prefix = f"BASIS_{venue.upper()}_API_"
        password = require_secret(f"{prefix}PASSWORD", environ) if venue == "okx" else None
        return cls(require_secret(f"{prefix}KEY", environ), require_secret(f"{prefix}SECRET", environ), password)

    @classmethod
    def read_if_any(cls, venue: str, environ: Mapping[str, str] | None = None) -> Credentials | None:
        """As :meth:`read`; None where there is no key at all: public data needs none."""
        return cls.read(venue, environ) if read_secret(f"BASIS_{venue.upper()}_API_KEY", environ) else None


def make_client(
    venue: str, config: CexLiveConfig, credentials: Credentials | None, now_ms: Callable[[], int] | None = None
) -> Any:
    """A ccxt client of an exchange. Must be closed.

    Args:
        venue: binance, bybit or okx.
        config: host, window, limits.
        credentials: keys; None for public data alone.
        now_ms: milliseconds that requests are stamped with; None: the machine's clock.

    Raises:
        InputError: VEN-001, no such exchange.
    """
    if venue not in _TYPES:
        raise InputError("VEN-001", f"no exchange {venue!r}; known: {', '.join(_TYPES)}", "live_cex")
    # here, because it takes more than a second, and a backtest has no use for it
    import ccxt.async_support as ccxt  # noqa: PLC0415

    # at DEBUG it logs headers with keys
    logging.getLogger("ccxt").setLevel(_SILENT)
    settings: dict[str, Any] = {
        "timeout": round(1000 * config.request_timeout_s),
        "enableRateLimit": config.rate_limit,
        # the questions of a tick come together: what counts is a minute's sum (Binance), or that of five seconds (Bybit), and
        # the default, one after the other at the mean rate, made an order wait for 16 s. OKX has no window: ccxt ignores it
        "rateLimiterAlgorithm": "rollingWindow",
        "options": {
            "recvWindow": config.recv_window_ms,
            "fetchMarkets": {"types": _TYPES[venue]},
            "fetchMargins": False,
        },
    }
    if credentials is not None:
        settings["apiKey"] = credentials.key.get_secret_value()
        settings["secret"] = credentials.secret.get_secret_value()
        if credentials.password is not None:
            settings["password"] = credentials.password.get_secret_value()
    client = _classes(ccxt)[venue](settings)
    client.logger = logging.getLogger("ccxt.basis")
    if config.testnet:
        _use_testnet(client)
    if config.base_url is not None:
        _point_at(client, str(config.base_url).rstrip("/"))
    if now_ms is not None:
        client.nonce = now_ms
        client.milliseconds = now_ms
    return client


def _classes(ccxt: Any) -> dict[str, Any]:
    class Leased:
        """What is signed leaves while its lease holds: ccxt signs, and calls this in the same breath."""

        id: str

        async def fetch(self, *args: Any, **fields: Any) -> Any:
            lease.require(self.id)
            return await super().fetch(*args, **fields)  # type: ignore[misc]

    class Sending:
        """Orders and cancellations wait for one another, not for questions: exchanges count them apart as well."""

        throttler: Any
        tokenBucket: Any  # noqa: N815 - ccxt's name
        asyncio_loop: Any

        def init_throttler(self, cost: Any = None) -> None:
            super().init_throttler(cost)  # type: ignore[misc]
            self.sending_throttler = type(self.throttler)(self.tokenBucket, self.asyncio_loop)

        async def throttle(self, cost: Any = None) -> Any:
            return await (self.sending_throttler if lease.is_leaving() else self.throttler)(cost)

    class Binance(Leased, Sending, ccxt.binance):  # type: ignore[misc]
        """Errors by the API that was asked also where the host is another: ccxt tells the APIs apart by their hosts."""

        def get_exceptions_by_url(self, url: str, exactOrBroad: str) -> Any:  # noqa: N803 - ccxt's name
            path = urlsplit(url).path
            host = next((host for part, host in _BINANCE_HOSTS.items() if part in path), "https://api.binance.com")
            return super().get_exceptions_by_url(f"{host}{path}", exactOrBroad)

    class Bybit(Leased, Sending, ccxt.bybit):  # type: ignore[misc]
        """As ccxt has it."""

    class Okx(Leased, Sending, ccxt.okx):  # type: ignore[misc]
        """Orders carry ``expTime``: OKX's own window is 30 s, and ccxt sends none."""

        def sign(self, path: str, *args: Any, **fields: Any) -> Any:
            found = super().sign(path, *args, **fields)
            if path in {"trade/batch-orders", "trade/order"}:
                found["headers"]["expTime"] = str(self.nonce() + self.options["recvWindow"])
            return found

    return {"binance": Binance, "bybit": Bybit, "okx": Okx}


def _use_testnet(client: Any) -> None:
    if client.id == "binance":
        client.enable_demo_trading(True)
    else:
        client.set_sandbox_mode(True)


def _point_at(client: Any, base: str) -> None:
    """Every API of the client to one host; paths stay."""
    client.urls["api"] = {name: base + urlsplit(url).path for name, url in client.urls["api"].items()}
