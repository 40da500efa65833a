"""A real chromium on a real gateway with all services behind it, and the watch that is kept over every page."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import async_playwright, expect
from tests.support.cluster import Cluster, embedded_cluster

from basis.gateway import app as gateway
from basis.models.messages import RunSubmit
from basis.runtime import codec, config_loader, subjects
from basis.runtime.bus import StreamMessage
from basis.runtime.clock import SystemClock
from basis.testkit.runs import CONFIGS
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playwright.async_api import Browser, ConsoleMessage, Page, Request, ViewportSize

ARTIFACTS = Path(__file__).resolve().parents[2] / "test-artifacts" / "dashboard"
DESKTOP: ViewportSize = {"width": 1366, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
FAILED = "fa11ed" + "0" * 26
_ARGUMENTS = [
    f"--{name}"
    for name in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
    )
]
_PATIENCE_MS = 45_000
expect.set_options(timeout=_PATIENCE_MS)


def _chromium() -> str | None:
    named = os.environ.get("BASIS_TEST_CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    """The browser of all these tests."""
    found = _chromium()
    if found is None:
        pytest.skip("no chromium on this machine: 'apt-get install chromium', or name one with BASIS_TEST_CHROMIUM")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=found, args=_ARGUMENTS)
        yield running
        await running.close()


@dataclass
class Board:
    """A gateway with runs."""

    url: str
    cluster: Cluster
    api: httpx.AsyncClient
    runs: dict[str, str]
    """Name -> correlation_id: lending, again, leveraged, neutral."""

    async def get(self, path: str, **query: Any) -> Any:
        """JSON of an answer that must be 200."""
        answer = await self.api.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def page(self, name: str, tab: str = "") -> str:
        """Address of a run's page."""
        return f"{self.url}/runs/{self.runs[name]}{f'?tab={tab}' if tab else ''}"


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One synthetic year."""
    folder = tmp_path_factory.mktemp("browser-sample") / "catalogue"
    write_sample(folder, years=1)
    return folder


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def board(browser: Browser, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Board]:
    """Services, gateway, four runs and one that failed."""
    folder = tmp_path_factory.mktemp("browser")
    cache = folder / "results-cache"
    async with embedded_cluster(folder, sample, gateway_port=0, results_cache_dir=cache) as cluster:
        outcomes = {
            "lending": await cluster.backtest(start="2022-01-03", end="2022-12-20"),
            "again": await cluster.backtest(start="2022-01-03", end="2022-02-03", capital=50_000.0),
            "leveraged": await cluster.backtest("eth_leveraged", start="2022-01-03", end="2022-02-20"),
            "neutral": await cluster.backtest("usdt_market_neutral", start="2022-01-03", end="2022-02-03"),
        }
        runs = {name: outcome.status.correlation_id for name, outcome in outcomes.items()}
        async with gateway.running(cluster.settings) as api_url, httpx.AsyncClient(base_url=api_url, timeout=60) as api:
            found = Board(api_url.removesuffix(gateway.PREFIX), cluster, api, runs | {"failed": FAILED})
            await _fail(found, sample)
            yield found


async def _fail(board: Board, sample: Path) -> None:
    """A run whose data is not what it was accepted for."""
    merged = config_loader.load(CONFIGS, "pure_lending_usdt")
    clock = SystemClock()
    known = await board.get(f"results/{board.runs['lending']}")
    submit = RunSubmit(
        correlation_id=FAILED,
        run_mode="backtest",
        config=merged.payload,
        config_sha256=merged.sha256,
        start=known["start"],
        end=known["end"],
        initial_capital=1000.0,
        data_sha256="0" * 64,
        data_path=str(sample),
        submitted_at=clock.now(),
    )
    header = {subjects.HEADER_MSG_ID: f"{FAILED}.submit"}
    message = StreamMessage(subjects.run_submit(FAILED), codec.encode(submit), header)
    await board.cluster.bus.publish_stream([message])
    while (await board.api.get(f"backtest/{FAILED}/status")).json().get("status") != "failed":
        await clock.sleep(0.1)


@dataclass
class Tab:
    """A page under watch: nothing may go wrong in it that a test has not announced."""

    page: Page
    faults: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Parts of messages that the test brings about on purpose."""
    requests: list[str] = field(default_factory=list)

    async def open(self, url: str) -> None:
        """Go there."""
        await self.page.goto(url)

    async def shot(self, name: str, *, full: bool = False) -> None:
        """Keep a picture of what is seen."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=full)

    def check(self) -> None:
        """No error on the console, and no request to anywhere else."""
        unforeseen = [fault for fault in self.faults if not any(part in fault for part in self.expected)]
        assert not unforeseen, unforeseen
        hosts = {url.split("/")[2] for url in self.requests if not url.startswith(("blob:", "data:"))}
        assert len(hosts) <= 1, f"requests left the origin: {hosts}"


Opener = "Callable[..., Awaitable[Tab]]"


@pytest_asyncio.fixture(loop_scope="package")
async def tab(browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Tab]]]:
    """Opens pages, and checks every one of them at the end of the test."""
    tabs: list[Tab] = []

    async def opened(url: str, viewport: ViewportSize = DESKTOP, **options: Any) -> Tab:
        context = await browser.new_context(viewport=viewport, **options)
        context.set_default_timeout(_PATIENCE_MS)
        found = Tab(await context.new_page())
        tabs.append(found)

        def console(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                found.faults.append(f"{message.type}: {message.text} ({message.location.get('url')})")

        def requested(request: Request) -> None:
            found.requests.append(request.url)

        found.page.on("console", console)
        found.page.on("pageerror", lambda error: found.faults.append(f"page: {error}"))
        found.page.on("request", requested)
        await found.open(url)
        return found

    yield opened
    for one in tabs:
        await one.page.context.close()
    for one in tabs:
        one.check()
