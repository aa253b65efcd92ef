"""Names that no installed plugin provides: of plugins that come later, or slips of the pen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metabench.conformance.base import Doubt
from metabench.errors import unknown


def sentences_on(kind: str, known: Mapping[str, Any], names: Iterable[str | None]) -> list[str]:
    """A sentence with the nearest names for each name that is not known, each name once."""
    strange = (name for name in dict.fromkeys(filter(None, names)) if name not in known)
    errors = [unknown(kind, name, known) for name in strange]
    return [f"{error.message} {error.hint}" for error in errors]


def raise_doubts(sentences: Iterable[str]) -> None:
    """Raise Doubt with all sentences, if there are any."""
    if text := " ".join(sentences):
        raise Doubt(text)
