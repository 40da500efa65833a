"""Write the specifications: one page a strategy, one page a component.

python tools/generate_specs.py            write docs/specs/
python tools/generate_specs.py --check    exit 1 where what is there is not what the code says

Every number of a strategy page is the code's: the real strategy decides on a market row made of round numbers, the
simulated venues execute what it orders, the monitors value what is left. A formula that does not come to what the code
expects, an order that a venue refuses, and a handshake that differs from its expectation end the generator. Words are
written by hand, in ``docs/specs/_prose`` and ``docs/specs/strategies/_prose``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the pages' own modules, where this is run as a script

from tools.specs.component_pages import component_page
from tools.specs.component_table import COMPONENTS
from tools.specs.places import CONFIGS, NOTE, SPECS
from tools.specs.strategy_pages import modes, strategy_page

from basis.runtime import config_loader

if TYPE_CHECKING:
    from collections.abc import Mapping


def index_page() -> str:
    """``README.md`` of docs/specs."""
    lines = [
        "# Specifications",
        "",
        NOTE.format(prose="tools/generate_specs.py"),
        "What each strategy orders, with worked numbers, and what each component computes. `make reference` writes these "
        "pages anew, `make lint` fails where they are not what the code says.",
        "",
        "| strategy | |",
        "|---|---|",
    ]
    for mode in modes():
        description = config_loader.load(CONFIGS, mode).config.description
        lines.append(f"| [{mode}](strategies/{mode}.md) | {description} |")
    lines += ["", "| component | |", "|---|---|"]
    for component in COMPONENTS:
        prose = (SPECS / "_prose" / f"{component.name}.md").read_text(encoding="utf-8")
        first = prose.split("\n\n")[1].split(". ")[0].replace("\n", " ").rstrip(".")
        lines.append(f"| [{component.title}]({component.name}.md) | {first} |")
    return "\n".join([*lines, ""])


def generated() -> dict[Path, str]:
    """Path below docs/specs -> content."""
    files = {Path("strategies") / f"{mode}.md": strategy_page(mode) for mode in modes()}
    files |= {Path(f"{component.name}.md"): component_page(component) for component in COMPONENTS}
    return files | {Path("README.md"): index_page()}


def drift(files: Mapping[Path, str]) -> list[str]:
    """What differs between the code and docs/specs, in words."""
    wrong = []
    for path, content in files.items():
        there = SPECS / path
        if not there.is_file():
            wrong.append(f"{path} is missing")
        elif there.read_text(encoding="utf-8") != content:
            wrong.append(f"{path} is not what the code says: make reference")
    return wrong + [f"{path} is about nothing" for path in _extra(files)]


def _extra(files: Mapping[Path, str]) -> list[Path]:
    """Pages that nothing generates any more."""
    there = [*SPECS.glob("*.md"), *(SPECS / "strategies").glob("*.md")]
    return sorted(path.relative_to(SPECS) for path in there if path.relative_to(SPECS) not in files)


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on drift")
    parser.add_argument("--only", help="write or show the page of one mode, for work on it")
    arguments = parser.parse_args()
    if arguments.only:
        print(strategy_page(arguments.only))
        return 0
    files = generated()
    if arguments.check:
        wrong = drift(files)
        print("\n".join(wrong) or f"docs/specs is what the code says ({len(files)} files)")
        return 1 if wrong else 0
    for path, content in files.items():
        target = SPECS / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
    for path in _extra(files):
        (SPECS / path).unlink()
    print(f"wrote {len(files)} files below {SPECS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
