"""Every check of a network passes on a sound one, and fails on one that is broken on purpose."""

import pytest
import torch
from conformance_specs import assert_fails, outcomes, space_spec

from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.architecture import CellChoices
from metabench_plugins.spaces.mlp import Mlp


class NoChild(Mlp):
    child = None


class Statistics(Mlp):
    batch_statistics = True

    def __init__(self, params, task):
        self.init_weights = Mlp(params, task).init_weights
        self.forward = Mlp(params, task).forward


class Choosy(Mlp):
    def choices(self):
        return {"normal": CellChoices(((0, 1),), ("a", "b"))}


class GlobalInit(Mlp):
    def init_weights(self, *, rng):
        return {name: torch.randn(w.shape) for name, w in super().init_weights(rng=rng).items()}


class DoubleInit(Mlp):
    def init_weights(self, *, rng):
        return {name: w.double() for name, w in super().init_weights(rng=rng).items()}


def _with_forward(change):
    class Changed(Mlp):
        def forward(self, weights, mixture, x):
            return change(super().forward, weights, x)

    return Changed


def _scale_weights(forward, weights, x):
    out = forward(weights, {}, x)
    weights["head.bias"].add_(1.0)
    return out


def _by_first_task(forward, weights, x):
    return forward({n: w[:1] for n, w in weights.items()}, {}, x)


def _shared_wrong(forward, weights, x):
    return forward(weights, {}, x) + (len(weights["head.bias"]) == 1)


def _detached_head(forward, weights, x):
    return forward({**weights, "head.bias": weights["head.bias"].detach()}, {}, x)


def _cpu_noise(forward, weights, x):
    return forward(weights, {}, x) + torch.ones(x.shape[1], 1)


BROKEN_SPACES = [
    (NoChild, "it can be built with its default parameters", "no method child"),
    (Choosy, "choices() agrees with the description", "searched=False, but choices() has"),
    (GlobalInit, "initial weights come from the generator", "torch changed"),
    (
        DoubleInit,
        "initial weights come from the generator",
        "is torch.float64 on cpu; it must be float32",
    ),
    (
        _with_forward(lambda forward, w, x: forward(w, {}, x)[0]),
        "forward is pure, finite and has the right shape",
        "returned shape (4, 1)",
    ),
    (
        _with_forward(_scale_weights),
        "forward is pure, finite and has the right shape",
        "must be pure",
    ),
    (
        _with_forward(lambda forward, w, x: forward(w, {}, x).log()),
        "forward is pure, finite and has the right shape",
        "not finite",
    ),
    (_with_forward(_by_first_task), "tasks do not affect each other", "do not depend on its"),
    (
        _with_forward(lambda forward, w, x: forward(w, {}, x) + x.mean()),
        "tasks do not affect each other",
        "depend on the inputs of another",
    ),
    (
        _with_forward(_shared_wrong),
        "shared weights give the same outputs as repeated ones",
        "different outputs",
    ),
    (
        _with_forward(_detached_head),
        "gradients reach every weight; first and second ones are finite",
        "no gradient reaches head.bias",
    ),
    (Statistics, "batch_statistics agrees with the outputs", "does not change"),
    (
        _with_forward(lambda forward, w, x: forward(w, {}, x - x.mean(1, keepdim=True))),
        "batch_statistics agrees with the outputs",
        "False, but the output for an example changes",
    ),
    (_with_forward(_cpu_noise), "it computes on the device of its inputs", "same device"),
]


@pytest.mark.parametrize(("factory", "name", "said"), BROKEN_SPACES)
def test_broken_network_fails_its_check(
    catalog: Catalog, factory: type, name: str, said: str
) -> None:
    assert_fails(space_spec(factory), catalog, f"regression: {name}", said)


@pytest.mark.parametrize("name", ["mlp", "conv4"])
def test_sound_network_passes(catalog: Catalog, name: str) -> None:
    found = outcomes(catalog.space(name), catalog)
    skipped = [n.partition(": ")[2] for n, o in found.items() if o.status == "skipped"]
    assert set(skipped) == {
        "the child of a genotype is a fixed network",
        "canonical genotypes are their own, and as large",
        "n_weights counts all weights of an even mixture for each task",
    }
    assert {o.status for o in found.values()} == {"ok", "skipped"}, found
