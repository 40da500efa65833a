"""One page a component: docs/specs."""

from __future__ import annotations

import ast
import re

from tools.specs.component_table import Component
from tools.specs.places import NOTE, ROOT, SPECS, markdown

from basis.models.errors import ERROR_REGISTRY, default_severity
from basis.models.events import EVENT_MODELS

COMPONENT_SECTIONS = ("What it is for", "Gets and gives", "Computes", "Events", "Errors", "Code", "Tests")
"""Headings of every component page."""
_CODE_PATTERN = re.compile(r"[A-Z]+-\d{3}")


def component_page(component: Component) -> str:
    """The page of a component: its hand-written part, then what the sources say."""
    source = SPECS / "_prose" / f"{component.name}.md"
    note = NOTE.format(prose=source.relative_to(ROOT).as_posix())
    parts = [f"# {component.title}", "", note, source.read_text(encoding="utf-8").strip()]
    parts += ["", "## Events", "", _events(component), "", "## Errors", "", *_errors(component)]
    parts += ["", "## Code", "", *_code(component), "", "## Tests", ""]
    return "\n".join([*parts, ", ".join(f"`{path}`" for path in component.tests) + ".", ""])


def _events(component: Component) -> str:
    if not component.events:
        return "None of its own."
    titles = (f"`{name}` ({EVENT_MODELS[name].title.lower()})" for name in component.events)
    return ", ".join(titles) + "; fields: [events](../reference/events.md)."


def _errors(component: Component) -> list[str]:
    found: set[str] = set()
    for path in component.code:
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _CODE_PATTERN.fullmatch(node.value):
                found.add(node.value)
    if not found:
        return ["None of its own."]
    rows = [f"| `{code}` | {ERROR_REGISTRY[code]} | {default_severity(code)} |" for code in sorted(found)]
    return ["| code | meaning | severity |", "|---|---|---|", *rows]


def _code(component: Component) -> list[str]:
    lines = ["| file | what it says of itself | public |", "|---|---|---|"]
    for path in component.code:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        head = (ast.get_docstring(tree) or "").split("\n\n", 1)[0]
        names = [
            f"`{node.name}`: {markdown((ast.get_docstring(node) or '').split(chr(10), 1)[0])}"
            for node in tree.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        ]
        lines.append(f"| `{path}` | {markdown(head)} | {'<br>'.join(names) or 'nothing'} |")
    return lines
