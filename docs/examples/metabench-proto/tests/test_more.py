"""The contract of the learner with phases and of the metric, and what they compute, by hand."""

from importlib import import_module

import pytest
import torch
from metabench import (
    ClassBatch,
    EpisodeShape,
    Labelled,
    LearnerContext,
    TaskBatch,
    TaskShape,
    conformance,
    load_catalog,
)

from metabench_proto.classes import ProtoClasses, ProtoClassesParams, margin
from metabench_proto.more import MARGIN, PROTO_CLASSES, phases

SHAPE = EpisodeShape(ways=2, shots=1, queries=3)


def learner(norm: str = "batch") -> ProtoClasses:
    """The learner on a small network, with 7 meta-train classes."""
    task = TaskShape("classification", (1, 16, 16), 2)
    spec = load_catalog().space("conv4")
    params = spec.params_model().model_validate({"filters": 4, "norm": norm})
    module, _, name = str(spec.factory).partition(":")
    factory = getattr(import_module(module), name)
    return ProtoClasses(
        LearnerContext(
            params=ProtoClassesParams(),
            task=task,
            shape=SHAPE,
            space=factory(params, task),
            strategy=None,
            steps_at_test=0,
            curve_steps=0,
            transductive=True,
            meta_steps=10,
            device=torch.device("cpu"),
            rng=torch.Generator().manual_seed(0),
            train_classes=7,
        )
    )


def tasks() -> TaskBatch:
    """One episode of the classes 4 and 2, and three labelled examples of the class 6."""
    rng = torch.Generator().manual_seed(1)
    examples = torch.randn(1, 3, 1, 16, 16, generator=rng)
    return TaskBatch(
        support=Labelled(torch.randn(1, 2, 1, 16, 16, generator=rng), torch.tensor([[0, 1]])),
        query=Labelled(
            torch.randn(1, 6, 1, 16, 16, generator=rng), torch.tensor([[0, 0, 0, 1, 1, 1]])
        ),
        sources=("a",),
        keys=("b",),
        classes=torch.tensor([[4, 2]]),
        phase="compare",
        labelled=ClassBatch(examples, torch.full((1, 3), 6), "c"),
    )


@pytest.mark.parametrize(
    "check", [*conformance.checks(PROTO_CLASSES), *conformance.checks(MARGIN)], ids=str
)
def test_contract(check: conformance.Check) -> None:
    check()


def test_the_first_phase_has_labelled_examples_alone() -> None:
    first, second = phases(ProtoClassesParams(first=0.25, batch=9), SHAPE)
    assert (first.tasks, first.examples, first.selects) == (0, 9, False)
    assert (second.tasks, second.examples, first.share + second.share) == (None, 9, 1)


def test_the_classifier_learns_the_global_classes_of_an_episode() -> None:
    one = learner()
    one.meta_step(tasks(), progress=0.0, rng=torch.Generator())
    of_class = one.state_dict()["weights"]["classifier"].T  # [classes, dimensions]
    # From zero weights, the first step treats all classes alike that it did not see.
    unseen = [of_class[c] for c in (0, 1, 3, 5)]
    assert all(torch.equal(unseen[0], other) for other in unseen)
    assert not any(torch.equal(unseen[0], of_class[c]) for c in (2, 4, 6))


def test_the_state_of_a_network_is_trained_and_kept() -> None:
    one = learner(norm="running")
    before = {name: value.clone() for name, value in one.state_dict()["state"].items()}
    one.meta_step(tasks(), progress=0.0, rng=torch.Generator())
    after = one.state_dict()["state"]
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    again = learner(norm="running")
    again.load_state_dict({k: v for k, v in one.state_dict().items() if k != "adam"})
    x = tasks().query.x
    predictions = [m.adapt(tasks().support, rng=torch.Generator()).predict(x) for m in (one, again)]
    assert torch.equal(*predictions)


def test_margin() -> None:
    outputs = torch.tensor([[[3.0, 1.0, 0.0], [0.0, 5.0, 7.0]]])
    assert margin(outputs, torch.tensor([[0, 1]])).tolist() == [0.0]  # of 2 and -2
