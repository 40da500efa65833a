"""The list of runs, the form for a new one, and a run as it goes on."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from basis.gateway import app as gateway
from basis.gateway import keys
from basis.runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.conftest import Board

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]
RUN_PAGE = re.compile(r"/runs/[0-9a-f]{32}")


async def test_list_shows_every_run_and_filters_them(board: Board, tab: Any) -> None:
    seen = await tab(f"{board.url}/")
    page = seen.page
    rows = page.locator("table.runs tbody tr")
    await expect(page.locator(f'a.run-link[href="/runs/{board.runs["leveraged"]}"]')).to_be_visible()
    row = rows.filter(has=page.locator(f'a[href="/runs/{board.runs["lending"]}"]'))
    await expect(row.locator(".pill")).to_have_text("Completed")
    await expect(row.locator("svg.spark polyline")).to_be_visible()
    known = await board.get(f"results/{board.runs['lending']}")
    await expect(row.locator('[data-name="Return"]')).to_have_text(f"+{known['total_return']:.2%}")
    await seen.shot("runs")
    await page.get_by_label("Status").select_option("failed")
    await expect(rows).to_have_count(1)
    await expect(rows.locator(".pill")).to_have_text("Failed")
    assert "status=failed" in page.url
    await page.get_by_label("Find a run").fill("no such text")
    await expect(page.get_by_role("heading", name="No run fits")).to_be_visible()
    await seen.shot("runs-nothing-fits")
    await page.get_by_role("button", name="Show all").click()
    await expect(page.locator(f'a.run-link[href="/runs/{board.runs["lending"]}"]')).to_be_visible()


async def test_empty_and_read_only(tab: Any, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    settings = Settings(logs_dir=tmp_path / "logs", results_cache_dir=tmp_path / "cache", gateway_port=0)
    async with gateway.opened(settings, read_only=True) as serving:
        url = serving.url.removesuffix(gateway.PREFIX)
        seen = await tab(f"{url}/")
        await expect(seen.page.get_by_role("heading", name="No runs yet")).to_be_visible()
        await expect(seen.page.locator("#connection")).to_have_text("Reading results")
        await seen.shot("empty")
        await seen.page.get_by_role("link", name="Start a run").click()
        await expect(seen.page.get_by_text("This page only reads results")).to_be_visible()
        seen.expected.append("503")
        await seen.page.get_by_role("button", name="Run backtest").click()
        await expect(seen.page.get_by_role("alert").get_by_text("this gateway only reads results")).to_be_visible()
        seen.expected.append("404")
        await seen.open(f"{url}/runs/{'0' * 32}")
        await expect(seen.page.get_by_text("no run '00000000")).to_be_visible()
        await seen.shot("unknown-run")
        await seen.page.context.close()


async def test_submit_and_watch_to_the_end(board: Board, tab: Any) -> None:
    seen = await tab(f"{board.url}/submit")
    page = seen.page
    await page.get_by_label("Strategy", exact=True).select_option("pure_lending_usdt")
    await page.get_by_label("First day").fill("2022-02-01")
    await page.get_by_label("Last day").fill("2022-05-01")
    await page.get_by_label("Initial capital").fill("250000")
    await page.get_by_label("Min order value").fill("2")
    await expect(page.locator('[data-path="strategy.min_order_value"] .changed')).to_have_text("changed")
    await seen.shot("submit")
    seen.expected += ["404", "422"]  # a run that has just been queued has no curves yet
    await page.get_by_role("button", name="Run backtest").click()
    await expect(page).to_have_url(RUN_PAGE)
    await expect(page.locator(".run-head .pill")).to_have_text("Completed")
    await expect(page.locator(".lead canvas").first).to_be_visible()
    cid = page.url.rsplit("/", 1)[1][:32]
    report = await board.get(f"results/{cid}")
    assert (report["initial_capital"], report["config"]["strategy"]["min_order_value"]) == (250_000.0, 2.0)
    assert report["start"].startswith("2022-02-01")
    await expect(page.locator(".stats")).to_contain_text(f"{report['final_value']:,.2f}")


@pytest.mark.parametrize(
    ("mode", "label", "value", "path", "says"),
    [
        ("eth_leveraged", "Target LTV", "2", "strategy.target_ltv", "less than 1"),
        ("pure_lending_usdt", "Initial capital", "-5", "initial_capital", "above 0"),
        (
            "pure_lending_usdt",
            "Position deviation threshold",
            "many",
            "strategy.position_deviation_threshold",
            "number",
        ),
        ("btc_basis", "Hedge allocation", '{"binance": 0.4}', "strategy.hedge_allocation", "hedge_allocation"),
    ],
)
async def test_a_refusal_is_shown_at_its_field(
    board: Board, tab: Any, mode: str, label: str, value: str, path: str, says: str
) -> None:
    seen = await tab(f"{board.url}/submit?mode={mode}")
    seen.expected.append("422")
    await seen.page.get_by_label(label, exact=True).fill(value)
    await seen.page.get_by_role("button", name="Run backtest").click()
    fault = seen.page.locator(f'[data-path="{path}"] .fault')
    await expect(fault).to_contain_text(says)
    control = seen.page.get_by_label(label, exact=True)
    await expect(control).to_be_focused()
    await expect(control).to_have_attribute("aria-invalid", "true")
    if mode == "eth_leveraged":
        await seen.shot("submit-refused")


async def test_watch_a_running_run_and_cancel_it(board: Board, tab: Any) -> None:
    seen = await tab(f"{board.url}/submit?mode=pure_lending_usdt")
    page = seen.page
    for path in ("engine.initial_window", "engine.max_window"):  # one tick a window: slow on purpose
        await page.get_by_role("button", name="Add a value").click()
        await page.get_by_label("Path", exact=True).last.fill(path)
        await page.get_by_label("Value", exact=True).last.fill("1")
    seen.expected += ["404", "422"]  # a run that has just been queued has no curves yet
    await page.get_by_role("button", name="Run backtest").click()
    await expect(page).to_have_url(RUN_PAGE)
    await expect(page.locator(".live .pill")).to_have_text("Running")
    await expect(page.locator(".live")).to_contain_text("ticks/s")
    meter = page.get_by_role("progressbar", name="Progress of the run")
    await expect(meter).not_to_have_attribute("aria-valuenow", "0")
    await page.reload()  # now there is something on disk: the curve so far
    await expect(page.locator(".lead canvas").first).to_be_visible()
    await seen.shot("running")
    await page.get_by_role("button", name="Cancel run").click()
    await expect(page.locator(".run-head .pill")).to_have_text("Cancelled")
    await expect(page.get_by_role("alert")).to_contain_text("ENGINE-003")
    await seen.shot("cancelled")


async def test_failed_run_says_why(board: Board, tab: Any) -> None:
    seen = await tab(board.page("failed"))
    await expect(seen.page.locator(".run-head .pill")).to_have_text("Failed")
    await expect(seen.page.get_by_role("alert")).to_contain_text("DATA-002")
    await expect(seen.page.get_by_role("alert")).to_contain_text("changed since the run was accepted")
    await expect(seen.page.get_by_role("heading", name="Nothing to draw yet")).to_be_visible()
    await seen.shot("failed")
    seen.expected.append("422")  # it has no curves
    seen.expected.append("404")


async def test_an_api_key_is_asked_for_once_and_kept_in_the_tab(tab: Any, tmp_path: Path) -> None:
    secret, kept = keys.make("reader", keys.Scope.READ)
    file = tmp_path / "keys"
    file.write_text(f"{kept.line()}\n")
    (tmp_path / "logs").mkdir()
    settings = Settings(
        logs_dir=tmp_path / "logs", results_cache_dir=tmp_path / "cache", gateway_port=0, api_keys_file=file
    )
    async with gateway.opened(settings, read_only=True) as serving:
        seen = await tab(f"{serving.url.removesuffix(gateway.PREFIX)}/")
        seen.expected.append("401")
        question = seen.page.get_by_role("dialog")
        await expect(question).to_be_visible()
        await seen.shot("api-key")
        await seen.page.get_by_label("API key", exact=True).fill("wrong")
        await seen.page.get_by_role("button", name="Use key").click()
        await expect(question.get_by_role("alert")).to_be_visible()
        await seen.page.get_by_label("API key", exact=True).fill(secret)
        await seen.page.keyboard.press("Enter")
        await expect(seen.page.get_by_role("heading", name="No runs yet")).to_be_visible()
        await seen.page.reload()
        await expect(seen.page.get_by_role("heading", name="No runs yet")).to_be_visible()
        assert await seen.page.evaluate("Object.values(localStorage).length") == 0
        assert secret not in "".join(seen.requests)
        await seen.page.context.close()


async def test_take_a_run_away_and_delete_it(board: Board, tab: Any) -> None:
    outcome = await board.cluster.backtest(start="2022-01-03", end="2022-01-06")
    cid = outcome.status.correlation_id
    seen = await tab(f"{board.url}/runs/{cid}")
    page = seen.page
    async with page.expect_download() as saving:
        await page.get_by_role("link", name="Export").click()
    path = await (await saving.value).path()
    with zipfile.ZipFile(path) as archive:
        assert any(name.endswith("events/orders.jsonl") for name in archive.namelist())
    async with page.expect_popup() as opening:
        await page.get_by_role("link", name="Tearsheet").click()
    sheet = await opening.value
    await expect(sheet.locator("svg.main-svg").first).to_be_visible()
    await sheet.close()
    await page.get_by_role("link", name="Run again").click()
    await expect(page.get_by_label("First day")).to_have_value("2022-01-03")
    await page.go_back()
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Keep it").click()
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete it").click()
    await expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    assert not (board.cluster.settings.logs_dir / cid).exists()
