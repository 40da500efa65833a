"""For everyone: keyboard, small screens, light and dark; and nothing from elsewhere, nothing that a log could inject."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect
from tests.browser.conftest import PHONE

if TYPE_CHECKING:
    from tests.browser.conftest import Board

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]
EVIL = "e" + "0" * 31
MARKUP = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"


async def test_no_page_is_wider_than_a_phone(board: Board, tab: Any) -> None:
    compare = f"{board.url}/compare?a={board.runs['lending']}&b={board.runs['leveraged']}"
    pages = {
        "runs": (f"{board.url}/", "table.runs"),
        "submit": (f"{board.url}/submit?mode=usdt_market_neutral", ".fields .field >> nth=6"),
        "compare": (compare, "figure canvas"),
        "failed": (board.page("failed"), ".notice"),
        **{
            f"run-{name}": (board.page("leveraged", "" if name == "overview" else name), wanted)
            for name, wanted in {
                "overview": ".state-body[data-tick]",
                "orders": ".order",
                "events": ".event",
                "metrics": ".facts",
                "config": ".tree",
            }.items()
        },
    }
    seen = await tab(f"{board.url}/", PHONE, has_touch=True)
    seen.expected += ["404", "422"]  # the failed run has no curves
    for name, (url, wanted) in pages.items():
        await seen.open(url)
        await expect(seen.page.locator(wanted).first).to_be_visible()
        await seen.shot(f"phone-{name}")
        over = await seen.page.evaluate(
            "[document.documentElement.scrollWidth, document.body.scrollWidth].map((wide) => wide - innerWidth)"
        )
        assert max(over) <= 0, f"{name} is {max(over)} px too wide"
    await seen.open(board.page("lending", "orders"))
    await seen.page.locator(".order .open").first.click()
    dialog = seen.page.get_by_role("dialog")
    await expect(dialog.locator(".derivation").first).to_be_visible()
    box = await dialog.bounding_box()
    assert box is not None
    assert box["x"] >= 0 and box["width"] <= PHONE["width"]
    await seen.shot("phone-order")


async def test_keyboard_reaches_everything(board: Board, tab: Any) -> None:
    seen = await tab(board.page("leveraged"))
    page = seen.page
    await expect(page.locator(".state-body")).to_have_attribute("data-tick", "1152")
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await seen.shot("keyboard-skip-link")
    await page.keyboard.press("Enter")
    reached: list[str] = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        found = await page.evaluate(
            "(() => { const on = document.activeElement, style = getComputedStyle(on);"
            " return [on.getAttribute('role') ?? on.tagName, on.getAttribute('aria-label') ?? on.textContent.trim(),"
            " style.outlineStyle !== 'none' && style.outlineWidth !== '0px'] })()"
        )
        reached.append(f"{found[0]}: {found[1]}")
        assert found[2], f"focus is not visible on {reached[-1]}"
        if found[0] == "slider":
            break
    assert any(name.startswith("A: Compare") for name in reached)
    assert reached[-1].startswith("slider: Cursor over the run")
    await page.keyboard.press("Home")
    await expect(page.locator(".state-body")).to_have_attribute("data-tick", "0")
    await page.keyboard.press("Shift+ArrowRight")
    await expect(page.locator(".state-body")).to_have_attribute("data-tick", "12")
    await seen.shot("keyboard-cursor")
    await page.get_by_role("tab", name="Overview").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Orders")).to_be_focused()
    await expect(page.locator(".order").first).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(page.locator(".order .open").first).to_be_focused()


async def test_colours_follow_the_system_and_the_toggle(board: Board, tab: Any) -> None:
    seen = await tab(board.page("neutral"), color_scheme="dark")
    page = seen.page
    await expect(page.locator(".state-body[data-tick]")).to_be_visible()
    background = "getComputedStyle(document.documentElement).backgroundColor"
    dark = await page.evaluate(background)
    await seen.shot("dark")
    await page.locator("#theme").click()  # light
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert await page.evaluate(background) != dark
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")
    await page.locator("#theme").click()
    assert await page.evaluate(background) == dark
    await page.locator("#theme").click()
    assert await page.locator("html").get_attribute("data-theme") is None


async def test_what_a_log_says_stays_text(board: Board, tab: Any) -> None:
    logs = board.cluster.settings.logs_dir
    original = board.runs["again"]
    shutil.copytree(logs / original, logs / EVIL)
    for file in (logs / EVIL).rglob("*.json*"):
        text = file.read_text().replace(original, EVIL)
        file.write_text(text.replace("no position yet", f"no position yet {MARKUP}"))
    seen = await tab(f"{board.url}/runs/{EVIL}?tab=events&type=strategy_decisions")
    await expect(seen.page.locator(".event").first).to_contain_text("<img src=x onerror=")
    await seen.page.locator(".event .open").first.click()
    await expect(seen.page.locator("dialog pre.json")).to_contain_text("<script>document.title='owned'</script>")
    await seen.open(f"{board.url}/runs/{EVIL}?tick=0")
    await expect(seen.page.locator(".decision")).to_contain_text("<img src=x onerror=")
    assert await seen.page.locator("main img, main script").count() == 0
    assert "owned" not in await seen.page.title()


async def test_content_policy_holds(board: Board, tab: Any) -> None:
    seen = await tab(f"{board.url}/")
    await expect(seen.page.locator("table.runs")).to_be_visible()
    seen.expected += ["TrustedHTML", "Content Security Policy", "Failed to load resource", "TrustedScript"]
    said = await seen.page.evaluate(
        "(() => { try { document.body.innerHTML = '<p>x</p>'; return 'done' } catch (error) { return error.name } })()"
    )
    assert said == "TypeError"
    assert await seen.page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'blocked')") == "blocked"
    seen.requests = [url for url in seen.requests if ":9/" not in url]
