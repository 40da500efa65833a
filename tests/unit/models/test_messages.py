"""Messages of the bus: lengths, ids, ranges, and the wire."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.support.documentation import undocumented

from basis.models import messages
from basis.models.base import FrozenModel
from basis.models.messages import AdvanceRequest, Checkpoint, Control, PortfolioState, RunRef, RunSubmit, Window
from basis.runtime import codec
from basis.testkit import strategies as bst
from basis.testkit.runs import CID, START, mode_config, run_ref


def submit(**changes: Any) -> RunSubmit:
    fields: dict[str, Any] = {
        "correlation_id": CID,
        "run_mode": "backtest",
        "config": b"{}",
        "config_sha256": "0" * 64,
        "start": START,
        "end": START + timedelta(hours=1),
        "initial_capital": 1.0,
        "data_sha256": "0" * 64,
        "data_path": "/data",
        "submitted_at": START,
    }
    return RunSubmit.model_validate(fields | changes)


@pytest.mark.parametrize("end", [START, START - timedelta(seconds=1)])
def test_run_that_does_not_end_after_its_start_raises(end: Any) -> None:
    with pytest.raises(ValidationError, match="is not before end"):
        submit(end=end)


@pytest.mark.parametrize("capital", [0.0, -1.0, float("nan"), float("inf")])
def test_capital_that_is_no_positive_number_raises(capital: float) -> None:
    with pytest.raises(ValidationError, match="initial_capital"):
        submit(initial_capital=capital)


@pytest.mark.parametrize(
    "cid", ["", "x" * 32, "0" * 31, "0" * 33, "A" * 32, "../" + "0" * 29, "0" * 31 + "*", "0" * 32 + "\n"]
)
def test_correlation_id_that_is_not_32_hex_digits_raises(cid: str) -> None:
    with pytest.raises(ValidationError, match="correlation_id"):
        submit(correlation_id=cid)


@pytest.mark.parametrize("part", ["market", "balances"])
@given(ticks=st.integers(1, 20), off=st.integers(-8, 8).filter(bool))
def test_window_whose_column_has_another_length_raises(part: str, ticks: int, off: int) -> None:
    columns: dict[str, dict[str, bytes]] = {"market": {}, "balances": {}} | {part: {"x": bytes(8 * ticks + off)}}
    with pytest.raises(ValidationError, match="expected"):
        Window(first_tick=0, ticks=ticks, **columns)


def test_window_without_ticks_raises() -> None:
    with pytest.raises(ValidationError, match="ticks"):
        Window(first_tick=0, ticks=0, market={}, balances={})


@given(
    values=st.lists(bst.floats(-1e12, 1e12), min_size=1, max_size=64),
    first=st.integers(0, 10**6),
)
def test_advance_request_and_window_survive_the_wire_bit_for_bit(values: list[float], first: int) -> None:
    run = run_ref(mode_config())
    request = AdvanceRequest(run=run, ledger={"wallet:BaseToken:USDT": values[0]}, first_tick=first, ticks=len(values))
    assert codec.decode(codec.encode(request), AdvanceRequest) == request
    packed = codec.pack(values, "x")
    window = Window(first_tick=first, ticks=len(values), market={"x": packed}, balances={})
    again = codec.decode(codec.encode(window), Window)
    assert np.array_equal(codec.unpack(again.market["x"]), np.array(values))


def test_run_ref_keeps_the_configuration_as_bytes() -> None:
    run = run_ref(mode_config())
    again = codec.decode(codec.encode(run), RunRef)
    assert again.config == run.config


@given(ledger=bst.ledgers(("wallet:BaseToken:USDT", "aave_v3:aToken:aUSDT")))
def test_checkpoint_survives_json(ledger: dict[str, float]) -> None:
    state = PortfolioState(
        positions=ledger, capital=1.0, attribution={}, pnl_by_venue={}, pnl_by_asset={}, market={}, applied=("a",)
    )
    checkpoint = Checkpoint(pid=1, started_at=START, next_tick=3, window=8, ledger=ledger, portfolio=state)
    assert Checkpoint.model_validate_json(checkpoint.model_dump_json()) == checkpoint


def test_control_knows_two_commands() -> None:
    with pytest.raises(ValidationError, match="command"):
        Control.model_validate({"command": "explode"})


MODELS = [
    found
    for _, found in inspect.getmembers(messages, inspect.isclass)
    if issubclass(found, FrozenModel) and found.__module__.startswith("basis.models.messages.")
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_message_is_strict_frozen_and_documented(model: type[FrozenModel]) -> None:
    assert model.model_config.get("frozen") is True
    assert model.model_config.get("extra") == "forbid"
    assert model.model_config.get("allow_inf_nan") is False
    assert (model.__doc__ or "").strip()
    assert not undocumented(model)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_time_in_a_message_is_aware(model: type[FrozenModel]) -> None:
    for name, field in model.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        assert "datetime" not in {getattr(kind, "__name__", "") for kind in kinds}, name
