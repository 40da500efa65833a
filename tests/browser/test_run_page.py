"""The page of a run: cursor, zoom, orders with their arithmetic, events."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.conftest import Board

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]
TWO_MEGABYTES = 2_000_000


async def test_first_picture_needs_little(board: Board, tab: Any) -> None:
    seen = await tab(board.page("lending"))
    await expect(seen.page.locator(".lead canvas").first).to_be_visible()
    await seen.page.wait_for_load_state("networkidle")
    asked = [url for url in seen.requests if "/api/" in url]
    assert sum("/curves?columns=equity,capital,drawdown" in url for url in asked) == 1, asked
    sizes = await seen.page.evaluate("performance.getEntriesByType('resource').map((one) => one.decodedBodySize)")
    assert 50_000 < sum(sizes) < TWO_MEGABYTES
    await seen.shot("run", full=True)


async def test_everything_follows_the_cursor(board: Board, tab: Any) -> None:
    seen = await tab(board.page("leveraged"))
    page, cid = seen.page, board.runs["leveraged"]
    body, ticks = page.locator(".state-body"), (await board.get(f"results/{cid}"))["ticks"]
    await expect(body).to_have_attribute("data-tick", str(ticks - 1))
    slider = page.get_by_role("slider", name=re.compile("Cursor over the run"))
    await slider.focus()
    await page.keyboard.press("Home")
    await page.keyboard.press("ArrowRight")
    await expect(body).to_have_attribute("data-tick", "1")
    box = await page.locator(".lead .u-over").first.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    await page.mouse.move(box["x"] + 5, middle)
    await page.mouse.down()
    for step in range(1, 11):
        await page.mouse.move(box["x"] + box["width"] * step / 20, middle)
    await page.mouse.up()
    tick = int(await page.get_by_role("spinbutton", name="Tick").input_value())
    assert abs(tick - (ticks - 1) / 2) <= ticks / 100
    await expect(body).to_have_attribute("data-tick", str(tick))
    state = await board.get(f"results/{cid}/at", tick=tick)
    await expect(body).to_contain_text(f"{state['exposure']['share_class_value']:.5f}")
    await expect(body).to_contain_text(f"{state['risk']['health_factor']:.2f}"[:-1])
    held = [one for one in state["positions"] if one["quantity"] != 0]
    await expect(body.locator("table.positions tbody tr")).to_have_count(len(held))
    equity = (
        page.locator("figure", has=page.get_by_role("heading", name="Equity", exact=True))
        .locator(".legend .value")
        .first
    )
    await expect(equity).to_have_text(re.compile(rf"^{int(state['exposure']['share_class_value'])}\.\d{{5}}$"))
    health = page.locator("figure", has=page.get_by_role("heading", name="Health factor"))
    await health.scroll_into_view_if_needed()
    await expect(health.locator("canvas")).to_be_visible()
    await expect(health.locator(".cursor-line")).to_be_visible()
    await seen.shot("run-leveraged-cursor")
    assert f"tick={tick}" in page.url
    await page.reload()
    await expect(body).to_have_attribute("data-tick", str(tick))


async def test_zooming_in_brings_every_tick(board: Board, tab: Any) -> None:
    seen = await tab(board.page("lending"))
    page = seen.page
    text = page.locator(".range-text")
    await expect(text).to_contain_text("points of")
    await page.get_by_role("button", name="Zoom", exact=True).click()
    box = await page.locator(".lead .u-over").first.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * 0.40, box["y"] + 50)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.44, box["y"] + 50, steps=4)
    async with page.expect_response(lambda answer: "/curves" in answer.url and "start_tick" in answer.url) as waiting:
        await page.mouse.up()
    answer = await (await waiting.value).json()
    assert answer["method"] == "raw"
    assert answer["ticks"] == list(range(answer["first_tick"], answer["last_tick"] + 1))
    await expect(text).to_contain_text("every tick")
    await seen.shot("run-zoomed")
    await page.get_by_role("button", name="Whole run (0)").click()
    await expect(text).to_contain_text("points of")


async def test_supply_order_shows_atoken_is_amount_over_index(board: Board, tab: Any) -> None:
    seen = await tab(board.page("lending", "orders"))
    await seen.page.get_by_role("button", name=re.compile("^Supply .* USDT")).click()
    orders = (await board.get(f"results/{board.runs['lending']}/orders"))["items"]
    supply = next(one for one in orders if one["operation_type"] == "supply")
    amount, index = supply["execution_details"]["amount"], supply["execution_details"]["liquidity_index"]
    worked = seen.page.get_by_role("region", name="How aUSDT follows")
    await expect(worked).to_contain_text("amount ÷ liquidity index")
    await expect(worked).to_contain_text(f"{amount:,} ÷ {index}")
    assert amount / index == pytest.approx(supply["actual_deltas"]["aave_v3:aToken:aUSDT"], rel=1e-12)
    await expect(worked.locator(".result")).to_have_text(f"{amount / index:,}")
    await expect(worked.locator(".pill")).to_contain_text("Equal")
    drawer = seen.page.get_by_role("dialog")
    await expect(drawer.get_by_text("Books and venue agree")).to_be_visible()
    await seen.shot("order-supply")
    await drawer.locator(".trail summary").first.click()
    await expect(drawer.locator("pre.json").first).to_contain_text('"strategy_intent"')
    await seen.page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()


async def test_atomic_group_is_unfolded_step_by_step(board: Board, tab: Any) -> None:
    seen = await tab(board.page("leveraged", "orders"))
    group = seen.page.locator(".atomic").first
    steps = group.locator(".steps-list .order")
    await expect(steps).to_have_count(5)
    await expect(group).to_contain_text("All steps done")
    names = [await steps.nth(i).locator(".open").inner_text() for i in range(5)]
    assert [name.split()[0] for name in names] == ["Flash", "Stake", "Supply", "Borrow", "Flash"]
    await group.locator("summary").click()
    flash = group.locator(".matrix tr", has_text="flashWETH")
    await expect(flash.locator(".net")).to_have_text("0.00")  # borrowed and paid back within the transaction
    await seen.shot("orders-atomic-group")
    await steps.nth(2).locator(".open").click()
    await expect(seen.page.get_by_role("dialog").get_by_text("Step 3 of 5 of an atomic group")).to_be_visible()


async def test_events_are_filtered_by_type_and_text(board: Board, tab: Any) -> None:
    seen = await tab(board.page("leveraged", "events"))
    page, cid = seen.page, board.runs["leveraged"]
    await expect(page.locator(".event")).to_have_count(100)
    await page.locator('.chips [data-type="orders"]').click()
    total = (await board.get(f"results/{cid}"))["counts"]["orders"]
    await expect(page.locator(".event")).to_have_count(total)
    assert await page.locator('.event:not([data-type="orders"])').count() == 0
    await page.get_by_label("Text in events").fill("flash_repay")
    await expect(page.locator(".event")).to_have_count(1)
    await seen.shot("events")
    query = parse_qs(urlsplit(page.url).query)
    assert (query["type"], query["text"]) == (["orders"], ["flash_repay"])
    await page.locator(".event .open").click()
    found = (await board.get(f"results/{cid}/events", type="orders", text="flash_repay"))["items"][0]["event"]
    raw = await page.locator("dialog pre.json").inner_text()
    assert json.loads(raw) == found
    await page.keyboard.press("Escape")
    await page.get_by_label("Text in events").fill("<b>nothing</b>")
    await expect(page.get_by_text("No event of these types has the text “<b>nothing</b>”.")).to_be_visible()


async def test_market_neutral_draws_margins_with_their_triggers(board: Board, tab: Any) -> None:
    seen = await tab(board.page("neutral"))
    margin = seen.page.locator("figure", has=seen.page.get_by_role("heading", name="Margin ratio by venue"))
    await margin.scroll_into_view_if_needed()
    await expect(margin.locator("canvas")).to_be_visible()
    for venue in ("Binance", "Bybit", "OKX"):
        await expect(margin.get_by_role("button", name=venue)).to_be_visible()
    await margin.get_by_role("button", name="OKX").click()
    await expect(margin.get_by_role("button", name="OKX")).to_have_attribute("aria-pressed", "false")
    await seen.page.wait_for_load_state("networkidle")
    await seen.shot("run-neutral", full=True)
    for name in ("Metrics", "Configuration"):
        await seen.page.get_by_role("tab", name=name).click()
        await expect(seen.page.get_by_role("heading", name=name, exact=True).first).to_be_visible()
        await seen.shot(f"run-{name.lower()}")


async def test_compare_two_runs(board: Board, tab: Any) -> None:
    seen = await tab(f"{board.url}/")
    page = seen.page
    for name in ("lending", "again"):
        await page.locator(f'input[value="{board.runs[name]}"]').check()
    await page.get_by_role("button", name="Compare", exact=True).click()
    await expect(page.get_by_text("Different events")).to_be_visible()
    await expect(page.locator(".versus .card")).to_have_count(2)
    await expect(page.locator("figure canvas")).to_be_visible()
    found = await board.get("results/compare", a=board.runs["again"], b=board.runs["lending"])
    assert found["same_events"] is False
    figures = page.locator("section", has=page.get_by_role("heading", name="Figures"))
    await expect(figures.get_by_role("row", name=re.compile("^Total return"))).to_be_visible()
    await seen.shot("compare", full=True)
