"""The parts of meta-training, where a learner wants batches of several kinds one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metabench.plugin.contracts.episode import EpisodeShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of meta-training with batches of its own.

    Every meta-step of a phase gets episodes, labelled examples of the meta-train classes, or both,
    in one :class:`~metabench.TaskBatch`.

    Attributes:
        name: of the phase, such as ``pre-train``.
        share: the part of the meta-steps that it takes, above 0; the shares add up to 1. Its end is
            rounded to a whole meta-step, and a phase that gets none is refused.
        tasks: episodes per meta-step; None for the budget's number, 0 for none.
        shape: examples per episode; None for the shape on which the learner trains otherwise.
        examples: labelled examples per meta-step.
        selects: whether meta-validation may select weights of this phase for the test. If no phase
            selects, the last weights are tested.
    """

    name: str
    share: float
    tasks: int | None = None
    shape: EpisodeShape | None = None
    examples: int = 0
    selects: bool = True


ONE_PHASE = (Phase(name="meta-train", share=1.0),)
"""What a learner without phases has."""


def first_steps(phases: Sequence[Phase], meta_steps: int) -> list[int]:
    """The meta-step at which each phase begins, and the end of the last.

    >>> first_steps([Phase(name="a", share=0.25), Phase(name="b", share=0.75)], 10)
    [0, 2, 10]
    """
    ends = [0.0]
    for phase in phases:
        ends.append(ends[-1] + phase.share)
    return [round(end * meta_steps) for end in ends[:-1]] + [meta_steps]
