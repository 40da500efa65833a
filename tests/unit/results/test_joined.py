"""Orders joined with what became of them, ledgers, comparison, charts, the page to mail: small inputs worked by hand."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.rundir import CID, KEYS, SPAN, event, write_run

from basis.results.core import columns, ledger
from basis.results.core.comparison import compare
from basis.results.core.timeline import joined
from basis.results.reader import Results

if TYPE_CHECKING:
    from pathlib import Path


def order(tick: int, number: int, group: str | None = None, **fields: Any) -> dict[str, Any]:
    """An OrderEvent."""
    identity = f"{CID}-{tick:08}-{number:03}"
    found = event(
        tick,
        60,
        order_id=identity,
        operation_id=identity,
        operation_type="supply",
        venue="aave_v3",
        source_venue="wallet",
        target_venue="aave_v3",
        source_token="USDT",
        target_token="aUSDT",
        amount=100.0,
        expected_deltas={KEYS[0]: -100.0, KEYS[1]: 95.0},
        strategy_intent="entry_full",
        strategy_id="hand_made",
        atomic_group_id=group,
        sequence_in_group=None if group is None else number,
    )
    return found | {"order": found["order"] + number} | fields


def execution(of: dict[str, Any], status: str, deltas: dict[str, float], **fields: Any) -> dict[str, Any]:
    """What the venue did of an order."""
    return event(
        of["order"] // SPAN,
        70,
        operation_id=of["operation_id"],
        operation_type=of["operation_type"],
        venue=of["venue"],
        target_token=of["target_token"],
        status=status,
        position_deltas=[{"instrument_key": key, "delta": delta, "expected": 0.0} for key, delta in deltas.items()],
        executed_amount=of["amount"] if status == "confirmed" else 0.0,
        fee_amount=1.5,
        fee_currency="USDT",
        error_code=None if status == "confirmed" else "VEN-009",
        error_message=None if status == "confirmed" else "cap",
        operation_details={"liquidity_index": 1.0526},
        **fields,
    )


def reconciliation(trigger: str, at: int, *, success: bool) -> dict[str, Any]:
    """A comparison."""
    return {
        "order": at,
        "trigger_source": trigger,
        "success": success,
        "mismatches": [] if success else [{"kind": "delta"}],
    }


def test_each_order_has_its_own_outcome() -> None:
    first, second, never = order(5, 0), order(5, 1), order(5, 2)
    found = joined(
        [first, second, never],
        [
            execution(first, "confirmed", {KEYS[0]: -100.5, "wallet:BaseToken:ETH": -0.1}),
            execution(second, "failed", {}),
        ],
        [
            reconciliation(first["operation_id"], 11, success=True),
            reconciliation(first["operation_id"], 10, success=False),
        ],
    )
    assert [item.status for item in found] == ["confirmed", "failed", None]
    assert found[0].difference == {KEYS[0]: -0.5, KEYS[1]: -95.0, "wallet:BaseToken:ETH": -0.1}
    assert found[0].reconciliation is not None
    assert (found[0].reconciliation.success, found[0].reconciliation.attempts) == (True, 2)
    assert (found[1].difference, found[1].error_code, found[1].reconciliation) == ({}, "VEN-009", None)
    assert (found[2].actual_deltas, found[2].execution_details, found[2].executed_amount) == ({}, {}, None)
    assert {item.tick for item in found} == {5}


def test_the_comparison_of_a_group_is_that_of_each_step() -> None:
    steps = [order(5, 0, "g1"), order(5, 1, "g1"), order(5, 2)]
    found = joined(steps, [], [reconciliation("g1", 5, success=False)])
    assert [item.reconciliation is not None and item.reconciliation.success for item in found] == [False, False, False]
    assert [item.reconciliation is None for item in found] == [False, False, True]


def test_turnover_counts_what_was_given_in_trades() -> None:
    usdt, eth, perp = "binance:BaseToken:USDT", "binance:BaseToken:ETH", "binance:Perp:BTCUSDT"
    spot = execution(order(0, 0, operation_type="spot_trade", venue="binance"), "confirmed", {eth: 2.0, usdt: -6000.0})
    future = execution(
        order(0, 1, operation_type="perp_trade", venue="binance", target_token="BTCUSDT", amount=0.5),
        "confirmed",
        {perp: 0.5, usdt: -15.0},
    )
    future["operation_details"] = {"market_price": 60_000.0}
    inverse = execution(
        order(0, 2, operation_type="perp_trade", venue="binance", target_token="BTCUSD", amount=6000.0), "confirmed", {}
    )
    inverse["operation_details"] = {"market_price": 60_000.0}
    failed = execution(order(0, 3, operation_type="spot_trade"), "failed", {usdt: -1.0})
    supplied = execution(order(0, 4), "confirmed", {KEYS[0]: -100.0})
    prices = {
        spot["operation_id"]: {usdt: 1.0, eth: 3000.0},
        future["operation_id"]: {usdt: 1.0},
        inverse["operation_id"]: {"binance:BaseToken:BTC": 61_000.0},
    }
    assert ledger.traded_value([spot], prices) == 6000.0
    assert ledger.traded_value([future], prices) == 30_000.0
    assert ledger.traded_value([inverse], prices) == pytest.approx(0.1 * 61_000)
    assert ledger.traded_value([spot, future, inverse, failed, supplied], prices) == pytest.approx(42_100.0)


def test_time_in_market_is_when_anything_but_the_share_class_is_held() -> None:
    perp, usdt = "binance:Perp:BTCUSDT", "binance:BaseToken:USDT"
    changes: list[tuple[int, dict[str, float]]] = [
        (2, {usdt: -5.0}),
        (4, {perp: 0.3}),
        (6, {perp: -0.1}),
        (6, {perp: -0.2}),  # 0.3 - 0.1 - 0.2 is not 0 in floats
        (8, {"wallet:BaseToken:ETH": 1.0}),
    ]
    assert sum([0.3, -0.1, -0.2]) != 0.0
    assert ledger.ticks_in_market(changes, "USDT", 10) == 2 + 2
    assert ledger.ticks_in_market(changes, "ETH", 10) == 8
    assert ledger.ticks_in_market([], "USDT", 10) == 0
    assert ledger.ticks_in_market(changes, "USDT", 5) == 1


def test_who_was_paid_comes_from_the_double_entry() -> None:
    delta = {"instrument_key": "wallet:BaseToken:USDT", "price": 1.0}
    postings = [
        {"account": "wallet:BaseToken:USDT", "token": "USDT", "amount": -10.0},
        {"account": "fees:binance", "token": "USDT", "amount": 4.0},
        {"account": "gas:ethereum", "token": "USDT", "amount": 1.0},
        {"account": "fees:binance", "token": "USDT", "amount": 2.0},
        {"account": "liquidation:aave_v3", "token": "USDT", "amount": 3.0},
        {"account": "market:binance", "token": "USDT", "amount": 5.0},
    ]
    assert ledger.paid([{"deltas": [delta], "postings": postings}]) == {
        "fees": {"binance": 6.0},
        "gas": {"ethereum": 1.0},
        "liquidation": {"aave_v3": 3.0},
    }


def test_comparison_shows_what_differs(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [1000.0, 1010.0])
    write_run(
        tmp_path / "b", [1000.0, 1030.0], config={"time_step_s": 3600, "risk": {"hf_warn": 1.25}}, event_hash="4" * 64
    )
    a, b = (Results(tmp_path / name).report(CID) for name in "ab")
    found = compare(a, b)
    assert found.same_events is False
    metric = found.metrics["total_return"]
    assert metric.difference == pytest.approx(0.02)
    assert found.metrics["target_met"].difference is None
    assert found.config["risk.hf_breach"].model_dump() == {"a": 1.1, "b": None}
    assert "risk.hf_warn" not in found.config
    assert compare(a, a).config == {}
    nothing = compare(a, b.model_copy(update={"metrics": None}))
    assert (nothing.metrics["total_return"].b, nothing.metrics["total_return"].difference) == (None, None)


def test_only_charts_worth_drawing() -> None:
    levels = columns.triggers({"risk": {"hf_warn": 1.25, "hf_breach": 1.1}})
    known = columns.describe(
        ["equity", "capital", "drawdown", "attribution.funding", "attribution.gas", "exposure.USDT", "health_factor",
         "margin_ratio.okx", "position.okx:Perp:BTCUSDT"],
        "USDT",
        levels,
    )  # fmt: skip
    found = columns.charts(known, {"funding": 3.0, "gas": 0.0}, "USDT")
    assert [chart.name for chart in found] == ["equity", "drawdown", "attribution", "margin_ratio"]
    assert found[2].columns == ["attribution.funding"]
    health = next(column for column in known if column.name == "health_factor")
    assert (health.trigger, health.group, health.unit) == (1.1, "risk", "ratio")
    for name in ("secret", "attribution", "attribution.", "position", "growth", "tick", "__class__"):
        assert columns.group_of(name) is None


class Tags(HTMLParser):
    """Elements of a page, and the text that is not within scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in_script = tag in {"script", "style"}
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if not self._in_script:
            self.text.append(data)


def test_nothing_of_a_log_becomes_markup(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    positions = event(
        1, 10, positions={evil: 1.0, KEYS[0]: 5.0}, total_value_usd=1.0, position_type="p", trigger_source="t"
    )
    exposure = event(
        2,
        20,
        net_delta_usd=0.0,
        asset_exposures={evil: {"quantity": 1.0, "usd_value": 2.0, "percentage": 0.0}},
        total_value_usd=1.0,
        share_class_value=1000.0,
    )
    write_run(
        tmp_path,
        [1000.0, 1001.0],
        strategy=evil,
        error=evil,
        error_code="X",
        data_notes=(evil,),
        data_path=evil,
        code_version=evil,
        share_class=evil,
        extra={"positions": [positions | {"order": positions["order"] + 1}], "exposures": [exposure]},
    )
    page = Results(tmp_path).tearsheet(CID)
    parser = Tags()
    parser.feed(page)
    assert "img" not in parser.tags
    assert set(parser.tags) <= {
        "html", "head", "meta", "title", "style", "script", "body", "h1", "h2", "p", "section", "div", "table", "tr", "td", "th",
    }  # fmt: skip
    assert evil in "".join(parser.text)
    charts = page.split("</script></head>")[1]
    assert evil not in charts
    assert "<img" not in charts
    assert re.search(r'name":"[^"]*\\u003c\\u002fscript', charts) is None, (
        "names are escaped for plotly, which reads markup"
    )


def test_months_multiply_to_the_whole(tmp_path: Path) -> None:
    equity = [1000.0 * math.exp(0.0001 * tick) for tick in range(24 * 70)]
    equity[0] = 995.0
    write_run(tmp_path, equity, {24 * 30: 0.0})
    page = Results(tmp_path).tearsheet(CID)
    found = [float(text) / 100 for text in re.findall(r'<td class="(?:up|down)">(-?[\d.]+)%</td>', page)]
    assert len(found) == 3
    assert math.prod(1 + change for change in found) == pytest.approx(equity[-1] / 1000.0, abs=3e-4)
