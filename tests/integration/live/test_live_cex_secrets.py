"""Keys of an exchange never leave the connection: not in errors, handshakes, references, representations or logs."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

from basis.models.errors import InputError
from basis.venues.live.cex.clients import Credentials
from basis.venues.live.cex.factory import read_config
from basis.venues.live.secrets import read_secret

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from tests.support.live_cex import Stage


def test_nothing_that_is_left_behind_holds_a_secret(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = [repr(stage.live), repr(stage.live._link), repr(stage.live.__dict__)]
    stage.impatient()
    faults = ("error_before", "timeout_before", "disconnect_before", "rate", "reject", "garbage_after")
    for fault in faults:
        order = stage.trade("perp", "buy", 1.0, price=3000.0)
        prepared = stage.prepare(order)
        stage.server.faults.add("order.create", fault)
        said += [stage.send(order, prepared).model_dump_json(), repr(prepared)]
        stage.server.faults.add("balance", fault, times=9)
        try:
            stage.balances()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must hold nothing
            said += [str(error), repr(error), "".join(traceback.format_exception(error)), repr(error.__context__)]
            said.append(repr(error.__cause__))
        stage.server.faults.clear()
    stage.server.skew_ms = 60_000
    said.append(stage.send(stage.trade("spot", "buy", 1.0, price=3000.0)).model_dump_json())
    stage.server.skew_ms = 0
    said.append(caplog.text)
    everything = "\n".join(said)
    assert len(everything) > 2000
    for secret in stage.server.credentials:
        assert secret not in everything
    assert "signature=" not in everything


def test_credentials_come_from_the_environment_or_from_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")
    environ = {
        "BASIS_OKX_API_KEY": "k",
        "BASIS_OKX_API_SECRET_FILE": str(tmp_path / "secret"),
        "BASIS_OKX_API_PASSWORD": "p",
    }
    found = Credentials.read("okx", environ)
    assert found.secret.get_secret_value() == "from-a-file"
    assert "from-a-file" not in f"{found} {found!r}"
    assert Credentials.read_if_any("bybit", environ) is None


def test_missing_and_double_credentials_are_named_not_shown(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    wrong: list[tuple[dict[str, str], str]] = [
        ({}, "BASIS_BINANCE_API_KEY"),
        ({"BASIS_BINANCE_API_KEY": "hush", "BASIS_BINANCE_API_KEY_FILE": "x"}, "both set"),
        ({"BASIS_BINANCE_API_KEY_FILE": str(tmp_path / "none")}, "cannot be read"),
        ({"BASIS_BINANCE_API_KEY_FILE": str(empty)}, "empty"),
    ]
    for environ, words in wrong:
        try:
            Credentials.read("binance", environ)
        except InputError as error:
            assert error.error_code == "VEN-005"
            assert words in str(error)
            assert "hush" not in str(error)
        else:
            raise AssertionError(words)
    assert read_secret("NOT_SET", {}) is None


def test_configuration_is_a_file_under_the_environment(tmp_path: Path) -> None:
    (tmp_path / "binance.yaml").write_text("recv_window_ms: 2000\ntestnet: false\n")
    environ = {"BASIS_LIVE_DIR": str(tmp_path), "BASIS_BINANCE_URL": "http://127.0.0.1:1", "BASIS_BINANCE_TESTNET": "1"}
    found = read_config("binance", environ)
    assert (found.recv_window_ms, str(found.base_url), found.testnet) == (2000, "http://127.0.0.1:1/", True)
    assert read_config("okx", {"BASIS_LIVE_DIR": str(tmp_path)}).testnet is False
    for bad in ("recv_window_ms: 1\n", "unknown: 1\n", "recv_window_ms: [\n"):
        (tmp_path / "binance.yaml").write_text(bad)
        try:
            read_config("binance", environ)
        except InputError as error:
            assert error.error_code == "CONFIG-003"
            assert "binance.yaml" in str(error)
        else:
            raise AssertionError(bad)


def test_shipped_configurations_are_valid_and_name_no_address() -> None:
    for venue in ("binance", "bybit", "okx"):
        found = read_config(venue, {})
        assert found.base_url is None
        assert not found.withdrawal_addresses
