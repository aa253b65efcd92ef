"""Every check of a network passes on a sound one, and fails on one that is broken on purpose."""

from typing import Any

import pytest
import torch
from conformance_specs import assert_fails, outcomes, space_spec

from metabench.errors import PluginError
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.architecture import CellChoices
from metabench.plugin.contracts.episode import TaskShape
from metabench.running.network_check import check_network
from metabench_plugins.spaces.mlp import Mlp, MlpParams

CPU = torch.device("cpu")


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


class Moody(Mlp):
    @property
    def batch_statistics(self):
        raise KeyError("mood")


class Listed(Mlp):
    def init_weights(self, *, rng):
        return [*super().init_weights(rng=rng).values()]


BUILT = "regression: it can be built with its default parameters"


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (Moody, "batch_statistics of network under-test failed: KeyError: 'mood' (test_conf"),
        (Listed, "init_weights returned [tensor("),
    ],
)
def test_parts_of_a_wrong_type_are_told_once(catalog: Catalog, factory: type, said: str) -> None:
    found = outcomes(space_spec(factory), catalog)
    assert [name for name, one in found.items() if one.status == "FAILED"] == [BUILT]
    assert said in found[BUILT].reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda forward, w, x: None, "forward returned a NoneType; it must be a tensor."),
        (lambda forward, w, x: forward(w, {}, x)[..., :0], "it must be (1, 2, 1)"),
        (_scale_weights, "forward changes its weights or inputs."),
        (lambda forward, w, x: {}["n"], "forward of network mine failed: KeyError: 'n'"),
    ],
)
def test_a_run_does_not_blame_a_learner_for_its_network(change: Any, said: str) -> None:
    space = _with_forward(change)(MlpParams(), TaskShape("regression", (1,), 1))
    with pytest.raises(PluginError) as caught:
        check_network(space, TaskShape("regression", (1,), 1), name="mine", device=CPU)
    assert said in caught.value.message


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


class Untransformed(Mlp):
    def forward(self, weights, mixture, x):
        kept = {name: w for name, w in weights.items() if not name.endswith(".transform")}
        return super().forward(kept, mixture, x)


class Unfilmed(Mlp):
    def forward(self, weights, mixture, x):
        kept = {name: w for name, w in weights.items() if ".film." not in name}
        return super().forward(kept, mixture, x)


class WrongWay(Mlp):
    def forward(self, weights, mixture, x):
        turned = {n: w.mT if n.endswith(".transform") else w for n, w in weights.items()}
        shifted = {n: w + 1 if n.endswith(".film.scale") else w for n, w in turned.items()}
        return super().forward(shifted, mixture, x)


class Headless(Mlp):
    def forward(self, weights, mixture, x):
        if "head.weight" not in weights:
            return x
        return super().forward(weights, mixture, x)


class Activated(Mlp):
    def forward(self, weights, mixture, x):
        found = super().forward(weights, mixture, x)
        return found if "head.weight" in weights else found + 1


class Misnamed(Mlp):
    def layers(self):
        return {"first": 4, "head": 1}


class Miscounted(Mlp):
    def layers(self):
        return {name: units + 1 for name, units in super().layers().items()}


class Layerless(Mlp):
    def layers(self):
        return {}


class Busy(Mlp):
    def idle(self):
        return ["head.bias"]


class Forgotten(Mlp):
    def idle(self):
        return ["no.bias"]


class Hesitant(Mlp):
    def tasks_at_once(self, n_examples):
        return 0


LISTED = "layers() names layers with their units, and the head at last"
FEATURES = "without its last layer it returns that layer's inputs"


@pytest.mark.parametrize(
    ("factory", "name", "said"),
    [
        (Untransformed, "it uses the transforms of all layers", "does not use 'layer1.transform'"),
        (
            Unfilmed,
            "it uses the scales and shifts of hidden layers",
            "does not use 'layer1.film.scale'",
        ),
        (WrongWay, "it uses the scales and shifts of hidden layers", "though it is neutral"),
        (Headless, FEATURES, "it must return the inputs of that layer, (3, 4, 50)"),
        (Activated, FEATURES, "is not what that layer gets"),
        (Misnamed, LISTED, "names 'first', but init_weights has no 'first.weight'"),
        (Miscounted, LISTED, "says that 'layer1' has 51 units"),
        (Layerless, LISTED, "layers() is empty"),
        (Busy, "idle weights do nothing", "change the outputs"),
        (Forgotten, "idle weights do nothing", "idle() names no.bias, which init_weights lacks"),
        (Hesitant, "it says how many tasks it computes at once", "returned 0"),
    ],
)
def test_a_network_that_cannot_do_what_it_says_fails(
    catalog: Catalog, factory: type, name: str, said: str
) -> None:
    assert_fails(space_spec(factory), catalog, f"regression: {name}", said)


def test_the_line_of_the_author_is_named(catalog: Catalog) -> None:
    name = "regression: it computes on the device of its inputs"
    reason = outcomes(space_spec(_with_forward(_cpu_noise)), catalog, name)[name].reason
    line = _cpu_noise.__code__.co_firstlineno + 1
    assert reason.endswith(f"(test_conformance_spaces.py, line {line})")
