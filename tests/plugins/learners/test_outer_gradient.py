"""The outer gradient by parts of the meta-batch: equal to the whole, in less memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_tasks import IMAGES, batch, context, generator, in_double
from torch import Tensor

from metabench.conformance import bench
from metabench.conformance.bench import Bench
from metabench.conformance.descriptions import default_params
from metabench.plugin.catalog import load_catalog
from metabench.plugin.contracts.episode import Labelled, TaskBatch
from metabench.plugin.specs import LearnerSpec
from metabench_plugins.learners.bmaml import Bmaml
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.parts import task_memory
from metabench_plugins.learners.parts.gradient_learner import GradientLearner
from metabench_plugins.learners.parts.outer_gradient import gradients_by_parts
from metabench_plugins.learners.parts.split_batch import even_parts
from metabench_plugins.learners.parts.task_memory import TaskMemory, bytes_per_example
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params
from metabench_plugins.spaces.mlp import Mlp, MlpParams
from metabench_plugins.strategies.gumbel import Gumbel, GumbelParams

CATALOG = load_catalog()


@pytest.fixture(autouse=True)
def _float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def two_steps(spec: Any, **given: Any) -> Any:
        # Many large steps of networks this small would multiply rounding errors.
        params = default_params(spec, **given)
        steps = {"inner_steps": 2, "inner_lr": 1e-3} if isinstance(spec, LearnerSpec) else {}
        return params.model_copy(update=steps)

    monkeypatch.setattr(bench, "default_params", two_steps)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def benches() -> dict[str, Bench]:
    """Every learner with its outer gradient by parts, on every network that it accepts."""
    found = {}
    for spec in CATALOG.learners.values():
        for kind in spec.kinds:
            made = Bench(spec, kind, lambda: CATALOG, searched=spec.searches)
            both = {f"{spec.name}-{kind}": made}
            if spec.search_params is not None:
                both[f"{spec.name}-{kind}-searched"] = replace(made, searched=True)
            for name, one in both.items():
                if isinstance(one.build(), GradientLearner | Bmaml):
                    found[name] = one
    return found


BENCHES = benches()


def test_these_learners_have_their_outer_gradient_by_parts() -> None:
    names = {made.spec.name for made in BENCHES.values()}
    assert names >= {"maml", "mtnet", "meta-sgd", "anil", "maml++", "hsml", "mumomaml", "bmaml"}
    assert names >= {"mnas", "mnas-shared", "tnas", "tnas++", "auto-maml", "metanas-maml"}


def descended(
    learner: Any, tasks: TaskBatch, progress: float, at_once: int, patch: pytest.MonkeyPatch
) -> tuple[dict[str, Tensor | None], dict[str, float]]:
    """The gradients that a meta-step descends with some tasks at a time, and what it logs."""
    found: dict[str, Tensor | None] = {}
    with patch.context() as inner:
        inner.setattr(TaskMemory, "tasks_at_once", lambda *_, **__: at_once)
        # A search may go on to a new optimizer, or to the optimizer of a network of its own.
        apply = task_apply(found)
        inner.setattr("metabench_plugins.learners.parts.outer_adam.OuterAdam.apply", apply)
        logged = learner.meta_step(tasks, progress=progress, rng=generator(1))
    return found, {name: float(value) for name, value in logged.items()}


def task_apply(found: dict[str, Tensor | None]) -> Callable[..., Tensor]:
    def apply(self: Any, gradients: Any, *, rate: Any = 1.0) -> Tensor:
        found.update(zip(self.weights, gradients, strict=True))
        return torch.zeros((), dtype=torch.bool)

    return apply


@pytest.mark.parametrize(
    ("name", "progress"),
    # A search goes from phase to phase.
    [(name, at) for name in BENCHES for at in ((0.45, 0.95) if "nas" in name else (0.0,))],
)
def test_parts_of_the_batch_have_the_gradient_of_the_whole(
    name: str, progress: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = BENCHES[name].tasks()
    (whole, logged), (gradients, values) = (
        descended(BENCHES[name].build(), tasks, progress, at_once, monkeypatch)
        for at_once in (3, 2)
    )
    assert any(gradient is not None for gradient in whole.values())
    assert values == pytest.approx(logged, rel=1e-12)
    assert_equal(gradients, whole, within=rounding(name))


@pytest.mark.parametrize("name", [n for n in BENCHES if not n.startswith("bmaml")])
def test_the_gradient_is_that_of_the_outer_losses(name: str) -> None:
    tasks, learner = BENCHES[name].tasks(), BENCHES[name].build()
    assert isinstance(learner, GradientLearner)
    weights = learner.outer.weights

    def start() -> Any:
        return learner.begin(tasks.support, rng=generator(1), progress=0.0)

    loss, penalty = learner.outer_losses(start(), tasks)
    total = (loss if penalty is None else loss + penalty) * learner.outer_factor(len(tasks))
    expected = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    found = learner.outer_gradient(start(), tasks, parts=even_parts(len(tasks), 1))
    assert float(found.loss) == pytest.approx(loss.item(), rel=1e-12)
    assert (found.penalty is None) == (penalty is None)
    if penalty is not None and found.penalty is not None:
        assert float(found.penalty) == pytest.approx(penalty.item(), rel=1e-12)
    assert_equal(
        dict(zip(weights, found.gradients, strict=True)),
        dict(zip(weights, expected, strict=True)),
        within=rounding(name),
    )


def rounding(name: str) -> float:
    """Searched networks normalize few examples many times, which multiplies rounding errors."""
    return 1e-11 if BENCHES[name].searched else 1e-12


def assert_equal(
    found: dict[str, Tensor | None], expected: dict[str, Tensor | None], *, within: float = 1e-12
) -> None:
    """To a share of the largest gradient; a weight that nothing uses has none in both."""
    unused = {name for name, gradient in expected.items() if gradient is None}
    assert {name for name, gradient in found.items() if gradient is None} == unused
    used = [gradient for gradient in expected.values() if gradient is not None]
    largest = max(float(gradient.abs().max()) for gradient in used)
    for name, gradient in expected.items():
        own = found[name]
        if gradient is not None and own is not None:
            assert float((own - gradient).abs().max()) <= within * largest, name


def test_what_a_strategy_draws_for_a_task_is_the_same_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawing = Gumbel(GumbelParams(init_std=0.5))
    made = replace(BENCHES["maml-regression-searched"], wrap=lambda _: drawing)
    tasks = made.tasks()
    (whole, logged), (parts, values) = (
        descended(made.build(), tasks, 0.0, at_once, monkeypatch) for at_once in (3, 1)
    )
    assert values == pytest.approx(logged, rel=1e-12)
    assert_equal(parts, whole, within=1e-11)


def test_maml_has_the_same_gradient_up_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_default_dtype(torch.float32)
    tasks = BENCHES["maml-classification"].tasks()
    (whole, _), (parts, _) = (
        descended(BENCHES["maml-classification"].build(), tasks, 0.0, at_once, monkeypatch)
        for at_once in (3, 1)
    )
    for name, gradient in whole.items():
        if gradient is None:
            assert parts[name] is None
        else:
            torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6)


def test_shared_and_own_and_unused_tensors() -> None:
    rng = generator()
    x, shared, unused = (torch.randn(3, generator=rng).requires_grad_() for _ in range(3))
    rows = torch.randn(5, 3, generator=rng)
    start = {"own": rows * x, "shared": (2 * shared)[None], "unused": unused.expand(5, 3)}

    def losses(own: dict[str, Tensor], part: slice) -> Tensor:
        return (own["own"] * own["shared"]).square().sum(1) + (rows[part] * x).sum(1)

    found = gradients_by_parts(
        losses, start, [x, shared, unused], parts=even_parts(5, 2), factor=0.2, beside=x.sum()
    )
    total = losses({"own": rows * x, "shared": (2 * shared)[None]}, slice(0, 5)).mean() + x.sum()
    expected = torch.autograd.grad(total, [x, shared])
    assert found[2] is None
    for own, gradient in zip(found, expected, strict=False):
        assert own is not None
        torch.testing.assert_close(own, gradient, rtol=1e-13, atol=1e-13)


class Kept:
    """Counts the bytes that graphs keep for their gradients while it is open."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda box: box.tensor)

    def __enter__(self) -> Kept:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)

    def _pack(self, tensor: Tensor) -> Any:
        box, size = Box(tensor.detach() if tensor.is_leaf else tensor), tensor.nbytes
        self._add(size)
        weakref.finalize(box, self._add, -size)
        return box

    def _add(self, size: int) -> None:
        self.now += size
        self.most = max(self.most, self.now)


class Box:
    """Holds a tensor; lives as long as the graph that keeps it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def joined(batches: list[TaskBatch]) -> TaskBatch:
    def one(part: str) -> Labelled:
        sets = [getattr(tasks, part) for tasks in batches]
        return Labelled(torch.cat([s.x for s in sets]), torch.cat([s.y for s in sets]))

    sources = tuple(source for tasks in batches for source in tasks.sources)
    return TaskBatch(one("support"), one("query"), sources, sources)


def kept_by(n_batches: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(task_memory, "AT_ONCE_ON_CPU", limit)
    learner = in_double(Maml(context(MamlParams(inner_steps=2), kind="classification")))
    tasks = joined([batch("classification", seed) for seed in range(n_batches)])
    with Kept() as kept:
        learner.meta_step(tasks, progress=0.0, rng=generator())
    return kept.most


def test_memory_does_not_grow_with_the_meta_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (kept_by(n, 1, monkeypatch) for n in (1, 4))
    assert 0 < many <= 1.02 * few
    few_at_once, many_at_once = (kept_by(n, 2**40, monkeypatch) for n in (1, 4))
    assert few_at_once > 3 * few  # there are four tasks in a batch
    assert many_at_once > 3.9 * few_at_once


def test_bytes_per_example_are_those_a_graph_keeps() -> None:
    space = Mlp(MlpParams(hidden=1, width=7, norm="none"), replace(IMAGES, inputs=(4,)))
    weights = {n: w[None] for n, w in space.init_weights(rng=generator()).items()}
    # The hidden layer after its ReLU; inputs and weights are there anyway.
    assert bytes_per_example(space, weights, torch.ones(1, 3, 4)) == 7 * 8


def test_a_larger_network_has_fewer_tasks_at_once() -> None:
    tasks = batch("classification")
    at_once = []
    for filters in (4, 64):
        space = Conv4(Conv4Params(filters=filters), IMAGES)
        weights = {n: w[None] for n, w in space.init_weights(rng=generator()).items()}

        def drawn(weights: Any = weights) -> Any:
            return weights

        memory = TaskMemory(torch.device("cpu"))
        sizes = [
            memory.tasks_at_once(space, drawn, tasks, steps=steps, second=second)
            for steps, second in ((1, False), (1, True), (5, True))
        ]
        assert sizes == sorted(sizes, reverse=True)
        assert len(set(sizes)) == 3
        at_once.append(sizes)
    assert all(few < many for many, few in zip(*at_once, strict=True))
