"""MUMOMAML: the reader, FiLM, the clips, and MAML as its special case, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_tasks import TASKS, batch, context, generator, in_double, train
from torch import Tensor

from metabench.errors import UsageError
from metabench.inner_steps import share
from metabench.plugin.contracts.episode import EpisodeShape, Labelled, TaskShape
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.mumomaml import MumoMaml, MumoMamlParams
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params
from metabench_plugins.spaces.mlp import Mlp, MlpParams

PARAMS = {"inner_lr": 0.05, "inner_steps": 3, "outer_lr": 0.01}


def mumomaml(*, kind: str = "regression", **params: Any) -> MumoMaml:
    values = {**PARAMS, "inner_clip": None, "max_norm": None, **params}
    learner: MumoMaml = in_double(MumoMaml(context(MumoMamlParams(**values), kind=kind)))
    return learner


def open_film(learner: MumoMaml) -> MumoMaml:
    """Make the modulation large enough to see."""
    for weight in learner._film.values():
        weight.data.normal_(0, 0.5, generator=generator(9))
    return learner


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_without_modulation_it_is_maml(kind: str) -> None:
    maml = in_double(Maml(context(MamlParams(**PARAMS), kind=kind)))
    ours = mumomaml(kind=kind, inner_clip=1e6, max_norm=1e6)
    for weight in ours._film.values():
        weight.data.zero_()
    tasks = batch(kind)
    losses = [
        float(learner.meta_step(tasks, progress=0.0, rng=generator())["loss"])
        for learner in (ours, maml)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    for name, weight in maml._weights.items():
        if kind == "classification" and name.startswith("layer") and name.endswith("bias"):
            continue  # gradient 0 before a batch norm: Adam divides noise by noise
        assert torch.allclose(ours._weights[name], weight, rtol=1e-9, atol=1e-12), name
    # FiLM maps at zero hide the reader: it stays, and the maps start to move.
    assert all(float(w.detach().abs().max()) > 0 for w in ours._film.values())


def test_film_acts_before_the_relu_of_hidden_layers() -> None:
    learner = open_film(mumomaml())
    support = batch().support
    w = learner.begin(support, rng=generator(), progress=None).weights
    assert {n for n in w if "film" in n} == {
        f"layer{i}.film.{part}" for i in (1, 2) for part in ("scale", "shift")
    }
    found = learner.space.forward(w, {}, support.x)
    for task in range(TASKS):
        h = support.x[task]
        for layer in ("layer1", "layer2"):
            h = h @ w[f"{layer}.weight"][task] + w[f"{layer}.bias"][task]
            h = F.relu(h * (1 + w[f"{layer}.film.scale"][task]) + w[f"{layer}.film.shift"][task])
        expected = h @ w["head.weight"][task] + w["head.bias"][task]
        assert torch.allclose(found[task], expected, rtol=1e-12)


@pytest.mark.parametrize("network", ["conv4", "mlp"])
def test_film_acts_after_the_norm(network: str) -> None:
    # Modulating the scale of 1 and the shift of 0 of a norm is the same as setting them.
    images = TaskShape("classification", (1, 16, 16), 3)
    space: Any = Conv4(Conv4Params(filters=4), images)
    if network == "mlp":
        space = Mlp(MlpParams(hidden=2, width=4, norm="batch"), images)
    weights = share({n: w.double() for n, w in space.init_weights(rng=generator()).items()}, 2)
    x = torch.randn(2, 5, 1, 16, 16, dtype=torch.float64, generator=generator(1))
    scale, shift = torch.randn(2, 2, 4, dtype=torch.float64, generator=generator(2))
    norm = {"layer2.norm.scale": 1 + scale, "layer2.norm.shift": shift}
    film = {"layer2.film.scale": scale, "layer2.film.shift": shift}
    expected = space.forward(weights | norm, {}, x)
    assert torch.allclose(space.forward(weights | film, {}, x), expected, rtol=1e-12)
    assert not torch.allclose(space.forward(weights, {}, x), expected)


def test_modulation_stays_and_weights_move_in_the_inner_loop() -> None:
    learner = mumomaml()
    start = learner.begin(batch().support, rng=generator(), progress=None)
    assert set(start.adapted) == set(learner._weights)
    assert start.embedding is not None
    assert start.embedding.shape == (TASKS, 80)


def test_the_vector_is_the_last_forward_and_the_first_backward_state() -> None:
    learner = mumomaml()
    support = batch().support
    outputs, _ = learner._reader._lstm(torch.cat([support.x, support.y], dim=-1))
    expected = torch.cat([outputs[:, -1, :40], outputs[:, 0, 40:]], dim=1)
    assert torch.equal(learner._reader(support), expected)


def test_the_inner_gradient_is_clipped_per_element() -> None:
    clip, lr = 0.01, PARAMS["inner_lr"]
    learner, free = mumomaml(inner_clip=clip, inner_steps=1), mumomaml(inner_steps=1)
    support = batch().support
    updates: list[dict[str, Tensor]] = []
    for one in (learner, free):
        begin = one.begin(support, rng=generator(), progress=None)
        leaves = {n: w.detach().clone().requires_grad_() for n, w in begin.weights.items()}
        loss = (one.space.forward(leaves, {}, support.x) - support.y).square().mean((1, 2)).sum()
        gradients = torch.autograd.grad(loss, [leaves[n] for n in one._weights])
        bound = clip if one is learner else float("inf")
        moved = [
            leaves[n] - lr * g.clamp(-bound, bound)
            for n, g in zip(one._weights, gradients, strict=True)
        ]
        updates.append(leaves | dict(zip(one._weights, moved, strict=True)))
        one.context = context(one.params, steps_at_test=1, curve_steps=1)
        expected = one.space.forward(updates[-1], {}, support.x)
        found = one.adapt(support, rng=generator()).predict(support.x)
        assert torch.allclose(found, expected, rtol=1e-10)
    assert not torch.allclose(updates[0]["head.bias"], updates[1]["head.bias"])


def test_the_norm_of_each_group_is_bounded() -> None:
    learner = mumomaml(max_norm=1e-3)
    train(learner, 1)
    moments = [s["exp_avg"] * 10 for s in learner.state_dict()["adam"].values()]
    names = list(learner.outer.weights)
    network = [m for m, n in zip(moments, names, strict=True) if n in learner._weights]
    rest = [m for m, n in zip(moments, names, strict=True) if n not in learner._weights]
    for group in (network, rest):
        norm = torch.cat([m.flatten() for m in group]).norm()
        assert float(norm) == pytest.approx(1e-3, rel=1e-3)  # clipping adds 1e-6 to the norm


@pytest.mark.parametrize("name", ["reader.weight_ih_l0", "film.weight"])
def test_the_meta_gradient_by_finite_differences(name: str) -> None:
    learner, tasks, eps = open_film(mumomaml()), batch(), 1e-6
    weight = learner.outer.weights[name]

    def loss() -> float:
        copy = mumomaml()
        copy.load_state_dict(learner.state_dict())
        return float(copy.meta_step(tasks, progress=0.0, rng=generator())["loss"])

    numeric = []
    for move in (eps, -eps):
        weight.data[1, 1] += move
        numeric.append(loss())
        weight.data[1, 1] -= move
    learner.meta_step(tasks, progress=0.0, rng=generator())
    moments = zip(learner.outer.weights, learner.state_dict()["adam"].values(), strict=True)
    found = 10 * float(dict(moments)[name]["exp_avg"][1, 1])  # the first moment: 0.1 * gradient
    assert found == pytest.approx((numeric[0] - numeric[1]) / (2 * eps), rel=1e-5)


def test_images_are_read_without_labels_and_each_task_alone() -> None:
    learner = mumomaml(kind="classification")
    support = batch("classification").support
    vectors = learner._reader(support)
    assert vectors.shape == (TASKS, 128)
    assert torch.equal(vectors, learner._reader(Labelled(support.x, support.y.flip(1))))
    alone = learner._reader(Labelled(support.x[1:2], support.y[1:2]))
    assert torch.allclose(vectors[1:2], alone, rtol=1e-10)
    order = learner._reader(Labelled(support.x.flip(1), support.y))
    assert torch.allclose(vectors, order, rtol=1e-10)


def test_classes_of_vectors_are_refused() -> None:
    task = TaskShape("classification", (4,), 3)
    space = Mlp(MlpParams(hidden=1), task)
    changes = {"task": task, "space": space, "shape": EpisodeShape(3, 1, 1)}
    with pytest.raises(UsageError, match="classifies images only"):
        MumoMaml(context(MumoMamlParams(), **changes))
