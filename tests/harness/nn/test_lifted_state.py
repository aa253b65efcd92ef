"""Lifted modules with running statistics: as PyTorch predicts, updated as the built-in networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_lift import FILTERS, IMAGES, SIDE, WAYS, ConvNet, built_in_name, double, images
from tests.helpers.small_tasks import batch, context, generator
from torch import Tensor, nn
from typer.testing import CliRunner

from metabench import ClassBatch, LayeredSpace, Params, PluginError, StatefulSpace, Training
from metabench.cli import app
from metabench.nn import lift
from metabench_plugins.learners.finetuned_classifier import FinetunedClassifier, FinetunedParams
from metabench_plugins.learners.metric import ProtoNet, ProtoNetParams
from metabench_plugins.spaces.conv4 import Conv4Params, StatefulConv4


def lifted(module: Callable[[], nn.Module] = ConvNet) -> Any:
    space = lift(module, head="head", norm="running")
    assert isinstance(space, StatefulSpace)
    assert isinstance(space, LayeredSpace)
    return space


def training() -> Training:
    return Training(rng=generator(), progress=0.0)


def start(space: Any) -> Params:
    """Weights and state in float64, shared by all tasks."""
    state = {n: s.double() + 0.1 * i for i, (n, s) in enumerate(space.init_state().items())}
    weights = double(space.init_weights(rng=generator()))
    return {name: one[None] for name, one in (weights | state).items()}


def test_the_state_is_named_after_its_norms_and_is_apart_from_the_weights() -> None:
    space = lifted()
    state, weights = space.init_state(), space.init_weights(rng=generator())
    assert sorted(state) == sorted(
        f"bn{i}.norm.{part}" for i in range(1, 5) for part in ("mean", "variance")
    )
    assert not state.keys() & weights.keys()
    assert not space.batch_statistics
    assert all(torch.equal(one, torch.full_like(one, float("variance" in n))) for n, one in
               state.items())  # fmt: skip
    plain = lift(ConvNet, head="head")
    assert plain.init_weights(rng=generator()).keys() == weights.keys()
    assert not isinstance(plain, StatefulSpace)


def test_it_predicts_as_the_module_does_in_evaluation() -> None:
    module = ConvNet().double()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(generator=generator(3))  # type: ignore[union-attr]
                part.running_var.uniform_(0.5, 2, generator=generator(4))  # type: ignore[union-attr]
    space = lifted(lambda: module)
    shared = {n: w.double()[None] for n, w in space.init_weights(rng=generator()).items()}
    shared |= {n: s.double()[None] for n, s in space.init_state().items()}
    x = images()
    found = space.forward(shared, {}, x)
    for task, of_task in enumerate(x):
        torch.testing.assert_close(found[task], module.eval()(of_task), atol=1e-6, rtol=1e-6)
    alone = space.forward(shared, {}, x[:, :1])
    torch.testing.assert_close(alone, found[:, :1])


@pytest.mark.parametrize("of_tasks", [False, True])
def test_outputs_state_and_gradients_are_those_of_the_built_in_network(of_tasks: bool) -> None:
    """Two passes, the second from the state of the first, with derivatives of two orders."""
    params = Conv4Params(filters=FILTERS, norm="running")
    networks = {"lifted": lifted(), "built in": StatefulConv4(params, IMAGES)}
    given = start(networks["lifted"])
    if of_tasks:
        given = {n: w.detach().expand(2, *w.shape[1:]).clone() for n, w in given.items()}
        given = {n: w * (1 + 0.1 * torch.arange(2).view(2, *[1] * (w.dim() - 1))) for n, w in
                 given.items()}  # fmt: skip
    trained = networks["lifted"].init_weights(rng=generator())
    found: dict[str, list[Tensor]] = {}
    for key, space in networks.items():
        leaves = {n: w.detach().clone().requires_grad_(n in trained) for n, w in given.items()}
        named = leaves if key == "lifted" else {built_in_name(n): w for n, w in leaves.items()}
        passes, outputs = training(), []
        for x in (images(), images(seed=8)):
            outputs.append(space.forward_training(named, {}, x, training=passes))
        total = torch.stack(outputs).square().sum()
        wanted = [leaves[name] for name in sorted(trained)]
        gradients = torch.autograd.grad(total, wanted, create_graph=True)
        squares = torch.stack([one.square().sum() for one in gradients]).sum()
        second = torch.autograd.grad(squares, wanted, allow_unused=True)
        state = {n if key == "built in" else built_in_name(n): s for n, s in passes.state.items()}
        found[key] = [*outputs, *gradients, *(one for one in second if one is not None)]
        found[key] += [state[name] for name in sorted(state)]
    assert len(found["lifted"]) == len(found["built in"]) > 40
    for mine, theirs in zip(found["lifted"], found["built in"], strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=1e-7)


class Sequence1d(nn.Module):
    """Norms of vectors and of sequences, one of them used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 3, 3)
        self.over_time = nn.BatchNorm1d(3, momentum=0.3, affine=False)
        self.mix = nn.Linear(3, 5)
        self.of_vectors = nn.BatchNorm1d(5, momentum=0.5, eps=1e-3)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.over_time(torch.tanh(self.over_time(self.conv(x[:, None]))))
        return self.head(torch.relu(self.of_vectors(self.mix(y.mean(2)))))


def test_norms_of_vectors_and_sequences_are_those_of_pytorch_in_training() -> None:
    """But for the running variance, which PyTorch divides by one less."""
    module = Sequence1d().double()
    space = lifted(lambda: module)
    weights = {n: w.double()[None] for n, w in space.init_weights(rng=generator()).items()}
    weights |= {n: s.double()[None] for n, s in space.init_state().items()}
    x = torch.randn(1, 9, 7, generator=generator(2), dtype=torch.float64)
    passes = training()
    found = space.forward_training(weights, {}, x, training=passes)
    other = Sequence1d().double()
    other.load_state_dict({n: w.double() for n, w in module.state_dict().items()})
    expected = other.train()(x[0])
    torch.testing.assert_close(found[0], expected, atol=1e-6, rtol=1e-6)
    of_vectors, over_time = (
        {part: passes.state[f"{path}.norm.{part}"][0] for part in ("mean", "variance")}
        for path in ("of_vectors", "over_time")
    )
    for path, mine in (("of_vectors", of_vectors), ("over_time", over_time)):
        norm = other.get_submodule(path)
        torch.testing.assert_close(mine["mean"], norm.running_mean, atol=1e-6, rtol=1e-6)
    assert not torch.allclose(over_time["variance"], torch.ones(3, dtype=torch.float64))
    count = 9
    by_one_less = (other.of_vectors.running_var - 0.5) / 0.5
    torch.testing.assert_close(
        (of_vectors["variance"] - 0.5) / 0.5, by_one_less * (count - 1) / count,
        atol=1e-6, rtol=1e-6,
    )  # fmt: skip


def test_a_given_modules_statistics_are_the_initial_state() -> None:
    module = ConvNet()
    module.train()(torch.rand(5, 1, SIDE, SIDE, generator=generator()))
    state = lift(module, head="head", norm="running").init_state()  # type: ignore[attr-defined]
    assert torch.equal(state["bn1.norm.mean"], module.get_submodule("bn1").running_mean)
    assert not torch.equal(state["bn1.norm.mean"], torch.zeros(FILTERS))


def test_training_changes_neither_the_module_nor_the_state_that_it_is_given() -> None:
    space = lifted()
    given = start(space)
    before = {name: one.detach().clone() for name, one in given.items()}
    first, second = (space.forward_training(given, {}, images(), training=training())
                     for _ in range(2))  # fmt: skip
    assert torch.equal(first, second)
    assert all(torch.equal(one, before[name]) for name, one in given.items())
    assert space.init_state()["bn1.norm.mean"].abs().max() == 0


def flat(*parts: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 4), *parts, nn.Linear(4, 2))


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "no norm": (flat(nn.ReLU()), "The module has no batch norm"),
    "layer norm alone": (flat(nn.LayerNorm(4)), "The module has no batch norm"),
    "not tracked": (
        flat(nn.BatchNorm1d(4, track_running_stats=False)),
        "BatchNorm1d at '2' keeps no running statistics",
    ),
    "cumulative": (
        flat(nn.BatchNorm1d(4, momentum=None)),
        r"BatchNorm1d at '2' averages over all batches \(momentum=None\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_such_state_is_refused(case: str) -> None:
    module, said = REFUSED[case]
    with pytest.raises(PluginError, match=said):
        lift(module, head="3", norm="running")


def test_tasks_with_own_weights_cannot_share_their_statistics() -> None:
    space = lifted()
    shared = start(space)
    own = {n: w if "norm.mean" in n or "norm.var" in n else w.expand(2, *w.shape[1:])
           for n, w in shared.items()}  # fmt: skip
    with pytest.raises(PluginError, match="tasks with weights of their own cannot update"):
        space.forward_training(own, {}, images(), training=training())
    assert space.forward(own, {}, images()).shape == (2, 6, WAYS)


@pytest.mark.parametrize(
    ("learner", "params"), [(ProtoNet, ProtoNetParams()), (FinetunedClassifier, FinetunedParams())]
)
def test_learners_train_it_as_the_built_in_network(learner: Any, params: Any) -> None:
    """From equal weights, a meta-step has an equal loss and leaves an equal state."""
    tasks = batch("classification")
    support, query = (replace(one, x=one.x.float()) for one in (tasks.support, tasks.query))
    labelled = ClassBatch(support.x.flatten(0, 1)[None], support.y.view(1, -1), "")
    tasks = replace(tasks, support=support, query=query, labelled=labelled)
    mine, theirs = (
        learner(context(params, kind="classification", space=space, train_classes=WAYS))
        for space in (
            lifted(),
            StatefulConv4(Conv4Params(filters=FILTERS, norm="running"), IMAGES),
        )
    )
    weights = {built_in_name(n): w for n, w in mine.state_dict()["weights"].items()}
    with torch.no_grad():
        for name, weight in theirs.state_dict()["weights"].items():
            weight.copy_(weights[name])
    first, second = (
        made.meta_step(tasks, progress=0.0, rng=generator())["loss"] for made in (mine, theirs)
    )
    assert float(first) == pytest.approx(float(second), rel=1e-5)
    state = {built_in_name(n): s for n, s in mine.state_dict()["network_state"].items()}
    expected = theirs.state_dict()["network_state"]
    assert state.keys() == expected.keys()
    for name, one in state.items():
        torch.testing.assert_close(one, expected[name], atol=1e-5, rtol=1e-4)
    assert expected["layer1.norm.mean"].abs().max() > 0
    losses = [float(mine.meta_step(tasks, progress=0.0, rng=generator())["loss"]) for _ in range(8)]
    assert losses[-1] < losses[0]


PLUGIN = """
import torch
from pydantic import BaseModel, ConfigDict
from metabench import SearchSpaceSpec, hookimpl
from metabench.nn import lift

class NoParams(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

def make(params, task):
    return lift(lambda: torch.nn.Sequential(
        torch.nn.Conv2d(task.inputs[0], 4, 3, stride=2), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(16, task.outputs),
    ), head="5", norm="running")

@hookimpl
def metabench_search_spaces():
    yield SearchSpaceSpec(name="running-net", version=1, summary="A net.", params=NoParams,
                          factory=make)
"""


def test_a_run_records_it_and_a_learner_without_a_state_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "nets.py"
    file.write_text(PLUGIN)
    command = ["run", "--plugin", str(file), "--network", "running-net", "--suite", "omniglot",
               "--data", "synthetic", "--budget", "smoke", "--out", str(tmp_path)]  # fmt: skip
    done = CliRunner().invoke(app, [*command, "--learner", "protonet"])
    assert done.exit_code == 0, done.output
    (record,) = tmp_path.rglob("run.json")
    assert '"normalization": "running"' in record.read_text()
    refused = CliRunner().invoke(app, [*command, "--learner", "maml"])
    assert refused.exit_code == 2
    assert "running-net" in refused.output
