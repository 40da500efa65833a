"""Docstrings of model fields: what schemas show once ``document_fields`` was called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic._internal._docs_extraction import extract_docstrings_from_cls

if TYPE_CHECKING:
    from pydantic import BaseModel


def undocumented(model: type[BaseModel]) -> list[str]:
    """Fields of a model, inherited ones included, that have no docstring."""
    documented: set[str] = set()
    for base in model.__mro__:
        if base.__module__.startswith("basis."):
            documented |= {
                name for name, text in extract_docstrings_from_cls(base, use_inspect=True).items() if text.strip()
            }
    return [f"{model.__name__}.{name}" for name in model.model_fields if name not in documented]
