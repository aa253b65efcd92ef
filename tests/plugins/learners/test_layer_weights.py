"""Extra weights per layer: matrices on outputs, the features before the head."""

from __future__ import annotations

import pytest
import torch

from metabench.inner_steps import share
from metabench.plugin.contracts.architecture import Params
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.contracts.space import LayeredSpace
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params
from metabench_plugins.spaces.mlp import Mlp, MlpParams

IMAGES = TaskShape("classification", (2, 16, 16), 3)
SPACES = {
    "mlp": Mlp(MlpParams(hidden=2, width=5), IMAGES),
    "mlp-norm": Mlp(MlpParams(hidden=2, width=5, norm="batch"), IMAGES),
    "conv4": Conv4(Conv4Params(filters=5), IMAGES),
    "stride-mean": Conv4(Conv4Params(filters=5, pool="stride", head="mean"), IMAGES),
}
N_TASKS = 3


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> LayeredSpace:
    return SPACES[request.param]


def weights_of(space: LayeredSpace) -> Params:
    drawn = space.init_weights(rng=torch.Generator().manual_seed(0))
    return share({name: w.double() for name, w in drawn.items()}, N_TASKS)


def images() -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(N_TASKS, 4, *IMAGES.inputs, dtype=torch.float64, generator=rng)


def test_layers_are_those_with_weights(space: LayeredSpace) -> None:
    weights = weights_of(space)
    assert list(space.layers()) == [n.removesuffix(".weight") for n in weights if "weight" in n]
    for layer, units in space.layers().items():
        assert weights[f"{layer}.bias"].shape == (N_TASKS, units)


@pytest.mark.parametrize("own", [True, False], ids=["of each task", "shared"])
def test_a_matrix_on_the_output_is_one_in_the_weights(space: LayeredSpace, own: bool) -> None:
    weights, rng = weights_of(space), torch.Generator().manual_seed(2)
    matrices, merged = {}, dict(weights)
    for layer, units in space.layers().items():
        matrix = torch.randn(
            N_TASKS if own else 1, units, units, dtype=torch.float64, generator=rng
        )
        matrices[f"{layer}.transform"] = matrix
        kernel = weights[f"{layer}.weight"]
        equation = "tiu,tuv->tiv" if kernel.dim() == 3 else "tuchw,tuv->tvchw"
        every = matrix.expand(N_TASKS, -1, -1)
        merged[f"{layer}.weight"] = torch.einsum(equation, kernel, every)
        merged[f"{layer}.bias"] = torch.einsum("tu,tuv->tv", weights[f"{layer}.bias"], every)
    expected = space.forward(merged, {}, images())
    assert torch.allclose(space.forward(weights | matrices, {}, images()), expected, rtol=1e-8)
    assert not torch.allclose(space.forward(weights, {}, images()), expected)


def test_without_the_weights_of_the_head_its_inputs_come_out(space: LayeredSpace) -> None:
    weights = weights_of(space)
    body = {name: w for name, w in weights.items() if not name.startswith("head.")}
    features = space.forward(body, {}, images())
    logits = features @ weights["head.weight"] + weights["head.bias"].unsqueeze(1)
    assert torch.allclose(logits, space.forward(weights, {}, images()), rtol=1e-12)
