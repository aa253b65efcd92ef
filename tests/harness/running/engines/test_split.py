"""What a device cannot do in one launch is done before it, on a pretended accelerator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from step_factory import Small, rng_of, small_tasks
from torch import Tensor, fx

from metabench.conformance.purity import FAKE, fake_accelerator
from metabench.conformance.samples import on
from metabench.plugin.contracts.episode import Adapted, Labelled, TaskBatch
from metabench.running.engines.adapter import ProgramAdapter
from metabench.running.engines.programs import Run
from metabench.running.engines.split import Split, split
from metabench.running.engines.stepper import Stepper

SPLITS: list[Split] = []


def in_two(module: fx.GraphModule, examples: Mapping[str, Tensor]) -> Run:
    """As :func:`metabench.running.engines.capture.captured` does it, without the capture."""
    parts = split(module.graph, examples)
    SPLITS.append(parts)

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(examples, inputs, strict=True))
        of_host = parts.run_host(given)
        handed = [tensor.to(FAKE) for tensor in of_host[: parts.n_handed]]
        return parts.join(
            of_host, parts.device(*[given[name] for name in parts.device_inputs], *handed)
        )

    return run


def scheduled(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    """A drawn order, a rate that falls, and a product with the tasks."""
    order = torch.rand(3, generator=rng).argsort().to(small.weight.device, non_blocking=True)
    rate = 1.0 - 0.5 * progress
    moved = small.weight[order] + tasks.support.x.mean()
    small.weight.copy_(small.weight + rate * moved)
    return small.weight.sum()


class Shifted(Small):
    """Adapts by a drawn shift."""

    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        shift = torch.rand(len(support.x), 1, 1, generator=rng).sqrt().to(support.x.device)
        moved = support.y.mean(dim=1, keepdim=True) + shift * self.weight.sum()
        curve = [lambda x: x + moved, lambda x: x - moved]
        return Adapted(curve[1], curve=curve, embedding=moved.flatten(1))


def test_draws_of_an_adaptation_are_made_before_it() -> None:
    eager = Shifted(scheduled)
    with fake_accelerator() as device:
        small = Shifted(scheduled)
        small.weight = small.weight.to(device)
        said: list[str] = []
        adapter = ProgramAdapter(in_two, size=3, say=said.append)
        for batch in range(3):
            tasks, there = small_tasks(batch), on(device, small_tasks(batch))
            wanted = eager.adapt(tasks.support, rng=rng_of(batch)).predict(tasks.query.x)
            found = adapter(small, there, rng=rng_of(batch)).predict(there.query.x)
            torch.testing.assert_close(found.cpu(), wanted)
    assert adapter.by_program == 3, said


def test_draws_and_schedules_are_computed_before_the_step() -> None:
    SPLITS.clear()
    eager = Small(scheduled)
    with fake_accelerator() as device:
        small = Small(scheduled)
        small.weight = small.weight.to(device)
        said: list[str] = []
        stepper = Stepper(small, in_two, say=said.append)
        for step in range(4):
            wanted = eager.meta_step(small_tasks(step), progress=step / 4, rng=rng_of(step))
            found = stepper(on(device, small_tasks(step)), progress=step / 4, rng=rng_of(step))
            assert float(found["loss"]) == pytest.approx(float(wanted["loss"]), rel=1e-6)
    assert stepper.by_program == 4, said
    (parts,) = SPLITS
    assert set(parts.host_inputs) == {"draw.0", "progress"}
    assert {name.partition(".")[0] for name in parts.device_inputs} == {"state", "tasks"}
    assert parts.n_handed == 2
    names = {node.name for node in parts.host.graph.nodes}
    assert "argsort_default" in names or "sort_default" in names or "argsort_stable" in names


def test_a_step_that_copies_from_the_device_is_refused() -> None:
    def body(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
        total = tasks.support.x.mean().cpu() + 1.0
        small.weight.copy_(small.weight + total.to(small.weight.device))
        return small.weight.sum()

    with fake_accelerator() as device:
        small = Small(body)
        small.weight = small.weight.to(device)
        said: list[str] = []
        stepper = Stepper(small, in_two, say=said.append)
        stepper(on(device, small_tasks()), progress=0.0, rng=rng_of(0))
    assert stepper.by_program == 0
    assert "copies numbers from the device" in said[-1]


def test_a_change_on_the_host_after_a_copy_is_refused() -> None:
    """The host goes first, so the device would get the changed numbers."""

    def body(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
        noise = torch.rand(3, generator=rng)
        small.weight.add_(noise[:2].to(small.weight.device).sum())
        noise.zero_()
        return small.weight.sum()

    with fake_accelerator() as device:
        small = Small(body)
        small.weight = small.weight.to(device)
        said: list[str] = []
        Stepper(small, in_two, say=said.append)(
            on(device, small_tasks()), progress=0.0, rng=rng_of(0)
        )
    assert said[-1] == (
        "meta-steps are made eagerly, because the host changes in place what it has copied to the "
        "device"
    )


@pytest.mark.parametrize("n_tasks", [1, 3])
def test_without_anything_on_the_host_the_device_has_it_all(n_tasks: int) -> None:
    def body(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
        small.weight.add_(tasks.support.x.mean())
        return small.weight.sum()

    SPLITS.clear()
    with fake_accelerator() as device:
        small = Small(body)
        small.weight = small.weight.to(device)
        stepper = Stepper(small, in_two, say=lambda text: None)
        stepper(on(device, small_tasks(n_tasks=n_tasks)), progress=0.0, rng=rng_of(0))
    (parts,) = SPLITS
    assert parts.host_inputs == ()
    assert parts.n_handed == 0
