"""Pages of the reference that are made from other documents: HTTP, the bus, the configuration."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from basis.models.base import FrozenModel


def http_page(note: str, openapi: dict[str, Any]) -> str:
    """``http.md``: every operation, what it takes, what it answers."""
    lines = [
        "# HTTP",
        "",
        note,
        "All below `/api/v1`. A running gateway shows the same at `/api/v1/docs`; for programs: [`openapi.json`](openapi.json).",
        "Keys and limits: [API keys](../how-to/api-keys.md). Errors are problem documents (RFC 9457) with the code of the",
        "[error registry](errors.md); every answer carries `X-Correlation-ID`.",
    ]
    for tag in openapi["tags"]:
        lines += ["", f"## {tag['name'].capitalize()}", "", tag["description"]]
        for path, operations in openapi["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation.get("tags", ()):
                    lines += _operation(method, path.removeprefix("/api/v1"), operation)
    return "\n".join([*lines, ""])


def _operation(method: str, path: str, operation: dict[str, Any]) -> list[str]:
    lines = ["", f"### {method.upper()} {path}", "", operation["description"].replace("``", "`")]
    parameters = operation.get("parameters", [])
    if parameters:
        lines += ["", "| parameter | in | type | meaning |", "|---|---|---|---|"]
        for one in parameters:
            words = _words(one.get("description", one.get("schema", {}).get("description", "")))
            lines.append(f"| `{one['name']}` | {one['in']} | {_limits(one.get('schema', {}))} | {words} |")
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]["schema"]
        lines += ["", f"Body: `{content.get('$ref', 'object').rsplit('/', 1)[-1]}`"]
    answers = [f"{status} {_answer(answer)}" for status, answer in operation["responses"].items()]
    return [*lines, "", f"Answers: {'; '.join(answers)}"]


def _limits(schema: dict[str, Any]) -> str:
    schema = next((part for part in schema.get("anyOf", ()) if part.get("type") != "null"), schema) | {
        key: value for key, value in schema.items() if key == "default"
    }
    kind = schema.get("format") or schema.get("type") or "any"
    limits = [f"{word} {schema[key]}" for word, key in (("from", "minimum"), ("to", "maximum")) if key in schema]
    if schema.get("default") is not None:
        limits.append(f"default {schema['default']}")
    return " ".join([str(kind), *limits])


def _answer(answer: dict[str, Any]) -> str:
    for kind, content in answer.get("content", {}).items():
        schema = content.get("schema", {})
        name = schema.get("$ref", schema.get("items", {}).get("$ref", "")).rsplit("/", 1)[-1]
        if kind == "application/problem+json":
            return "problem"
        return f"`{name}`" if name else f"`{kind}`"
    return "no body"


def bus_page(note: str) -> str:
    """``bus.md``: every subject."""
    asyncapi = importlib.import_module("basis.gateway.asyncapi")
    lines = [
        "# Bus",
        "",
        note,
        "Every subject of NATS that Basis uses, in the order in which a run uses them; for programs:",
        "[`asyncapi.json`](asyncapi.json), also at `/api/v1/asyncapi.json` of a running gateway. Models are in",
        "[`schemas/`](schemas/RunSubmit.json). A reply travels in an envelope that says what went wrong where something did.",
        "",
        "| subject | kind | from | to | payload | reply |",
        "|---|---|---|---|---|---|",
    ]
    for one in asyncapi.channels():
        models = [f"`{model.__name__}`" for model in one.models]
        payload = ", ".join(models) if len(models) < 3 else "an [event](events.md)"
        payload = payload or {"logs": "log lines"}.get(one.name, "empty")
        reply = f"`{one.reply.__name__}`" if one.reply else {"health": "JSON", "control": "`ok`"}.get(one.name, "")
        form = one.content.rsplit("/", 1)[-1].removeprefix("x-")
        lines.append(f"| `{one.address}` | {one.kind} | {one.sender} | {one.receivers} | {payload}, {form} | {reply} |")
    lines += ["", *(f"* `{one.name}`: {one.what}" for one in asyncapi.channels()), ""]
    return "\n".join(lines)


def configuration_page(note: str, table: Callable[[type[FrozenModel]], list[str]]) -> str:
    """``configuration.md``: every value of a merged configuration."""
    modules = [
        importlib.import_module(f"basis.models.{name}") for name in ("config", "strategy_config", "venue_config")
    ]
    config, strategy, venue = modules
    lines = [
        "# Configuration",
        "",
        note,
        "A run's configuration is its mode (`configs/modes/`), the venues' files and the share class, merged and then",
        "overridden ([how to](../how-to/configure.md)). `basis modes show MODE` prints one with the source of every value;",
        "schemas: [`RunConfig`](schemas/RunConfig.json), and `basis modes schema MODE` for a mode's own parameters.",
        "",
        "## A run",
        "",
        *table(config.RunConfig),
    ]
    for title, module in (("Parts", config), ("Strategies, by `family`", strategy), ("Venues, by `kind`", venue)):
        lines += ["", f"## {title}"]
        for model in _models(module, without={"RunConfig", "ModeConfig"}):
            words = _words((model.__doc__ or "").strip().split("\n\n")[0])
            lines += ["", f"### {model.__name__}", "", words, "", *table(model)]
    return "\n".join([*lines, ""])


def _models(module: Any, without: Iterable[str]) -> list[type[FrozenModel]]:
    base = importlib.import_module("basis.models.base").FrozenModel
    return [
        found
        for name, found in sorted(vars(module).items())
        if isinstance(found, type)
        and issubclass(found, base)
        and found.__module__ == module.__name__
        and name not in without
        and not name.startswith("_")
    ]


def _words(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")
