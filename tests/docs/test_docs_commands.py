"""The documentation does what it says: marked blocks run, links lead somewhere, paths and commands exist.

A block is marked by an HTML comment before its fence: ``<!-- test -->`` runs it, ``<!-- test: needs X -->`` runs it where the
package X is installed, ``<!-- test: file NAME -->`` saves it as NAME. The bash blocks of one page are one session; a Python
block is a program of its own, after them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import typer

from basis.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md")),
]
TOP = {"services", "shared", "packages", "configs", "docs", "tests", "tools", "bench", "deploy"}
UNWRITTEN = {"deploy/secrets"}  # made by `make up`
_BLOCK = re.compile(
    r"(?:^<!-- test(?:: (?P<verb>needs|file) (?P<what>[\w.-]+))? -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
_MARK = re.compile(r"^<!-- test\b", re.M)
_LINK = re.compile(r"\[[^\]]*\]\((?P<to>[^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.M)


class Block(NamedTuple):
    """A fenced block of a page."""

    line: int
    language: str
    text: str
    marked: bool
    needs: str | None
    file: str | None


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page that stand at the margin."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        what = {match["verb"]: match["what"]}
        marked = match[0].startswith("<!--")
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(line, match["language"], match["text"], marked, what.get("needs"), what.get("file")))
    return found


TESTED = [page for page in PAGES if any(block.marked for block in blocks(page))]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with a sample, one short run, and the environment that names them."""
    folder = tmp_path_factory.mktemp("docs")
    env = {key: value for key, value in os.environ.items() if not key.startswith("BASIS_")} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "BASIS_LOGS_DIR": str(folder / "logs"),
        "BASIS_DATA_DIR": str(folder / "sample"),
        "BASIS_CACHE_DIR": str(folder / "cache"),
        "BASIS_CONFIGS_DIR": str(ROOT / "configs"),
    }
    period = ["--start", "2022-06-01", "--end", "2022-06-03"]
    for command in (["data", "sample", str(folder / "sample")], ["backtest", "pure_lending_usdt", *period]):
        run(["basis", *command], folder, env, "the fixture")
    return folder, env


def run(command: list[str], folder: Path, env: dict[str, str], where: str) -> None:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, f"{where} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.skipif(shutil.which("jq") is None, reason="the blocks use jq")
@pytest.mark.parametrize("page", TESTED, ids=name)
def test_marked_blocks_run(page: Path, world: tuple[Path, dict[str, str]]) -> None:
    folder, env = world
    marked = [block for block in blocks(page) if block.marked]
    assert {block.language for block in marked} <= {"bash", "python"}
    for block in marked:
        if block.file is not None:
            compile(block.text, f"{name(page)}:{block.line}", "exec")
            (folder / block.file).write_text(block.text, encoding="utf-8")
    session = [
        f"echo '--- {name(page)}:{block.line}' >&2\n{block.text}" for block in marked if block.language == "bash"
    ]
    run(["bash", "-euo", "pipefail", "-c", "\n".join(session)], folder, env, name(page))
    for block in marked:
        installed = block.needs is not None and find_spec(block.needs) is not None
        if block.language == "python" and block.file is None and installed:
            run([sys.executable, "-c", block.text], folder, env, f"{name(page)}:{block.line}")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_mark_stands_before_a_block(page: Path) -> None:
    marks = len(_MARK.findall(page.read_text(encoding="utf-8")))
    assert marks == sum(block.marked for block in blocks(page))


def test_the_pages_that_teach_commands_are_tested() -> None:
    tested = {name(page) for page in TESTED}
    assert {"README.md", "docs/LOGGING_GUIDE.md", "docs/how-to/run.md", "docs/how-to/read-the-log.md"} <= tested


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_resolve(page: Path) -> None:
    for match in _LINK.finditer(page.read_text(encoding="utf-8")):
        to, _, anchor = match["to"].partition("#")
        if to.startswith(("http://", "https://")):
            continue
        # words of a generated page stand in _prose, and their links are those of the page
        folder = Path(*(part for part in page.parent.parts if part != "_prose"))
        target = (folder / to).resolve() if to else page
        assert target.exists(), f"{name(page)}: {match[0]}"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {match[0]} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_in_backticks_exist(page: Path) -> None:
    for code in _CODE.findall(page.read_text(encoding="utf-8")):
        path = code.rstrip("/")
        if path.split("/")[0] not in TOP or "/" not in path or not re.fullmatch(r"[\w./*-]+", path):
            continue
        found = any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists()
        assert found or path in UNWRITTEN, f"{name(page)} names {code}"


def shell_lines(page: Path) -> list[str]:
    """Commands of a page's bash blocks, continued lines joined, comments dropped."""
    texts = [block.text.replace("\\\n", " ") for block in blocks(page) if block.language == "bash"]
    return [line.split(" #")[0].strip() for text in texts for line in text.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_of_the_command_line_exist(page: Path) -> None:
    """Those of unmarked blocks, too: each ``basis ...`` names a command and options that it has."""
    root = typer.main.get_command(app)
    for line in shell_lines(page):
        for call in re.findall(r"(?:^|[(|;&] *)basis ([^|;)&]+)", line):
            command: click.Command | object = root
            words = call.split()
            while words and hasattr(command, "commands"):
                known = command.commands
                assert words[0] in known, f"{name(page)}: no command {words[0]!r} in {line!r}"
                command = known[words.pop(0)]
            options = {option for parameter in getattr(command, "params", []) for option in parameter.opts}
            unknown = {word for word in words if word.startswith("--")} - options
            assert not unknown, f"{name(page)}: {unknown} in {line!r}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w/-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = {word for line in shell_lines(page) for word in re.findall(r"^make ([\w-]+)", line)}
        named |= {code.split()[1] for code in _CODE.findall(text) if re.match(r"make [\w-]+", code)}
        assert named <= targets, f"{name(page)} names make {sorted(named - targets)}"
