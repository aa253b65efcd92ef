"""The fixed networks: sizes, initial weights, independence of tasks."""

import math

import pytest
import torch
from pydantic import ValidationError

from metabench.inner_steps import is_norm, share
from metabench.plugin.contracts.architecture import Params
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.contracts.genotype import Genotype
from metabench.plugin.contracts.space import SearchSpace
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params
from metabench_plugins.spaces.mlp import Mlp, MlpParams

TOY = TaskShape("regression", (1,), 1)
TINY = TaskShape("classification", (2, 19, 16), 3)


def images(side: int, channels: int, ways: int) -> TaskShape:
    return TaskShape("classification", (channels, side, side), ways)


def weights_of(space: SearchSpace, seed: int = 0) -> Params:
    return space.init_weights(rng=torch.Generator().manual_seed(seed))


def count(space: SearchSpace) -> int:
    return sum(weight.numel() for weight in weights_of(space).values())


@pytest.mark.parametrize(
    ("filters", "task", "expected"),
    [
        (32, images(84, 3, 5), 32_901),
        (66, images(84, 3, 5), 128_441),
        (64, images(28, 1, 20), 113_236),
    ],
)
def test_conv4_has_the_published_number_of_weights(
    filters: int, task: TaskShape, expected: int
) -> None:
    assert count(Conv4(Conv4Params(filters=filters), task)) == expected


def test_mlp_has_the_published_number_of_weights() -> None:
    assert count(Mlp(MlpParams(), TOY)) == 7_801
    assert count(Mlp(MlpParams(norm="batch"), TOY)) == 7_801 + 4 * 2 * 50


@pytest.mark.parametrize(
    ("pool", "head", "features"),
    [
        ("max", "flatten", 64),
        ("max", "mean", 64),
        ("stride", "flatten", 256),
        ("stride", "mean", 64),
    ],
)
def test_the_head_sees_the_map_of_28_pixels(pool: str, head: str, features: int) -> None:
    space = Conv4(Conv4Params(pool=pool, head=head), images(28, 1, 5))
    assert weights_of(space)["head.weight"].shape == (features, 5)


SPACES = [
    Mlp(MlpParams(hidden=2, width=6), TOY),
    Mlp(MlpParams(hidden=2, width=6, norm="batch"), TOY),
    Mlp(MlpParams(hidden=0), TINY),
    Conv4(Conv4Params(filters=3), TINY),
    Conv4(Conv4Params(filters=3, head="mean"), TINY),
    Conv4(Conv4Params(filters=3, pool="stride"), TINY),
    Conv4(Conv4Params(filters=3, pool="stride", head="mean"), TINY),
]
IDS = ["mlp", "mlp-norm", "linear", "conv4", "conv4-mean", "stride", "stride-mean"]


@pytest.mark.parametrize("space", SPACES, ids=IDS)
def test_initial_weights_follow_the_generator_alone(space: SearchSpace) -> None:
    first, again, other = weights_of(space), weights_of(space), weights_of(space, seed=1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert all(weight.dtype == torch.float32 for weight in first.values())


@pytest.mark.parametrize("space", SPACES, ids=IDS)
def test_tasks_do_not_touch_each_other(space: SearchSpace) -> None:
    weights = share(weights_of(space), 3)
    x = torch.randn(3, 4, *space._task.inputs, generator=torch.Generator().manual_seed(2))
    changed = x.clone()
    changed[1] += 1.5
    y, z = space.forward(weights, {}, x), space.forward(weights, {}, changed)
    assert y.shape == (3, 4, space._task.outputs)
    assert torch.equal(y[[0, 2]], z[[0, 2]])
    assert not torch.equal(y[1], z[1])


@pytest.mark.parametrize("space", SPACES, ids=IDS)
def test_shared_weights_predict_what_repeated_ones_do(space: SearchSpace) -> None:
    weights = {name: weight.double() for name, weight in weights_of(space).items()}
    x = torch.randn(3, 4, *space._task.inputs, generator=torch.Generator().manual_seed(2)).double()
    torch.testing.assert_close(
        space.forward(share(weights, 1), {}, x), space.forward(share(weights, 3), {}, x)
    )


@pytest.mark.parametrize("space", SPACES, ids=IDS)
def test_batch_statistics_says_whether_examples_depend_on_each_other(space: SearchSpace) -> None:
    weights = share(weights_of(space), 1)
    x = torch.randn(1, 4, *space._task.inputs, generator=torch.Generator().manual_seed(2))
    together, apart = space.forward(weights, {}, x)[:, :2], space.forward(weights, {}, x[:, :2])
    assert torch.allclose(together, apart, atol=1e-6) != space.batch_statistics


@pytest.mark.parametrize("space", SPACES, ids=IDS)
def test_a_fixed_network_is_its_own_child(space: SearchSpace) -> None:
    assert space.choices() == {}
    assert space.child(Genotype.of({})) is space


def test_conv4_starts_glorot_uniform() -> None:
    weights = weights_of(Conv4(Conv4Params(filters=64), images(28, 3, 5)))
    limit = math.sqrt(6 / (9 * (64 + 64)))
    assert limit * 0.99 < weights["layer2.weight"].abs().max() <= limit
    assert weights["layer2.weight"].std() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    limit = math.sqrt(6 / (64 + 5))
    assert limit * 0.9 < weights["head.weight"].abs().max() <= limit
    for name, weight in weights.items():
        if name.endswith("norm.scale"):
            assert torch.equal(weight, torch.ones(64))
        elif not name.endswith(".weight"):
            assert weight.count_nonzero() == 0


def test_mlp_starts_with_pytorch_linear_range() -> None:
    weights = weights_of(Mlp(MlpParams(), TOY))
    limit = 1 / math.sqrt(50)
    for name in ("layer2.weight", "layer2.bias"):
        assert limit * 0.8 < weights[name].abs().max() <= limit
    assert 0.8 < weights["layer1.weight"].abs().max() <= 1


def test_mlp_starts_with_a_truncated_normal_on_demand() -> None:
    weights = weights_of(Mlp(MlpParams(init="truncated"), TOY))
    assert 0.018 < weights["layer2.weight"].abs().max() <= 0.02
    assert weights["layer2.weight"].std() == pytest.approx(0.0088, rel=0.05)
    assert weights["layer2.bias"].count_nonzero() == 0


def test_norm_weights_are_named_so_that_learners_can_leave_them() -> None:
    names = weights_of(Conv4(Conv4Params(filters=2), TINY))
    assert sum(map(is_norm, names)) == 8
    assert all(name.endswith(("norm.scale", "norm.shift")) for name in filter(is_norm, names))


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Conv4Params, {"filters": 0}),
        (Conv4Params, {"pool": "average"}),
        (Conv4Params, {"eps": 0.0}),
        (Conv4Params, {"filter": 3}),
        (MlpParams, {"width": 0}),
        (MlpParams, {"hidden": -1}),
        (MlpParams, {"init": "he"}),
    ],
)
def test_parameters_are_bounded(
    model: type[Conv4Params | MlpParams], values: dict[str, object]
) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        model(**values)


@pytest.mark.parametrize("model", [Conv4Params, MlpParams])
def test_every_parameter_has_help(model: type[Conv4Params | MlpParams]) -> None:
    assert all(field.description for field in model.model_fields.values())
