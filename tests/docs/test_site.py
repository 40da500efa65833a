"""The documentation as a site: builds in strict mode, every page is in the navigation, and nothing comes from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?(https?:)?//[^\s>]*", re.I)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [str(Path(sys.executable).with_name("mkdocs")), "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING" not in done.stderr, done.stderr[-3000:]
    return folder


def test_every_page_is_there_and_in_the_navigation(site: Path) -> None:
    pages = [page for page in (ROOT / "docs").rglob("*.md") if "_prose" not in page.parts]
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in pages:
        built = page.relative_to(ROOT / "docs").with_suffix(".html")
        built = built.with_name("index.html") if built.name == "README.html" else built
        assert (site / built).is_file(), built
        assert f'href="{built.as_posix()}"' in home or built.as_posix() == "index.html", (
            f"{built} is not in the navigation"
        )
    assert not (site / "specs" / "_prose").exists()
    for name in ("openapi.json", "asyncapi.json"):
        assert (site / "reference" / name).is_file()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert _LOADED.search(page.read_text(encoding="utf-8")) is None, page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_no_link_leads_out_of_the_documentation(site: Path) -> None:
    broken = []
    for page in site.rglob("*.html"):
        for target in re.findall(r'href="([^"#?]+)', page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
                broken.append((page.relative_to(site).as_posix(), target))
    assert not [found for found in broken if found[0] != "404.html"]
