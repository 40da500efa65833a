"""Configuration files to the merged configuration of a run, with the source of every value."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import math
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import orjson
import yaml
from pydantic import BaseModel, ValidationError

from basis.models.config import ModeConfig, RunConfig
from basis.models.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_COMPONENT = "config"
M = TypeVar("M", bound=BaseModel)
_OPEN_MAPPINGS = ("data.feeds",)
"""Paths below which an override may name a key that is not there yet."""


class MergedConfig(NamedTuple):
    """What a run travels with, and where each value came from."""

    config: RunConfig
    """The merged, validated configuration."""
    payload: bytes
    """The same as JSON, keys sorted; its SHA-256 identifies the configuration."""
    sha256: str
    """SHA-256 of ``payload``."""
    sources: Mapping[str, str]
    """Dotted path of each value -> file, ``--set``, or ``default``."""


def mode_names(configs: Path) -> list[str]:
    """Modes that have a file, sorted.

    Raises:
        InputError: CONFIG-002, no such folder.
    """
    folder = configs / "modes"
    if not folder.is_dir():
        raise InputError(
            "CONFIG-002", f"no folder {folder}: set BASIS_CONFIGS_DIR to the project's configs", _COMPONENT
        )
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(configs: Path, mode: str, overrides: Iterable[tuple[str, Any]] = ()) -> MergedConfig:
    """Merge a mode with its venues and share class, apply overrides, validate.

    Args:
        configs: folder with ``modes``, ``venues`` and ``share_classes``.
        mode: name of a file of ``modes``.
        overrides: dotted path in the merged configuration -> value.

    Raises:
        InputError: CONFIG-001 unknown mode, CONFIG-002 missing file or key, CONFIG-003 invalid value; names the file,
            the path in it and what was expected.
    """
    known = mode_names(configs)
    if mode not in known:
        close = difflib.get_close_matches(mode, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError("CONFIG-001", f"unknown mode {mode!r}: {hint}known: {', '.join(known)}", _COMPONENT)
    mode_file = configs / "modes" / f"{mode}.yaml"
    raw = _read(mode_file)
    mode_config = _validate(ModeConfig, raw, str(mode_file))
    if mode_config.mode != mode:
        raise InputError("CONFIG-003", f"{mode_file}: mode: is {mode_config.mode!r}, expected {mode!r}", _COMPONENT)

    share_file = configs / "share_classes" / f"{mode_config.share_class.lower()}.yaml"
    venue_files = {str(venue): configs / "venues" / f"{venue}.yaml" for venue in mode_config.venues}
    own = {str(venue): changes for venue, changes in mode_config.venue_overrides.items()}
    merged: dict[str, Any] = {key: value for key, value in raw.items() if key != "venue_overrides"} | {
        "share_class": _read(share_file),
        "venues": {venue: _deep_merge(_read(file), own.get(venue, {})) for venue, file in venue_files.items()},
    }
    origin = f"{mode_file} merged with {share_file.name} and {', '.join(f.name for f in venue_files.values())}"
    files = {"share_class": str(share_file)} | {f"venues.{venue}": str(file) for venue, file in venue_files.items()}
    files |= {f"venues.{path}": f"{mode_file} (venue_overrides)" for path in _leaves(own)}
    plain = _validate(RunConfig, merged, origin).model_dump(mode="json")
    set_paths = [_apply(plain, path, value) for path, value in overrides]
    config = _validate(RunConfig, plain, "--set" if set_paths else origin)
    dumped = config.model_dump(mode="json")
    payload = orjson.dumps(dumped, option=orjson.OPT_SORT_KEYS)
    sources = {path: _source(path, merged, files, str(mode_file), set_paths) for path in _leaves(dumped)}
    return MergedConfig(config, payload, hashlib.sha256(payload).hexdigest(), sources)


def parse_override(text: str) -> tuple[str, Any]:
    """``venues.wallet.gas_price_gwei=0`` to (path, value); the value is read as YAML.

    Raises:
        InputError: CONFIG-003, not of the form PATH=VALUE.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise InputError("CONFIG-003", f"--set {text!r}: expected PATH=VALUE, e.g. engine.max_window=64", _COMPONENT)
    try:
        parsed = _yaml(value) if value.strip() else None
    except yaml.YAMLError as error:
        raise InputError("CONFIG-003", f"--set {path}: {value!r} is not a YAML value: {error}", _COMPONENT) from error
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise InputError("CONFIG-003", f"--set {path.strip()}: {value.strip()} is not a finite number", _COMPONENT)
    return path.strip(), _plain(parsed)


def _plain(value: Any) -> Any:
    """YAML's dates as ISO 8601 text, UTC where no offset was given: an override travels as JSON."""
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).isoformat()
    return value


def _yaml(text: str) -> Any:
    """``yaml.safe_load`` by libyaml where PyYAML was built with it, as its wheels are: ten times as fast."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _read(file: Path) -> dict[str, Any]:
    try:
        found = _yaml(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("CONFIG-002", f"{file}: no such file", _COMPONENT) from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        what = " ".join(str(error).split())
        raise InputError("CONFIG-003", f"{file}: not readable as YAML: {what}", _COMPONENT) from error
    if not isinstance(found, dict):
        raise InputError("CONFIG-003", f"{file}: expected a mapping of keys to values", _COMPONENT)
    return found


def _validate(model: type[M], raw: Mapping[str, Any], origin: str) -> M:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(_place(first["loc"], raw))
        code = "CONFIG-002" if first["type"] == "missing" else "CONFIG-003"
        quiet = first["type"] == "missing" or isinstance(first["input"], dict)
        shown = "" if quiet else f", got {first['input']!r:.80}"
        where = f"{path}: " if path else ""
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise InputError(code, f"{origin}: {where}{first['msg']}{shown}{more}", _COMPONENT) from error


def _place(location: Sequence[int | str], raw: Mapping[str, Any]) -> list[str]:
    """Path of an error in the file: pydantic puts the tag of a union (the strategy's family) in between."""
    path: list[str] = []
    node: Any = raw
    for depth, part in enumerate(location):
        last = depth == len(location) - 1
        if isinstance(node, dict) and part not in node and (not last or part in node.values()):
            continue
        path.append(str(part))
        with contextlib.suppress(KeyError, IndexError, TypeError):
            node = node[part]
    return path


def _apply(config: dict[str, Any], path: str, value: Any) -> str:
    """Set a dotted path in place; the path must exist, so that a typing error is not silently a new key."""
    parts = path.split(".")
    target: Any = config
    for depth, part in enumerate(parts):
        prefix = ".".join(parts[:depth])
        is_open = any(prefix == free or prefix.startswith(f"{free}.") for free in _OPEN_MAPPINGS)
        if not isinstance(target, dict) or (part not in target and not is_open):
            known = sorted(target) if isinstance(target, dict) else []
            close = difflib.get_close_matches(part, known, n=1)
            hint = f"did you mean {'.'.join([*parts[:depth], close[0]])!r}? " if close else ""
            where = f"below {prefix!r}" if prefix else "at the top"
            detail = f"known {where}: {', '.join(known)}" if known else f"{prefix!r} has no parts"
            raise InputError("CONFIG-003", f"--set {path}: no such path: {hint}{detail}", _COMPONENT)
        if depth == len(parts) - 1:
            if isinstance(target.get(part), dict) and not isinstance(value, dict):
                inner = ", ".join(sorted(target[part]))
                raise InputError("CONFIG-003", f"--set {path}: is a section; set one of its parts: {inner}", _COMPONENT)
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError("CONFIG-003", f"--set {path}: {value} is not a finite number", _COMPONENT)
            target[part] = value
        else:
            target = target.setdefault(part, {}) if is_open else target[part]
    return path


def _leaves(value: Any, prefix: str = "") -> Iterable[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix


def _source(
    path: str, merged: Mapping[str, Any], files: Mapping[str, str], mode_file: str, set_paths: list[str]
) -> str:
    if any(path == name or path.startswith(f"{name}.") for name in set_paths):
        return "--set"
    found: Any = merged
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            return "default"
        found = found[part]
    # the longest prefix wins: a mode's own value in a venue's section comes from the mode
    origins = sorted((prefix for prefix in files if f"{path}.".startswith(f"{prefix}.")), key=len)
    return files[origins[-1]] if origins else mode_file


def _deep_merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with another laid over it, section by section."""
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _deep_merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged
