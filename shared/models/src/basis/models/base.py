"""Base model and number types that every Basis model shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class FrozenModel(BaseModel):
    """Immutable, refuses unknown fields, refuses NaN and infinity; built on first use."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        defer_build=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )


def document_fields() -> None:
    """Make field docstrings the descriptions of schemas, for every model that is defined after this call.

    For generators of documentation and the HTTP gateway alone: pydantic reads and compiles the source of each model for
    it, which costs half a second that no run should pay.
    """
    FrozenModel.model_config["use_attribute_docstrings"] = True


Positive = Annotated[float, Field(gt=0)]
"""Finite float above zero."""
NonNegative = Annotated[float, Field(ge=0)]
"""Finite float, zero or above."""
Fraction = Annotated[float, Field(ge=0, le=1)]
"""Finite float from 0 to 1: 0.05 is 5 %."""
CorrelationId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""uuid4 hex of a run, 32 lower-case hex digits. Anything else never touches a path or a subject."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256, 64 lower-case hex digits."""
