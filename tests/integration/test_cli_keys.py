"""``basis keys``: a key is shown once, its hash is kept, and the gateway's own check knows it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from basis.cli.main import main
from basis.gateway import keys
from basis.runtime.settings import Settings


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


class Basis:
    """The ``basis`` command."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self.patch = patch

    def __call__(self, *arguments: str) -> Said:
        self.patch.setattr(sys, "argv", ["basis", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        seen = self._capsys.readouterr()
        return Said(int(ended.value.code or 0), seen.out, seen.err)


@pytest.fixture
def basis(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Basis:
    monkeypatch.chdir(tmp_path)
    return Basis(capsys, monkeypatch)


def test_a_key_is_shown_once_and_its_hash_kept(basis: Basis, tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    said = basis("keys", "new", "--name", "alice", "--scope", "read", "--file", str(file))
    assert said.code == 0
    key = said.out.strip()
    assert key not in file.read_text()
    holder = keys.load(Settings(api_keys_file=file)).holder(key)
    assert holder is not None
    assert (holder.name, str(holder.scope)) == ("alice", "read")

    again = basis("keys", "new", "--name", "alice", "--file", str(file))
    assert again.code == 2
    assert "alice" in again.err
    assert len(file.read_text().splitlines()) == 1
    basis.patch.setenv("BASIS_API_KEYS_FILE", str(file))
    listed = json.loads(basis("keys", "list", "--json").out)
    assert [(one["name"], one["scope"]) for one in listed] == [("alice", "read")]


def test_without_a_file_key_and_line_are_printed(basis: Basis) -> None:
    key, line = basis("keys", "new").out.splitlines()
    assert keys.Keyring(keys.parse(line, "out")).holder(key) is not None
    found = json.loads(basis("keys", "new", "--scope", "trade", "--json").out)
    assert keys.Keyring(keys.parse(found["line"], "out")).holder(found["key"]) is not None
    assert found["scope"] == "trade"


@pytest.mark.parametrize(
    "arguments",
    [("--scope", "all"), ("--name", "a b"), ("--file", "."), ("--file", "missing/keys.txt"), ("--file", "rubbish")],
)
def test_what_makes_no_sense_is_one_line(basis: Basis, arguments: tuple[str, ...]) -> None:
    Path("rubbish").write_text("this is no key file\n")
    said = basis("keys", "new", *arguments)
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("basis: [CONFIG-003]")
    assert Path("rubbish").read_text() == "this is no key file\n"


def test_services_do_not_start_for_strangers(basis: Basis) -> None:
    basis.patch.setenv("BASIS_GATEWAY_HOST", "0.0.0.0")
    said = basis("services", "up")
    assert said.code == 2
    assert "[CONFIG-002]" in said.err
    assert len(said.err.splitlines()) == 1
    assert not Path("data").exists()
