"""Search on one task: each step against torch's own optimizers, pruning, and restoring."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from small_tasks import IMAGES, batch, context
from small_tasks import generator as rng

from metabench.plugin.contracts.architecture import INPUTS
from metabench.plugin.contracts.episode import Labelled, TaskBatch, TaskShape
from metabench_plugins.learners.one_shot import OneShot, OneShotParams
from metabench_plugins.learners.parts.augmentation import crop_and_flip
from metabench_plugins.spaces.metanas import MetaNasParams, metanas
from metabench_plugins.spaces.toy_cell import CELL, ToyCell, ToyCellParams
from metabench_plugins.strategies.parts.darts_unrolled import architecture_gradient
from metabench_plugins.strategies.soft_pruning import SoftPruning, SoftPruningParams

PLAIN = {"crop": 0, "flip": False}
MAPS = TaskShape("classification", (1, 8, 8), 3)


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
        soft, *hard = (
            p(support.x).softmax(-1) for p in (adapted.predict, *adapted.variants.values())
        )
        assert len(hard) == 2  # nothing was trained: there are no training images
        return float((soft - torch.stack(hard)).abs().max())

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


def on_maps(**changes: object) -> OneShot:
    """On cells with batch norm and pairs of inputs, with undecided logits."""
    space = metanas(MetaNasParams(channels=2, cells=2, nodes=2), MAPS)
    strategy = SoftPruning(SoftPruningParams(prune="operations-and-inputs", init_std=1.0))
    params = OneShotParams.model_validate({**PLAIN, **changes})
    return OneShot(context(params, task=MAPS, space=space, strategy=strategy))


def maps(seed: int) -> TaskBatch:
    draw = rng(seed)
    x = torch.randn(2, 6, *MAPS.inputs, generator=draw) + seed
    part = Labelled(x, torch.arange(6).remainder(MAPS.outputs).expand(2, 6))
    return TaskBatch(part, part, ("a", "a"), (f"{seed}-0", f"{seed}-1"))


def test_pruned_networks_count_kept_operations_once_or_by_their_weight() -> None:
    made, x = on_maps(), maps(1).support
    adapted = made.adapt(x, rng=rng())
    assert adapted.genotypes is not None
    mixture = made._strategy.mixture(made._space, made._arch, sharpness=1.0, rng=None)
    once, soft = {}, {}
    for cell, edges in adapted.genotypes[0].cells:
        choices = made._space.choices()[cell]
        once[cell] = torch.zeros_like(mixture[cell])
        for edge in edges:
            position = choices.edges.index((edge.source, edge.target))
            once[cell][0, position, choices.primitives.index(edge.primitive)] = 1
        pairs = mixture[cell + INPUTS]
        best = torch.zeros_like(pairs)
        first = 0
        for of_node in choices.pairs().values():
            best[0, first + int(pairs[0, first : first + len(of_node)].argmax())] = 1
            first += len(of_node)
        soft |= {cell: mixture[cell] * once[cell], cell + INPUTS: pairs * best}
    shared = {n: w.detach()[None].expand(2, *w.shape) for n, w in made._weights.items()}
    for name, kept in (("pruned", once), ("pruned-soft", soft)):
        expected = made._space.forward(shared, kept, x.x)
        torch.testing.assert_close(adapted.variants[name](x.x), expected)
    assert not torch.allclose(*(predict(x.x) for predict in adapted.variants.values()))


def test_training_statistics_are_those_of_the_last_training_images_in_the_same_network() -> None:
    made = on_maps(statistics=12, crop=2, flip=True)
    for step in (1, 2):
        made.meta_step(maps(step), progress=0.1, rng=rng(step))
    last = maps(2).support.x.flatten(0, 1)
    assert torch.equal(made._seen, last)  # without shifts and reflections
    adapted = made.adapt(maps(3).support, rng=rng())
    names = ("pruned", "pruned-soft", "train-statistics")
    assert set(adapted.variants) == {*names, *(f"{n}-train-statistics" for n in names[:2])}
    pairs = (("", adapted.predict), *((f"{n}-", adapted.variants[n]) for n in names[:2]))
    for name, of_test_batch in pairs:
        predict = adapted.variants[f"{name}train-statistics"]
        # On the training images themselves, both statistics are the same.
        twice = last.expand(2, *last.shape)
        torch.testing.assert_close(predict(twice), of_test_batch(twice), atol=1e-4, rtol=1e-4)
        x = maps(4).support.x
        other = torch.cat([x[:, :1], 3 * x[:, 1:] + 1], dim=1)
        torch.testing.assert_close(predict(x)[:, 0], predict(other)[:, 0])
        assert not torch.allclose(of_test_batch(x)[:, 0], of_test_batch(other)[:, 0])


def test_without_statistics_nothing_is_kept() -> None:
    made = on_maps(statistics=0)
    made.meta_step(maps(1), progress=0.0, rng=rng())
    assert len(made._seen) == 0
    assert set(made.adapt(maps(2).support, rng=rng()).variants) == {"pruned", "pruned-soft"}


def test_the_mixture_sharpens_over_the_first_part_of_the_search_and_then_stays() -> None:
    made = learner(anneal=0.5)
    seen, mixture = [], made._strategy.mixture

    def watched(*args: object, sharpness: float, **kwargs: object) -> object:
        seen.append(sharpness)
        return mixture(*args, sharpness=sharpness, **kwargs)  # type: ignore[arg-type]

    made._strategy.mixture = watched  # type: ignore[method-assign, assignment]
    for progress in (0.0, 0.25, 0.5, 0.75):
        made.meta_step(tasks(), progress=progress, rng=rng())
    assert [*dict.fromkeys(seen)] == [0.0, 0.5, 1.0]


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
