"""MetaNAS: its reductions to Reptile and joint training, its schedule, its test, its state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_tasks import generator as rng
from torch import Tensor

from metabench import conformance
from metabench.conformance.samples import same
from metabench.errors import UsageError
from metabench.plugin.catalog import load_catalog
from metabench.plugin.contracts.architecture import INPUTS, NEEDED
from metabench.plugin.contracts.episode import EpisodeShape, Labelled, TaskBatch, TaskShape
from metabench.plugin.contracts.learner import LearnerContext
from metabench.plugin.specs import resolve
from metabench_plugins.learners.metanas.joint_inner_loop import mixing_of_each
from metabench_plugins.learners.metanas.learner import Metanas
from metabench_plugins.learners.parts.conditions import of_reptile
from metabench_plugins.learners.parts.inner_adam import decayed
from metabench_plugins.learners.parts.searched_space import operations_of
from metabench_plugins.learners.parts.split_batch import gradients
from metabench_plugins.spaces.metanas import ChildParams, child
from metabench_plugins.spaces.parts.given_genotype import genotype_of, most_common, read_given
from metabench_plugins.spaces.parts.published_cells import PUBLISHED
from metabench_plugins.strategies.parts.pruning import PRUNED, cut

CATALOG = load_catalog()
IMAGES = TaskShape("classification", (1, 8, 8), 2)
LINES = TaskShape("regression", (1,), 1)
PAIRS = {"prune": "operations-and-inputs"}
SMALL = {"inner_batch": 4, "test_batch": 4, "test_steps": 2, "test_steps_arch": 2, "drop_path": 0.0}
PLAIN = {**SMALL, "inner_optimizer": "sgd", "warm_up": 0.0, "arch_decay": 0.0, "threshold": 0.0}


def build(
    learner: str,
    space: str,
    strategy: str | None,
    *,
    task: TaskShape = LINES,
    space_params: dict[str, Any] | None = None,
    strategy_params: dict[str, Any] | None = None,
    **params: Any,
) -> Any:
    spec, network = CATALOG.learner(learner), CATALOG.space(space)
    model = spec.params_model(searched=strategy is not None)
    chosen = None
    if strategy is not None:
        found = CATALOG.strategy(strategy)
        values = found.params_model().model_validate(strategy_params or {})
        chosen = resolve(found.factory)(values)
    built = network.params_model().model_validate(space_params or {})
    return resolve(spec.factory)(
        LearnerContext(
            params=model.model_validate({**spec.preset, **params}),
            task=task,
            shape=EpisodeShape(task.outputs, 2, 2),
            space=resolve(network.factory)(built, task),
            strategy=chosen,
            steps_at_test=2,
            curve_steps=1,
            transductive=True,
            meta_steps=10,
            device=torch.device("cpu"),
            rng=rng(),
        )
    )


def on_images(
    learner: str = "metanas",
    strategy: str = "soft-pruning",
    *,
    strategy_params: dict[str, Any] | None = None,
    **params: Any,
) -> Any:
    values = {**(PAIRS if strategy == "soft-pruning" else {}), **(strategy_params or {})}
    return build(
        learner,
        "metanas",
        strategy,
        task=IMAGES,
        space_params={"channels": 2, "cells": 2, "nodes": 2},
        strategy_params=values,
        **{**SMALL, "inner_steps": 2, **params},
    )


def on_lines(strategy: str = "soft-pruning", **params: Any) -> Any:
    return in_double(
        build("metanas", "toy-cell", strategy, space_params={"width": 5, "norm": "none"}, **params)
    )


def in_double(learner: Any) -> Any:
    learner._state = type(learner._state).begin(
        {name: leaf.double() for name, leaf in learner._state.leaves.items()}
    )
    return learner


def tasks(task: TaskShape = LINES, *, n: int = 3, seed: int = 0) -> TaskBatch:
    draw = rng(seed)
    dtype = torch.float64 if task is LINES else torch.float32
    x = torch.randn(n, 4, *task.inputs, generator=draw).to(dtype)
    y: Tensor = torch.arange(n)[:, None, None] + (2 * x).sin()
    if task is IMAGES:
        y = torch.tensor([0, 0, 1, 1]).expand(n, -1)
    names = tuple(map(str, range(n)))
    return TaskBatch(Labelled(x, y), Labelled(x, y), names, names)


def losses(learner: Any, leaves: dict[str, Tensor], data: Labelled, *, sharpness: float) -> Tensor:
    """The mean loss of shared leaves over tasks, without the learner's own loop."""
    mixture = learner._context.strategy.mixture(
        learner._space,
        {name[5:]: leaf for name, leaf in leaves.items() if name.startswith("arch.")},
        sharpness=sharpness,
        rng=rng(),
    )
    weights = {n: leaf[None] for n, leaf in leaves.items() if not n.startswith("arch.")}
    return torch.stack(
        [
            (learner._space.forward(weights, mixture, x[None]) - y).square().mean()
            for x, y in zip(data.x, data.y, strict=True)
        ]
    ).mean()


def test_one_step_of_plain_descent_is_joint_training() -> None:
    learner = on_lines(
        **{**PLAIN, "inner_steps": 1, "inner_lr": 0.1, "arch_inner_lr": 0.2, "meta_lr": 0.5},
        arch_meta_lr=0.7,
        meta_lr_end=0.5,
    )
    start, data = learner._state.leaves, tasks()
    leaves = {name: leaf.clone().requires_grad_() for name, leaf in start.items()}
    joint = losses(learner, leaves, data.support, sharpness=1.0)
    gradients = torch.autograd.grad(joint, list(leaves.values()))
    logged = learner.meta_step(data, progress=0.5, rng=rng())
    assert torch.allclose(logged["loss"], joint)
    for (name, leaf), gradient in zip(start.items(), gradients, strict=True):
        rate = 0.2 * 0.7 if name.startswith("arch.") else 0.1 * 0.5
        found = learner._state.leaves[name]
        assert torch.allclose(found, leaf - rate * gradient, rtol=1e-10, atol=1e-13), name
        assert not torch.equal(found, leaf), name


def test_the_meta_update_is_its_closed_form_without_decay() -> None:
    params = {"meta_lr": 0.4, "meta_lr_end": 0.2, "arch_meta_lr": 0.6}
    learner = on_lines(**SMALL, **params, arch_decay=0.01, weight_decay=0.01)
    start = {name: leaf.clone() for name, leaf in learner._state.leaves.items()}
    ends = {name: leaf + 1 for name, leaf in start.items()}
    learner._update(ends, searching=True, progress=0.5)
    for name, leaf in start.items():
        moved = leaf + (0.6 if name.startswith("arch.") else 0.3)
        assert torch.allclose(learner._state.leaves[name], moved, rtol=1e-12), name


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_decay_of_weights_and_logits_is_l2_of_the_task_s_optimizer(optimizer: str) -> None:
    """Adam as PyTorch has it, on the loss of one task, for weights and logits with their own."""
    decays, rates = {"weight_decay": 0.3, "arch_decay": 0.7}, {"inner_lr": 0.02, "meta_lr": 1.0}
    params = {**PLAIN, **decays, **rates, "inner_optimizer": optimizer, "inner_steps": 4}
    learner = on_lines(**params, arch_inner_lr=0.05, arch_meta_lr=1.0, meta_lr_end=1.0)
    data = tasks(n=1)
    leaves = {n: leaf.clone().requires_grad_() for n, leaf in learner._state.leaves.items()}
    weights = [leaf for n, leaf in leaves.items() if not n.startswith("arch.")]
    logits = [leaf for n, leaf in leaves.items() if n.startswith("arch.")]
    groups: Any = [
        {"params": weights, "lr": 0.02, "weight_decay": 0.3},
        {"params": logits, "lr": 0.05, "weight_decay": 0.7},
    ]
    torchs = (
        torch.optim.Adam(groups, betas=(0.0, 0.999)) if optimizer == "adam"
        else torch.optim.SGD(groups, lr=0.02)
    )  # fmt: skip
    for step in range(4):
        torchs.zero_grad()
        losses(learner, leaves, data.support, sharpness=step / 3).backward()
        torchs.step()
    learner.meta_step(data, progress=0.5, rng=rng())
    for name, leaf in leaves.items():
        found = learner._state.leaves[name]
        assert torch.allclose(found, leaf.detach(), rtol=1e-9, atol=1e-12), name


def test_what_the_loss_does_not_depend_on_does_not_decay() -> None:
    gradients = {"w": torch.tensor([[0.0, 0.0], [0.0, 2.0]], dtype=torch.float64)}
    weights = {"w": torch.tensor([[1.0, 3.0], [1.0, 3.0]], dtype=torch.float64)}
    found = decayed(gradients, weights, decay=0.5)
    assert found["w"].tolist() == [[0.0, 0.0], [0.5, 3.5]]
    assert decayed(gradients, weights, decay=0.0) is gradients
    learner = on_lines("random", **SMALL, warm_up=0.0, arch_decay=0.1)
    before = learner._state.leaves["arch.cell"]
    learner.meta_step(tasks(), progress=0.5, rng=rng())
    assert torch.equal(learner._state.leaves["arch.cell"], before)


def test_the_warm_up_leaves_logits_and_does_not_anneal() -> None:
    learner = on_lines(**SMALL, warm_up=0.5, inner_lr=0.01)
    seen = sharpness_seen(learner)
    before = learner._state.leaves
    learner.meta_step(tasks(), progress=0.49, rng=rng())
    assert set(seen) == {0.0}
    moved = {n for n, leaf in learner._state.leaves.items() if not torch.equal(leaf, before[n])}
    assert moved == {name for name in before if not name.startswith("arch.")}
    assert learner._state.logits.steps == 0


def test_the_temperature_falls_within_a_task() -> None:
    learner = on_lines(**{**SMALL, "test_steps_arch": 4}, warm_up=0.0)
    seen = sharpness_seen(learner)
    learner.meta_step(tasks(), progress=0.0, rng=rng())
    temperature = learner._context.strategy.temperature
    assert [round(temperature(s), 3) for s in dict.fromkeys(seen)] == [1.0, 0.775, 0.55, 0.325, 0.1]
    seen.clear()
    learner.adapt(tasks().support, rng=rng()).predict(tasks().support.x)
    assert [round(s, 3) for s in dict.fromkeys(seen)] == [0.0, 0.333, 0.667, 1.0]
    assert seen[-1] == 1.0


def sharpness_seen(learner: Any) -> list[float]:
    seen: list[float] = []
    strategy = learner._context.strategy
    mixture = strategy.mixture

    def watched(*args: Any, sharpness: float, **kwargs: Any) -> Any:
        seen.append(sharpness)
        return mixture(*args, sharpness=sharpness, **kwargs)

    strategy.mixture = watched
    return seen


def test_gradients_of_the_logits_follow_the_weights() -> None:
    """The released code takes them at a copy of the weights that training never changes."""
    learner = on_lines(**PLAIN, inner_lr=0.1, arch_inner_lr=0.1)
    data = tasks()

    def gradients() -> dict[str, Tensor]:
        state = learner._state.share(len(data))
        phase = learner._training(data.support, searching=True, rng=rng())
        names = frozenset(n for n in state.leaves if n.startswith("arch."))
        found, _ = learner._loop._gradients(state, phase, 4, batch=4, moving=names)
        return dict(found)

    before = gradients()
    logits = {n: leaf for n, leaf in learner._state.leaves.items() if n.startswith("arch.")}
    learner.meta_step(data, progress=0.9, rng=rng())
    learner._state = type(learner._state).begin(learner._state.leaves | logits)
    for name, gradient in gradients().items():
        assert gradient.abs().sum() > 0
        assert not torch.allclose(gradient, before[name], rtol=1e-3)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_with_a_given_architecture_it_is_reptile_on_its_network(optimizer: str) -> None:
    params = {**SMALL, "warm_up": 0.0, "inner_optimizer": optimizer, "inner_lr": 0.01}
    learner = on_lines("fixed", **params, inner_steps=3)
    own = {
        k: v
        for k, v in params.items()
        if k in CATALOG.learner("reptile").params_model().model_fields
    }
    plain = build(
        "reptile", "mlp", None, space_params={"hidden": 2, "width": 5},
        **own, inner_steps=3, meta_lr_end=1.0,
    )  # fmt: skip
    space = learner._space.child(learner._context.strategy.discretize(learner._space, {}))
    kept = space.init_weights(rng=rng()).keys()
    assert kept < learner._state.leaves.keys()
    plain._space = space
    plain._weights = {name: learner._state.leaves[name] for name in kept}
    plain._moments = learner._state.weights.zero(plain._weights)
    for step in range(3):
        for one in (learner, plain):
            one.meta_step(tasks(seed=step), progress=0.1 * step, rng=rng(step))
    for name in kept:
        found, expected = learner._state.leaves[name], plain._weights[name]
        assert torch.allclose(found, expected, rtol=1e-10, atol=1e-13), name
    data = tasks(seed=9)
    found, expected = (one.adapt(data.support, rng=rng(3)) for one in (learner, plain))
    assert found.predict(data.query.x).shape == expected.predict(data.query.x).shape


def test_two_batches_move_the_logits_before_the_weights() -> None:
    results = []
    for batches in ("one", "two"):
        learner = on_lines(
            **{**PLAIN, "batches": batches, "inner_steps": 1, "inner_lr": 0.1}, arch_inner_lr=0.3
        )
        start, data = learner._state.leaves, tasks(n=1)
        learner.meta_step(data, progress=0.0, rng=rng())
        results.append(learner._state.leaves)
    logits = {n: leaf for n, leaf in start.items() if n.startswith("arch.")}
    weights = {n: leaf.clone().requires_grad_() for n, leaf in start.items() if n not in logits}
    # Mini-batches of the size of the set: the logits moved alike, and from 0.6 of there back.
    moved = {n: leaf + (results[1][n] - leaf) / 0.6 for n, leaf in logits.items()}
    joint = losses(learner, moved | weights, data.support, sharpness=1.0)
    gradients = torch.autograd.grad(joint, list(weights.values()))
    for (name, leaf), gradient in zip(weights.items(), gradients, strict=True):
        expected = leaf.detach() - 0.1 * gradient
        assert torch.allclose(results[1][name], expected, rtol=1e-9, atol=1e-12), name
    assert all(torch.allclose(results[0][n], results[1][n]) for n in logits)
    assert any(not torch.allclose(results[0][n], results[1][n]) for n in weights)


def test_adaptation_reports_soft_and_pruned_predictions_and_sizes() -> None:
    learner = on_images(threshold_at_test=0.05, arch_inner_lr=0.3)
    before = {name: leaf.clone() for name, leaf in learner._state.leaves.items()}
    data = tasks(IMAGES, n=2)
    adapted = learner.adapt(data.support, rng=rng())
    assert all(torch.equal(leaf, before[n]) for n, leaf in learner._state.leaves.items())
    assert list(adapted.variants) == ["pruned"]
    soft, hard = adapted.predict(data.query.x), adapted.variants["pruned"](data.query.x)
    assert soft.shape == hard.shape == (2, 4, 2)
    assert not torch.allclose(soft, hard)
    total = sum(leaf.numel() for n, leaf in before.items() if not n.startswith("arch."))
    assert len(adapted.genotypes) == 2
    assert all(0 < n < total for n in adapted.n_params)
    assert len(adapted.curve) == 2


@pytest.mark.parametrize("name", ["metanas", "metanas-maml"])
def test_training_and_test_have_thresholds_of_their_own(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[float] = set()

    def watched(mixture: Any, choices: Any, *, threshold: float) -> Any:
        asked.add(threshold)
        return cut(mixture, choices, threshold=threshold)

    monkeypatch.setattr("metabench_plugins.learners.parts.searched_space.cut", watched)
    own = {"warm_up": 0.0, **SMALL} if name == "metanas" else {}
    learner = build(
        name,
        "metanas",
        "soft-pruning",
        task=IMAGES,
        space_params={"channels": 2, "cells": 2, "nodes": 2},
        strategy_params=PAIRS,
        **{**own, "inner_steps": 1, "threshold": 0.02, "threshold_at_test": 0.07},
    )
    data = tasks(IMAGES, n=2)
    learner.meta_step(data, progress=0.5, rng=rng())
    assert asked == {0.02}
    asked.clear()
    learner.adapt(data.support, rng=rng()).predict(data.query.x)
    assert asked == {0.07}


def test_a_task_does_not_depend_on_who_runs_beside_it() -> None:
    """Samples and mini-batches of the first task are its own."""
    learner = on_images(strategy="gumbel")
    data = tasks(IMAGES, n=2)
    together = learner.adapt(data.support, rng=rng()).predict(data.query.x)
    mixed = Labelled(data.support.x.clone(), data.support.y)
    mixed.x[1:] = 3 * mixed.x[1:] + 1
    apart = learner.adapt(mixed, rng=rng()).predict(data.query.x)
    assert torch.equal(together[0], apart[0])
    assert not torch.equal(together[1], apart[1])


def test_random_architectures_are_tried_and_the_best_is_kept() -> None:
    learner = on_images(strategy="random", inner_lr=0.01)
    data = tasks(IMAGES, n=2)
    adapted = learner.adapt(data.support, rng=rng())
    assert adapted.variants == {}
    assert len(set(adapted.genotypes)) > 1
    adaptation, start = learner._adaptation, learner._state.share(2)
    (like, *_) = start.leaves.values()
    found = []
    proposed = learner._search.candidates(2, rng=rng(), like=like)
    with torch.no_grad():
        for one in proposed:
            # Mini-batches of the size of the set: what is drawn does not matter.
            drawn = adaptation._draw(data.support, steps=2, rng=rng())
            end = adaptation._fit(start, data.support, one.mixture, drawn)
            outputs = learner._space.forward(operations_of(end.leaves), one.mixture, data.support.x)
            found.append(learner._loop.losses(outputs, data.support.y))
    best = torch.stack(found).argmin(dim=0).tolist()
    assert adapted.genotypes == [proposed[c].genotypes[task] for task, c in enumerate(best)]
    assert adapted.n_params == [proposed[c].n_params[task] for task, c in enumerate(best)]


def test_drop_path_disturbs_training_alone() -> None:
    few = {"inner_steps": 1, "test_steps": 1, "test_steps_arch": 0}
    starts = [on_images(drop_path=rate, warm_up=0.0, **few) for rate in (0.0, 0.5)]
    data = tasks(IMAGES, n=1)
    same_predictions = [one.adapt(data.support, rng=rng()).predict(data.query.x) for one in starts]
    assert torch.equal(*same_predictions)
    logged = [float(one.meta_step(data, progress=0.5, rng=rng())["loss"]) for one in starts]
    assert logged[0] != logged[1]


def test_operations_are_pruned_for_good_now_and_then() -> None:
    learner = on_lines(**SMALL, prune_every=2, threshold=0.01)
    (name,) = (n for n in learner._state.leaves if n.startswith("arch."))
    learner._state.leaves[name][0, 0] = 5.0
    for step in range(2):
        assert (learner._state.leaves[name] > PRUNED / 2).all()
        learner.meta_step(tasks(), progress=0.0, rng=rng(step))
    pruned = learner._state.leaves[name] < PRUNED / 2
    assert pruned[0, 1:].all()
    assert int(pruned.sum()) == pruned.shape[1] - 1
    learner.meta_step(tasks(), progress=0.9, rng=rng(5))
    assert torch.equal(learner._state.leaves[name] < PRUNED / 2, pruned)
    assert learner.adapt(tasks().support, rng=rng()).predict(tasks().query.x).isfinite().all()


@pytest.mark.parametrize("carry", ["mean", "sequential"])
def test_a_restored_learner_goes_on_bit_by_bit(carry: str) -> None:
    params = {**SMALL, "warm_up": 0.0, "prune_every": 3, "carry": carry}
    whole, again = on_lines(**params), on_lines(**params)
    for step in range(2):
        whole.meta_step(tasks(seed=step), progress=0.5, rng=rng(step))
    again.load_state_dict(whole.state_dict())
    for learner in (whole, again):
        learner.meta_step(tasks(seed=2), progress=0.6, rng=rng(2))
    assert same(whole.state_dict(), again.state_dict())
    assert whole.state_dict()["updates"] == 3


def test_reptile_on_a_searched_network_is_metanas() -> None:
    learners = [on_images(name) for name in ("reptile", "metanas")]
    assert all(isinstance(learner, Metanas) for learner in learners)
    for learner in learners:
        learner.meta_step(tasks(IMAGES, n=1), progress=0.7, rng=rng())
    assert same(*(learner.state_dict() for learner in learners))


def test_retraining_without_its_own_parts_is_reptile() -> None:
    values = {"space_params": {"hidden": 1, "width": 5}, "inner_steps": 2}
    plain = build("reptile", "mlp", None, **values, meta_lr_end=1.0)
    retrain = build("metanas-retrain", "mlp", None, **values, meta_lr_end=1.0, weight_decay=0.0)
    data = tasks()
    data = TaskBatch(
        Labelled(data.support.x.float(), data.support.y.float()), data.query, *[("a",) * 3] * 2
    )
    for learner in (plain, retrain):
        learner.meta_step(data, progress=0.3, rng=rng())
    assert same(plain.state_dict(), retrain.state_dict())


def test_retraining_moves_on_half_a_cosine_and_decays_in_the_inner_loop_alone() -> None:
    learner = build("metanas-retrain", "mlp", None, weight_decay=0.1)
    start, end = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 0.0])
    for progress, eps in ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0)):
        moved = learner.towards(start, end, progress=progress)
        assert torch.allclose(moved, start + eps * (end - start))


@pytest.mark.parametrize(
    ("learner", "said"),
    [
        ("metanas-retrain", ("cosine, 1 to 0", "weight decay 0.0001, DropPath 0.2")),
        ("auto-meta", ("constant, 1", "none")),
        ("metanas", ("constant, 1", "weight decay of the logits 0.001")),
        ("reptile", ("linear, 1 to 0", "none")),
    ],
)
def test_the_conditions_say_schedule_and_regularization(
    learner: str, said: tuple[str, str]
) -> None:
    found = of_reptile(CATALOG.learner(learner).params_model()())
    schedule, regularization = said
    assert found.outer_schedule == schedule
    assert found.regularization == regularization


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_decay_in_retraining_is_l2_of_the_task_s_optimizer(optimizer: str) -> None:
    params = {"inner_optimizer": optimizer, "inner_lr": 0.02, "inner_steps": 3, "inner_batch": 4}
    learner = build(
        "metanas-retrain", "mlp", None, space_params={"hidden": 1, "width": 5}, **params,
        weight_decay=0.3, meta_lr_end=1.0, test_batch=4, test_steps=2,
    )  # fmt: skip
    learner._weights = {n: w.double() for n, w in learner._weights.items()}
    learner._moments = learner._moments.zero(learner._weights)
    data = tasks(n=1)
    weights = {n: w.clone().requires_grad_() for n, w in learner._weights.items()}
    group: Any = [{"params": [*weights.values()], "lr": 0.02, "weight_decay": 0.3}]
    torchs = (
        torch.optim.Adam(group, betas=(0.0, 0.999)) if optimizer == "adam"
        else torch.optim.SGD(group, lr=0.02)
    )  # fmt: skip

    def steps(n: int) -> None:
        for _ in range(n):
            torchs.zero_grad()
            given = {n: w[None] for n, w in weights.items()}
            out = learner._space.forward(given, {}, data.support.x)
            (out - data.support.y).square().mean().backward()
            torchs.step()

    steps(3)
    learner.meta_step(data, progress=0.0, rng=rng())
    for name, weight in weights.items():
        assert torch.allclose(learner._weights[name], weight.detach(), rtol=1e-9, atol=1e-12), name
    steps(2)
    adapted = learner.adapt(data.support, rng=rng()).predict(data.query.x)
    expected = learner._space.forward({n: w[None] for n, w in weights.items()}, {}, data.query.x)
    assert torch.allclose(adapted, expected.detach(), rtol=1e-9, atol=1e-12)


def test_drop_path_disturbs_retraining() -> None:
    networks = {"channels": 2, "cells": 2, "genotype": "auto-meta"}
    logged = [
        float(
            build(
                "auto-meta",
                "auto-meta",
                None,
                task=IMAGES,
                space_params=networks,
                drop_path=rate,
                inner_steps=1,
            ).meta_step(tasks(IMAGES, n=1), progress=0.0, rng=rng())["loss"]
        )
        for rate in (0.0, 0.4)
    ]
    assert logged[0] != logged[1]


@pytest.mark.parametrize(
    ("channels", "ways", "side", "planes", "genotype", "weights"),
    [
        (96, 5, 84, 3, "metanas-miniimagenet", 1_160_741),
        (96, 20, 28, 1, "metanas-omniglot", 1_056_116),
    ],
)
def test_networks_of_published_cells_have_the_published_sizes(
    channels: int, ways: int, side: int, planes: int, genotype: str, weights: int
) -> None:
    task = TaskShape("classification", (planes, side, side), ways)
    network = child(ChildParams(channels=channels, genotype=genotype), task)
    drawn = network.init_weights(rng=rng())
    assert sum(weight.numel() for weight in drawn.values()) == weights


def test_the_most_common_genotype_of_a_search_is_resolved_to_what_it_is(tmp_path: Path) -> None:
    often, seldom = (PUBLISHED[n].to_json() for n in ("metanas-omniglot", "auto-meta"))
    for seed, found in enumerate(([often, seldom], [often, often], [seldom, seldom, seldom])):
        folder = tmp_path / str(seed)
        folder.mkdir()
        lines = [json.dumps({"index": i, "genotype": g}) + "\n" for i, g in enumerate(found)]
        (folder / "genotypes.jsonl").write_text("".join(lines), encoding="utf-8")
    assert most_common(tmp_path / "0") == min([often, seldom], key=json.dumps)
    given = read_given(str(tmp_path / "1" / "genotypes.jsonl"))
    assert genotype_of(given).to_json() == often
    from_folder = ChildParams(genotype=str(tmp_path))
    assert from_folder == ChildParams(genotype=seldom)  # type: ignore[arg-type]
    assert from_folder.model_dump(mode="json")["genotype"] == seldom


def test_a_folder_without_genotypes_and_a_cell_that_is_missing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no genotypes"):
        ChildParams(genotype=str(tmp_path))
    with pytest.raises(UsageError, match="reduction"):
        child(ChildParams(genotype={"normal": [(0, 2, "skip"), (1, 2, "skip")]}), IMAGES)


SPACES = {
    "metanas": {"channels": 2, "cells": 2, "nodes": 2},
    "tnas": {"channels": 2, "nodes": 2},
    "toy-cell": {"width": 6},
}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["darts", "soft-pruning", "gumbel", "random"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("learner", ["maml", "metanas"])
def test_the_matrix_trains_adapts_and_discretizes(learner: str, space: str, strategy: str) -> None:
    pairs = strategy == "soft-pruning" and space != "toy-cell"
    task = LINES if space == "toy-cell" else IMAGES
    params = (
        {**SMALL, "warm_up": 0.5, "drop_path": 0.2} if learner == "metanas" else {"inner_steps": 2}
    )
    one = build(
        learner, space, strategy, task=task, space_params=SPACES[space],
        strategy_params=PAIRS if pairs else {}, **params,
    )  # fmt: skip
    data = tasks(task, n=2)
    data = TaskBatch(
        *(
            Labelled(p.x.float(), p.y if task is IMAGES else p.y.float())
            for p in (data.support, data.query)
        ),
        *[("a",) * 2] * 2,
    )
    for progress in (0.0, 0.5):
        logged = one.meta_step(data, progress=progress, rng=rng())
        assert torch.as_tensor(logged["loss"]).isfinite()
    adapted = one.adapt(data.support, rng=rng())
    assert adapted.predict(data.query.x).isfinite().all()
    assert len(adapted.genotypes) == len(adapted.n_params) == 2
    for genotype in adapted.genotypes:
        network = one._space if learner == "metanas" else one.space
        assert network.child(genotype).choices() == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "on_images"),
    [
        ("metanas", False),
        pytest.param("metanas", True, marks=pytest.mark.exhaustive),
        pytest.param("metanas-retrain", True, marks=pytest.mark.exhaustive),
    ],
)
def test_the_learner_passes_the_kit(name: str, on_images: bool) -> None:
    every = conformance.checks(CATALOG.learner(name), catalog=CATALOG)
    checks = [c for c in every if on_images or not c.name.startswith("classification: ")]
    assert len(checks) > 20
    failed = {c.name: o for c in checks if (o := conformance.run_check(c)).status == "FAILED"}
    assert failed == {}


def test_pairs_of_inputs_are_searched_too() -> None:
    learner = on_images(warm_up=0.0, inner_steps=1)
    name = f"arch.normal{INPUTS}"
    before = learner._state.leaves[name].clone()
    learner.meta_step(tasks(IMAGES, n=2), progress=0.5, rng=rng())
    assert not torch.equal(learner._state.leaves[name], before)


def test_what_is_cut_changes_neither_losses_nor_gradients_when_it_is_left_out() -> None:
    learner = on_images(strategy_params={"init_std": 1.0})
    data, found = tasks(IMAGES, n=1), []
    mix = mixing_of_each(learner._search, 1, threshold=0.1, rng=rng())
    for hint in (True, False):

        def loss(leaves: Any, part: slice, hint: bool = hint) -> Tensor:
            mixture = mix(leaves, 1.0, part)
            kept = {k: w for k, w in mixture.items() if hint or not k.endswith(NEEDED)}
            outputs = learner._space.forward(operations_of(leaves), kept, data.support.x)
            return learner._loop.losses(outputs, data.support.y)

        leaves = learner._state.share(1).leaves
        found.append(gradients(loss, leaves, parts=[slice(0, 1)]))
    assert any(key.endswith(NEEDED) for key in mix(leaves, 1.0, slice(0, 1)))
    assert torch.allclose(found[0][1], found[1][1])
    for name, gradient in found[0][0].items():
        assert torch.allclose(gradient, found[1][0][name], atol=1e-6), name


@pytest.mark.parametrize("name", ["metanas-maml", "tnas"])
def test_the_presets_on_maml_set_rates_and_moments_of_the_logits(name: str) -> None:
    learner = build(name, "toy-cell", "darts", space_params={"width": 5}, inner_steps=1)
    weights, logits = learner.outer.groups
    tnas = name == "tnas"
    assert weights.beta1 == 0.9
    assert weights.decay == 0
    assert logits.beta1 == (0.5 if tnas else 0.9)
    assert logits.decay == (1e-3 if tnas else 0)
    p = learner.params
    mean = ("first", "mean", 0.1, 30.0)  # the rates of its paper are those of a mean loss
    expected = mean if tnas else ("second", "per_shot", 0.01, None)
    assert (p.order, p.reduction, p.inner_lr, p.arch_inner_lr) == expected
    assert p.adapt_norm
    assert (p.arch_at_test, p.threshold_at_test) == (("hard", 0.0) if tnas else ("soft", 0.05))
