"""Search on one task: each step against torch's own optimizers, pruning, and restoring."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from small_tasks import IMAGES, batch, context

from metabench.plugin.contracts.episode import Labelled, TaskBatch
from metabench_plugins.learners.one_shot import OneShot, OneShotParams
from metabench_plugins.learners.parts.augmentation import crop_and_flip
from metabench_plugins.spaces.toy_cell import CELL, ToyCell, ToyCellParams
from metabench_plugins.strategies.parts.darts_unrolled import architecture_gradient
from metabench_plugins.strategies.soft_pruning import SoftPruning, SoftPruningParams

PLAIN = {"crop": 0, "flip": False}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learner(**changes: object) -> OneShot:
    space = ToyCell(ToyCellParams(width=6, norm="none"), IMAGES)
    strategy = SoftPruning(SoftPruningParams(prune="operations"))
    params = OneShotParams.model_validate({**PLAIN, **changes})
    made = OneShot(context(params, kind="classification", space=space, strategy=strategy))
    for tensors in (made._weights, made._arch):
        for tensor in tensors.values():
            tensor.data = tensor.data.double()
    return made


def tasks(seed: int = 0) -> TaskBatch:
    return batch("classification", seed)


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_step_is_adam_on_the_queries_then_sgd_on_the_support(order: str) -> None:
    made, data, progress = learner(order=order, max_norm=0.5), tasks(), 0.4
    space, strategy = made._space, made._strategy
    weights = {n: w.detach().clone().requires_grad_() for n, w in made._weights.items()}
    arch = {n: w.detach().clone().requires_grad_() for n, w in made._arch.items()}
    lr = 0.001 + 0.024 * (1 + torch.tensor(torch.pi * progress).cos().item()) / 2
    sgd = torch.optim.SGD(weights.values(), lr=lr, momentum=0.9, weight_decay=3e-4)
    adam = torch.optim.Adam(arch.values(), lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)

    def loss(w: dict[str, torch.Tensor], a: dict[str, torch.Tensor], part: Labelled):  # type: ignore[no-untyped-def]
        mixture = strategy.mixture(space, a, sharpness=progress, rng=rng())
        one = {name: weight[None] for name, weight in w.items()}
        return F.cross_entropy(
            space.forward(one, mixture, part.x.flatten(0, 1)[None])[0], part.y.flatten()
        )

    for _ in range(2):  # the second step has momentum
        drift = {
            n: 3e-4 * w.detach() + 0.9 * sgd.state[w].get("momentum_buffer", torch.zeros_like(w))
            for n, w in weights.items()
        }
        gradient = architecture_gradient(
            lambda w, a: loss(w, a, data.support),
            lambda w, a: loss(w, a, data.query),
            weights,
            arch,
            xi=lr if order == "second" else 0.0,
            drift=drift,
        )
        arch[CELL].grad = gradient[CELL]
        adam.step()
        sgd.zero_grad()
        loss(weights, {n: a.detach() for n, a in arch.items()}, data.support).backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 0.5)
        sgd.step()
        made.meta_step(data, progress=progress, rng=rng())
    assert torch.allclose(made._arch[CELL], arch[CELL], atol=1e-12)
    for name, weight in weights.items():
        assert torch.allclose(made._weights[name], weight, atol=1e-12)


def test_pruning_changes_little_once_the_logits_lead() -> None:
    made, support = learner(), tasks().support

    def change() -> float:
        adapted = made.adapt(support, rng=rng())
        soft, hard = (
            p(support.x).softmax(-1) for p in (adapted.predict, *adapted.variants.values())
        )
        return float((soft - hard).abs().max())

    before = change()
    with torch.no_grad():
        made._arch[CELL].zero_()
        made._arch[CELL][:, 2] = 2.0  # zero on every edge,
        for edge, operation in ((0, 0), (1, 1), (2, 0), (4, 1), (5, 0), (6, 1)):
            made._arch[CELL][edge, operation] = 5.0  # but for two edges into each node
    assert change() < 1e-6 < before
    genotype = made.adapt(support, rng=rng()).genotypes
    assert genotype is not None
    assert len(genotype) == len(support.y)
    assert len(genotype[0].cells[0][1]) == 6


def test_the_search_learns() -> None:
    made = learner(lr=0.1)
    losses = [float(made.meta_step(tasks(), progress=0.0, rng=rng())["loss"]) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_restored_search_goes_on_alike() -> None:
    first, second = learner(), learner()
    for step in range(3):
        first.meta_step(tasks(step), progress=0.1 * step, rng=rng(step))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for made in (first, second):
        made.meta_step(tasks(9), progress=0.5, rng=rng(9))
    for name, weight in first._weights.items():
        assert torch.equal(second._weights[name], weight)
    assert torch.equal(first._arch[CELL], second._arch[CELL])


def test_images_are_shifted_and_mirrored() -> None:
    x = torch.rand(2, 50, 3, 5, 6, generator=rng())
    assert torch.equal(crop_and_flip(x, shift=0, flip=False, rng=rng(1)), x)
    padded = F.pad(x.flatten(0, 1), (1, 1, 1, 1))
    changed = crop_and_flip(x, shift=1, flip=True, rng=rng(1)).flatten(0, 1)
    seen = set()
    for image, out in zip(padded, changed, strict=True):
        for down in range(3):
            for right in range(3):
                window = image[:, down : down + 5, right : right + 6]
                for mirrored in (False, True):
                    if torch.equal(out, window.flip(2) if mirrored else window):
                        seen.add((down, right, mirrored))
                        break
    assert len(seen) == 18
