"""One page a strategy: docs/specs/strategies."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from tools.specs.places import CONFIGS, NOTE, ROOT, SPECS, markdown, number, signed
from tools.specs.scenes import SCENES
from tools.specs.stage import Acted, Scene, Settled, Stage
from tools.specs.tables import acted_lines, formula_lines, settled_lines

from basis.models.base import FrozenModel
from basis.models.config import RunConfig
from basis.models.events import ATTRIBUTION
from basis.models.instruments import INSTRUMENTS, InstrumentType, is_inverse
from basis.runtime import config_loader
from basis.strategy.strategies import make_strategy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ORDER_OF_DECISIONS = (
    "1. `risk_override` of the mode: may only reduce.",
    "2. A withdrawal that is not paid yet: the free balance first, else `exit_partial` 1:1, then the payment.",
    "3. No position: `entry_full`, or the reason why not.",
    "4. A deposit: `entry_partial`; then the mode's own triggers.",
    "5. Equity moved by more than `position_deviation_threshold` since the last rebalance: re-target.",
    "6. `sell_dust`.",
    "7. Hold.",
)
STRATEGY_SECTIONS = (
    "Objective",
    "Venues and instruments",
    "The market row",
    "Order sequence",
    "What venues do on their own",
    "Triggers and their order",
    "PnL attribution",
    "Risks, and what the simulation does not show",
    "Parameters",
    "How to run it",
)
"""Headings of every strategy page."""


def modes() -> list[str]:
    """Every mode that has a page."""
    return sorted(config_loader.mode_names(CONFIGS))


def strategy_page(mode: str) -> str:
    """The page of a mode."""
    stage = Stage(mode)
    source = (SPECS / "strategies" / "_prose" / f"{mode}.yaml").read_text(encoding="utf-8")
    prose = yaml.safe_load(re.sub(r"\{(\w+)\}", lambda found: _value(getattr(stage.config.strategy, found[1])), source))
    unknown = set(prose["attribution"]) - set(ATTRIBUTION)
    if unknown:
        raise SystemExit(f"{mode}: attribution names {sorted(unknown)}, which is no part")
    scenes = list(SCENES[type(stage.config.strategy)](stage))
    body = {
        "Objective": [textwrap.fill(" ".join(prose["objective"].split()), 130)],
        "Venues and instruments": _holdings(stage.config),
        "The market row": _row_lines(stage),
        "Order sequence": _sequence(scenes),
        "What venues do on their own": _own(scenes, prose),
        "Triggers and their order": [*_ORDER_OF_DECISIONS, "", "The mode's own:", "", *_bullets(prose["triggers"])],
        "PnL attribution": _attribution(prose["attribution"]),
        "Risks, and what the simulation does not show": _bullets(prose["risks"]),
        "Parameters": _parameters(stage.config),
        "How to run it": _running(mode),
    }
    parts = [
        f"# {mode}",
        "",
        NOTE.format(prose=f"docs/specs/strategies/_prose/{mode}.yaml"),
        stage.config.description + ".",
    ]
    for heading in STRATEGY_SECTIONS:
        parts += ["", f"## {heading}", "", *body[heading]]
    return "\n".join([*parts, ""])


def _bullets(texts: Sequence[str]) -> list[str]:
    return [f"- {' '.join(text.split())}" for text in texts]


def _holdings(config: RunConfig) -> list[str]:
    venues = ", ".join(f"`{venue}`" for venue in config.venues)
    hours = config.time_step_s / 3600.0
    lines = [
        f"Share class {config.share_class.currency}, asset {config.asset}, one tick every {number(hours)} h, target "
        f"{number(100.0 * config.target_apy)} % a year, largest acceptable drawdown {number(100.0 * config.max_drawdown)} %.",
        f"Venues: {venues}. Code: `{_source_of(make_strategy(config))}`.",
        "",
        "| instrument | quantity in | valued at |",
        "|---|---|---|",
    ]
    prices = config.prices()
    for key in config.position_subscriptions:
        found = INSTRUMENTS[key]
        price = prices[found.asset]
        value = f"`{price.column}` ({price.quote})"
        if found.type is InstrumentType.PERP:
            value = f"0: settles on `perp:{found.venue}:{found.symbol}` at every tick"
        lines.append(f"| `{key}` | {_quantity(key)} | {value} |")
    return lines


def _quantity(key: str) -> str:
    found = INSTRUMENTS[key]
    if found.type is InstrumentType.PERP:
        return "signed USD contracts" if is_inverse(found.symbol) else f"signed {found.asset}, short negative"
    if found.venue == "aave_v3":
        return f"{found.underlying}, scaled"
    return found.symbol if found.type is InstrumentType.LST else found.underlying


def _source_of(thing: object) -> str:
    return Path(inspect.getfile(type(thing))).resolve().relative_to(ROOT).as_posix()


def _row_lines(stage: Stage) -> list[str]:
    shown = ", ".join(f"`{column}` {number(value)}" for column, value in sorted(stage.row.items()))
    return [
        f"Everything below is decided and executed at one tick on these columns, with {number(stage.capital)} "
        f"{stage.currency} of capital, unless the situation says otherwise:",
        "",
        textwrap.fill(shown, 130, break_long_words=False, break_on_hyphens=False),
    ]


def _sequence(scenes: Sequence[Scene]) -> list[str]:
    lines = [
        "Each order was executed by the simulated venues, and its handshake was what the order expected. Deltas hold gas, fees "
        "and slippage.",
        "",
    ]
    for scene in scenes:
        if isinstance(scene, Acted):
            lines += [*acted_lines(scene), ""]
    return [*lines, *formula_lines(scenes)]


def _own(scenes: Sequence[Scene], prose: Mapping[str, Any]) -> list[str]:
    lines = [" ".join(str(prose["settlements"]).split())]
    for scene in scenes:
        if isinstance(scene, Settled):
            lines += ["", *settled_lines(scene)]
    return lines


def _attribution(parts: Mapping[str, str]) -> list[str]:
    rows = [f"| `{name}` | {' '.join(parts[name].split())} |" for name in ATTRIBUTION if name in parts]
    others = ", ".join(f"`{name}`" for name in ATTRIBUTION if name not in parts)
    return ["| part | why it moves |", "|---|---|", *rows, "", f"Always 0 in this mode: {others}."]


def _parameters(config: RunConfig) -> list[str]:
    model = type(config.strategy)
    docs = field_docs(model)
    raw = yaml.safe_load((CONFIGS / "modes" / f"{config.mode}.yaml").read_text(encoding="utf-8"))["strategy"]
    lines = [
        f"`strategy:` in `configs/modes/{config.mode}.yaml`, family `{config.strategy.family}`. "
        "An unknown key is refused (CONFIG-003).",
        "",
        "| parameter | value here | default | unit | meaning |",
        "|---|---|---|---|---|",
    ]
    for name, field in model.model_fields.items():
        text, annotation = docs[name]
        default = "required" if field.is_required() else _value(field.get_default(call_default_factory=True))
        value = _value(getattr(config.strategy, name)) + ("" if name in raw else " (default)")
        lines.append(f"| `{name}` | {value} | {default} | {_measure(annotation, text)} | {markdown(text)} |")
    return lines


def field_docs(model: type[FrozenModel]) -> dict[str, tuple[str, str]]:
    """Field -> (docstring, annotation), inherited ones included, from the source."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(model.__mro__):
        if not base.__module__.startswith("basis."):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for node, text in itertools.pairwise(tree.body):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(text, ast.Expr):
                found[node.target.id] = (str(ast.literal_eval(text.value)), ast.unparse(node.annotation))
    return found


def _measure(annotation: str, text: str) -> str:
    """Unit of a parameter, from its type and its docstring."""
    for word, unit in (("basis points", "bps"), ("USD.", "USD"), ("seconds", "s"), ("Share class", "share class")):
        if word in text:
            return unit
    if "Venue" in annotation:
        return "venue"
    if "Fraction" in annotation or "fraction" in text or "lt=1" in annotation:
        return "fraction"
    if "float" in annotation or annotation in {"Positive", "NonNegative"}:
        return "ratio"
    return "name" if "Literal" in annotation or annotation == "str" else "flag" if annotation == "bool" else "section"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return number(value)
    if isinstance(value, FrozenModel):
        return ", ".join(f"{name} {_value(inner)}" for name, inner in value.model_dump().items())
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(inner)}" for name, inner in value.items()) or "none"
    return "null" if value is None else str(value)


def _running(mode: str) -> list[str]:
    lines = ["```bash", f"basis backtest {mode} --start 2022-06-01 --end 2022-07-01", "```", ""]
    golden = ROOT / "tests" / "golden" / f"{mode}.json"
    if not golden.is_file():
        return [*lines, "There is no golden run of this mode yet."]
    found = json.loads(golden.read_text(encoding="utf-8"))
    result, arguments = found["expected"]["result"], " ".join(found["arguments"])
    currency = result["share_class"]
    orders = ", ".join(f"{count} {kind}" for kind, count in sorted(result["orders_by_type"].items()))
    parts = ", ".join(f"{name} {signed(value)}" for name, value in result["attribution"].items() if value)
    return [
        *lines,
        f"Golden run on the synthetic sample (`tests/golden/{mode}.json`), `basis backtest {arguments}`: made-up data, "
        "so it says what the code does, not what the strategy earns.",
        "",
        "| | |",
        "|---|---|",
        f"| capital, final value | {number(result['initial_capital'])}, {number(result['final_value'])} {currency} |",
        f"| return | {number(100.0 * result['total_return'], 4)} % |",
        f"| return, annualised | {number(100.0 * result['annualized_return'], 4)} % |",
        f"| max drawdown | {number(100.0 * result['max_drawdown'], 4)} % |",
        f"| orders | {orders}; {result['failed_orders']} failed |",
        f"| attribution, {currency} | {parts} |",
        f"| event hash | `{found['expected']['event_hash']}` |",
    ]
