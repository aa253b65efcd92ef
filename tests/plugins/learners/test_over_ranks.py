"""An outer gradient of which several ranks have a part each."""

from __future__ import annotations

import pytest
import torch
from small_tasks import context
from torch import Tensor

from metabench import Params
from metabench.conformance.bench import Bench
from metabench.conformance.learners import ROUNDING, _shared_step
from metabench.conformance.ranks import distance, together
from metabench.conformance.samples import in_float64
from metabench.plugin.catalog import load_catalog
from metabench.plugin.contracts.ranks import ONE_RANK, Ranks
from metabench_plugins.learners.parts.outer_gradient import gradients_by_parts
from metabench_plugins.learners.parts.over_ranks import over_ranks, own_parts, share_of_tasks

CATALOG = load_catalog()


def test_a_rank_divides_its_own_tasks() -> None:
    found = together(2, lambda ranks: (own_parts(ranks, 7, 3), share_of_tasks(ranks, 7)))
    assert found == [([slice(0, 2), slice(2, 4)], 4 / 7), ([slice(4, 7)], 3 / 7)]
    assert own_parts(ONE_RANK, 4, 3) == [slice(0, 2), slice(2, 4)]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_the_sum_over_uneven_ranks_is_the_whole_gradient(most: int) -> None:
    """Of a start that tasks share, one that each has, a direct use, and a penalty."""
    rng = torch.Generator().manual_seed(0)
    weight, gate, idle = (
        torch.randn(3, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(3)
    )
    data = torch.randn(5, 3, generator=rng, dtype=torch.float64)
    weights = [weight, gate, idle]

    def found(ranks: Ranks) -> tuple[list[Tensor | None], dict[str, Tensor]]:
        start = {"w": weight[None].expand(5, -1) * data, "gate": gate.square()[None]}
        seen: list[Tensor] = []

        def losses(own: Params, part: slice) -> Tensor:
            values = ((own["w"] * own["gate"]).sin() * data[part] + weight * 0.1).sum(dim=1)
            seen.append(values.detach())
            return values

        gradients = gradients_by_parts(
            losses,
            start,
            weights,
            parts=own_parts(ranks, 5, most),
            factor=1 / 5,
            beside=None if ranks.rank else (weight * gate).sum(),
        )
        means = {"loss": torch.cat(seen).mean()}
        return over_ranks(ranks, gradients, weights, means, n_tasks=5)

    whole = (weight * data * gate.square()).sin() * data + weight * 0.1
    total = whole.sum(dim=1).mean() + (weight * gate).sum()
    wanted = [*torch.autograd.grad(total, [weight, gate]), None]
    loss = float(whole.detach().sum(dim=1).mean())
    for count in (1, 2, 3):
        for gradients, means in together(count, found):
            assert distance(gradients, wanted) < 1e-14
            assert float(means["loss"]) == pytest.approx(loss, abs=1e-14)


@pytest.mark.parametrize("name", ["maml", "meta-sgd", "mtnet", "bmaml", "hsml"])
@pytest.mark.parametrize("count", [2, 3])
def test_ranks_descend_what_one_process_descends(name: str, count: int) -> None:
    """Also with terms beside the tasks (hsml) and draws for each task (mtnet)."""
    bench = Bench(CATALOG.learner(name), "regression", lambda: CATALOG)
    with in_float64():
        ((_, (whole,), _),) = together(1, lambda ranks: _shared_step(bench, 0, ranks))
        shared = together(count, lambda ranks: _shared_step(bench, 0, ranks))
    assert len(shared) == count
    for _, (gradients,), _ in shared:
        assert distance(gradients, whole) < ROUNDING


def test_a_learner_has_a_single_rank_unless_it_is_given_others() -> None:
    assert context(None).ranks is ONE_RANK
