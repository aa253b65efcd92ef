"""MAML++: its reduction to MAML, a plain loop, finite differences, its schedules and its size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_tasks import TASKS, batch, context, generator, in_double, outer_rates
from torch import Tensor
from torch.nn import functional
from typer.testing import CliRunner

from metabench.cli import app
from metabench.conformance.samples import same
from metabench.plugin.contracts.episode import EpisodeShape, TaskShape
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.maml_plus import (
    MamlPlus,
    MamlPlusParams,
    loss_weights,
    part_of,
)
from metabench_plugins.learners.parts.conditions import of_maml_plus
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params
from metabench_plugins.spaces.mlp import Mlp, MlpParams

STEPS = 3
OFF: dict[str, Any] = {
    "learn_rates": False,
    "norm_per_step": False,
    "multi_step_parts": 0,
    "outer_lr_end": None,
}
KINDS = pytest.mark.parametrize("kind", ["regression", "classification"])


def made(learner: type[Maml], params: Any, kind: str = "classification", **changes: Any) -> Any:
    return in_double(learner(context(params, kind=kind, **changes)))


def plus(kind: str = "classification", **params: Any) -> MamlPlus:
    """With weights that differ from step to step, so that a wrong step shows."""
    learner: MamlPlus = made(MamlPlus, MamlPlusParams(inner_steps=STEPS, **params), kind)
    rng = generator(7)
    for weight in learner.outer.weights.values():
        weight.data += 0.05 * torch.randn(weight.shape, generator=rng, dtype=weight.dtype)
    return learner


def query_loss(learner: Maml, kind: str, *, progress: float = 0.0) -> Tensor:
    tasks = batch(kind)
    start = learner.begin(tasks.support, rng=generator(), progress=progress)
    return learner.outer_losses(start, tasks)[0]


def meta_gradients(learner: Maml, kind: str, *, progress: float = 0.0) -> dict[str, Tensor]:
    weights = learner.outer.weights
    loss = query_loss(learner, kind, progress=progress)
    found = torch.autograd.grad(
        loss, list(weights.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(weights, found, strict=True))


# Acceptance 1: what it adds to MAML can be switched off ------------------------------------------


@KINDS
def test_with_its_options_off_it_is_maml_bit_for_bit(kind: str) -> None:
    params = {"inner_lr": 0.05, "inner_steps": STEPS, "reduction": "mean"}
    maml = made(Maml, MamlParams(**params), kind)
    ours = made(MamlPlus, MamlPlusParams(**params, **OFF), kind)
    expected = meta_gradients(maml, kind)
    found = meta_gradients(ours, kind)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
    for learner in (maml, ours):
        learner.meta_step(batch(kind), progress=0.5, rng=generator())
    assert same(maml.state_dict(), ours.state_dict())
    data = batch(kind, seed=1)
    curves = [one.adapt(data.support, rng=generator()).curve for one in (maml, ours)]
    for mine, theirs in zip(*curves, strict=True):
        assert torch.equal(mine(data.query.x), theirs(data.query.x))


@KINDS
def test_equal_rates_and_norms_of_all_steps_give_the_gradient_of_maml(kind: str) -> None:
    maml = made(Maml, MamlParams(inner_lr=0.05, inner_steps=STEPS, reduction="mean"), kind)
    ours = made(MamlPlus, MamlPlusParams(inner_lr=0.05, inner_steps=STEPS), kind)
    for name, weight in ours.outer.weights.items():
        if name.startswith("rate."):
            weight.data.fill_(0.05)  # 0.05 in float32 is another number
    expected = meta_gradients(maml, kind)
    found = meta_gradients(ours, kind, progress=0.5)
    for name, gradient in expected.items():
        mine = found[name].sum(0) if "norm" in name else found[name]
        torch.testing.assert_close(mine, gradient, atol=1e-10, rtol=1e-10)


# Acceptance 2: the gradient ----------------------------------------------------------------------


def plain_loss(learner: MamlPlus, progress: float) -> Tensor:
    """The outer loss by ordinary PyTorch functions, one task at a time."""
    tasks, weights = batch("classification"), learner.outer.weights
    factors = loss_weights(part_of(progress), steps=STEPS, parts=learner.params.multi_step_parts)
    names = [name for name in weights if not name.startswith("rate.") and ".norm." not in name]

    def loss(own: dict[str, Tensor], step: int, x: Tensor, y: Tensor) -> Tensor:
        for layer in ("layer1", "layer2", "layer3", "layer4"):
            x = functional.conv2d(x, own[f"{layer}.weight"], own[f"{layer}.bias"], padding=1)
            scale, shift = (weights[f"{layer}.norm.{part}"][step] for part in ("scale", "shift"))
            x = functional.batch_norm(x, None, None, scale, shift, training=True)
            x = functional.max_pool2d(functional.relu(x), 2)
        logits = x.flatten(1) @ own["head.weight"] + own["head.bias"]
        return functional.cross_entropy(logits, y)

    total = torch.zeros((), dtype=torch.float64)
    for task in range(TASKS):
        own = {name: weights[name] for name in names}
        for step, factor in enumerate(factors):
            value = loss(own, step, tasks.support.x[task], tasks.support.y[task])
            gradients = torch.autograd.grad(value, list(own.values()), create_graph=True)
            own = {
                name: own[name] - weights[f"rate.{name}"][step] * gradient
                for name, gradient in zip(names, gradients, strict=True)
            }
            query = loss(own, step, tasks.query.x[task], tasks.query.y[task])
            total = total + factor * query / TASKS
    return total


@pytest.mark.parametrize("progress", [0.0, 0.05, 0.5])
def test_the_outer_loss_and_its_gradient_are_those_of_a_plain_loop(progress: float) -> None:
    learner = plus()
    plain = plain_loss(learner, progress)
    ours = query_loss(learner, "classification", progress=progress)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=0)
    leaves = list(learner.outer.weights.values())
    expected = torch.autograd.grad(plain, leaves, materialize_grads=True, allow_unused=True)
    found = meta_gradients(learner, "classification", progress=progress)
    for (name, gradient), wanted in zip(found.items(), expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("progress", [0.05, 0.5])
@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("rate.layer2.weight", 0),
        ("rate.layer4.weight", 1),
        ("rate.head.weight", 2),
        ("rate.head.bias", 0),
        ("layer1.norm.scale", 0),
        ("layer3.norm.scale", 1),
        ("layer4.norm.shift", 2),
        ("layer1.weight", None),
        ("head.bias", None),
    ],
)
def test_the_gradient_is_that_of_finite_differences(
    name: str, step: int | None, progress: float
) -> None:
    learner = plus()
    weight = learner.outer.weights[name]
    row = weight.data if step is None else weight.data[step]
    own = meta_gradients(learner, "classification", progress=progress)[name]
    direction = torch.randn(row.shape, generator=generator(4), dtype=torch.float64)
    direction /= direction.norm()
    exact = float(((own if step is None else own[step]) * direction).sum())
    start, ends = row.clone(), []
    for move in (1e-6, -1e-6, 2e-6, -2e-6):
        row.copy_(start + move * direction)
        ends.append(float(query_loss(learner, "classification", progress=progress).detach()))
    numeric = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / 12e-6
    assert abs(exact) > 1e-6, "choose a point where the gradient is not zero"
    assert numeric == pytest.approx(exact, rel=1e-5, abs=1e-9)


def test_first_order_at_first() -> None:
    learner = plus(first_order_parts=20)
    first = plus(order="first")
    assert learner.begin(batch("classification").support, rng=generator(), progress=0.2).order == (
        "second"
    )
    for progress, other in ((0.19, first), (0.2, plus())):
        expected = meta_gradients(other, "classification", progress=progress)
        found = meta_gradients(learner, "classification", progress=progress)
        assert all(torch.equal(found[name], g) for name, g in expected.items())
    rates = meta_gradients(first, "classification")["rate.head.weight"]
    assert bool((rates[:STEPS] != 0).all()), "rates are learned by first-order gradients as well"


# Acceptance 3: the schedules ---------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "parts"), [(5, 15), (5, 10), (3, 10), (1, 10), (2, 100)])
def test_the_weights_of_the_losses_sum_to_one_and_move_to_the_last_step(
    steps: int, parts: int
) -> None:
    found = [loss_weights(part, steps=steps, parts=parts) for part in range(100)]
    assert all(math.fsum(v) == pytest.approx(1, abs=1e-12) for v in found)
    assert found[0] == pytest.approx([1 / steps] * steps)
    assert all(v == (*[0.0] * (steps - 1), 1.0) for v in found[parts:])
    assert [v[-1] for v in found] == sorted(v[-1] for v in found)
    assert all(value >= 0.03 / steps for v in found[:parts] for value in v)


def test_the_weights_of_the_losses_are_those_of_the_formula() -> None:
    assert loss_weights(14, steps=5, parts=15) == pytest.approx(
        (*[0.2 - 14 / 75] * 4, 0.2 + 56 / 75)
    )
    # The floor holds where the fall would pass it: 1/5 - 99/500 = 0.002 < 0.006.
    assert loss_weights(99, steps=5, parts=100) == pytest.approx((*[0.006] * 4, 0.976))
    assert loss_weights(0, steps=5, parts=0) == (0.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("total", [100, 700, 50_000])
def test_a_part_begins_at_each_hundredth_of_meta_training(total: int) -> None:
    found = [part_of(step / total) for step in range(total)]
    assert found == [100 * step // total for step in range(total)]


def test_the_last_rate_is_used_nowhere() -> None:
    for progress in (0.0, 0.5):
        found = meta_gradients(plus(), "classification", progress=progress)
        rates = {name: g for name, g in found.items() if name.startswith("rate.")}
        assert len(rates) == 10
        assert all(gradient.shape == (STEPS + 1,) for gradient in rates.values())
        assert all(float(gradient[STEPS]) == 0 for gradient in rates.values())
        assert bool((rates["rate.head.weight"][:STEPS] != 0).all())


def test_the_norms_of_early_steps_learn_from_the_support_set_where_the_last_loss_counts() -> None:
    found = meta_gradients(plus(), "classification", progress=0.5)["layer4.norm.scale"]
    assert found.shape == (STEPS, 4)
    assert bool((found != 0).any(dim=1).all())


def test_beyond_the_steps_of_meta_training_the_last_rates_and_norms_hold() -> None:
    learner = plus()
    support = batch("classification").support
    start = learner.begin(support, rng=generator(), progress=None)
    *_, before, after = learner._path(start, support, steps=STEPS + 2, anneal=1, order="none")
    assert torch.equal(
        after["layer1.norm.scale"][0], learner.outer.weights["layer1.norm.scale"][-1]
    )
    loss = learner._loss(start, before, data=support).sum()
    assert float(loss.detach()) > 0
    weights = {n: w.detach().requires_grad_() for n, w in before.items()}
    value = learner._loss(start, weights, data=support).sum()
    (gradient,) = torch.autograd.grad(value, [weights["head.weight"]])
    rate = learner.outer.weights["rate.head.weight"][STEPS - 1]
    torch.testing.assert_close(after["head.weight"], before["head.weight"] - rate * gradient)


def test_the_outer_rate_follows_a_cosine_by_parts() -> None:
    learner = plus(outer_lr=0.001, outer_lr_end=1e-5)
    rates = outer_rates(learner)
    for progress in (0.0, 0.009, 0.25, 0.5, 0.999):
        learner.meta_step(batch("classification"), progress=progress, rng=generator())
    expected = [
        1e-5 + (0.001 - 1e-5) * (1 + math.cos(math.pi * part / 100)) / 2
        for part in (0, 0, 25, 50, 99)
    ]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert len({group.lr for group in learner.outer.groups}) == 1
    assert of_maml_plus(learner.params).outer_schedule == "cosine, 0.001 to 1e-05"
    assert of_maml_plus(MamlPlusParams(outer_lr_end=None)).outer_schedule == "constant"


def test_its_conditions_say_whether_rates_are_learned() -> None:
    learned, given = (of_maml_plus(MamlPlusParams(learn_rates=on)) for on in (True, False))
    assert learned.inner_optimizer == "SGD with learned rates"
    assert given.inner_optimizer == "SGD"


def test_the_bound_of_the_elements_holds_for_the_weights_and_not_for_the_rates() -> None:
    bounded, free = plus(clip=1e-6, skip_above=None), plus(skip_above=None)
    for learner in (bounded, free):
        learner.meta_step(batch("classification"), progress=0.0, rng=generator())
    names = list(bounded.outer.weights)
    moments = [
        {names[place]: moment for place, moment in one.outer.moments().items()}
        for one in (bounded, free)
    ]
    # A bias before a norm has no gradient, nor has its rate.
    biases = {f"{rate}layer{i}.bias" for i in range(1, 5) for rate in ("", "rate.")}
    assert set(names) - set(moments[0]) == biases == set(names) - set(moments[1])
    for name in moments[0]:
        ours, theirs = moments[0][name], moments[1][name]
        if name.startswith("rate."):
            assert torch.equal(ours["exp_avg"], theirs["exp_avg"])
        else:
            assert float(ours["exp_avg"].abs().max()) <= 1.0000001e-7
    assert float(moments[1]["head.weight"]["exp_avg"].abs().max()) > 1e-6


# Acceptance 4: sizes, and a restored learner -----------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "inputs", "ways", "weights"),
    [(48, (3, 84, 84), 5, 71_621), (64, (1, 28, 28), 20, 115_284)],
)
def test_its_numbers_of_weights_are_those_of_the_source(
    filters: int, inputs: tuple[int, int, int], ways: int, weights: int
) -> None:
    task = TaskShape("classification", inputs, ways)
    learner = MamlPlus(
        context(
            MamlPlusParams(),
            task=task,
            shape=EpisodeShape(ways, 1, 1),
            space=Conv4(Conv4Params(filters=filters), task),
        )
    )
    rates = {n: w for n, w in learner.outer.weights.items() if n.startswith("rate.")}
    assert {rate.shape for rate in rates.values()} == {(6,)}
    assert sum(rate.numel() for rate in rates.values()) == 60
    others = [w for name, w in learner.outer.weights.items() if name not in rates]
    assert sum(weight.numel() for weight in others) == weights
    assert all(torch.equal(rate, torch.full((6,), 0.1)) for rate in rates.values())


def test_a_restored_learner_goes_on_with_the_losses_and_the_rate_of_its_part() -> None:
    saved, restored = plus(), made(MamlPlus, MamlPlusParams(inner_steps=STEPS))
    for progress in (0.0, 0.05):
        saved.meta_step(batch("classification"), progress=progress, rng=generator())
    restored.load_state_dict(saved.state_dict())
    rates = [outer_rates(one) for one in (saved, restored)]
    for progress in (0.06, 0.5):
        steps = [
            one.meta_step(batch("classification", 2), progress=progress, rng=generator())
            for one in (saved, restored)
        ]
        assert torch.equal(torch.as_tensor(steps[0]["loss"]), torch.as_tensor(steps[1]["loss"]))
        assert rates[0][-1] == rates[1][-1] < 0.001
        assert same(saved.state_dict(), restored.state_dict())


# What it makes of other networks -----------------------------------------------------------------


def test_a_network_without_norms_has_rates_alone() -> None:
    task = TaskShape("regression", (1,), 1)
    learner = made(
        MamlPlus,
        MamlPlusParams(inner_lr=0.01, inner_steps=STEPS),
        "regression",
        space=Mlp(MlpParams(hidden=2, width=7, norm="none"), task),
    )
    assert not any("norm" in name for name in learner.outer.weights)
    before = learner.outer.weights["rate.head.weight"].detach().clone()
    learner.meta_step(batch("regression"), progress=0.0, rng=generator())
    moved = learner.outer.weights["rate.head.weight"] != before
    assert moved.tolist() == [True] * STEPS + [False]


def test_norms_that_adapt_do_so_in_their_own_step() -> None:
    learner = plus(adapt_norm=True)
    support = batch("classification").support
    start = learner.begin(support, rng=generator(), progress=None)
    assert "rate.layer1.norm.scale" in learner.outer.weights
    *_, last = learner._path(start, support, steps=STEPS, anneal=1, order="none")
    initial = learner.outer.weights["layer1.norm.scale"][-1]
    assert last["layer1.norm.scale"].shape == (TASKS, 4)
    assert not torch.equal(last["layer1.norm.scale"][0], initial)


def test_its_name_serves_as_a_folder_and_on_the_command_line(tmp_path: Path) -> None:
    def metabench(*words: str) -> str:
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == 0, done.output
        return done.stdout

    out = str(tmp_path / "R")
    small = [f"--set={x}" for x in ("budget.meta_steps=2", "protocol.episodes=3")]
    for learner in ("maml", "maml++"):
        words = ("--suite", "toy-regression", "--budget", "smoke", "--out", out, *small)
        metabench("run", "--learner", learner, *words)
    (folder,) = (tmp_path / "R").glob("*/maml++/*")
    assert (folder / "run.json").exists()
    assert "maml++" in metabench("report", out)
    assert metabench("compare", "maml++", "maml", out).startswith("A: maml++ on toy-regression")
    page = tmp_path / "page.html"
    metabench("report", out, "--format", "html", "--output", str(page))
    assert "maml++" in page.read_text()
