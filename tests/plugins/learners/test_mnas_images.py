"""M-NAS on images: per-task architectures in the template of T-NAS, and gates of low rank."""

from __future__ import annotations

import pytest
import torch
from small_tasks import IMAGES, TASKS, batch, context
from small_tasks import generator as rng

from metabench.plugin.contracts.architecture import INPUTS
from metabench_plugins.learners.mnas import LowRankParams, Mnas, MnasParams
from metabench_plugins.learners.parts.gates import Gates
from metabench_plugins.spaces.metanas import MetaNasParams, metanas
from metabench_plugins.spaces.tnas import TnasParams, tnas
from metabench_plugins.strategies.darts import Darts, DartsParams
from metabench_plugins.strategies.soft_pruning import SoftPruning, SoftPruningParams

pytestmark = pytest.mark.usefixtures("in_float64")


def learner(params: MnasParams) -> Mnas:
    space = tnas(TnasParams(channels=2, nodes=2), IMAGES)
    strategy = Darts(DartsParams())
    return Mnas(context(params, kind="classification", space=space, strategy=strategy))


CASES = {
    "mnas": MnasParams(inner_steps=2),
    "mnas-nm": MnasParams(inner_steps=2, modulate=False),
    "mnas-shared": MnasParams(inner_steps=2, architecture="shared"),
    "mnas-low-rank": LowRankParams(inner_steps=2, rank=2),
}


@pytest.mark.parametrize("name", CASES)
def test_it_searches_then_runs_decoded_and_is_tested(name: str) -> None:
    made, tasks = learner(CASES[name]), batch("classification")
    before = {n: w.detach().clone() for n, w in made.outer.weights.items()}
    for step, progress in enumerate((0.0, 0.45, 0.9)):  # of relaxed operations, and decoded ones
        logged = made.meta_step(tasks, progress=progress, rng=rng(step))
        assert torch.isfinite(torch.as_tensor(logged["loss"]))
    changed = [n for n, w in made.outer.weights.items() if not torch.equal(w, before.get(n, w))]
    assert changed
    adapted = made.adapt(tasks.support, rng=rng())
    assert adapted.genotypes is not None
    assert adapted.n_params is not None
    assert adapted.predict(tasks.query.x).shape == (TASKS, tasks.query.y.shape[1], 3)
    for genotype, count in zip(adapted.genotypes, adapted.n_params, strict=True):
        child = made._supernet.child(genotype).init_weights(rng=rng())
        assert count == sum(weight.numel() for weight in child.values())
        for _, edges in genotype.cells:
            assert sorted(edge.target for edge in edges) == [2, 2, 3, 3]
            assert "zero" not in {edge.primitive for edge in edges}


def test_pairs_of_inputs_are_chosen_per_task_where_the_strategy_weighs_them() -> None:
    space = metanas(MetaNasParams(channels=2, cells=2, nodes=2), IMAGES)
    strategy = SoftPruning(SoftPruningParams(prune="operations-and-inputs"))
    made = Mnas(context(CASES["mnas"], kind="classification", space=space, strategy=strategy))
    start = made.begin(batch("classification").support, rng=rng(), progress=0.0)
    assert isinstance(start.mixture, dict)
    assert start.mixture["normal" + INPUTS].shape == (TASKS, 1 + 3)
    assert start.mixture["normal" + INPUTS].requires_grad


def test_gates_of_low_rank_are_full_gates_with_a_product_for_a_matrix() -> None:
    shapes = {"a.weight": torch.Size((3, 4)), "a.bias": torch.Size((4,))}
    low, full = Gates(shapes, width=5, rank=2), Gates(shapes, width=5)
    assert low.bottleneck is not None
    with torch.no_grad():
        full.weight.copy_(low.weight @ low.bottleneck.weight)
        full.bias.copy_(low.bias.normal_(generator=rng()))
    z = torch.randn(6, 5, generator=rng(1))
    weights = {n: torch.randn(6, *shape, generator=rng(2)) for n, shape in shapes.items()}
    for name, weight in low(z, weights).items():
        assert torch.allclose(weight, full(z, weights)[name], atol=1e-6)
    n_low = sum(p.numel() for p in low.parameters())
    assert n_low == 16 * 2 + 16 + 2 * 5 < sum(p.numel() for p in full.parameters())
