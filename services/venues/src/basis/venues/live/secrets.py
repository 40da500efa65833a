"""Secrets of live venues: from the environment, or from a file that the environment names. Read here and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from basis.models.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMPONENT = "live_venues"
_MAX_BYTES = 16_384


def read_secret(name: str, environ: Mapping[str, str] | None = None) -> SecretStr | None:
    """``$NAME``, or the content of the file that ``$NAME_FILE`` names, without surrounding white space; None where neither is.

    Raises:
        InputError: VEN-005, both are set, or the file cannot be read or is empty; names the variable, never its value.
    """
    source = os.environ if environ is None else environ
    value, file = source.get(name), source.get(f"{name}_FILE")
    if value and file:
        raise InputError("VEN-005", f"{name} and {name}_FILE are both set: keep one", _COMPONENT)
    if file:
        try:
            with Path(file).open("rb") as content:
                value = content.read(_MAX_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise InputError("VEN-005", f"{name}_FILE: the file cannot be read: {reason}", _COMPONENT) from None
        if not value:
            raise InputError("VEN-005", f"{name}_FILE: the file is empty", _COMPONENT)
    return SecretStr(value.strip()) if value and value.strip() else None


def require_secret(name: str, environ: Mapping[str, str] | None = None) -> SecretStr:
    """As :func:`read_secret`, but it must be there.

    Raises:
        InputError: VEN-005, it is not.
    """
    found = read_secret(name, environ)
    if found is None:
        raise InputError("VEN-005", f"no credentials: set {name} or {name}_FILE for the venues service", _COMPONENT)
    return found
