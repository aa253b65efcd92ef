"""Programs make the steps of the learner they were recorded from, or say why they cannot."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from step_factory import Body, Small, beside, rng_of, same, small_tasks
from torch import Tensor, fx

from metabench.plugin.contracts.episode import TaskBatch
from metabench.running.engines.programs import Compile, Run, as_recorded
from metabench.running.engines.stepper import MOST_EVENTS, MOST_KEPT, Stepper


def made(body: Body, **extra: Callable[[], Any]) -> Any:
    """Equal learners without end."""

    def one(_: int) -> Small:
        learner = Small(body)
        learner.extra = {name: make() for name, make in extra.items()}
        return learner

    return map(one, iter(int, 1))


def in_place(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    leaf = small.weight.detach().requires_grad_()
    loss = (tasks.support.x.mean() * leaf - tasks.query.y.mean()).square().sum()
    (gradient,) = torch.autograd.grad(loss, [leaf])
    small.weight.sub_(gradient, alpha=0.1)
    return loss.detach()


def replaced(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.weight = small.weight * 0.9 + tasks.support.y.mean()
    return small.weight.sum()


def swapped(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    """The new weight is a view of what was another part of the state, and the other way round."""
    small.weight, small.extra["other"] = small.extra["other"].view(3), small.weight
    return small.weight.sum() + tasks.support.x.sum()


def drawn(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.weight = small.weight + torch.rand(3, generator=rng) + torch.randperm(3, generator=rng)
    small.weight.add_(torch.empty(3).normal_(0.5, 2.0, generator=rng))
    small.weight.add_(torch.empty(3).bernoulli_(0.5, generator=rng))
    return small.weight.sum()


def seeded(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    """One seed for several generators, which draw one, two and again other numbers."""
    seed = int(torch.randint(2**62, (), generator=rng))
    for n_draws, size in ((1, 3), (2, 3), (1, 6), (3, 3)):
        noise = torch.Generator().manual_seed(seed)
        for _ in range(n_draws):
            small.weight = small.weight + torch.rand(size, generator=noise)[:3]
    return small.weight.sum() + torch.rand((), generator=rng)


def seeded_again(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    """One generator with a new seed for each draw."""
    noise = torch.Generator()
    for _ in range(3):
        noise.manual_seed(int(torch.randint(2**62, (), generator=rng)))
        small.weight = small.weight + torch.rand(3, generator=noise)
    return small.weight.sum()


def scheduled(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.weight = small.weight * (1.0 - 0.5 * progress) + 1.0
    return small.weight.sum()


def in_phases(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    rate = 2.0 if progress >= 0.5 else 3.0 * min(0.25, progress)
    small.weight = small.weight * rate + 1.0
    return small.weight.sum()


def counted(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.extra["steps"].add_(1)
    small.weight = small.weight / (1.0 - 0.9 ** small.extra["steps"])
    return small.weight.sum()


def constant(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    total = torch.tensor(2.0)
    total.add_(small.hidden.sum())
    small.weight = small.weight + total + torch.arange(3)
    return small.weight.sum()


@pytest.mark.parametrize(
    "body",
    [in_place, replaced, drawn, seeded, seeded_again, scheduled, constant],
    ids=lambda body: body.__name__,
)
def test_programs_make_the_same_steps_to_the_bit(body: Body) -> None:
    stepper, said = beside(made(body), n_steps=6)
    assert stepper.by_program == 6
    assert len(said) == 1
    assert "compiling" in said[0]


@pytest.mark.parametrize("part", [lambda rate: rate, lambda rate: rate.view(1)])
def test_what_a_step_logs_of_the_state_stays_as_it_was(part: Callable[[Tensor], Tensor]) -> None:
    def body(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
        before = part(small.extra["rate"])
        small.extra["rate"] = small.extra["rate"] * 0.999
        return before

    learner = next(made(body, rate=lambda: torch.tensor(1.0)))
    stepper = Stepper(learner, as_recorded, say=lambda text: None)
    logged = [
        stepper(small_tasks(step), progress=0.0, rng=rng_of(step))["loss"] for step in range(4)
    ]
    assert stepper.by_program == 4
    assert [float(one) for one in logged] == pytest.approx([0.999**step for step in range(4)])


def test_parts_of_the_state_may_change_places() -> None:
    stepper, _ = beside(made(swapped, other=lambda: torch.arange(3.0)), n_steps=5)
    assert stepper.by_program == 5


def test_a_counter_that_is_a_tensor_counts() -> None:
    stepper, _ = beside(made(counted, steps=lambda: torch.zeros(())), n_steps=5)
    assert stepper.by_program == 5


def test_each_outcome_of_a_comparison_of_progress_has_its_program() -> None:
    stepper, said = beside(made(in_phases), n_steps=12)
    assert stepper.by_program == 12
    assert len(said) == 3  # below a quarter, below a half, above


def test_tasks_of_other_shapes_have_their_program() -> None:
    stepper, said = beside(
        made(in_place), n_steps=6, tasks=lambda step: small_tasks(step, n_tasks=2 + step % 2)
    )
    assert stepper.by_program == 6
    assert len(said) == 2


def test_the_least_used_program_is_forgotten() -> None:
    learner = Small(in_place)
    stepper = Stepper(learner, as_recorded, say=lambda text: None)
    for n_tasks in range(1, MOST_KEPT + 4):
        stepper(small_tasks(n_tasks=n_tasks), progress=0.0, rng=rng_of(0))
    assert len(stepper._entries) == MOST_KEPT


def test_a_step_that_changes_words_of_the_state_stays_as_it_was_made() -> None:
    def body(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
        if progress >= 0.5 and small.extra["phase"] == "first":
            small.extra["phase"] = "second"
            small.extra["more"] = torch.ones(2)
        small.weight = small.weight + (1.0 if small.extra["phase"] == "first" else 2.0)
        return small.weight.sum()

    stepper, _ = beside(made(body, phase=lambda: "first"), n_steps=10)
    assert (stepper.by_program, stepper.by_learner) == (9, 1)


def test_a_number_that_changes_in_every_step_makes_all_steps_eager() -> None:
    def body(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
        small.extra["count"] += 1
        small.weight = small.weight + small.extra["count"]
        return small.weight.sum()

    stepper, said = beside(made(body, count=lambda: 0), n_steps=MOST_EVENTS + 3)
    assert stepper.by_program == 0
    assert said == [
        "meta-steps are made eagerly, because each changes more of the state than tensors: count"
    ]


def reads(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.weight = small.weight + float(tasks.support.x.mean())
    return small.weight.sum()


def lists(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.weight = small.weight + tasks.support.x.flatten().tolist()[0]
    return small.weight.sum()


def masks(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.weight = small.weight + tasks.support.x[tasks.support.x > 0].sum()
    return small.weight.sum()


def globally(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small.weight = small.weight + torch.rand(3)
    return small.weight.sum()


def stranger(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.weight = small.weight + torch.rand(3, generator=torch.Generator().manual_seed(1))
    return small.weight.sum()


def choice(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.weight = small.weight + int(torch.randint(5, (), generator=rng))
    return small.weight.sum()


def likely(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.weight = small.weight + torch.bernoulli(torch.sigmoid(small.weight), generator=rng)
    return small.weight.sum()


def number(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.weight = small.weight + int(10 * progress)
    return small.weight.sum()


def changed_seed(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    seed = torch.randint(2**62, (), generator=rng).add_(1)
    noise = torch.Generator().manual_seed(int(seed))
    small.weight = small.weight + 1e-3 * torch.rand(3, generator=noise)
    return small.weight.sum()


def seeded_numpy(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    noise = np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))
    small.weight = small.weight + 1e-3 * torch.from_numpy(noise.normal(size=3)).float()
    return small.weight.sum()


def seeded_python(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    noise = random.Random(int(torch.randint(2**62, (), generator=rng)))
    small.weight = small.weight + 1e-3 * noise.random()
    return small.weight.sum()


def set_anew(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    rng.manual_seed(5)
    small.weight = small.weight + 1e-3 * torch.rand(3, generator=rng)
    return small.weight.sum()


def filled_part(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    noise = torch.zeros(3)
    noise[1:].normal_(generator=rng)
    small.weight = small.weight + (1e-3 if noise.sum() > 0 else -1e-3)
    return small.weight.sum()


def filled_tasks(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    tasks.support.x.normal_(generator=rng)
    small.weight = small.weight + tasks.support.x.mean()
    return small.weight.sum()


def earlier_view(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    total = torch.zeros(2)
    first = total[0]
    total.add_(tasks.support.x.mean())
    small.weight = small.weight + (1e-3 if first > 0 else -1e-3)
    return small.weight.sum()


def doubled(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    done = torch.as_tensor(progress).clone().mul_(2.0)
    small.weight = small.weight + (1e-3 if done > 1.0 else -1e-3)
    return small.weight.sum()


def bounded(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.weight = small.weight + torch.as_tensor(progress).clamp_(max=0.3)
    return small.weight.sum()


def named(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.weight = small.weight + 1e-3 * len("".join(tasks.keys[:2]))
    return small.weight.sum()


def secret(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.hidden[1:].add_(1.0)
    small.weight = small.weight + 1.0
    return small.weight.sum()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (reads, "Python reads a number from a tensor"),
        (lists, "Python reads the numbers of a tensor (tolist)"),
        (masks, "index waits for the values"),
        (globally, "without the generator it got"),
        (stranger, "from another generator than the one it got"),
        (choice, "Python reads a drawn number that seeds no generator"),
        (likely, "probabilities that are a tensor"),
        (number, "it reads progress as a Python number"),
        (changed_seed, "Python reads a number from a tensor"),
        (seeded_numpy, "Python makes something else of a drawn number"),
        (seeded_python, "Python makes something else of a drawn number"),
        (set_anew, "or sets it anew"),
        (filled_part, "Python reads a number from a tensor"),
        (filled_tasks, "normal_ changes a tensor of the tasks"),
        (earlier_view, "Python reads a number from a tensor"),
        (doubled, "it changes in place what it compares of progress"),
        (bounded, "clamp_ changes progress in place"),
        (named, "it reads the sources or keys of its tasks"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_step_that_cannot_be_a_program_is_eager_and_says_why(body: Body, why: str) -> None:
    stepper, said = beside(made(body), n_steps=4)
    assert (stepper.by_program, stepper.by_learner) == (0, 4)
    assert stepper.name == "eager"
    (sentence,) = said
    assert sentence.startswith("meta-steps are made eagerly, because ")
    assert why in sentence


def secretly_drawn(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    small.hidden[1:].normal_(generator=rng)
    return small.weight.sum()


@pytest.mark.parametrize(("body", "how"), [(secret, "add_"), (secretly_drawn, "normal_")])
def test_a_tensor_outside_the_state_may_not_change(body: Body, how: str) -> None:
    said: list[str] = []
    stepper = Stepper(Small(body), as_recorded, say=said.append)
    stepper(small_tasks(), progress=0.0, rng=rng_of(0))
    assert said == [
        f"meta-steps are made eagerly, because {how} changes a tensor that state_dict() does not "
        "return (a view of it does not count)"
    ]


def test_the_state_may_not_be_read_beside_state_dict() -> None:
    def body(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
        return small.weight.add_(0.1 * small.hidden.mean()).sum()

    learner, said = Small(body), list[str]()
    learner.hidden = learner.weight.view(3)
    Stepper(learner, as_recorded, say=said.append)(small_tasks(), progress=0.0, rng=rng_of(0))
    assert said == [
        "meta-steps are made eagerly, because it reads the state through tensors that state_dict() "
        "does not return"
    ]


def test_an_error_of_the_learner_is_raised() -> None:
    def body(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
        raise ValueError("broken")

    stepper = Stepper(Small(body), as_recorded, say=lambda text: None)
    with pytest.raises(ValueError, match="broken"):
        stepper(small_tasks(), progress=0.0, rng=rng_of(0))


def not_compiled(module: fx.GraphModule, examples: Any) -> Run:
    raise RuntimeError("no compiler\nand a long trace")


def not_run(module: fx.GraphModule, examples: Any) -> Run:
    def run(*inputs: Tensor) -> Any:
        for name, tensor in zip(examples, inputs, strict=True):
            if name.startswith("state."):
                tensor.zero_()  # it ends amid its work
        raise RuntimeError("no tensor\nand a long trace")

    return run


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (not_compiled, "it cannot be compiled (RuntimeError: no compiler)"),
        (not_run, "its program cannot be run (RuntimeError: no tensor)"),
    ],
)
def test_a_program_that_cannot_be_made_or_run_is_said_so(broken: Compile, why: str) -> None:
    said: list[str] = []
    one, other = Small(in_place), Small(in_place)
    stepper = Stepper(other, broken, say=said.append)
    for step in range(3):
        one.meta_step(small_tasks(step), progress=0.0, rng=rng_of(step))
        stepper(small_tasks(step), progress=0.0, rng=rng_of(step))
    assert same(one.state_dict(), other.state_dict())
    assert said[-1] == f"meta-steps are made eagerly, because {why}"


def test_a_program_with_another_loss_is_not_used() -> None:
    def wrong(module: fx.GraphModule, examples: Any) -> Run:
        return lambda *inputs: [2.0 * output for output in module(*inputs)]

    said: list[str] = []
    one, other = Small(in_place), Small(in_place)
    stepper = Stepper(other, wrong, say=said.append)
    for step in range(3):
        one.meta_step(small_tasks(step), progress=0.0, rng=rng_of(step))
        stepper(small_tasks(step), progress=0.0, rng=rng_of(step))
    assert same(one.state_dict(), other.state_dict())
    assert stepper.by_program == 0
    assert "the program has loss" in said[-1]


@pytest.mark.parametrize("body", [in_place, replaced, seeded, in_phases])
def test_a_stepper_that_starts_later_makes_the_same_steps(body: Body) -> None:
    """What was recorded, when and from what state, has no influence."""
    whole, first, second = (Small(body) for _ in range(3))
    steppers = [Stepper(learner, as_recorded, say=lambda text: None) for learner in (whole, first)]

    def go(stepper: Stepper, steps: range) -> None:
        for step in steps:
            stepper(small_tasks(step), progress=step / 10, rng=rng_of(step))

    go(steppers[0], range(10))
    go(steppers[1], range(7))
    second.load_state_dict(first.state_dict())
    go(Stepper(second, as_recorded, say=lambda text: None), range(7, 10))
    assert same(whole.state_dict(), second.state_dict())


def test_steps_that_count_in_python_are_the_same_wherever_a_run_begins() -> None:
    def body(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
        small.extra["count"] += 1
        small.weight = small.weight + (1.0 if isinstance(progress, Tensor) else 2.0)
        return small.weight.sum()

    states = []
    for starts in ((0,), (0, MOST_EVENTS + 1)):
        learner = next(made(body, count=lambda: 0))
        for first, stop in pairwise((*starts, MOST_EVENTS + 3)):
            stepper = Stepper(learner, as_recorded, say=lambda text: None)
            for step in range(first, stop):
                stepper(small_tasks(step), progress=step / 10, rng=rng_of(step))
        states.append(learner.state_dict())
    assert same(*states)


def test_events_between_eager_steps_are_not_in_a_row() -> None:
    """Batches of two tasks change a word of the state; of three they are read."""

    def body(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
        if len(tasks) == 2:
            small.extra["count"] += 1
        if len(tasks) == 3:
            small.weight = small.weight * float(tasks.support.x.mean())
        small.weight = small.weight + 1.0
        return small.weight.sum()

    stepper = Stepper(next(made(body, count=lambda: 0)), as_recorded, say=lambda text: None)
    for step, n_tasks in enumerate([2, 3] * MOST_EVENTS + [4]):
        stepper(small_tasks(step, n_tasks=n_tasks), progress=0.0, rng=rng_of(step))
    assert stepper.by_program == 1


def test_tensors_that_others_hold_are_left_alone() -> None:
    learner = Small(replaced)
    held = learner.state_dict()
    before = held["weight"].clone()
    stepper = Stepper(learner, as_recorded, say=lambda text: None)
    for step in range(3):
        stepper(small_tasks(step), progress=0.0, rng=rng_of(step))
    assert torch.equal(held["weight"], before)
    assert not torch.equal(learner.weight, before)
