"""Ranks in threads, and the check of learners that share their tasks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conformance_specs import assert_fails, learner_spec, outcomes
from torch import Tensor

from metabench.conformance.ranks import distance, together
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.ranks import ONE_RANK, Ranks
from metabench_plugins.learners.maml import Maml

CHECK = "regression: two ranks make the step of one"


def test_threads_sum_what_they_bring() -> None:
    like = [torch.zeros(2), torch.zeros(1), torch.zeros(1)]

    def work(ranks: Ranks) -> list[Tensor | None]:
        own = torch.full((2,), 10.0**ranks.rank)
        only_last = torch.ones(1) if ranks.rank == 2 else None
        ranks.summed([own, None, None], like=like)
        return ranks.summed([own, only_last, None], like=like)

    for first, second, third in together(3, work):
        assert first is not None
        assert first.tolist() == [111.0, 111.0]
        assert second is not None
        assert second.tolist() == [1.0]
        assert third is None


def test_a_rank_that_waits_in_vain_is_told() -> None:
    def work(ranks: Ranks) -> None:
        for _ in range(ranks.rank):
            ranks.summed([], like=[])

    with pytest.raises(RuntimeError, match="sums more often than another"):
        together(2, work)


def test_the_error_of_a_rank_comes_out() -> None:
    def work(ranks: Ranks) -> None:
        if ranks.rank == 0:
            raise KeyError("mine")
        ranks.summed([], like=[])

    with pytest.raises(KeyError, match="mine"):
        together(2, work)


def test_distance_is_a_part_of_the_largest_number() -> None:
    wanted = [torch.tensor([0.0, 4.0]), None]
    assert distance([torch.tensor([1.0, 4.0]), None], wanted) == 0.25
    assert distance(wanted, wanted) == 0.0
    assert distance([torch.tensor([0.0, 4.0]), torch.zeros(1)], wanted) == float("inf")


class SumsNothing(Maml):
    """Runs all tasks on all ranks, in the first one others."""

    def meta_step(self, tasks, *, progress, rng):
        ranks = self.context.ranks
        ranks.summed([], like=[])
        self.context = replace(self.context, ranks=ONE_RANK)
        if ranks.count > 1 and ranks.rank == 0:
            tasks = replace(tasks, support=replace(tasks.support, x=2 * tasks.support.x))
        return super().meta_step(tasks, progress=progress, rng=rng)


class DrawsForItself(Maml):
    """Its tasks see other noise on other ranks."""

    def outer_gradient(self, start, tasks, *, parts=None):
        noise = 0.01 * torch.randn(1, generator=torch.Generator().manual_seed(self._rank))
        weights = {name: w + noise for name, w in start.weights.items()}
        return super().outer_gradient(replace(start, weights=weights), tasks, parts=parts)

    @property
    def _rank(self):
        return self.context.ranks.rank


class NeverAsks(Maml):
    """Runs all tasks on all ranks, and sums nothing."""

    def meta_step(self, tasks, *, progress, rng):
        self.context = replace(self.context, ranks=ONE_RANK)
        return super().meta_step(tasks, progress=progress, rng=rng)


def test_a_sound_learner_passes(catalog: Catalog) -> None:
    spec = learner_spec(Maml, splits_tasks=True)
    assert outcomes(spec, catalog, CHECK)[CHECK].status == "ok"


def test_a_learner_that_does_not_split_is_not_asked(catalog: Catalog) -> None:
    assert outcomes(learner_spec(Maml), catalog, CHECK) == {}


@pytest.mark.parametrize(
    ("learner", "said"),
    [
        (NeverAsks, "0 times"),
        (SumsNothing, "two ranks log"),
        (DrawsForItself, "add up to another one"),
    ],
)
def test_a_learner_that_splits_wrongly_fails(learner: type, said: str, catalog: Catalog) -> None:
    assert_fails(learner_spec(learner, splits_tasks=True), catalog, CHECK, said)
