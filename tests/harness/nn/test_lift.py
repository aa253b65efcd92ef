"""Modules of PyTorch as networks: equal to what is written with the primitives, exact, and pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
from conformance_specs import outcomes
from pydantic import BaseModel, ConfigDict
from tests.helpers.small_tasks import batch, context, generator, in_double
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from metabench import (
    LayeredSpace,
    Params,
    PluginError,
    SearchSpaceSpec,
    TaskShape,
    inner_loop,
    is_norm,
    share,
)
from metabench.conformance.samples import untouched_randomness
from metabench.nn import batch_norm, lift, linear, statistics_of_first
from metabench.plugin.catalog import Catalog
from metabench_plugins.learners.anil import Anil, AnilParams
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.metric import ProtoNet, ProtoNetParams
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params

FILTERS, SIDE, WAYS = 4, 16, 3
IMAGES = TaskShape("classification", (1, SIDE, SIDE), WAYS)


class ConvNet(nn.Module):
    """Conv-4 as one would write it in PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        channels = 1
        for i in range(1, 5):
            self.add_module(f"layer{i}", nn.Conv2d(channels, FILTERS, 3, padding=1))
            self.add_module(f"bn{i}", nn.BatchNorm2d(FILTERS))
            channels = FILTERS
        self.head = nn.Linear(FILTERS, WAYS)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, 5):
            x = self.get_submodule(f"bn{i}")(self.get_submodule(f"layer{i}")(x))
            x = torch.relu(torch.max_pool2d(x, 2))
        return self.head(x.flatten(1))


def lifted() -> LayeredSpace:
    return lift(ConvNet, head="head")


def built_in() -> Conv4:
    return Conv4(Conv4Params(filters=FILTERS), IMAGES)


def built_in_name(name: str) -> str:
    """
    >>> built_in_name("bn1.norm.weight"), built_in_name("layer1.weight")
    ('layer1.norm.scale', 'layer1.weight')
    """
    part = {"weight": "scale", "bias": "shift"}
    name = re.sub(
        r"^bn(\d)\.norm\.(\w+)", lambda m: f"layer{m[1]}.norm.{part.get(m[2], m[2])}", name
    )
    return name


def double(weights: Params, *, spread: float = 0.2) -> Params:
    """Weights off their symmetric start, as leaves."""
    rng = generator(1)
    return {
        name: (
            w + spread * torch.randn(w.shape, generator=rng, dtype=torch.float64)
        ).requires_grad_()
        for name, w in weights.items()
    }


def images(n_tasks: int = 2, n: int = 6, *, seed: int = 2) -> Tensor:
    return torch.randn(n_tasks, n, *IMAGES.inputs, generator=generator(seed), dtype=torch.float64)


def meta_loss(space: LayeredSpace, weights: Params, x: Tensor, y: Tensor) -> Tensor:
    """Two inner steps on the first half of the examples, the loss on the second."""
    half = x.shape[1] // 2

    def loss(w: Params, part: slice) -> Tensor:
        return (space.forward(w, {}, x[:, part]) - y[:, part]).square().mean((1, 2))

    end = inner_loop(
        lambda w: loss(w, slice(half)), share(weights, len(x)), steps=2, lr=0.05, order="second"
    )
    return loss(end, slice(half, None)).mean()


def targets(x: Tensor, outputs: int) -> Tensor:
    return torch.randn(*x.shape[:2], outputs, generator=generator(5), dtype=torch.float64)


def test_names_are_stable_and_norms_are_known() -> None:
    names = list(lifted().init_weights(rng=generator()))
    assert sorted(map(built_in_name, names)) == sorted(built_in().init_weights(rng=generator()))
    assert [n for n in names if is_norm(n)] == [
        f"bn{i}.norm.{part}" for i in range(1, 5) for part in ("weight", "bias")
    ]


def test_a_norm_is_not_named_twice() -> None:
    module = nn.Sequential()
    module.norm = nn.LayerNorm(3)
    module.head = nn.Linear(3, 2)
    weights = lift(lambda: module, head="head").init_weights(rng=generator())
    assert list(weights) == ["norm.weight", "norm.bias", "head.weight", "head.bias"]


def test_meta_gradients_are_those_of_the_built_in_network() -> None:
    x = images(n=8)
    y = targets(x, WAYS)
    space = lifted()
    weights = double(space.init_weights(rng=generator()))
    others = {built_in_name(name): w.detach().requires_grad_() for name, w in weights.items()}
    ours, theirs = meta_loss(space, weights, x, y), meta_loss(built_in(), others, x, y)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    found = torch.autograd.grad(ours, list(weights.values()))
    # The built-in network leaves out biases that a norm takes away.
    expected = torch.autograd.grad(theirs, list(others.values()), materialize_grads=True)
    assert max(g.abs().max() for g in expected) > 1e-2
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-12)


def attention() -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, batch_first=True)
            self.head = nn.Linear(4, WAYS)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.block(x.flatten(2).mT[:, :6, :1].expand(-1, -1, 4)).mean(1))

    return Net()


@pytest.mark.parametrize("made", [ConvNet, attention])
def test_second_order_gradients_equal_finite_differences(made: Callable[[], nn.Module]) -> None:
    space, x = lift(made, head="head"), images()
    y = targets(x, WAYS)
    weights = double(space.init_weights(rng=generator()))
    gradients = torch.autograd.grad(meta_loss(space, weights, x, y), list(weights.values()))
    eps, seen = 2e-6, 0
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        direction = torch.randn(weight.shape, generator=generator(4), dtype=torch.float64)
        direction /= direction.norm()
        with torch.no_grad():
            ends = [
                float(meta_loss(space, weights | {name: weight + move * direction}, x, y))
                for move in (eps, -eps, 2 * eps, -2 * eps)
            ]
        numeric = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * eps)
        exact = float((gradient * direction).sum())
        assert numeric == pytest.approx(exact, rel=1e-5, abs=1e-8), name
        seen += abs(exact) > 1e-4
    assert seen >= len(weights) // 2


def test_a_module_is_its_plain_call_with_batch_statistics() -> None:
    module = ConvNet()
    before = {name: b.clone() for name, b in module.named_buffers()}
    space = lift(module, head="head")
    assert space.batch_statistics
    x = images().float()
    weights = space.init_weights(rng=generator())
    y = space.forward({name: w[None] for name, w in weights.items()}, {}, x)
    for name, buffer in module.named_buffers():
        assert torch.equal(buffer, before[name]), "running statistics stay as they were"
    module.train()
    torch.testing.assert_close(y, torch.stack([module(task) for task in x]))


def test_the_same_seed_gives_the_same_weights_and_leaves_global_generators_alone() -> None:
    with untouched_randomness():
        space = lifted()
        first, again, other = (space.init_weights(rng=generator(s)) for s in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layer1.weight"], other["layer1.weight"])
    torch.manual_seed(5)
    elsewhere = lifted().init_weights(rng=generator())
    assert all(torch.equal(first[name], elsewhere[name]) for name in first)


def test_a_given_module_is_every_seeds_start() -> None:
    module = ConvNet()
    space = lift(module, head="head")
    for seed in (0, 1):
        weights = space.init_weights(rng=generator(seed))
        assert torch.equal(weights["head.weight"], module.head.weight.T)
        assert torch.equal(weights["layer2.weight"], module.get_parameter("layer2.weight"))


def test_extra_weights_of_the_head_follow_the_contract() -> None:
    space, x = lifted(), images()
    assert space.layers() == {"head": WAYS}
    assert isinstance(space, LayeredSpace)
    weights = share(double(space.init_weights(rng=generator())), len(x))
    whole = space.forward(weights, {}, x)
    inner = space.forward({n: w for n, w in weights.items() if not n.startswith("head.")}, {}, x)
    assert inner.shape == (2, 6, FILTERS)
    torch.testing.assert_close(linear(inner, weights["head.weight"], weights["head.bias"]), whole)
    matrix = torch.randn(2, WAYS, WAYS, generator=generator(3), dtype=torch.float64)
    transformed = space.forward(weights | {"head.transform": matrix}, {}, x)
    torch.testing.assert_close(transformed, whole @ matrix)


def test_tied_weights_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
            self.second.weight = self.first.weight
            self.head = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.second(torch.tanh(self.first(x))))

    space = lift(Tied, head="head")
    weights = double(space.init_weights(rng=generator()))
    assert "first.weight" in weights
    assert "second.weight" not in weights
    x = torch.randn(2, 4, 3, generator=generator(2), dtype=torch.float64)
    y = space.forward(share(weights, 2), {}, x)
    matrix = weights["first.weight"].T
    hidden = torch.tanh(x @ matrix + weights["first.bias"]) @ matrix + weights["second.bias"]
    torch.testing.assert_close(y, hidden @ weights["head.weight"] + weights["head.bias"])


def test_shared_weights_without_batch_norm_take_one_call() -> None:
    calls = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            calls.append(len(x))
            return self.head(torch.tanh(self.first(x)))

    space = lift(Counting, head="head")
    weights = {name: w[None] for name, w in space.init_weights(rng=generator()).items()}
    x = torch.randn(3, 5, 3, generator=generator(2))
    together = space.forward(weights, {}, x)
    assert calls == [15]
    own_heads = weights | {n: w.repeat_interleave(3, 0) for n, w in weights.items() if "head" in n}
    torch.testing.assert_close(space.forward(own_heads, {}, x), together)
    assert calls == [15, 15]
    apart = space.forward({n: w.repeat_interleave(3, 0) for n, w in weights.items()}, {}, x)
    assert calls[2:] == [5, 5, 5]
    torch.testing.assert_close(apart, together)


def test_parameters_that_are_not_trained_and_buffers_are_constants() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(3, 4).requires_grad_(False), nn.Linear(4, 2)
            self.register_buffer("shift", torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.first(x) + self.shift)

    space = lift(Frozen, head="head")
    assert list(space.init_weights(rng=generator())) == ["head.weight", "head.bias"]
    x = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator(2))
    features = space.forward({}, {}, x)
    assert features.dtype == torch.float64
    assert features.shape == (2, 5, 4)


def test_strided_pointwise_convolutions_read_only_pixels_that_exist() -> None:
    """PyTorch 2.13 may read and write past a buffer there."""
    seen = []

    class Recording(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is nn.functional.conv2d:
                seen.append((tuple(args[0].shape[2:]), (kwargs or {}).get("stride", 1)))
            return func(*args, **(kwargs or {}))

    module = nn.Sequential(
        nn.Conv2d(4, 6, 1, stride=2, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 2),
    )  # fmt: skip
    space = lift(module, head="3")
    weights = {n: w[None].requires_grad_() for n, w in space.init_weights(rng=generator()).items()}
    x = torch.randn(2, 5, 4, 7, 6, generator=generator(2))
    with Recording():
        y = space.forward(weights, {}, x)
    assert seen == [((4, 3), 1)]
    plain = module(x.flatten(0, 1)).view_as(y)
    torch.testing.assert_close(y, plain)
    found = torch.autograd.grad(y.square().sum(), weights["0.weight"])[0][0]
    expected = torch.autograd.grad(plain.square().sum(), module[0].weight)[0]
    torch.testing.assert_close(found, expected)


def test_statistics_of_the_first_examples_reach_the_batch_norms() -> None:
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    space = lift(module, head="1")
    weights = {name: w[None] for name, w in space.init_weights(rng=generator()).items()}
    x = torch.randn(2, 6, 3, generator=generator(2))
    with statistics_of_first(4):
        y = space.forward(weights, {}, x)
        wanted = batch_norm(x) @ weights["1.weight"] + weights["1.bias"]
    torch.testing.assert_close(y, wanted)
    assert not torch.allclose(y, space.forward(weights, {}, x))


# What cannot be lifted ---------------------------------------------------------------------------


def then_head(*parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(*parts, nn.Linear(3, 2))


def frozen_head() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2).requires_grad_(False))


def tied_head() -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    return module


def checkpointed() -> nn.Module:
    module = then_head(nn.ReLU())
    module[0].grad_checkpointing = True
    return module


class Doubling(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


REFUSED = {
    "no head": (lambda: then_head(nn.ReLU()), "fc", "no linear layer 'fc'"),
    "no linear head": (lambda: then_head(nn.ReLU()), "0", "no linear layer '0'"),
    "dropout": (lambda: then_head(nn.Dropout(0.5)), "1", "Dropout at '0' is on"),
    "a lazy layer": (lambda: then_head(nn.LazyLinear(3)), "1", "has no shape yet"),
    "a frozen head": (frozen_head, "0", "are constants"),
    "a tied head": (tied_head, "1", "shares weights with '0.weight'"),
    "checkpointing": (checkpointed, "1", "again in the backward pass"),
    "a strange head": (lambda: nn.Sequential(Doubling(3, 2)), "0", "something else than a linear"),
    "no module": (lambda: 3, "0", "needs a torch.nn.Module, but was given int"),
    "complex": (lambda: then_head(nn.Linear(3, 3, dtype=torch.cfloat)), "1", "must be real"),
    "a script": (lambda: torch.jit.script(then_head(nn.ReLU())), "1", "TorchScript"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_lifted_is_refused(case: str) -> None:
    made, head, words = REFUSED[case]
    with pytest.raises(PluginError, match=re.escape(words)) as caught:
        lift(made, head=head)
    assert caught.value.hint or case == "complex"


def test_dropout_of_nothing_is_no_dropout() -> None:
    assert lift(lambda: then_head(nn.Dropout(0.0)), head="1").layers() == {"1": 2}


def forward_of(made: Callable[[], nn.Module], head: str) -> Tensor:
    space = lift(made, head=head)
    weights = {name: w[None] for name, w in space.init_weights(rng=generator()).items()}
    return space.forward(weights, {}, torch.randn(2, 4, 3, generator=generator()))


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.weight


class Clipped(Counter):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight.clamp_(-0.5, 0.5)
        return x * self.weight


@pytest.mark.parametrize(
    ("made", "head", "words"),
    [
        (lambda: then_head(nn.Tanh()).append(nn.LogSoftmax(1)), "1", "does not return what its"),
        (lambda: then_head(nn.Unflatten(1, (1, 3))), "1", "more than one vector per example"),
        (lambda: then_head(Counter()), "1", "changes 0.calls in place"),
        (lambda: then_head(Clipped()), "1", "changes 0.weight in place"),
        (lambda: then_head(nn.ReLU(inplace=True)), "1", "changes its input in place"),
    ],
)
def test_what_is_not_a_pure_function_with_a_head_is_refused_when_it_computes(
    made: Callable[[], nn.Module], head: str, words: str
) -> None:
    with pytest.raises(PluginError, match=re.escape(words)):
        forward_of(made, head)


def test_a_function_that_makes_other_modules_is_refused() -> None:
    sizes = iter((3, 4))
    space = lift(lambda: nn.Sequential(nn.Linear(3, next(sizes)), nn.Linear(3, 2)), head="1")
    with pytest.raises(PluginError, match=r"made another one: 0\.bias, 0\.weight"):
        space.init_weights(rng=generator())


# Learners ----------------------------------------------------------------------------------------


def conv(params: object) -> object:
    return context(params, kind="classification", space=lift(ConvNet, head="head"), task=IMAGES)


def test_anil_moves_the_head_alone() -> None:
    learner = in_double(Anil(conv(AnilParams(inner_steps=1))))
    assert learner._adapted == {"head.weight", "head.bias"}
    before = {name: w.detach().clone() for name, w in learner.outer.weights.items()}
    learner.meta_step(batch("classification"), progress=0.0, rng=generator())
    assert all(not torch.equal(w, before[name]) for name, w in learner.outer.weights.items()
               if name.endswith("weight"))  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "params"), [(Maml, MamlParams(inner_steps=2)), (ProtoNet, ProtoNetParams())]
)
def test_learners_learn(kind: type, params: object) -> None:
    learner = in_double(kind(conv(params)))
    tasks = batch("classification")
    losses = [
        float(learner.meta_step(tasks, progress=0.0, rng=generator())["loss"]) for _ in range(6)
    ]
    assert losses[-1] < losses[0]
    scores = learner.adapt(tasks.support, rng=generator()).predict(tasks.query.x)
    assert scores.shape == (*tasks.query.y.shape, WAYS)


class NoParams(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def spec(norm: str) -> SearchSpaceSpec:
    norms = {"layer": partial(nn.GroupNorm, 1)}

    def made(params: NoParams, task: TaskShape) -> LayeredSpace:
        layer = norms.get(norm, nn.BatchNorm2d)
        return lift(
            lambda: nn.Sequential(
                nn.Conv2d(task.inputs[0], 4, 3, stride=2), layer(4), nn.Tanh(),
                nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, task.outputs),
            ),
            head="5",
            norm="running" if norm == "running" else "batch",
        )  # fmt: skip

    return SearchSpaceSpec(
        name="lifted", version=1, summary="A lifted network.", params=NoParams, factory=made
    )


@pytest.mark.parametrize("norm", ["batch", "layer", "running"])
def test_the_conformance_kit_passes(norm: str, catalog: Catalog) -> None:
    """On the pretended accelerator too."""
    found = outcomes(spec(norm), catalog)
    assert found["classification: it computes on the device of its inputs"].status == "ok"
    assert not [(name, o.reason) for name, o in found.items() if o.status == "FAILED"]
    of_state = found.get("classification: with a shared state, a batch of tasks is one update")
    assert (of_state is not None and of_state.status == "ok") == (norm == "running")
