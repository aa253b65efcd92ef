"""MT-Net: masks, transforms, and MAML as its special case, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_tasks import TASKS, batch, context, generator, in_double, train
from torch import Tensor

from metabench.errors import UsageError
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.mtnet import MtNet, MtNetParams

PARAMS = {"inner_lr": 0.05, "inner_steps": 3, "outer_lr": 0.01}


def mtnet(*, kind: str = "regression", **params: Any) -> MtNet:
    learner: MtNet = in_double(MtNet(context(MtNetParams(**{**PARAMS, **params}), kind=kind)))
    return learner


def with_logits(learner: MtNet, value: float) -> MtNet:
    for logits in learner._logits.values():
        logits.data.fill_(value)
    return learner


def norms_aside(learner: Any) -> dict[str, Tensor]:
    # A bias before a batch norm has gradient 0, of which Adam makes a step of the size of rounding.
    return {
        n: w for n, w in learner._weights.items() if not n.startswith("layer") or "bias" not in n
    }


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_without_transforms_and_with_all_units_open_it_is_maml(kind: str) -> None:
    maml = in_double(Maml(context(MamlParams(**PARAMS), kind=kind)))
    ours = with_logits(mtnet(kind=kind, transform=False), 50.0)
    assert train(ours, 3, kind=kind) == pytest.approx(train(maml, 3, kind=kind), rel=1e-12)
    for name, weight in norms_aside(maml).items():
        assert torch.allclose(ours._weights[name], weight, rtol=1e-10, atol=1e-12), name


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_the_first_step_from_the_identity_is_that_of_maml(kind: str) -> None:
    maml = in_double(Maml(context(MamlParams(**PARAMS), kind=kind)))
    ours = with_logits(mtnet(kind=kind), 50.0)
    assert train(ours, 1, kind=kind) == pytest.approx(train(maml, 1, kind=kind), rel=1e-12)
    for name, weight in norms_aside(maml).items():
        assert torch.allclose(ours._weights[name], weight, rtol=1e-9, atol=1e-12), name
    for matrix in ours._transforms.values():
        assert not torch.equal(matrix, torch.eye(len(matrix)).double())


def test_a_closed_unit_does_not_move_in_the_inner_loop() -> None:
    learner = mtnet(masks=False)
    closed = with_logits(mtnet(), -50.0)
    support = batch().support
    predict = closed.adapt(support, rng=generator()).curve
    assert predict is not None
    assert torch.equal(predict[0](support.x), predict[3](support.x))
    moved = learner.adapt(support, rng=generator()).curve
    assert moved is not None
    assert not torch.allclose(moved[0](support.x), moved[3](support.x))


def test_the_inner_gradient_can_be_bounded() -> None:
    support = batch().support
    ends = []
    for bound in (None, 1e6, 1e-9):
        learner = mtnet(masks=False, inner_clip=bound)
        ends.append(learner.adapt(support, rng=generator()).predict(support.x))
        start = learner.space.forward(
            learner.begin(support, rng=generator(), progress=None).weights, {}, support.x
        )
    assert torch.equal(ends[0], ends[1])
    assert torch.allclose(ends[2], start, atol=1e-6)
    assert not torch.allclose(ends[0], start, atol=1e-3)


def test_the_norm_of_the_outer_gradient_can_be_bounded() -> None:
    learner = mtnet(max_norm=1e-3)
    train(learner, 1)
    moments = [s["exp_avg"].flatten() for s in learner.state_dict()["adam"].values()]
    assert float(torch.cat(moments).norm()) == pytest.approx(1e-4, rel=1e-3)  # 0.1 * gradient


def test_masks_are_hard_follow_the_logits_and_share_units() -> None:
    learner = mtnet()
    learner._logits["mask.layer2"].data[:] = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, -50.0])
    support = batch().support
    draws = []
    for seed in range(1000):
        masks = learner.begin(support, rng=generator(seed), progress=None).masks
        assert masks is not None
        assert torch.equal(masks["layer2.weight"], masks["layer2.bias"][:, None, :])
        draws.append(masks["layer2.bias"].detach())
    drawn = torch.stack(draws)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    expected = learner._logits["mask.layer2"].detach().sigmoid()
    assert torch.allclose(drawn.mean((0, 1)), expected, atol=0.03)  # 4 standard errors
    assert not torch.equal(drawn[:, 0], drawn[:, 1])  # each task draws its own


def test_the_gradient_of_a_logit_is_that_of_the_soft_draw() -> None:
    learner = mtnet()
    masks = learner.begin(batch().support, rng=generator(3), progress=0.0).masks
    assert masks is not None
    factor = torch.randn(masks["head.bias"].shape, generator=generator(1), dtype=torch.float64)
    (found,) = torch.autograd.grad(
        (masks["head.bias"] * factor).sum(), learner._logits["mask.head"]
    )
    # The same numbers again: the head's unit is the last of 15.
    noise = torch.rand(TASKS, 15, dtype=torch.float64, generator=generator(3))[:, -1:].logit()
    soft = torch.sigmoid(noise)
    assert torch.allclose(found, (factor * soft * (1 - soft)).sum(0))


@pytest.mark.parametrize("name", ["layer1.transform", "head.transform", "mask.layer2", "mask.head"])
def test_extras_are_meta_learned(name: str) -> None:
    learner = mtnet()
    before = learner.outer.weights[name].detach().clone()
    train(learner, 1)
    assert not torch.equal(before, learner.outer.weights[name])


def test_the_meta_gradient_of_a_transform_by_finite_differences() -> None:
    learner, tasks, eps = mtnet(), batch(), 1e-6
    matrix = learner._transforms["layer1.transform"]

    def loss() -> float:
        copy = mtnet()
        copy.load_state_dict(learner.state_dict())
        return float(copy.meta_step(tasks, progress=0.0, rng=generator(5))["loss"])

    numeric = []
    for move in (eps, -eps):
        matrix.data[2, 3] += move
        numeric.append(loss())
        matrix.data[2, 3] -= move
    learner.meta_step(tasks, progress=0.0, rng=generator(5))
    (moment,) = [
        s["exp_avg"]
        for s, n in zip(learner.state_dict()["adam"].values(), learner.outer.weights, strict=True)
        if n == "layer1.transform"
    ]
    expected = (numeric[0] - numeric[1]) / (2 * eps)
    assert 10 * float(moment[2, 3]) == pytest.approx(expected, rel=1e-5)  # moment: 0.1 * gradient


def test_a_network_without_layers_is_refused() -> None:
    class Plain:
        pass

    with pytest.raises(UsageError, match=r"mtnet .*Plain"):
        MtNet(context(MtNetParams(), space=Plain()))
