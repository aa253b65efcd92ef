"""A program adapts as the learner it was recorded from, or it is said why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from step_factory import Small, rng_of, small_tasks
from torch import Tensor, fx

from metabench.plugin.contracts.episode import Adapted, Labelled, TaskBatch, TaskShape
from metabench.plugin.contracts.genotype import Genotype
from metabench.running import engines
from metabench.running.engines import EagerAdapter, open_adapter
from metabench.running.engines.adapter import ProgramAdapter
from metabench.running.engines.programs import Run, as_recorded
from metabench.running.ensemble import Ensemble

SIZE = 3
VECTORS = TaskShape("regression", (1,), 1)
IMAGES = TaskShape("classification", (1, 28, 28), 5)


class Adapting(Small):
    """A learner whose adaptation is what a test says."""

    def __init__(self, body: Callable[[Adapting, Labelled, torch.Generator], Adapted]) -> None:
        super().__init__(lambda *_: torch.zeros(()))
        self.rng = torch.Generator()
        self.adaptation = body

    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        return self.adaptation(self, support, rng)


def in_steps(small: Adapting, support: Labelled, rng: torch.Generator) -> Adapted:
    """Predicts with a drawn shift that grows with the steps."""
    shift = support.y.mean(dim=1, keepdim=True) + torch.rand(len(support.x), 1, 1, generator=rng)

    def after(step: int) -> Callable[[Tensor], Tensor]:
        return lambda x: x.sum(dim=2, keepdim=True) * small.weight.sum() + step * shift

    curve = [after(step) for step in range(3)]
    n_tasks = len(support.x)
    return Adapted(
        predict=curve[1],
        curve=curve,
        embedding=shift.flatten(1),
        variants={"still": after(0)},
        genotypes=[Genotype(())] * n_tasks,
        n_params=[7] * n_tasks,
    )


def predicting(forward: Callable[[Adapting, Labelled, Tensor], Tensor]) -> Any:
    """A learner that only predicts."""

    def body(small: Adapting, support: Labelled, rng: torch.Generator) -> Adapted:
        small.rng = rng
        return Adapted(lambda x: forward(small, support, x))

    return Adapting(body)


def adapter(said: list[str] | None = None, **options: Any) -> ProgramAdapter:
    say = (said if said is not None else []).append
    return ProgramAdapter(as_recorded, **{"size": SIZE, "say": say} | options)


def outputs(adapted: Adapted, tasks: TaskBatch) -> list[Tensor]:
    asked = [*(adapted.curve or ()), adapted.predict, *adapted.variants.values()]
    return [predict(tasks.query.x) for predict in asked]


def test_a_program_adapts_to_the_bit_as_the_learner_while_its_state_changes() -> None:
    learner, said = Adapting(in_steps), list[str]()
    programs = adapter(said)
    for batch in range(4):
        tasks = small_tasks(batch, n_tasks=SIZE)
        wanted = learner.adapt(tasks.support, rng=rng_of(batch))
        rng = rng_of(batch)
        found = programs(learner, tasks, rng=rng)
        for one, other in zip(outputs(wanted, tasks), outputs(found, tasks), strict=True):
            assert torch.equal(one, other)
        assert found.embedding is not None
        assert wanted.embedding is not None
        assert torch.equal(found.embedding, wanted.embedding)
        assert (found.genotypes, found.n_params) == (wanted.genotypes, wanted.n_params)
        after = rng_of(batch)
        learner.adapt(tasks.support, rng=after)
        assert torch.equal(rng.get_state(), after.get_state())
        learner.weight = learner.weight * 1.5 + batch  # training goes on
    assert programs.by_program == 4
    assert programs.name == "compiled"
    (sentence,) = said
    assert sentence.startswith("compiling the adaptation of ")


def test_a_state_that_is_laid_out_otherwise_has_a_program_of_its_own() -> None:
    """Compiled loops know how memory is laid out."""
    learner, programs = predicting(lambda small, support, x: x * small.weight.sum()), adapter()
    made: list[object] = []
    tasks = small_tasks(n_tasks=SIZE)
    for weight in (torch.ones(2, 3), torch.ones(3, 2).T, torch.ones(3, 2).T):
        learner.weight = weight
        programs(learner, tasks, rng=rng_of(0))
        made.append(programs._program)
    assert made[0] is not made[1]
    assert made[1] is made[2]


def test_where_the_curve_is_not_asked_for_it_is_not_computed() -> None:
    n_asked: list[int] = []

    def body(small: Adapting, support: Labelled, rng: torch.Generator) -> Adapted:
        def predict(x: Tensor) -> Tensor:
            n_asked.append(1)
            return x + small.weight.sum()

        return Adapted(predict, curve=[predict, lambda x: predict(x) * 2])

    learner, tasks = Adapting(body), small_tasks(n_tasks=SIZE)
    found = adapter(curve=False)(learner, tasks, rng=rng_of(0))
    assert len(n_asked) == 1
    assert found.curve is None
    assert torch.equal(found.predict(tasks.query.x), tasks.query.x + 3)


def test_a_smaller_batch_is_the_learners_own() -> None:
    learner, programs = Adapting(in_steps), adapter()
    tasks = small_tasks(n_tasks=SIZE - 1)
    programs(learner, tasks, rng=rng_of(0))
    assert (programs.by_program, programs.by_learner) == (0, 1)
    assert programs.name == "eager"


def test_predictors_of_a_program_refuse_other_queries() -> None:
    learner, tasks = Adapting(in_steps), small_tasks(n_tasks=SIZE)
    found = adapter()(learner, tasks, rng=rng_of(0))
    with pytest.raises(ValueError, match="the queries of its batch alone"):
        found.predict(tasks.support.x)


def reads(small: Adapting, support: Labelled, x: Tensor) -> Tensor:
    return x * float(support.y.mean())


def lists(small: Adapting, support: Labelled, x: Tensor) -> Tensor:
    return x * support.y.flatten().tolist()[0]


def writes(small: Adapting, support: Labelled, x: Tensor) -> Tensor:
    small.weight.add_(1.0)
    return x * small.weight.sum()


def replaces(small: Adapting, support: Labelled, x: Tensor) -> Tensor:
    small.weight = small.weight + 1.0
    return x * small.weight.sum()


def seeds(small: Adapting, support: Labelled, x: Tensor) -> Tensor:
    noise = np.random.default_rng(int(torch.randint(2**62, (), generator=small.rng)))
    return x * noise.normal()


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (reads, "Python reads a number from a tensor"),
        (lists, "Python reads the numbers of a tensor (tolist)"),
        (writes, "add_ changes a tensor of the state"),
        (replaces, "it changes the state"),
        (seeds, "Python makes something else of a drawn number"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_adaptation_that_cannot_be_a_program_is_eager_and_says_why(forward: Any, why: str) -> None:
    learner, said = predicting(forward), list[str]()
    programs = adapter(said)
    for batch in range(3):
        tasks = small_tasks(batch, n_tasks=SIZE)
        programs(learner, tasks, rng=rng_of(batch))
    assert (programs.by_program, programs.by_learner) == (0, 3)
    (sentence,) = said
    assert sentence.startswith("adaptation is made eagerly, because ")
    assert why in sentence


def test_a_reason_that_holds_for_each_evaluation_is_said_once() -> None:
    """A number of the state is another at each of them, so each is tried anew."""
    learner, said = predicting(reads), list[str]()
    programs = adapter(said)
    for count in range(3):
        learner.extra["count"] = count
        programs(learner, small_tasks(n_tasks=SIZE), rng=rng_of(0))
    assert len(said) == 1


def test_a_tensor_that_shares_memory_with_the_state_is_no_constant() -> None:
    learner = predicting(lambda small, support, x: x * small.alias.sum())
    learner.alias = learner.weight.detach()
    said = list[str]()
    adapter(said)(learner, small_tasks(n_tasks=SIZE), rng=rng_of(0))
    assert said == [
        "adaptation is made eagerly, because it reads the state through tensors that state_dict() "
        "does not return"
    ]


def test_a_program_with_other_outputs_is_not_used() -> None:
    def wrong(module: fx.GraphModule, examples: Any) -> Run:
        return lambda *inputs: [output + 1.0 for output in module(*inputs)]

    learner, said = Adapting(in_steps), list[str]()
    programs = ProgramAdapter(wrong, size=SIZE, say=said.append)
    tasks = small_tasks(n_tasks=SIZE)
    found = programs(learner, tasks, rng=rng_of(0))
    wanted = learner.adapt(tasks.support, rng=rng_of(0))
    assert torch.equal(found.predict(tasks.query.x), wanted.predict(tasks.query.x))
    assert programs.name == "eager"
    assert said[-1].endswith("100% of what the program computes is not what the learner does")


def test_several_states_that_predict_together_are_eager() -> None:
    learner, said = predicting(lambda small, support, x: x * small.weight.sum()), list[str]()
    together = Ensemble(learner, [learner.state_dict()], "regression", None)
    programs = adapter(said)
    programs(together, small_tasks(n_tasks=SIZE), rng=rng_of(0))
    assert programs.name == "eager"
    assert said == [
        "adaptation is made eagerly, because several states of the learner predict together"
    ]


def test_an_error_of_the_learner_is_raised() -> None:
    learner = predicting(lambda small, support, x: x @ torch.ones(7))
    programs, tasks = adapter(), small_tasks(n_tasks=SIZE)
    adapted = programs(learner, tasks, rng=rng_of(0))
    with pytest.raises(RuntimeError):
        adapted.predict(tasks.query.x)


@pytest.mark.parametrize(
    ("name", "device", "task", "batches", "program"),
    [
        ("eager", "cpu", VECTORS, 10**6, False),
        ("compiled", "cpu", VECTORS, engines.WORTH_ADAPTING, True),
        ("compiled", "cpu", VECTORS, engines.WORTH_ADAPTING - 1, False),
        ("compiled", "cpu", IMAGES, 10**6, False),
        ("compiled", "cuda", IMAGES, engines.WORTH_ADAPTING, True),
    ],
)
def test_programs_adapt_where_they_pay(
    name: Any, device: str, task: TaskShape, batches: int, program: bool
) -> None:
    opened = open_adapter(
        name, device=torch.device(device), task=task, size=SIZE, batches=batches, curve=True,
        say=lambda text: None,
    )  # fmt: skip
    assert isinstance(opened, ProgramAdapter if program else EagerAdapter)
