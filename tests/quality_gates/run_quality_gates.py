"""Quality gates: rules about the whole that no unit test can see. ``python tests/quality_gates/run_quality_gates.py --all``.

A gate is a function that yields what is wrong, in words; nothing yielded is a pass. Exit code 1 on any failure.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

import yaml  # noqa: E402
from pydantic import TypeAdapter, ValidationError  # noqa: E402

from basis.models.config import ModeConfig, ShareClassConfig, VenueConfig  # noqa: E402
from basis.models.errors import ERROR_REGISTRY, InputError  # noqa: E402
from basis.models.events import EVENT_MODELS  # noqa: E402
from basis.models.market import DEFAULT_FEEDS  # noqa: E402
from basis.runtime import config_loader, subjects  # noqa: E402
from basis.testkit.runs import mode_config  # noqa: E402
from basis.testkit.strategies import MODES  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from basis.models.messages import RunOutcome

DOCS = REPO / "docs"
SOURCES = ("services", "shared", "packages")
SERVED = re.compile(r"\.(?:serve|listen)\(\s*subjects\.(\w+)\(")
CALLED = re.compile(r"\bsubjects\.(\w+)\(")


# ------------------------------------------------------------------------------------------- component interaction


def component_interaction() -> Iterator[str]:
    """Services never import one another; every subject has someone who sends and someone who hears."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], cwd=REPO, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        broken = [line.strip() for line in done.stdout.splitlines() if "BROKEN" in line]
        yield f"import-linter: {'; '.join(broken) or done.stdout[-300:] + done.stderr[-300:]}"
    text = {file: file.read_text(encoding="utf-8") for folder in SOURCES for file in (REPO / folder).rglob("*.py")}
    users: dict[str, set[Path]] = {}
    servers: dict[str, set[Path]] = {}
    for file, code in text.items():
        for found, names in ((CALLED, users), (SERVED, servers)):
            for match in found.finditer(code):
                names.setdefault(match[1], set()).add(file)
    for subject in subjects_of_the_bus():
        if not users.get(subject):
            yield f"subject {subject!r} of subjects.py is used by no one"
        if subject in REQUESTS and not servers.get(subject):
            yield f"requests on {subject!r} are served by no one"
        if subject in REQUESTS and not (users.get(subject, set()) - servers.get(subject, set())):
            yield f"requests on {subject!r} are sent by no one but their server"
    yield from sorted(stray_subjects(text))


REQUESTS = frozenset(
    {
        "venues_coverage",
        "venues_advance",
        "venues_execute",
        "venues_positions",
        "monitors_assess",
        "monitors_commit",
        "monitors_reconcile",
        "orders",
        "control",
    }
)
"""Subjects that someone must serve."""


def subjects_of_the_bus() -> list[str]:
    """Functions of subjects.py that make a subject of a correlation_id."""
    return [
        name
        for name, found in inspect.getmembers(subjects, inspect.isfunction)
        if found.__module__ == subjects.__name__ and next(iter(inspect.signature(found).parameters), "") == "cid"
    ]


def stray_subjects(text: dict[Path, str]) -> Iterator[str]:
    """Subjects that are spelled out anywhere but in subjects.py."""
    for file, code in text.items():
        if file.name != "subjects.py":
            for number, line in enumerate(code.splitlines(), start=1):
                if re.search(r"f[\"']basis\.\{[^}]*\}\.", line):
                    yield f"{file.relative_to(REPO)}:{number} spells a subject out: use basis.runtime.subjects"


# -------------------------------------------------------------------------------------------------- execution flow


def execution_flow() -> Iterator[str]:
    """A short run: every order has its execution, delta, reconciliation and tight loop, and PnL closes at every tick."""
    from tests.support.cluster import embedded_cluster, event_lines
    from tests.support.market import write_market

    async def run(folder: Path) -> RunOutcome:
        data = write_market(folder / "data", mode_config())
        async with embedded_cluster(folder, data) as cluster:
            return await cluster.backtest(start="2024-05-12", end="2024-05-14")

    with tempfile.TemporaryDirectory(prefix="basis-gate-") as name:
        outcome = asyncio.run(run(Path(name)))
        if outcome.status.status != "completed" or outcome.result is None:
            yield f"the run {outcome.status.status}: {outcome.status.error_code} {outcome.status.error}"
            return
        lines = event_lines(outcome)
    orders = [line["operation_id"] for line in lines["orders"]]
    if not orders:
        yield "the run ordered nothing"
    for kind, key in (
        ("operation_executions", "operation_id"),
        ("execution_deltas", "source_operation_id"),
        ("reconciliations", "trigger_source"),
        ("tight_loop_executions", "operation_id"),
    ):
        found = [line[key] for line in lines[kind]]
        if found != orders:
            yield f"{kind}: {found}, expected one each for {orders}"
    yield from wrong_lines(lines)
    capital = outcome.result.initial_capital
    for line in lines["pnl_calculations"]:
        if not abs(line["attribution_gap"]) <= 1e-6 * capital:
            yield f"PnL does not close at {line['timestamp']}: gap {line['attribution_gap']}"
    ticks = len(lines["strategy_decisions"])
    if ticks != outcome.ticks:
        yield f"{ticks} decisions for {outcome.ticks} ticks"


def wrong_lines(lines: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Lines that do not validate against their model."""
    for kind, found in lines.items():
        for line in found:
            try:
                EVENT_MODELS[kind].model_validate(line)
            except ValidationError as error:
                yield f"{kind} order {line.get('order')}: {error.errors()[0]['msg']}"
                break


# --------------------------------------------------------------------------------------------------- configuration


def configuration() -> Iterator[str]:
    """Every file of configs/ loads, is strict, and says what its values mean; every mode's feeds exist."""
    configs = REPO / "configs"
    names = config_loader.mode_names(configs)
    for missing in sorted(set(MODES) - set(names)):
        yield f"mode {missing} has no file"
    used: set[Path] = set()
    for name in names:
        file = configs / "modes" / f"{name}.yaml"
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
        yield from not_strict(file, raw)
        try:
            merged = config_loader.load(configs, name)
        except InputError as error:
            yield str(error)
            continue
        used |= {Path(source) for source in merged.sources.values() if source.endswith(".yaml")}
        yield from (f"{name}: no feed for {feed.column}" for feed in merged.config.feeds() if not feed.series)
        yield from (
            f"{name}: {feed.column} is no known column" for feed in merged.config.feeds() if unknown(feed.column)
        )
    for file in sorted(configs.rglob("*.yaml")):
        if file.parent.name in VALIDATORS and file not in used:  # e.g. a venue that a mode may name in place of another
            try:
                VALIDATORS[file.parent.name].validate_python(yaml.safe_load(file.read_text(encoding="utf-8")))
            except ValidationError as error:
                yield f"{file.relative_to(REPO)}: {error.errors()[0]['loc']} {error.errors()[0]['msg']}"
        if not file.read_text(encoding="utf-8").lstrip().startswith("#"):
            yield f"{file.relative_to(REPO)} does not begin with a comment that says what it is"
    yield from undocumented_fields()


VALIDATORS: dict[str, TypeAdapter[Any]] = {
    "venues": TypeAdapter(VenueConfig),
    "share_classes": TypeAdapter(ShareClassConfig),
}


def unknown(column: str) -> bool:
    """True for a market column without a default feed."""
    return column not in DEFAULT_FEEDS


def not_strict(file: Path, raw: dict[str, Any]) -> Iterator[str]:
    """A mode file that an unknown key does not spoil, at the top or one level down."""
    spoiled = [raw | {"no_such_key": 1}]
    spoiled += [raw | {key: value | {"no_such_key": 1}} for key, value in raw.items() if isinstance(value, dict)]
    for changed in spoiled:
        try:
            ModeConfig.model_validate(changed)
        except ValidationError:
            continue
        yield f"{file.relative_to(REPO)}: an unknown key is accepted"


def undocumented_fields() -> Iterator[str]:
    """Fields of configuration models without a docstring: every value of a file is one of them."""
    from tests.support.documentation import undocumented

    from basis.models import config

    models = [ModeConfig, ShareClassConfig, *VenueConfig.__args__[0].__args__]
    models += [found for _, found in inspect.getmembers(config, inspect.isclass) if found.__module__ == config.__name__]
    for model in dict.fromkeys(models):
        yield from (f"{name} has no documentation" for name in undocumented(model))


# ------------------------------------------------------------------------------------------------ docs match code


def docs_match_code() -> Iterator[str]:
    """Generated reference is what the code says; LOGGING_GUIDE names every event and component; every code is there."""
    from basis.runtime.structured_logger import COMPONENTS

    generator = REPO / "tools" / "generate_reference.py"
    done = subprocess.run([sys.executable, generator, "--check"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        yield from (f"docs/reference: {line}" for line in (done.stdout or done.stderr).splitlines()[-60:])
    yield from lacking(DOCS / "LOGGING_GUIDE.md", [*EVENT_MODELS, *(m.__name__ for m in EVENT_MODELS.values())])
    yield from lacking(DOCS / "LOGGING_GUIDE.md", [f"{component}.log" for component in COMPONENTS])
    yield from lacking(DOCS / "reference" / "errors.md", list(ERROR_REGISTRY))


def lacking(page: Path, words: list[str]) -> Iterator[str]:
    """Words that a page does not hold; a page that is not there fails as a whole."""
    if not page.is_file():
        yield f"{page.relative_to(REPO)} is missing"
        return
    text = page.read_text(encoding="utf-8")
    for word in words:
        if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is None:
            yield f"{page.relative_to(REPO)} does not mention {word}"


# ------------------------------------------------------------------------------------------------------------ main


class Verdict(NamedTuple):
    """What a gate found."""

    gate: str
    problems: tuple[str, ...]
    seconds: float


GATES: dict[str, Callable[[], Iterator[str]]] = {
    gate.__name__: gate for gate in (component_interaction, execution_flow, configuration, docs_match_code)
}


def judge(name: str) -> Verdict:
    """Run one gate; a gate that cannot run has failed."""
    begin = time.perf_counter()
    problems: list[str] = []
    try:
        problems += dict.fromkeys(GATES[name]())
    except Exception as error:  # noqa: BLE001 - the edge of the script: the other gates must still run
        problems.append(f"the gate itself failed: {type(error).__name__}: {error}")
    return Verdict(name, tuple(problems), time.perf_counter() - begin)


def table(verdicts: list[Verdict]) -> str:
    """Verdicts for people."""
    width = max(len(verdict.gate) for verdict in verdicts)
    lines = [f"quality gates, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"]
    for verdict in verdicts:
        word = "FAIL" if verdict.problems else "pass"
        lines.append(
            f"  {verdict.gate:<{width}}  {word}  {verdict.seconds:6.1f} s  {inspect.getdoc(GATES[verdict.gate])}"
        )
        lines += [f"      - {problem}" for problem in verdict.problems]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 all passed, 1 a gate failed, 2 nothing to do."""
    parser = argparse.ArgumentParser(description="Quality gates.")
    parser.add_argument("gates", nargs="*", metavar="GATE", help="one of --list")
    parser.add_argument("--all", action="store_true", help="every gate")
    parser.add_argument("--list", action="store_true", help="name the gates")
    given = parser.parse_args(arguments)
    if given.list:
        print("\n".join(f"{name}: {inspect.getdoc(gate)}" for name, gate in GATES.items()))
        return 0
    unknown_names = sorted(set(given.gates) - set(GATES))
    names = list(GATES) if given.all else given.gates
    if unknown_names or not names:
        print(
            f"unknown gate {unknown_names}" if unknown_names else "name a gate, or --all; see --list", file=sys.stderr
        )
        return 2
    os.chdir(REPO)
    verdicts = [judge(name) for name in names]
    print(table(verdicts))
    return 1 if any(verdict.problems for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
