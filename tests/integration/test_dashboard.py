"""The dashboard's files over HTTP, the gateway without NATS, and ``basis dashboard``; what it looks like is in tests/browser."""

from __future__ import annotations

import gzip
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import psutil
import pytest
import pytest_asyncio
from tests.support.gateway import problem

from basis.gateway import app as gateway
from basis.runtime.settings import Settings
from basis.testkit.runs import CONFIGS
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.timeout(180)
FILES = Path(gateway.__file__).parent / "dashboard"
SCRIPTS = sorted(path for path in FILES.rglob("*.js") if "vendor" not in path.parts)
UNKNOWN = "0" * 32
BODY = {"strategy_name": "pure_lending_usdt", "start_date": "2022-01-03", "end_date": "2022-01-10"}
on_module = pytest.mark.asyncio(loop_scope="module")


# ----------------------------------------------------------------------------------------------------------- files


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway without NATS over an empty log root."""
    folder = tmp_path_factory.mktemp("reader")
    settings = Settings(
        logs_dir=folder / "logs", results_cache_dir=folder / "cache", configs_dir=CONFIGS, gateway_port=0
    )
    async with (
        gateway.opened(settings, read_only=True) as serving,
        httpx.AsyncClient(base_url=serving.url.removesuffix(gateway.PREFIX), timeout=30) as http,
    ):
        yield http


@on_module
@pytest.mark.parametrize("path", ["/", "/submit", "/compare", f"/runs/{UNKNOWN}"])
async def test_pages_are_strict_and_revalidated(reader: httpx.AsyncClient, path: str) -> None:
    answer = await reader.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    assert "<script>" not in answer.text
    assert "style=" not in answer.text
    again = await reader.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await reader.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


@on_module
async def test_page_names_every_file_that_it_needs_and_each_is_there_for_good(reader: httpx.AsyncClient) -> None:
    text = (await reader.get(f"/runs/{UNKNOWN}")).text
    named = set(re.findall(r'(?:href|src)="(/assets/[^"]+)"', text))
    assert {name.rsplit(".", 1)[1] for name in named} == {"svg", "woff2", "css", "js"}
    kinds = {"svg": "image/svg+xml", "woff2": "font/woff2", "css": "text/css", "js": "text/javascript"}
    for name in named:
        answer = await reader.get(name)
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].startswith(kinds[name.rsplit(".", 1)[1]])
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    modules = {name.split("/", 3)[3] for name in named if name.endswith(".js")}
    assert {"js/main.js", "js/pages/run.js", "js/charts/panel.js", "vendor/uplot/uPlot.esm.js"} <= modules
    assert "js/pages/submit.js" not in modules, "what another page needs is not loaded here"


@on_module
async def test_compressed_for_those_who_can(reader: httpx.AsyncClient) -> None:
    name = re.findall(r'src="(/assets/[^"]+main\.js)"', (await reader.get("/")).text)[0]
    plain = await reader.get(name, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    async with reader.stream("GET", name, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert gzip.decompress(raw) == plain.content == (FILES / "js" / "main.js").read_bytes()


@on_module
@pytest.mark.parametrize("name", ["js/none.js", "js", "..%2fapp.py", "%2e%2e/%2e%2e/app.py", "index.html"])
async def test_nothing_but_its_files_is_served(reader: httpx.AsyncClient, name: str) -> None:
    digest = re.findall(r"/assets/([0-9a-f]+)/", (await reader.get("/")).text)[0]
    assert problem(await reader.get(f"/assets/{digest}/{name}"), 404, None)


@on_module
async def test_another_version_and_a_wrong_id_are_refused(reader: httpx.AsyncClient) -> None:
    assert "reload" in problem(await reader.get(f"/assets/{'0' * 16}/js/main.js"), 404, None)
    problem(await reader.get("/runs/..%2f..%2fetc"), 404, None)
    problem(await reader.get("/runs/ABC"), 422, "CONFIG-003")


def test_scripts_make_no_markup_of_text_and_ask_nobody_else() -> None:
    assert len(SCRIPTS) > 20
    for path in SCRIPTS:
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            path
        )
        assert set(re.findall(r"https?://[^\s\"'`]+", text)) <= {"http://www.w3.org/2000/svg"}, path
        for target in re.findall(r'(?:from|import\() ?"(\.[^"]+)"', text):
            assert (path.parent / target).is_file(), f"{path}: {target}"


def test_what_others_wrote_has_its_licence_beside_it() -> None:
    vendor = FILES / "vendor"
    assert "MIT" in (vendor / "uplot" / "LICENSE").read_text()
    fonts = {path.name.split("-latin")[0] for path in (vendor / "fonts").glob("*.woff2")}
    assert fonts == {"inter", "jetbrains-mono"}
    for font in fonts:
        assert "SIL Open Font License" in (vendor / "fonts" / f"LICENSE-{font}").read_text()


def _colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def _luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(first: str, second: str) -> float:
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_text_can_be_read_in_both_colour_schemes() -> None:
    light, dark, chosen = re.split(
        r"@media \(prefers-color-scheme|/\* the same, chosen", (FILES / "css/tokens.css").read_text()
    )
    assert _colours(dark) == _colours(chosen), "dark by preference and dark by the toggle are one"
    grounds = {"gain": "gain-soft", "loss": "loss-soft", "warn": "warn-soft", "accent": "accent-soft"}
    for colours in (_colours(light), _colours(light) | _colours(dark)):
        for text in ("ink", "soft", "faint"):
            for ground in ("page", "card", "sunk"):
                assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for text, ground in grounds.items():
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
            assert _contrast(colours[text], colours["card"]) >= 4.5, text
        assert _contrast(colours["accent"], colours["on-accent"]) >= 4.5


# ------------------------------------------------------------------------------------------------------- read only


@on_module
async def test_without_nats_results_are_read_and_nothing_is_started(reader: httpx.AsyncClient) -> None:
    base = gateway.PREFIX
    health = (await reader.get(f"{base}/health")).json()
    assert (health["status"], health["nats_connected"]) == ("ok", False)
    assert (await reader.get(f"{base}/results/")).json() == {"items": [], "next": None, "total": 0}
    assert (await reader.get(f"{base}/backtest/list")).json() == []
    assert len((await reader.get(f"{base}/strategies/")).json()) == 10
    said = problem(await reader.post(f"{base}/backtest/", json=BODY), 503, "BUS-001")
    assert "basis services up" in said
    wrong = BODY | {"strategy_name": "pure_lending_usd"}
    assert "did you mean" in problem(await reader.post(f"{base}/backtest/", json=wrong), 422, "CONFIG-001")
    for path in ("status", "result", "stream"):
        problem(await reader.get(f"{base}/backtest/{UNKNOWN}/{path}"), 404, "RUN-001")
    problem(await reader.delete(f"{base}/backtest/{UNKNOWN}"), 503, "BUS-001")
    problem(await reader.get(f"{base}/results/{UNKNOWN}"), 404, "RUN-001")
    problem(await reader.post(f"{base}/capital/{UNKNOWN}/deposit", json={"amount": 1.0}), 404, "RUN-001")
    problem(await reader.delete(f"{base}/results/{UNKNOWN}"), 404, "RUN-001")
    detailed = (await reader.get(f"{base}/health/detailed")).json()
    assert detailed["status"] == "degraded"
    assert (await reader.get(f"{base}/metrics")).status_code == 200


# ----------------------------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dashboard-sample") / "catalogue"
    write_sample(folder, years=1)
    return folder


class Shell:
    """``basis`` in a folder of its own."""

    def __init__(self, folder: Path, sample: Path) -> None:
        self.folder = folder
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BASIS_")}
        self.environment = kept | {"BASIS_CONFIGS_DIR": str(CONFIGS), "BASIS_DATA_DIR": str(sample)}

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "basis.cli", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return orjson.loads(self(*arguments, "--json").stdout)

    def processes(self) -> list[psutil.Process]:
        """Dashboards that serve this folder."""
        found = []
        for process in psutil.process_iter():
            try:
                line = process.cmdline()
            except psutil.Error:
                continue
            if "dashboard" in line and any(part.startswith(str(self.folder)) for part in line):
                found.append(process)
        return found


@pytest.fixture
def basis(tmp_path: Path, sample: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path, sample)
    try:
        yield shell
    finally:
        shell("dashboard", "--stop")
        _, left = psutil.wait_procs(shell.processes(), timeout=20)  # the lock is given back just before the end
        assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]


RUN = ("backtest", "pure_lending_usdt", "--end", "2022-01-10")


def test_backtest_with_dashboard_prints_a_url_that_shows_the_run(basis: Shell) -> None:
    said = basis(*RUN, "--dashboard").stdout
    url = re.findall(r"see it: (http://127\.0\.0\.1:\d+/runs/[0-9a-f]{32})\b", said)[0]
    assert httpx.get(url).status_code == 200
    cid, base = url.rsplit("/", 1)[1], url.rsplit("/runs/", 1)[0]
    curve = httpx.get(f"{base}{gateway.PREFIX}/results/{cid}/curves", params={"columns": "equity"}, timeout=30).json()
    assert len(curve["columns"]["equity"]) == 217
    assert "only reads results" in problem(httpx.delete(f"{base}{gateway.PREFIX}/results/{cid}"), 503, "BUS-001")
    again = basis(*RUN).stdout  # one is there: its URL, not another server
    assert f"see it: {base}/runs/" in again
    assert len(basis.processes()) == 1
    assert basis.json("dashboard", "--background")["url"] == f"{base}/"
    assert basis.json("dashboard", cid, "--background")["url"] == url
    assert basis.json("dashboard", "--stop") == {"stopped": [base]}
    assert basis.json("dashboard", "--stop") == {"stopped": []}
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_json_and_a_plain_backtest_leave_nothing_running(basis: Shell) -> None:
    assert basis.json(*RUN, "--dashboard")["status"] == "completed"
    said = basis(*RUN).stdout
    assert re.search(r"see it: basis dashboard [0-9a-f]{32}$", said, re.MULTILINE)
    assert not basis.processes()
    assert not (basis.folder / ".cache" / "basis" / "dashboard").exists()


def test_a_dashboard_that_was_killed_is_not_taken_for_a_running_one(basis: Shell) -> None:
    (basis.folder / "logs").mkdir()
    first = basis.json("dashboard", "--background")
    os.kill(first["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while psutil.pid_exists(first["pid"]) and psutil.Process(first["pid"]).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert list((basis.folder / ".cache" / "basis" / "dashboard").glob("*.json")), "its file is left behind"
    second = basis.json("dashboard", "--background")
    assert second["pid"] != first["pid"]
    assert httpx.get(second["url"]).status_code == 200


def test_a_port_that_is_taken(basis: Shell) -> None:
    (basis.folder / "logs").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = basis("dashboard", "--port", str(port), code=1).stderr
        assert said.startswith(f"basis: [ENGINE-001] gateway: cannot listen on 127.0.0.1:{port}")
    first = basis.json("dashboard", "--background")
    (basis.folder / "other").mkdir()
    second = basis.json("dashboard", "--background", "--logs", "other")  # whoever has 8011: the next one is free
    assert first["url"] != second["url"]
    assert httpx.get(second["url"]).status_code == 200


def test_two_at_once_are_one(basis: Shell) -> None:
    (basis.folder / "logs").mkdir()
    command = [sys.executable, "-m", "basis.cli", "dashboard", "--background", "--json"]
    both = [
        subprocess.Popen(command, cwd=basis.folder, env=basis.environment, stdout=subprocess.PIPE) for _ in range(2)
    ]
    said = [orjson.loads(one.communicate(timeout=120)[0]) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert said[0] == said[1]
    psutil.wait_procs([one for one in basis.processes() if one.pid != said[0]["pid"]], timeout=20)
    assert httpx.get(said[0]["url"]).status_code == 200


def test_bad_arguments_are_one_line(basis: Shell) -> None:
    assert "no logs at logs: name a folder with --logs" in basis("dashboard", code=2).stderr
    (basis.folder / "logs").mkdir()
    assert "RUN-001" in basis("dashboard", UNKNOWN, code=2).stderr
    assert "RUN-001" in basis("dashboard", "../../etc", code=2).stderr
