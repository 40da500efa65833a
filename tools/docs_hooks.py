"""Hooks of mkdocs: what the navigation need not list by hand, and links that lead out of docs/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<to>[^)\s#]+)(?:#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """``"*folder"`` in the navigation: the pages of a folder, its README first, its folders after them.

    A new page that nobody listed comes last in the section of its folder.
    """
    docs = Path(config.docs_dir)
    nav = [_expanded(docs, entry) for entry in config.nav or []]
    listed = set(_listed(nav))
    for page in sorted(docs.rglob("*.md")):
        name = page.relative_to(docs).as_posix()
        if name in listed or "_prose" in page.parts:
            continue
        sections = [inner for entry in nav if isinstance(entry, dict) for inner in entry.values()]
        near = (one for one in sections if isinstance(one, list) and any(_folder(two) == _folder(name) for two in one))
        next(near, nav).append(name)
    config.nav = nav
    return config


def _listed(nav: Any) -> Iterator[str]:
    """Every page of a navigation."""
    if isinstance(nav, str):
        yield nav
    for entry in nav if isinstance(nav, list) else nav.values() if isinstance(nav, dict) else ():
        yield from _listed(entry)


def _folder(entry: Any) -> str:
    page = next(_listed(entry), "")
    return page.rpartition("/")[0]


def _expanded(docs: Path, entry: Any) -> Any:
    if isinstance(entry, dict):
        ((title, value),) = entry.items()
        if isinstance(value, str) and value.startswith("*"):
            return {title: _pages(docs, docs / value[1:])}
    return entry


def _pages(docs: Path, folder: Path) -> list[Any]:
    pages = sorted(folder.glob("*.md"), key=lambda page: (page.name != "README.md", page.name))
    folders = [inner for inner in sorted(folder.iterdir()) if inner.is_dir() and inner.name[0] not in "_."]
    found: list[Any] = [page.relative_to(docs).as_posix() for page in pages]
    return found + [{inner.name.capitalize(): _pages(docs, inner)} for inner in folders if any(inner.glob("*.md"))]


def on_page_markdown(markdown: str, /, *, page: Page, config: MkDocsConfig, files: Any) -> str:
    """A link to a file of the repository that is no part of the site becomes its path."""
    del files
    docs = Path(config.docs_dir).resolve()
    here = docs / Path(page.file.src_uri).parent

    def inside(match: re.Match[str]) -> str:
        to = match["to"]
        if re.match(r"[a-z]+:", to):
            return match[0]
        target = (here / to).resolve()
        if target.is_relative_to(docs):
            return match[0]
        path = target.relative_to(docs.parent).as_posix()
        return f"{match['text']} (`{path}`)" if match["text"].strip("`") != path else f"`{path}`"

    return _LINK.sub(inside, markdown)
