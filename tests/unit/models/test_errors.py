"""Error registry and the one exception that carries its codes."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models import errors
from basis.models.errors import ERROR_REGISTRY, ComponentError, InputError, Severity, default_severity

NAMED_IN_BEHAVIOUR = {
    f"{area}-{number:03d}"
    for area, numbers in {
        "POS": (1, 2, 3),
        "EXP": (1, 2, 3),
        "RISK": (1, 2, 3),
        "PNL": (1, 2),
        "EXEC": (1, 2, 3, 4, 5, 6),
        "VEN": (1, 2, 3, 5, 6, 7),
        "LOG": (1, 2, 3),
        "STRAT": (1, 2, 3),
        "DATA": (1, 2, 3, 4),
        "CONFIG": (1, 2, 3),
        "ENGINE": (1, 2),
    }.items()
    for number in numbers
}


def test_every_code_of_behaviour_section_7_is_registered() -> None:
    assert set(ERROR_REGISTRY) >= NAMED_IN_BEHAVIOUR


@pytest.mark.parametrize("code", sorted(ERROR_REGISTRY))
def test_code_has_its_form_a_message_and_a_severity(code: str) -> None:
    assert re.fullmatch(r"[A-Z]+-\d{3}", code)
    assert ERROR_REGISTRY[code].strip()
    assert isinstance(default_severity(code), Severity)


def test_messages_are_unique() -> None:
    assert len(set(ERROR_REGISTRY.values())) == len(ERROR_REGISTRY)


def test_severities_are_given_for_registered_codes_only() -> None:
    assert set(errors._SEVERITIES) <= set(ERROR_REGISTRY)


def test_str_names_code_component_and_message() -> None:
    assert str(ComponentError("POS-001", "off by one", "position_monitor")) == "[POS-001] position_monitor: off by one"


def test_unknown_code_raises_value_error() -> None:
    with pytest.raises(ValueError, match="NOPE-001"):
        ComponentError("NOPE-001", "x", "y")


def test_severity_of_a_code_may_be_overridden_and_is_critical_unless_listed() -> None:
    assert ComponentError("EXEC-004", "x", "y").severity is Severity.CRITICAL
    assert ComponentError("POS-001", "x", "y").severity is Severity.HIGH
    assert ComponentError("POS-001", "x", "y", Severity.LOW).severity is Severity.LOW


def test_registry_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        ERROR_REGISTRY["POS-001"] = "changed"  # type: ignore[index]


@given(
    code=st.sampled_from(sorted(ERROR_REGISTRY)),
    message=st.text(max_size=50),
    severity=st.none() | st.sampled_from(Severity),
    kind=st.sampled_from([ComponentError, InputError]),
)
def test_error_survives_pickle_and_copy(
    code: str, message: str, severity: Severity | None, kind: type[ComponentError]
) -> None:
    error = kind(code, message, "component", severity)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert again.severity == error.severity
