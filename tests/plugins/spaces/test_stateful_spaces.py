"""Networks with a state: published sizes, plain PyTorch as the reference, and their conformance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from conformance_specs import outcomes
from pydantic import BaseModel, ConfigDict, Field
from small_tasks import generator
from torch import Tensor
from torch.nn import functional

from metabench import (
    LayeredSpace,
    Params,
    SearchSpace,
    StatefulSpace,
    TaskShape,
    Training,
    UsageError,
    conformance,
    nn,
)
from metabench.plugin.catalog import load_catalog
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params, conv4
from metabench_plugins.spaces.resnet12 import ResNet12, ResNet12Params, rising_rate

CATALOG = load_catalog()
R2D2 = {
    "widths": (96, 192, 384, 512),
    "activation": "leaky",
    "norm": "running",
    "dropout": (0, 0, 0.1, 0.3),
    "head": "last-two",
}
TINY = TaskShape("classification", (2, 16, 20), 3)
TASKS, N = 3, 4


def images(side: int) -> TaskShape:
    return TaskShape("classification", (3, side, side), 5)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def training(*, seed: int = 0, progress: float = 0.5) -> Training:
    return Training(rng=generator(seed), progress=progress)


def everything(space: StatefulSpace) -> Params:
    """Weights and state, shared, in float64, away from where they begin."""
    drawn = space.init_weights(rng=generator())
    found = {
        name: w.double() + 0.1 * draw(*w.shape, seed=i)
        for i, (name, w) in enumerate(drawn.items(), start=1)
    }
    for i, (name, one) in enumerate(space.init_state().items(), start=1000):
        found[name] = one.double() + 0.2 * draw(*one.shape, seed=i).abs()
    return {name: one[None] for name, one in found.items()}


def examples() -> Tensor:
    return draw(TASKS, N, *TINY.inputs, seed=7)


def embedding_size(space: SearchSpace) -> int:
    drawn = space.init_weights(rng=generator())
    return sum(w.numel() for name, w in drawn.items() if not name.startswith("head."))


# Sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "size", "features"),
    [
        (ResNet12(ResNet12Params(), images(84)), 12_424_320, 16_000),
        (ResNet12(ResNet12Params(variant="tadam"), images(84)), 7_996_800, 512),
        (ResNet12(ResNet12Params(width=0.25), images(32)), 778_656, 640),
        (conv4(Conv4Params(**R2D2), images(84)), 2_605_056, 51_200),
        (conv4(Conv4Params(conv_bias=False), images(84)), 112_832, 1_600),
    ],
    ids=["metaoptnet", "tadam", "quarter", "r2d2", "protonet"],
)
def test_an_embedding_has_the_published_size(space: SearchSpace, size: int, features: int) -> None:
    assert embedding_size(space) == size
    assert space.init_weights(rng=generator())["head.weight"].shape == (features, 5)


def test_tadam_places_film_on_twelve_convolutions() -> None:
    layers = ResNet12(ResNet12Params(variant="tadam"), images(84)).layers()
    assert list(layers.values()) == [c for c in (64, 128, 256, 512) for _ in range(3)] + [5]


def test_resnet12_starts_as_published() -> None:
    for variant, spread in (("metaoptnet", 1.0), ("tadam", 0.1)):
        weights = ResNet12(ResNet12Params(variant=variant), images(84)).init_weights(
            rng=generator()
        )
        weight = weights["block3.conv2.weight"]
        assert float(weight.var()) == pytest.approx(spread * 2 / (9 * len(weight)), rel=0.02)


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(UsageError, match="halves its maps 4 times, but the images have 8 x 32"):
        ResNet12(ResNet12Params(), TaskShape("classification", (1, 8, 32), 5))
    ResNet12(ResNet12Params(variant="tadam"), TaskShape("classification", (1, 8, 32), 5))


# Conv-4 as it was ------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["max", "stride"])
def test_conv4_with_its_defaults_computes_the_bits_of_its_layers(pool: str) -> None:
    space = conv4(Conv4Params(filters=4, pool=pool), TINY)
    assert type(space) is Conv4
    assert not isinstance(space, StatefulSpace)
    weights = {n: w.repeat(TASKS, *[1] * w.dim()) for n, w in _drawn(space).items()}
    x = examples().float()
    y = x
    for i in range(1, 5):
        stride = 2 if pool == "stride" else 1
        filters = weights[f"layer{i}.weight"]
        rows = []
        for row, w, scale, shift in zip(
            y, filters, weights[f"layer{i}.norm.scale"], weights[f"layer{i}.norm.shift"],
            strict=True,
        ):  # fmt: skip
            if pool == "max":
                one = nn.conv_block(row[None], w[None], scale[None], shift[None], relu=False)
            else:
                one = nn.conv2d(row[None], w[None], stride=stride, padding=1)  # no idle bias
                one = nn.batch_norm(one, scale[None], shift[None], eps=1e-5)
            rows.append(torch.relu(one))
        y = torch.cat(rows)
    expected = torch.cat(
        [
            nn.linear(nn.flatten(row[None]), w[None], b[None])
            for row, w, b in zip(y, weights["head.weight"], weights["head.bias"], strict=True)
        ]
    )
    assert torch.equal(space.forward(weights, {}, x), expected)


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_a_bias_before_a_norm_matters_with_running_statistics_alone(norm: str) -> None:
    space = conv4(Conv4Params(filters=4, norm=norm), TINY)
    weights = {n: w[None].requires_grad_() for n, w in _drawn(space).items()}
    state = space.init_state() if isinstance(space, StatefulSpace) else {}
    y = space.forward(weights | {n: s[None] for n, s in state.items()}, {}, examples().float())
    biases = [weights[f"layer{i}.bias"] for i in range(1, 5)]
    for gradient in torch.autograd.grad(y.sin().sum(), biases, allow_unused=True):
        assert (gradient is None) == (norm == "batch")


def _drawn(space: SearchSpace) -> Params:
    return {
        name: w + 0.1 * torch.randn(w.shape, generator=generator(i))
        for i, (name, w) in enumerate(space.init_weights(rng=generator()).items())
    }


def test_runs_of_conv4_with_its_defaults_keep_their_ids() -> None:
    """The id of a run is a digest of these; later options appear where they are on."""
    assert Conv4Params().model_dump(mode="json") == {
        "filters": 64, "pool": "max", "head": "flatten", "eps": 1e-5,
    }  # fmt: skip
    changed = Conv4Params(**R2D2).model_dump(mode="json")
    assert changed.keys() == {"filters", "pool", "eps", *R2D2}
    assert Conv4Params(**changed) == Conv4Params(**R2D2)


# Plain PyTorch ---------------------------------------------------------------------------------


Norm = Callable[[Tensor, str], Tensor]


def film(y: Tensor, weights: Params, layer: str) -> Tensor:
    """FiLM of each task's own, on images that follow one another by task."""
    if f"{layer}.film.scale" not in weights:
        return y
    gamma, beta = (
        weights[f"{layer}.film.{part}"].expand(TASKS, -1).repeat_interleave(N, 0)[..., None, None]
        for part in ("scale", "shift")
    )
    return y * (1 + gamma) + beta


def norms(weights: Params, *, trains: bool, eps: float) -> Norm:
    def norm(y: Tensor, layer: str) -> Tensor:
        scale, shift = weights[f"{layer}.norm.scale"][0], weights[f"{layer}.norm.shift"][0]
        held = (None, None)
        if not trains:
            held = (weights[f"{layer}.norm.mean"][0], weights[f"{layer}.norm.variance"][0])
        y = functional.batch_norm(y, *held, scale, shift, training=trains, eps=eps)
        return film(y, weights, layer)

    return norm


def plain_conv4(weights: Params, x: Tensor, params: Conv4Params, *, trains: bool) -> Tensor:
    norm = norms(weights, trains=trains, eps=params.eps)
    y, maps = x.flatten(0, 1), []
    for i in range(1, 5):
        bias = weights[f"layer{i}.bias"][0] if params.conv_bias else None
        y = norm(functional.conv2d(y, weights[f"layer{i}.weight"][0], bias, padding=1), f"layer{i}")
        y = functional.leaky_relu(y, 0.2 if params.activation == "leaky" else 0)
        y = functional.max_pool2d(y, 2)
        maps.append(y.flatten(1))
    y = torch.cat(maps[-2:], dim=1) if params.head == "last-two" else maps[-1]
    y = y @ weights["head.weight"][0] + weights["head.bias"][0]
    return y.view(TASKS, N, -1)


def plain_resnet12(weights: Params, x: Tensor, variant: str, *, trains: bool) -> Tensor:
    tadam = variant == "tadam"
    norm = norms(weights, trains=trains, eps=1e-3 if tadam else 1e-5)

    def act(y: Tensor) -> Tensor:
        return y * torch.sigmoid(y) if tadam else torch.where(y > 0, y, 0.1 * y)

    y = x.flatten(0, 1)
    for b in range(1, 5):
        name = f"block{b}"
        beside = norm(
            functional.conv2d(y, weights[f"{name}.shortcut.weight"][0]), f"{name}.shortcut"
        )
        for c in (1, 2, 3):
            layer = f"{name}.conv{c}"
            y = norm(functional.conv2d(y, weights[f"{layer}.weight"][0], padding=1), layer)
            y = act(y + beside) if c == 3 else act(y)
        if not (tadam and b == 4):
            y = functional.max_pool2d(y, 2)
    y = y.mean((2, 3)) if tadam else y.flatten(1)
    return (y @ weights["head.weight"][0] + weights["head.bias"][0]).view(TASKS, N, -1)


CONV4_PARAMS = [
    Conv4Params(filters=3, norm="running"),
    Conv4Params(
        widths=(2, 3, 4, 5), norm="running", activation="leaky", slope=0.2, conv_bias=False,
        head="last-two",
    ),
]  # fmt: skip
CASES: list[tuple[StatefulSpace, Callable[..., Tensor]]] = [
    *(
        (conv4(params, TINY), lambda w, x, trains, p=params: plain_conv4(w, x, p, trains=trains))
        for params in CONV4_PARAMS
    ),
    *(
        (
            ResNet12(ResNet12Params(variant=variant, width=1 / 32, drop=0), TINY),
            lambda w, x, trains, v=variant: plain_resnet12(w, x, v, trains=trains),
        )
        for variant in ("metaoptnet", "tadam")
    ),
]
IDS = ["conv4", "r2d2", "metaoptnet", "tadam"]
EVERY = pytest.mark.parametrize(("space", "plain"), CASES, ids=IDS)


@EVERY
@pytest.mark.parametrize("with_film", [False, True])
def test_a_network_computes_what_plain_pytorch_does(
    space: StatefulSpace, plain: Callable[..., Tensor], with_film: bool
) -> None:
    weights, x = everything(space), examples()
    if with_film:
        assert isinstance(space, LayeredSpace)
        *hidden, _ = space.layers().items()
        for i, (layer, units) in enumerate(hidden):
            weights[f"{layer}.film.scale"] = draw(TASKS, units, seed=2 * i)
            weights[f"{layer}.film.shift"] = draw(TASKS, units, seed=2 * i + 1)
    torch.testing.assert_close(space.forward(weights, {}, x), plain(weights, x, trains=False))
    found = space.forward_training(weights, {}, x, training=training())
    torch.testing.assert_close(found, plain(weights, x, trains=True))


@EVERY
def test_where_running_statistics_are_the_batchs_prediction_repeats_training(
    space: StatefulSpace, plain: Callable[..., Tensor]
) -> None:
    weights, x, given = everything(space), examples(), training()
    trained = space.forward_training(weights, {}, x, training=given)
    momentum = 0.05 if space is CASES[IDS.index("tadam")][0] else 0.1
    batch = {
        name: (new - (1 - momentum) * weights[name]) / momentum for name, new in given.state.items()
    }
    assert batch.keys() == space.init_state().keys()
    torch.testing.assert_close(space.forward(weights | batch, {}, x), trained, rtol=1e-7, atol=1e-7)


def test_with_momentum_one_the_state_is_that_of_the_batch() -> None:
    space = conv4(Conv4Params(filters=3, norm="running", momentum=1.0), TINY)
    assert isinstance(space, StatefulSpace)
    weights, x, given = everything(space), examples(), training()
    trained = space.forward_training(weights, {}, x, training=given)
    torch.testing.assert_close(space.forward(weights | given.state, {}, x), trained)


@EVERY
def test_second_derivatives_through_training_equal_finite_differences(
    space: StatefulSpace, plain: Callable[..., Tensor]
) -> None:
    held, x = everything(space), examples()
    names = [name for name in held if name not in space.init_state()]
    way = {name: draw(*held[name].shape, seed=i) for i, name in enumerate(names, start=50)}

    def slope(step: float, *, twice: bool = False) -> tuple[Tensor, list[Tensor]]:
        moved = [(held[n] + step * way[n]).requires_grad_() for n in names]
        weights = held | dict(zip(names, moved, strict=True))
        out = space.forward_training(weights, {}, x, training=training())
        grads = torch.autograd.grad(out.tanh().square().mean(), moved, create_graph=twice)
        return dot(grads), moved

    def dot(tensors: Sequence[Tensor | None]) -> Tensor:
        pairs = zip(tensors, names, strict=True)
        return torch.stack([(t * way[n]).sum() for t, n in pairs if t is not None]).sum()

    along, leaves = slope(0.0, twice=True)
    curvature = dot(torch.autograd.grad(along, leaves, allow_unused=True))
    step = 1e-8  # small, so that no activation and no maximum changes sides
    difference = (slope(step)[0] - slope(-step)[0]) / (2 * step)
    assert abs(float(difference)) > 1
    torch.testing.assert_close(curvature, difference, rtol=1e-5, atol=0)


# Random parts ----------------------------------------------------------------------------------


def test_drop_block_begins_at_nothing_and_reaches_its_rate() -> None:
    passes = (0, 20_000, 40_000, 90_000)
    kept = [1 - rising_rate(0.1, t / 120_000, ramp=1 / 3) for t in passes]
    assert kept == pytest.approx([1.0, 0.95, 0.9, 0.9])


def zeros_after(space: ResNet12, monkeypatch: pytest.MonkeyPatch, progress: float) -> list[float]:
    """The share of zeros after each block in training; no activation gives any itself."""
    shares: list[float] = []
    inner = ResNet12._drop

    def recording(self: ResNet12, x: Tensor, index: int, given: Training | None) -> Tensor:
        y = inner(self, x, index, given)
        shares.append(float((y == 0).double().mean()))
        return y

    monkeypatch.setattr(ResNet12, "_drop", recording)
    x = draw(1, 24, *space._task.inputs, seed=3)
    space.forward_training(everything(space), {}, x, training=training(progress=progress))
    return shares


def test_metaoptnet_drops_by_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    space = ResNet12(ResNet12Params(width=0.125, drop_size=2), images(32))
    assert zeros_after(space, monkeypatch, 0.0) == pytest.approx([0.1, 0.1, 0, 0], abs=0.03)
    monkeypatch.undo()
    assert zeros_after(space, monkeypatch, 1.0) == pytest.approx([0.1] * 4, abs=0.03)


def test_tadam_draws_nothing() -> None:
    space = ResNet12(ResNet12Params(variant="tadam", width=1 / 32), TINY)
    given = training(progress=1.0)
    before = given.rng.get_state()
    space.forward_training(everything(space), {}, examples(), training=given)
    assert torch.equal(given.rng.get_state(), before)


def test_dropout_alone_makes_a_state_that_is_empty() -> None:
    space = conv4(Conv4Params(filters=3, dropout=(0, 0, 0, 0.5)), TINY)
    assert isinstance(space, StatefulSpace)
    assert space.batch_statistics
    assert space.init_state() == {}
    weights, x, given = everything(space), examples(), training()
    plain = Conv4(Conv4Params(filters=3), TINY).forward(weights, {}, x)
    assert torch.equal(space.forward(weights, {}, x), plain)
    assert not torch.equal(space.forward_training(weights, {}, x, training=given), plain)
    assert given.state == {}


# The kit ---------------------------------------------------------------------------------------


class SmallRunning(Conv4Params):
    """Conv-4 with another default of some options."""

    filters: int = Field(3, description="As in Conv-4.")
    norm: Any = Field("running", description="As in Conv-4.")
    dropout: Any = Field((0.1, 0.1, 0.1, 0.1), description="As in Conv-4.")


class SmallResNet12(ResNet12Params):
    """ResNet-12 with few channels."""

    width: float = Field(0.0625, description="As in ResNet-12.")


class SmallTadam(SmallResNet12):
    """That of TADAM."""

    variant: Any = Field("tadam", description="As in ResNet-12.")


@pytest.mark.parametrize(
    ("name", "params"),
    [("conv4", SmallRunning), ("resnet12", SmallResNet12), ("resnet12", SmallTadam)],
)
def test_networks_with_a_state_pass_the_kit(name: str, params: type[BaseModel]) -> None:
    spec = replace(CATALOG.space(name), params=params)
    found = outcomes(spec, CATALOG)
    assert "classification: with a shared state, a batch of tasks is one update" in found
    assert {n: o for n, o in found.items() if o.status not in ("ok", "skipped")} == {}
    assert sum(o.status == "skipped" for o in found.values()) == 3, found


class NoParams(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sound(ResNet12):
    """A small network to break."""

    def __init__(self, params: NoParams, task: TaskShape) -> None:
        super().__init__(ResNet12Params(width=1 / 32, drop_ramp=1), task)


class SharesNames(Sound):
    def init_state(self) -> Params:
        return super().init_state() | {"head.bias": torch.zeros(3)}


class Restless(Sound):
    def forward_training(
        self, weights: Params, mixture: Any, x: Tensor, *, training: Training
    ) -> Tensor:
        out = super().forward_training(weights, mixture, x, training=training)
        return out + torch.rand(1)


class Forgetful(Sound):
    def forward_training(
        self, weights: Params, mixture: Any, x: Tensor, *, training: Training
    ) -> Tensor:
        out = super().forward_training(weights, mixture, x, training=training)
        training.state.pop("block1.conv1.norm.mean")
        return out


class Graphs(Sound):
    def forward_training(
        self, weights: Params, mixture: Any, x: Tensor, *, training: Training
    ) -> Tensor:
        out = super().forward_training(weights, mixture, x, training=training)
        training.state["block1.conv1.norm.mean"] += 0 * weights["block1.conv1.norm.scale"]
        return out


class Deaf(Sound):
    def forward(self, weights: Params, mixture: Any, x: Tensor) -> Tensor:
        fresh = {name: one[None].to(x) for name, one in self.init_state().items()}
        return super().forward(weights | fresh, mixture, x)


class StartsAnew(Sound):
    def forward_training(
        self, weights: Params, mixture: Any, x: Tensor, *, training: Training
    ) -> Tensor:
        training.state.clear()
        return super().forward_training(weights, mixture, x, training=training)


class OneByOne(Sound):
    def forward_training(
        self, weights: Params, mixture: Any, x: Tensor, *, training: Training
    ) -> Tensor:
        out = [
            super(OneByOne, self).forward_training(weights, mixture, task, training=training)
            for task in x.split(1)
        ]
        return torch.cat(out)


class Batched(Sound):
    def forward(self, weights: Params, mixture: Any, x: Tensor) -> Tensor:
        out = super().forward(weights, mixture, x)
        return out - out.mean(1, keepdim=True)


class Detached(Sound):
    def forward_training(
        self, weights: Params, mixture: Any, x: Tensor, *, training: Training
    ) -> Tensor:
        cut = weights | {"head.bias": weights["head.bias"].detach()}
        return super().forward_training(cut, mixture, x, training=training)


class Misplaced(Sound):
    def forward_training(
        self, weights: Params, mixture: Any, x: Tensor, *, training: Training
    ) -> Tensor:
        out = super().forward_training(weights, mixture, x, training=training)
        return out * torch.ones(x.shape[1], 1)


@pytest.mark.parametrize(
    ("factory", "check", "said"),
    [
        (SharesNames, "the state begins equal, on the CPU, and apart", "head.bias is among"),
        (Restless, "forward_training is pure", "random state of torch changed"),
        (Forgetful, "training leaves the whole state", "init_state has"),
        (Graphs, "training leaves the whole state", "still has its graph"),
        (Deaf, "training changes the state, and forward uses it", "does not use the state"),
        (StartsAnew, "a second pass goes on", "does not go on from the state"),
        (OneByOne, "with a shared state, a batch of tasks", "do not count as one batch"),
        (Batched, "an added example does not change", "changes when others are added"),
        (Detached, "in training, gradients reach every weight", "no gradient reaches head.bias"),
        (Misplaced, "it trains on the device", "same device"),
    ],
)
def test_a_broken_network_fails_its_check(factory: type, check: str, said: str) -> None:
    spec = replace(CATALOG.space("resnet12"), params=NoParams, factory=factory)
    names = [c.name for c in conformance.checks(spec, catalog=CATALOG)]
    (name,) = [n for n in names if n.startswith(f"classification: {check}")]
    broken = outcomes(spec, CATALOG, name)[name]
    assert broken.status == "FAILED", broken
    assert said in broken.reason
    sound = outcomes(replace(spec, factory=Sound), CATALOG, name)[name]
    assert sound.status == "ok", sound
