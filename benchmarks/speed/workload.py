"""What a workload is: something that metabench and its peers can be timed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from race import Local


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not depend on time.

    Attributes:
        gflop: floating-point operations of one task, in billions; None where not counted.
        differences: how far the result of an entrant is from ours in float64, by name: the largest
            difference over the largest value.
        note: what a reader must know besides.
    """

    gflop: float | None = None
    differences: Mapping[str, float] | None = None
    note: str = ""


class Workload(Protocol):
    """Entrants that do the same work. Each method makes new ones, so that memory is freed after."""

    @property
    def name(self) -> str:
        """As ``--workload`` says it."""
        ...

    @property
    def summary(self) -> str:
        """One line: what one task is."""
        ...

    def ours(self) -> Mapping[str, Local]:
        """What metabench offers; the first is what others are compared with."""
        ...

    def peers(self) -> Mapping[str, Local]:
        """What is installed to compare with."""
        ...

    def facts(self) -> Facts:
        """What is known beside the rates."""
        ...
