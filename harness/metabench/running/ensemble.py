"""Several weights of one learner that predict together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metabench.plugin.contracts.episode import Adapted, Labelled, Predictor, TaskKind
from metabench.plugin.contracts.learner import Learner
from metabench.running import checkpoint
from metabench.running.checkpoint import TRAINING_ID


@dataclass(frozen=True, slots=True)
class Ensemble:
    """A learner at several of its states, each of which adapts by itself.

    The prediction is the mean of theirs: of class probabilities, given as their logs, or of
    targets. What belongs to one network alone (genotypes, embeddings, variants) is not there.

    Attributes:
        learner: holds one state at a time.
        states: of :meth:`metabench.Learner.state_dict`, the best first.
        kind: classification or regression.
        n_params: the weights of one member's network, where the learner does not say; None if
            unknown.
    """

    learner: Learner
    states: Sequence[Mapping[str, Any]]
    kind: TaskKind
    n_params: int | None

    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Adapt each member to the tasks of ``support``, all with the same random numbers."""
        drawn_from, members = rng.get_state(), []
        for state in self.states:
            self.learner.load_state_dict(state)
            rng.set_state(drawn_from)
            members.append(self.learner.adapt(support, rng=rng))
        curves = [member.curve or () for member in members]
        sizes: list[Sequence[int | None]] = [
            member.n_params or [self.n_params] * len(support.x) for member in members
        ]
        together = [_sum(of_task) for of_task in zip(*sizes, strict=True)]
        return Adapted(
            predict=self._together([member.predict for member in members]),
            curve=[self._together(point) for point in zip(*curves, strict=False)] or None,
            n_params=None if None in together else [size for size in together if size is not None],
        )

    def _together(self, predictors: Sequence[Predictor]) -> Predictor:
        return partial(self._mean, predictors)

    def _mean(self, predictors: Sequence[Predictor], x: Tensor) -> Tensor:
        outputs = []
        for state, predict in zip(self.states, predictors, strict=True):
            # A predictor may read the learner's own weights.
            self.learner.load_state_dict(state)
            outputs.append(predict(x))
        stacked = torch.stack(outputs)
        if self.kind == "regression":
            return stacked.mean(dim=0)
        return stacked.log_softmax(dim=-1).logsumexp(dim=0) - torch.tensor(len(outputs)).log()


def _sum(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def keep(
    path: Path,
    state: Mapping[str, Any],
    *,
    step: int,
    score: float,
    best: float | None,
    sign: float,
    most: int,
    training_id: str = "",
) -> float:
    """Keep a state in a file of the best ones, if it is one of them.

    Args:
        path: of the file.
        state: of the learner.
        step: its meta-step. States of this and of later steps, which an interrupted start left,
            are forgotten.
        score: on meta-validation.
        best: the best score so far; None for none.
        sign: 1 where larger scores are better, else -1.
        most: how many states to keep. A single one is compared with ``best`` alone, so that no
            file is read.
        training_id: of the training.

    Returns:
        The best score, that of this state included.
    """
    if most == 1 and best is not None and sign * score <= sign * best:
        return best
    earlier = kept(path) if most > 1 and path.exists() else []
    members = [one for one in earlier if one["step"] < step]
    member = {"step": step, "score": score, "learner": dict(state), TRAINING_ID: training_id}
    members.append(member)
    members.sort(key=lambda one: (-sign * one["score"], one["step"]))
    first, *others = members[:most]
    checkpoint.save(path, {**first, "others": others})
    return float(first["score"])


def kept(path: Path, *, device: torch.device | str = "cpu") -> list[dict[str, Any]]:
    """The states of a file that :func:`keep` wrote: ``step``, ``score``, ``learner``; best first.

    Raises:
        DataError: when the file is damaged.
    """
    best = checkpoint.load(path, device=device)
    return [best, *best.pop("others", ())]
