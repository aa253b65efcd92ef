"""The phases of meta-training, and the batches of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from metabench.plugin.contracts.episode import EpisodeShape, Labelled, TaskBatch, TaskShape
from metabench.plugin.contracts.phase import Phase
from metabench.results.schema import PhaseRecord
from metabench.sampling.labelled import LabelledSampler
from metabench.sampling.sampler import EpisodeSampler


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPhase:
    """A phase of one run.

    Attributes:
        phase: what the learner asked for.
        name: of the phase, as learners read it in batches; "" of a training with a single one.
        first: the meta-step at which it begins.
        stop: the meta-step at which it ends.
        n_tasks: episodes per meta-step.
        episodes: where they come from.
        labelled: where labelled examples come from; None if the phase asks for none.
        shape: of the episodes.
        task: inputs and outputs of the network.
        device: of the tensors.
    """

    phase: Phase
    name: str
    first: int
    stop: int
    n_tasks: int
    episodes: EpisodeSampler
    labelled: LabelledSampler | None
    shape: EpisodeShape
    task: TaskShape
    device: torch.device

    def record(self) -> PhaseRecord:
        """What the record of the run says about it."""
        return PhaseRecord(
            name=self.phase.name,
            meta_steps=self.stop - self.first,
            ways=self.shape.ways,
            shots=self.shape.shots,
            queries=self.shape.queries,
            tasks=self.n_tasks,
            examples=self.phase.examples,
        )

    def batches(self, step: int) -> Iterator[TaskBatch]:
        """The batches from a meta-step of this phase to its end."""
        start, stop = step - self.first, self.stop - self.first
        if self.n_tasks:
            drawn = self.episodes.stream(start, stop, self.n_tasks)
        else:
            drawn = (self._no_tasks() for _ in range(start, stop))
        if not self.name:
            yield from drawn
            return
        for at, tasks in enumerate(drawn, start=start):
            labelled = self.labelled
            batch = (
                None if labelled is None else labelled.batch(self.first + at, self.phase.examples)
            )
            yield replace(tasks, phase=self.name, labelled=batch)

    def _no_tasks(self) -> TaskBatch:
        x = torch.zeros(0, 0, *self.task.inputs, device=self.device)
        none = Labelled(x, torch.zeros(0, 0, dtype=torch.int64, device=self.device))
        return TaskBatch(none, none, (), ())


def batches(
    phases: Sequence[TrainingPhase], step: int
) -> Iterator[tuple[TrainingPhase, TaskBatch]]:
    """The batches from a meta-step to the end of the last phase, each with its phase."""
    for phase in phases:
        if step < phase.stop:
            for tasks in phase.batches(max(step, phase.first)):
                yield phase, tasks
