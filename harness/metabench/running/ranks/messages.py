"""What the leader tells its followers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from metabench.planning.plan import PlannedRun

Evaluated = Literal["meta-val", "meta-test"]


@dataclass(frozen=True, slots=True)
class Build:
    """Build a run; all say how it went.

    Attributes:
        planned: the run.
        metrics: further metrics of its episodes.
    """

    planned: PlannedRun
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Take over states of the learner: one, or those of an ensemble.

    Attributes:
        states: with tensors on the CPU.
        together: whether they predict together.
    """

    states: Sequence[Mapping[str, Any]]
    together: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Make a meta-step.

    Attributes:
        number: from 0.
    """

    number: int


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Evaluate on chunks of episodes, one for each rank that has one; all bring what they found.

    Attributes:
        split: whose episodes.
        firsts: the first episode of each chunk, by rank.
    """

    split: Evaluated
    firsts: Sequence[int]


@dataclass(frozen=True, slots=True)
class End:
    """There is nothing left to do."""


Message = Build | Load | Step | Evaluate | End


def moved(state: Any, device: torch.device | str) -> Any:
    """A nested state with its tensors on a device."""
    if isinstance(state, Tensor):
        return state.detach().to(device)
    if isinstance(state, Mapping):
        return {name: moved(value, device) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(moved(value, device) for value in state)
    return state
