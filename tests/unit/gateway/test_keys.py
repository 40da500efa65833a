"""API keys: made, kept as a hash, found again, and refused where a file is not what it should be."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.gateway import keys
from basis.gateway.access import needed
from basis.gateway.keys import Keyring, Scope
from basis.models.errors import InputError
from basis.runtime.settings import Settings

GOOD = "sha256:" + "ab" * 32


def test_a_key_is_found_by_itself_alone() -> None:
    key, kept = keys.make("alice", Scope.RUN)
    ring = Keyring([keys.make("bob", Scope.READ)[1], kept])
    assert ring.holder(key) == kept
    assert kept.line() == f"alice run sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    assert key not in kept.line()
    for wrong in ("", key[:-1], key + "x", kept.line(), kept.digest.hex(), key.upper()):
        assert ring.holder(wrong) is None


def test_keys_are_random() -> None:
    assert len({keys.make("a", Scope.READ)[0] for _ in range(50)}) == 50
    assert all(len(keys.make("a", Scope.READ)[0]) == len("basis_") + 43 for _ in range(5))


@given(st.text())
def test_any_text_may_be_presented(text: str) -> None:
    assert Keyring([keys.make("a", Scope.READ)[1]]).holder(text) is None


@given(st.lists(st.sampled_from(list(Scope)), max_size=5))
def test_a_file_is_read_as_it_was_written(scopes: list[Scope]) -> None:
    made = [keys.make(f"key{number}", scope)[1] for number, scope in enumerate(scopes)]
    text = "# keys\n\n" + "".join(f"{key.line()}   # of {key.name}\n" for key in made)
    assert keys.parse(text, "file") == made


def test_scopes_include_those_before_them() -> None:
    allowed = {scope: {other for other in Scope if scope.includes(other)} for scope in Scope}
    assert allowed == {
        Scope.READ: {Scope.READ},
        Scope.RUN: {Scope.READ, Scope.RUN},
        Scope.TRADE: {Scope.READ, Scope.RUN, Scope.TRADE},
    }


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/v1/health", None),
        ("GET", "/api/v1/docs", None),
        ("GET", "/api/v1/openapi.json", None),
        ("GET", "/", None),
        ("GET", "/app.js", None),
        ("GET", "/api/v1/metrics", Scope.READ),
        ("GET", "/api/v1/health/detailed", Scope.READ),
        ("GET", "/api/v1/docs/x", Scope.READ),
        ("GET", "/api/v2/anything", Scope.READ),
        ("HEAD", "/api/v1/backtest/list", Scope.READ),
        ("POST", "/api/v1/backtest/", Scope.RUN),
        ("DELETE", "/api/v1/results/x", Scope.RUN),
        ("PATCH", "/api/v1/nothing", Scope.RUN),
        ("GET", "/api/v1/live/strategies", Scope.READ),
        ("POST", "/api/v1/live/start", Scope.TRADE),
        ("BREW", "/api/v1/live/start", Scope.TRADE),
    ],
)
def test_what_a_request_needs(method: str, path: str, scope: Scope | None) -> None:
    assert needed(method, path) == scope


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        "alice run",
        f"alice admin {GOOD}",
        f"alice run {GOOD[:-1]}",
        f"alice run {GOOD.upper()}",
        f"al/ice run {GOOD}",
        f"alice run {GOOD} more",
        "alice run basis_secretsecretsecret",
    ],
)
def test_a_line_that_is_no_key_is_named_and_not_shown(line: str) -> None:
    with pytest.raises(InputError, match=r"keys\.txt, line 2") as caught:
        keys.parse(f"ok read {GOOD}\n{line}", "keys.txt")
    assert caught.value.error_code == "CONFIG-003"
    assert "secret" not in caught.value.message


def test_keys_come_from_a_file_and_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(keys.make("a", Scope.READ)[1].line())
    env = ";".join(keys.make(name, Scope.RUN)[1].line() for name in "bc")
    ring = keys.load(Settings(api_keys_file=file, api_keys=env))
    assert [(key.name, str(key.scope)) for key in ring.keys] == [("a", "read"), ("b", "run"), ("c", "run")]
    assert not keys.load(Settings())


def test_keys_that_cannot_be_had_are_errors(tmp_path: Path) -> None:
    line = keys.make("a", Scope.READ)[1].line()
    empty = tmp_path / "empty"
    empty.write_text("# none yet\n")
    for settings, code, says in (
        (Settings(api_keys_file=tmp_path / "nothing"), "CONFIG-002", "BASIS_API_KEYS_FILE"),
        (Settings(api_keys_file=tmp_path), "CONFIG-002", str(tmp_path)),
        (Settings(api_keys_file=empty), "CONFIG-002", "basis keys new"),
        (Settings(api_keys=" ; "), "CONFIG-002", "BASIS_API_KEYS"),
        (Settings(api_keys=f"{line};{line}"), "CONFIG-003", "twice"),
        (Settings(api_keys=f"{line};{line.replace('a ', 'b ', 1)}"), "CONFIG-003", "twice"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            keys.load(settings)
        assert caught.value.error_code == code


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a#b", "é", "x" * 65, "../a"])
def test_a_name_that_a_line_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="key name"):
        keys.make(name, Scope.READ)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "", "127.0.0.1.example.org"])
def test_a_gateway_that_others_can_reach_needs_keys(host: str) -> None:
    with pytest.raises(InputError, match="basis keys new") as caught:
        keys.required(Settings(gateway_host=host))
    assert caught.value.error_code == "CONFIG-002"
    assert not keys.required(Settings(gateway_host=host, gateway_open=True))
    line = keys.make("a", Scope.READ)[1].line()
    assert keys.required(Settings(gateway_host=host, api_keys=line))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_keys_are_asked_for_only_where_there_are_some(host: str) -> None:
    assert not keys.required(Settings(gateway_host=host))
    assert keys.required(Settings(gateway_host=host, api_keys=keys.make("a", Scope.READ)[1].line()))
