"""``/``: the dashboard, static files of the package; it knows no more than what the API tells any client."""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException

from basis.gateway import http

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from importlib.resources.abc import Traversable

router = APIRouter(include_in_schema=False)
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
_COMPRESSED: Final = frozenset({"css", "js", "html", "svg"})
_INDEX: Final = "index.html"
_START: Final = "js/main.js"
_STYLES: Final = (
    "vendor/uplot/uPlot.min.css",
    "css/tokens.css",
    "css/base.css",
    "css/parts.css",
    "css/pages.css",
    "css/run.css",
)
"""In the order of their rules; one request brings them all."""
_ALL_STYLES: Final = "css/all.css"
_PAGES: Final = {
    "": "js/pages/runs.js",
    "submit": "js/pages/submit.js",
    "compare": "js/pages/compare.js",
    "runs": "js/pages/run.js",
}
"""First part of a path -> the module of its page."""
_STATIC_IMPORT: Final = re.compile(r'^(?:import|export)\b[^;"]*"(\.[^"]+)";', re.MULTILINE)
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""No inline script or style, nothing from elsewhere, and text that reaches the page through no HTML parser."""
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""On every answer of this module."""


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    compressed: bytes | None
    """gzip, where it is worth it."""
    media_type: str
    etag: str


class _Dashboard:
    """The files in memory: less than a megabyte, the same for every client.

    Their URLs carry a digest of all of them, so that a browser may keep each for good and never mixes two versions. A page
    names every module that it will import, so that none waits for another to ask for it.
    """

    def __init__(self, root: Traversable) -> None:
        found = {name: body for name, body in _walk(root, "") if name.rpartition(".")[2] in _TYPES}
        found[_ALL_STYLES] = b"\n".join(found[name] for name in _STYLES)
        everything = hashlib.sha256()
        for name, body in sorted(found.items()):
            everything.update(f"{name} {len(body)}\n".encode() + body)
        self.digest = everything.hexdigest()[:16]
        base = f"/assets/{self.digest}"
        template = found.pop(_INDEX).decode().replace("{{assets}}", base)
        self.pages = {}
        for part, module in _PAGES.items():
            links = [f'<link rel="modulepreload" href="{base}/{name}">' for name in _imported(found, (_START, module))]
            self.pages[part] = _file(_INDEX, template.replace("{{modules}}", "\n  ".join(links)).encode())
        self.assets = {name: _file(name, body) for name, body in found.items()}


def _imported(files: Mapping[str, bytes], names: Iterable[str]) -> list[str]:
    """Modules and all that they import as they are loaded, the first ones first."""
    known = list(names)
    for name in known:  # grows while it is read
        for target in _STATIC_IMPORT.findall(files[name].decode()):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            if path not in known:
                known.append(path)
    return known


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, f"{name}/")
        else:
            yield name, entry.read_bytes()


def _file(name: str, body: bytes) -> _File:
    ending = name.rpartition(".")[2]
    compressed = gzip.compress(body, 6, mtime=0) if ending in _COMPRESSED else None
    return _File(body, compressed, _TYPES[ending], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


@cache
def _dashboard() -> _Dashboard:
    return _Dashboard(files("basis.gateway") / "dashboard")


@router.get("/")
@router.get("/submit")
@router.get("/compare")
async def page(request: Request) -> Response:
    """The page; which view it shows is in its path."""
    return _answer(request, _dashboard().pages[request.url.path.strip("/")], "no-cache")


@router.get("/runs/{correlation_id}")
async def run_page(request: Request, correlation_id: Annotated[str, Depends(http.run_id)]) -> Response:
    """The same page, for a run."""
    del correlation_id
    return _answer(request, _dashboard().pages["runs"], "no-cache")


@router.get("/assets/{digest}/{name:path}")
async def asset(request: Request, digest: str, name: str) -> Response:
    """A file of the dashboard; of this version only."""
    board = _dashboard()
    found = board.assets.get(name)
    if found is None or digest != board.digest:
        raise HTTPException(404, f"the dashboard has no file {name!r} in version {digest!r}: reload the page")
    return _answer(request, found, "public, max-age=31536000, immutable")


def _answer(request: Request, file: _File, caching: str) -> Response:
    headers = {**SECURITY_HEADERS, "Cache-Control": caching, "ETag": file.etag, "Vary": "Accept-Encoding"}
    if file.etag in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    if file.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.body, headers=headers, media_type=file.media_type)
