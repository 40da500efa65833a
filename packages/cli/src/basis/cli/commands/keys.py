"""``basis keys``: API keys of the gateway."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from basis.cli.output import Rows, print_json, print_rows, refusal
from basis.gateway import keys
from basis.gateway.keys import Scope
from basis.models.errors import ComponentError, InputError
from basis.runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def new(name: str, scope: str, file: Path | None, *, as_json: bool) -> int:
    """Make a key: it is shown this once; its hashed line goes to stdout or to the end of a file."""
    try:
        if scope not in list(Scope):
            raise InputError("CONFIG-003", f"scope {scope!r}: expected one of {', '.join(Scope)}", "cli")
        key, kept = keys.make(name, Scope(scope))
        if file is not None:
            _append(file, kept)
    except ComponentError as error:
        return refusal(error, 2, as_json=as_json)
    if as_json:
        return print_json({"name": name, "scope": scope, "key": key, "line": kept.line()})
    print(key)
    if file is None:
        print(kept.line())
        print("first line: the key, shown this once; second line: for the file of BASIS_API_KEYS_FILE", file=sys.stderr)
    else:
        print(f"the key, shown this once; its hash is in {file}: restart the gateway", file=sys.stderr)
    return 0


def _append(file: Path, kept: keys.ApiKey) -> None:
    try:
        there = keys.parse(file.read_text(encoding="utf-8"), str(file)) if file.exists() else []
        if kept.name in {key.name for key in there}:
            raise InputError("CONFIG-003", f"{file} has a key {kept.name!r} already: choose another --name", "cli")
        with file.open("a", encoding="utf-8") as out:
            out.write(f"{kept.line()}\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("CONFIG-003", f"cannot write {file}: {error}", "cli") from error


def list_keys(*, as_json: bool) -> int:
    """Names and scopes of the keys that a gateway of this environment accepts."""
    try:
        ring = keys.load(Settings())
    except ComponentError as error:
        return refusal(error, 2, as_json=as_json)
    rows = [{"name": key.name, "scope": str(key.scope), "sha256": key.digest.hex()} for key in ring.keys]
    if as_json:
        return print_json(rows)
    return print_rows(Rows(f"{len(rows)} API keys", ("name", "scope", "sha256"), [list(row.values()) for row in rows]))
