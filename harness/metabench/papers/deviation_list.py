"""The numbered list of deviations from the sources that verdicts refer to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from metabench.plugin.source_deviation import SourceDeviation


@dataclass(frozen=True, slots=True)
class ListedDeviation:
    """One deviation of a list.

    Attributes:
        label: what verdicts call it, ``D1``.
        rows: the rows, or the sides of a claim, that it concerns.
        deviation: what is done otherwise.
    """

    label: str
    rows: tuple[str, ...]
    deviation: SourceDeviation

    def __str__(self) -> str:
        """A line of the list."""
        return f"{self.label} ({', '.join(self.rows)}): {self.deviation}"

    def values(self) -> dict[str, Any]:
        """For JSON."""
        said = self.deviation.model_dump(
            mode="json", include={"where", "source", "here", "why", "comparable"}
        )
        return {"label": self.label, "rows": list(self.rows), **said}


class DeviationList:
    """Numbers deviations in the order in which they are met."""

    def __init__(self) -> None:
        self._found: list[tuple[SourceDeviation, dict[str, None]]] = []

    def add(self, row: str, found: Iterable[SourceDeviation]) -> tuple[ListedDeviation, ...]:
        """Enter the deviations that concern a row; return them as listed for this row alone."""
        return tuple(
            ListedDeviation(self._label(deviation, row), (row,), deviation) for deviation in found
        )

    def _label(self, deviation: SourceDeviation, row: str) -> str:
        for number, (known, rows) in enumerate(self._found, start=1):
            if known == deviation:
                rows[row] = None
                return f"D{number}"
        self._found.append((deviation, {row: None}))
        return f"D{len(self._found)}"

    def listed(self) -> tuple[ListedDeviation, ...]:
        """All of them, each with its rows."""
        return tuple(
            ListedDeviation(f"D{number}", tuple(rows), deviation)
            for number, (deviation, rows) in enumerate(self._found, start=1)
        )


def joined(lists: Iterable[Iterable[ListedDeviation]]) -> tuple[ListedDeviation, ...]:
    """Parts of one list together, by label, each deviation with all of its rows."""
    rows: dict[str, dict[str, None]] = {}
    deviations = {}
    for one in (one for part in lists for one in part):
        rows.setdefault(one.label, {}).update(dict.fromkeys(one.rows))
        deviations[one.label] = one.deviation
    labels = sorted(rows, key=lambda label: int(label.removeprefix("D")))
    return tuple(ListedDeviation(label, tuple(rows[label]), deviations[label]) for label in labels)
