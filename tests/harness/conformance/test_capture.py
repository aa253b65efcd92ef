"""What keeps a meta-step from being captured is found and named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from conformance_specs import learner_spec, outcomes
from torch import Tensor

from metabench.conformance.capture import recording
from metabench.conformance.purity import fake_accelerator
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.plugin.contracts.episode import TaskBatch
from metabench_plugins.learners.maml import Maml

CHECK = "regression: its meta-step can be captured"
READS: dict[str, Callable[[Tensor], object]] = {
    "reads a value": lambda x: float(x.sum()),
    "copies to the host": lambda x: x.cpu(),
    "makes a shape of values": lambda x: x.nonzero(),
    "indexes by a mask": lambda x: x[x > 0],
}
RIGHT: dict[str, Callable[[Tensor], object]] = {
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "index": lambda x: x[torch.arange(2, device=x.device)],
    "moved": lambda x: torch.ones(3).to(x.device) + x,
    "host": lambda x: float(torch.tensor([1, 2]).sum()),
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.mark.parametrize("what", READS)
def test_a_read_is_found_with_its_place(what: str) -> None:
    with fake_accelerator() as device:
        x = torch.ones(3, device=device)
        with recording() as found:
            READS[what](x)
    (read,) = found.reads
    assert read.what == what
    assert str(read).startswith("test_capture.py, line ")


@pytest.mark.parametrize("name", RIGHT)
def test_what_waits_for_nothing_is_no_read(name: str) -> None:
    with fake_accelerator() as device:
        x = torch.ones(3, device=device)
        with recording() as found:
            RIGHT[name](x)
    assert found.reads == []


class Reading(Maml):
    """Looks at its loss."""

    def meta_step(self, tasks: TaskBatch, **rest: Any) -> Mapping[str, Tensor | float]:
        logged = super().meta_step(tasks, **rest)
        assert logged["loss"] < 1e9
        return logged


class Counting(Maml):
    """Multiplies by a number that Python counts."""

    n_steps = 0

    def meta_step(self, tasks: TaskBatch, **rest: Any) -> Mapping[str, Tensor | float]:
        self.n_steps += 1
        return {**super().meta_step(tasks, **rest), "steps": tasks.query.y.mean() * self.n_steps}


class Deciding(Maml):
    """Draws whether to make a second update."""

    def meta_step(self, tasks: TaskBatch, *, rng: torch.Generator, **rest: Any) -> Any:
        if torch.rand((), generator=rng) < 0.5:
            super().meta_step(tasks, rng=rng, **rest)
        return super().meta_step(tasks, rng=rng, **rest)


class Scheduled(Maml):
    """Decides by progress, which gives another program and no other step."""

    def meta_step(self, tasks: TaskBatch, *, progress: float, **rest: Any) -> Any:
        if int(10 * progress) % 2:
            super().meta_step(tasks, progress=progress, **rest)
        return super().meta_step(tasks, progress=progress, **rest)


@pytest.mark.parametrize(
    ("learner", "said"),
    [
        (Reading, "it reads values (test_capture.py, line "),
        (Counting, "what is (mul 2) in one step is (mul 3) in the next."),
        (Deciding, "reads a number that was drawn or counted"),
    ],
)
def test_the_author_is_told_why_a_step_is_not_captured(
    learner: type, said: str, catalog: Catalog
) -> None:
    outcome = outcomes(learner_spec(learner), catalog, CHECK)[CHECK]
    assert outcome.status == "warning"
    assert "run eagerly" in outcome.reason
    assert said in outcome.reason


def test_a_step_that_follows_progress_passes(catalog: Catalog) -> None:
    assert outcomes(learner_spec(Scheduled), catalog, CHECK)[CHECK].status == "ok"
