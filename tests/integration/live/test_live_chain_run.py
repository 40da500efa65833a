"""Live runs on a real EVM node with the real Aave: every order signed, sent, and read from its receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.chain import Account, begin
from tests.support.cluster import assert_every_event_once, event_lines
from tests.support.live import ARMED, assert_verified, live_cluster
from tests.support.warp import chain_factories

from basis.models.errors import InputError
from basis.runtime.clock import SharedClock

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.timeout(240)]
UNITS = 10**6


async def test_200_ticks_of_pure_lending(account: Account, tmp_path: Path) -> None:
    clock = SharedClock(tmp_path / "clock")
    async with live_cluster(
        tmp_path, tmp_path, begin(account), chain_factories(account, clock), live_trading=True
    ) as cluster:
        submit = await cluster.start("pure_lending_usdt", ticks=200, mode="live", **ARMED)
        outcome = await cluster.ended(submit.correlation_id)
    assert outcome.status.status == "completed", outcome.status
    assert outcome.ticks == 200
    assert_every_event_once(outcome)
    assert_verified(outcome)
    assert submit.initial_capital == pytest.approx(50_000.0, rel=1e-3)
    found = event_lines(outcome)
    executed = found["operation_executions"]
    assert [line["operation_type"] for line in executed] == ["supply"]
    assert not executed[0]["simulated"]
    assert all(line["success"] for line in found["reconciliations"])
    scaled = account.world.a_token("USDT").call("scaledBalanceOf", account.address)
    last = found["positions"][-1]["positions"]
    assert last["aave_v3:aToken:aUSDT"] == pytest.approx(scaled / UNITS, rel=1e-9)
    assert last["wallet:BaseToken:USDT"] == pytest.approx(account.units("USDT") / UNITS, abs=1e-6)


async def test_a_run_that_is_not_armed_is_refused(account: Account, tmp_path: Path) -> None:
    clock = SharedClock(tmp_path / "clock")
    factories = chain_factories(account, clock)
    before = account.everything()
    async with live_cluster(tmp_path, tmp_path, begin(account), factories) as cluster:
        with pytest.raises(InputError, match=r"VEN-016.*live.enabled"):
            await cluster.start("pure_lending_usdt", mode="live")
        with pytest.raises(Exception, match=r"VEN-016.*BASIS_LIVE_TRADING"):
            await cluster.start("pure_lending_usdt", mode="live", **ARMED)
    assert account.everything() == before
