"""Deposits and withdrawals that wait for the loop of a backtest: each is answered, once, and not before it is on record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from basis.models.errors import ComponentError
from basis.models.messages import Control
from basis.strategy.asked_flows import AskedFlows

if TYPE_CHECKING:
    from collections.abc import Callable

CID = "0" * 32


def deposit(request_id: str) -> Control:
    return Control(command="deposit", amount=10.0, request_id=request_id)


async def asked(flows: AskedFlows, *request_ids: str) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(flows.ask(deposit(request_id))) for request_id in request_ids]
    await asyncio.sleep(0)
    return tasks


async def test_request_is_answered_once_it_is_confirmed() -> None:
    flows = AskedFlows(CID)
    assert not flows
    (waiting,) = await asked(flows, "a")
    assert flows
    assert not waiting.done()
    flows.confirm(flows.requests())
    await waiting
    assert not flows


async def test_same_request_counts_once_and_answers_everyone() -> None:
    flows = AskedFlows(CID)
    tasks = await asked(flows, "a", "b", "a", "a")
    tasks[0].cancel()  # whoever asked first has gone
    await asyncio.sleep(0)
    assert [request.request_id for request in flows.requests()] == ["a", "b"]
    flows.confirm(flows.requests())
    _, unanswered = await asyncio.wait(tasks[1:], timeout=1.0)
    assert not unanswered


async def test_what_is_asked_while_others_are_recorded_waits() -> None:
    flows = AskedFlows(CID)
    (first,) = await asked(flows, "a")
    requests = flows.requests()
    (second,) = await asked(flows, "b")
    flows.confirm(requests)
    await first
    assert not second.done()
    assert flows.requests() == (deposit("b"),)
    flows.end()
    with pytest.raises(ComponentError) as refused:
        await second
    assert refused.value.error_code == "RUN-003"


@pytest.mark.parametrize(("how", "code"), [(AskedFlows.hand_over, "BUS-002"), (AskedFlows.end, "RUN-003")])
async def test_nobody_waits_for_an_engine_that_is_gone(how: Callable[[AskedFlows], None], code: str) -> None:
    flows = AskedFlows(CID)
    tasks = await asked(flows, "a", "b")
    how(flows)
    assert not flows
    for task in tasks:
        with pytest.raises(ComponentError) as refused:
            await task
        assert refused.value.error_code == code
    with pytest.raises(ComponentError) as late:
        await flows.ask(deposit("c"))
    assert late.value.error_code == "RUN-003"
