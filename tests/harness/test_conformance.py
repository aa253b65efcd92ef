"""Every check of the kit passes on a sound plugin, and fails on one that is broken on purpose."""

import dataclasses
import random

import numpy as np
import pytest
import torch
from pydantic import BaseModel, ConfigDict, Field

from metabench import conformance
from metabench.catalog import Catalog, load_catalog
from metabench.episodes import Adapted
from metabench.errors import DataError
from metabench.genotype import Edge, Genotype
from metabench.protocols import CellChoices, ClassData
from metabench.specs import DatasetSpec, LearnerSpec, NasStrategySpec, SearchSpaceSpec, Spec
from metabench_plugins.datasets.toy_regression import ToyRegression, ToyRegressionParams
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.spaces.mlp import Mlp, MlpParams


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def outcomes(spec: Spec, catalog: Catalog, *only: str) -> dict[str, conformance.Outcome]:
    return {
        check.name: conformance.run(check)
        for check in conformance.checks(spec, catalog=catalog)
        if not only or check.name in only
    }


def learner_spec(learner: type, **changes: object) -> LearnerSpec:
    spec = LearnerSpec(
        name="under-test",
        version=1,
        summary="Made for this test.",
        params=MamlParams,
        factory=learner,
        kinds=("regression",),
    )
    return dataclasses.replace(spec, **changes)


# --- learners ---------------------------------------------------------------------------------


class NoMethod:
    def __init__(self, context):
        pass


class InfiniteLoss(Maml):
    def meta_step(self, tasks, *, progress, rng):
        return {"loss": float("nan")}


class NoLoss(Maml):
    def meta_step(self, tasks, *, progress, rng):
        super().meta_step(tasks, progress=progress, rng=rng)
        return {"error": 1.0}


class NeverLearns(Maml):
    def meta_step(self, tasks, *, progress, rng):
        return {"loss": 1.0}


class SeesQuery(Maml):
    def adapt(self, support, query=None, *, rng):
        return super().adapt(support, rng=rng)


class ChangesItself(Maml):
    def adapt(self, support, *, rng):
        with torch.no_grad():
            next(iter(self._weights.values())).add_(1e-3)
        return super().adapt(support, rng=rng)


class WritesIntoTasks(Maml):
    def adapt(self, support, *, rng):
        support.x.mul_(2)
        return super().adapt(support, rng=rng)


def _with_predict(change):
    class Changed(Maml):
        def adapt(self, support, *, rng):
            inner = super().adapt(support, rng=rng).predict
            return Adapted(predict=lambda x: change(inner, x, rng))

    return Changed


class OneGenotype(Maml):
    def adapt(self, support, *, rng):
        return dataclasses.replace(super().adapt(support, rng=rng), n_params=[7])


class MixesTasks(Maml):
    def adapt(self, support, *, rng):
        inner = super().adapt(support, rng=rng).predict
        shift = support.y.mean()
        return Adapted(predict=lambda x: inner(x) + shift)


class UsesGlobalRandomness(Maml):
    def meta_step(self, tasks, *, progress, rng):
        with torch.no_grad():
            for weight in self._weights.values():
                weight.add_(torch.randn(()))
        return super().meta_step(tasks, progress=progress, rng=rng)


class Reseeds(Maml):
    def adapt(self, support, *, rng):
        torch.manual_seed(0)
        return super().adapt(support, rng=rng)


class ReseedsNumpy(Maml):
    def adapt(self, support, *, rng):
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        return super().adapt(support, rng=rng)


class ForgetsAdam(Maml):
    def state_dict(self):
        return {"weights": super().state_dict()["weights"]}

    def load_state_dict(self, state):
        super().load_state_dict({**state, "adam": super().state_dict()["adam"]})


class StaysOnCpu(Maml):
    def meta_step(self, tasks, *, progress, rng):
        logged = super().meta_step(tasks, progress=progress, rng=rng)
        noise = torch.randn(tasks.query.y.shape, generator=rng)
        return {**logged, "noisy": (tasks.query.y + noise).mean()}


BROKEN_LEARNERS = [
    (NoMethod, "it can be built from its defaults", "no method meta_step"),
    (InfiniteLoss, "meta_step returns finite scalars", "loss = nan"),
    (NoLoss, "meta_step returns finite scalars", "'loss' is expected"),
    (NeverLearns, "meta_step changes the state", "same before and after"),
    (SeesQuery, "adapt takes the support set and no query", "adapt takes (support, query, rng)"),
    (ChangesItself, "adapt leaves the state as it is", "changed the learner's state"),
    (WritesIntoTasks, "the tasks are not written into", "wrote into"),
    (
        _with_predict(lambda inner, x, rng: inner(x)[..., 0]),
        "predictions have the right shape and are finite",
        "returned shape (3, 4); (3, 4, 1)",
    ),
    (
        _with_predict(lambda inner, x, rng: inner(x) / 0),
        "predictions have the right shape and are finite",
        "not finite",
    ),
    (OneGenotype, "genotypes, n_params and embedding have one row per task", "n_params has 1 rows"),
    (MixesTasks, "a task's predictions do not depend on other tasks", "other tasks of the batch"),
    (
        _with_predict(lambda inner, x, rng: inner(x) + torch.arange(x.shape[1])[None, :, None]),
        "the order of the query set does not matter",
        "order of the query set",
    ),
    (
        _with_predict(lambda inner, x, rng: inner(x) + x.mean(1, keepdim=True)),
        "the inductive protocol keeps query examples apart",
        "other query examples",
    ),
    (UsesGlobalRandomness, "same seed, same numbers", "other weights"),
    (UsesGlobalRandomness, "global random state is untouched", "torch changed"),
    (Reseeds, "global random state is untouched", "torch changed"),
    (ReseedsNumpy, "global random state is untouched", "random changed"),
    (ForgetsAdam, "a restored learner goes on to the bit", "goes on to other weights"),
    (StaysOnCpu, "it computes on the device it is given", "same device"),
]


@pytest.mark.parametrize(
    ("factory", "name", "said"), BROKEN_LEARNERS, ids=lambda value: getattr(value, "__name__", "")
)
def test_broken_learner_fails_its_check(
    catalog: Catalog, factory: type, name: str, said: str
) -> None:
    found = outcomes(learner_spec(factory), catalog, f"regression: {name}")
    (outcome,) = found.values()
    assert outcome.status == "FAILED"
    assert said in outcome.reason


def test_every_learner_check_has_a_learner_that_fails_it() -> None:
    names = {c.name for c in conformance.checks(learner_spec(Maml)) if "regression: " in c.name}
    assert names == {f"regression: {name}" for _, name, _ in BROKEN_LEARNERS}


@pytest.mark.parametrize(
    "kind", ["regression", pytest.param("classification", marks=pytest.mark.slow)]
)
def test_sound_learner_passes(catalog: Catalog, kind: str) -> None:
    found = outcomes(dataclasses.replace(catalog.learner("maml"), kinds=(kind,)), catalog)
    assert {o.status for o in found.values()} == {"ok"}, found


def test_transductive_learner_must_not_claim_otherwise(catalog: Catalog) -> None:
    name = "classification: the inductive protocol keeps query examples apart"
    spec = learner_spec(Maml, kinds=("classification",), transductive=False)
    assert "transductive=False" in outcomes(spec, catalog, name)[name].reason


def test_learner_that_cannot_be_built_fails_once(catalog: Catalog) -> None:
    class Unbuildable:
        def __init__(self, context):
            raise ValueError("no luck")

    found = outcomes(learner_spec(Unbuildable), catalog)
    failed = [name for name, o in found.items() if o.status == "FAILED"]
    assert failed == ["regression: it can be built from its defaults"]
    assert "ValueError: no luck (test_conformance.py" in found[failed[0]].reason


def test_searching_learner_without_strategy_is_skipped(catalog: Catalog) -> None:
    empty = dataclasses.replace(catalog, nas_strategies={})
    found = outcomes(learner_spec(Maml, searches=True), empty)
    assert found["regression: same seed, same numbers"].status == "skipped"


# --- descriptions -----------------------------------------------------------------------------


class Loose(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Silent(BaseModel):
    model_config = ConfigDict(frozen=True)
    rate: float = 1.0


class Demanding(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    rate: float = Field(description="No default.")


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({"summary": " "}, "the summary is one line", "empty"),
        ({"summary": "a\nb"}, "the summary is one line", "several lines"),
        ({"factory": "metabench:nothing"}, "the factory can be imported", "Cannot import"),
        (
            {"params": Loose},
            "parameters are a frozen model that forbids unknown names",
            "not frozen",
        ),
        (
            {"params": Silent},
            "parameters are a frozen model that forbids unknown names",
            "unknown names silently",
        ),
        ({"params": dict}, "parameters are a frozen model that forbids unknown names", "pydantic"),
        ({"params": Demanding}, "parameters have defaults that are JSON", "rate"),
        ({"preset": {"nothing": 1}}, "parameters have defaults that are JSON", "nothing"),
        ({"params": Silent}, "every parameter has help", "no description: rate"),
    ],
)
def test_broken_description_fails_its_check(
    catalog: Catalog, changes: dict[str, object], name: str, said: str
) -> None:
    outcome = outcomes(learner_spec(Maml, **changes), catalog, name)[name]
    assert outcome.status == "FAILED"
    assert said in outcome.reason


# --- networks ---------------------------------------------------------------------------------


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
    (NoChild, "it can be built from its defaults", "no method child"),
    (Choosy, "choices are as described", "searched=False"),
    (GlobalInit, "initial weights come from the generator", "torch changed"),
    (DoubleInit, "initial weights come from the generator", "float64"),
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
    (_with_forward(_by_first_task), "tasks do not reach each other", "leave its outputs"),
    (
        _with_forward(lambda forward, w, x: forward(w, {}, x) + x.mean()),
        "tasks do not reach each other",
        "inputs of one task change",
    ),
    (_with_forward(_shared_wrong), "shared weights equal repeated ones", "other outputs"),
    (
        _with_forward(_detached_head),
        "gradients, first and second, reach every weight",
        "no gradient reaches head.bias",
    ),
    (Statistics, "batch_statistics tells the truth", "does not change"),
    (
        _with_forward(lambda forward, w, x: forward(w, {}, x - x.mean(1, keepdim=True))),
        "batch_statistics tells the truth",
        "False, and the output for an example changes",
    ),
    (_with_forward(_cpu_noise), "it computes where its inputs live", "same device"),
]


def space_spec(factory: type, **changes: object) -> SearchSpaceSpec:
    spec = SearchSpaceSpec(
        name="under-test",
        version=1,
        summary="Made for this test.",
        params=MlpParams,
        factory=factory,
        kinds=("regression",),
    )
    return dataclasses.replace(spec, **changes)


@pytest.mark.parametrize(("factory", "name", "said"), BROKEN_SPACES)
def test_broken_network_fails_its_check(
    catalog: Catalog, factory: type, name: str, said: str
) -> None:
    (outcome,) = outcomes(space_spec(factory), catalog, f"regression: {name}").values()
    assert outcome.status == "FAILED"
    assert said in outcome.reason


@pytest.mark.parametrize("name", ["mlp", "conv4"])
def test_sound_network_passes(catalog: Catalog, name: str) -> None:
    found = outcomes(catalog.space(name), catalog)
    skipped = [n.partition(": ")[2] for n, o in found.items() if o.status == "skipped"]
    assert set(skipped) == {"a genotype gives a child without choices"}
    assert {o.status for o in found.values()} == {"ok", "skipped"}, found


# --- a searched network and a strategy --------------------------------------------------------


class Mixed(Mlp):
    """A linear layer whose output one of two operations scales."""

    def choices(self):
        return {"cell": CellChoices(((0, 1),), ("once", "twice"))}

    def forward(self, weights, mixture, x):
        scale = mixture["cell"] @ torch.tensor([1.0, 2.0], device=x.device)
        return super().forward(weights, {}, x) * scale[:, :, None]

    def child(self, genotype):
        return Mlp(self._params, self._task)


class Immortal(Mixed):
    def child(self, genotype):
        return self


class Softmax:
    def __init__(self, params):
        pass

    def init_arch(self, space, *, rng):
        return {
            cell: torch.randn(len(c.edges), len(c.primitives), generator=rng)
            for cell, c in space.choices().items()
        }

    def mixture(self, space, arch, *, sharpness, rng):
        weights = {cell: logits.softmax(-1) for cell, logits in arch.items()}
        return {cell: w if w.dim() == 3 else w[None] for cell, w in weights.items()}

    def discretize(self, space, arch):
        return Genotype.of({cell: [Edge(0, 1, "once")] for cell in arch})


class Transposed(Softmax):
    def init_arch(self, space, *, rng):
        return {cell: logits.T for cell, logits in super().init_arch(space, rng=rng).items()}


class NoTaskAxis(Softmax):
    def mixture(self, space, arch, *, sharpness, rng):
        return {cell: logits.softmax(-1) for cell, logits in arch.items()}


class Infinite(Softmax):
    def mixture(self, space, arch, *, sharpness, rng):
        return {cell: (logits / (1 - sharpness))[None] for cell, logits in arch.items()}


class OneForAll(Softmax):
    def mixture(self, space, arch, *, sharpness, rng):
        return {cell: logits.softmax(-1)[None] for cell, logits in arch.items()}


class MixesOnCpu(Softmax):
    def mixture(self, space, arch, *, sharpness, rng):
        noise = {cell: torch.rand(logits.shape, generator=rng) for cell, logits in arch.items()}
        noisy = {cell: logits + noise[cell] for cell, logits in arch.items()}
        return super().mixture(space, noisy, sharpness=sharpness, rng=rng)


class Inventive(Softmax):
    def discretize(self, space, arch):
        return Genotype.of({"cell": [Edge(0, 1, "thrice")]})


def strategy_spec(factory: type) -> NasStrategySpec:
    return NasStrategySpec(
        name="softmax", version=1, summary="Test.", params=Demanding, factory=factory
    )


@pytest.fixture(scope="module")
def searched(catalog: Catalog) -> Catalog:
    class NoParams(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

    strategy = dataclasses.replace(strategy_spec(Softmax), params=NoParams)
    return dataclasses.replace(
        catalog,
        search_spaces={"mixed": space_spec(Mixed, searched=True)},
        nas_strategies={"softmax": strategy},
    )


def test_sound_searched_network_passes(searched: Catalog) -> None:
    found = outcomes(space_spec(Mixed, searched=True), searched)
    assert {o.status for o in found.values()} == {"ok"}, found


def test_child_with_choices_fails(searched: Catalog) -> None:
    name = "regression: a genotype gives a child without choices"
    outcome = outcomes(space_spec(Immortal, searched=True), searched, name)[name]
    assert "still has choices" in outcome.reason


def test_sound_strategy_passes(searched: Catalog) -> None:
    found = outcomes(searched.strategy("softmax"), searched)
    assert {o.status for o in found.values()} == {"ok"}, found


@pytest.mark.parametrize(
    ("factory", "name", "said"),
    [
        (Transposed, "logits have one row per edge", "(2, 1)"),
        (NoTaskAxis, "a mixture has the shape of the logits", "[tasks or 1, edges"),
        (Infinite, "a mixture has the shape of the logits", "not finite at sharpness 1.0"),
        (OneForAll, "logits of their own give tasks mixtures of their own", "mixture of 1 tasks"),
        (MixesOnCpu, "it draws nothing at meta-test", "global random state of torch changed"),
        (MixesOnCpu, "it computes where its logits live", "same device"),
        (Inventive, "the genotype is made of the network's choices", "'thrice'"),
    ],
)
def test_broken_strategy_fails_its_check(
    searched: Catalog, factory: type, name: str, said: str
) -> None:
    spec = dataclasses.replace(searched.strategy("softmax"), factory=factory)
    outcome = outcomes(spec, searched, name)[name]
    assert outcome.status == "FAILED"
    assert said in outcome.reason


# --- datasets ---------------------------------------------------------------------------------


def class_data(**changes: object) -> ClassData:
    data = ClassData(
        images=np.zeros((8, 5, 5, 1), np.uint8),
        offsets=np.array([0, 2, 4, 6, 8]),
        class_names=("a", "b", "c", "d"),
        splits={
            "meta-train": np.array([0, 1]),
            "meta-val": np.array([2]),
            "meta-test": np.array([3]),
        },
        fingerprint="f",
        rotations={"meta-train": "classes", "meta-val": "none", "meta-test": "none"},
        stamps=("synthetic",),
    )
    return dataclasses.replace(data, **changes)


class NoParams(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def dataset_spec(**changes: object) -> DatasetSpec:
    spec = DatasetSpec(
        name="under-test",
        version=1,
        summary="Made for this test.",
        params=NoParams,
        kind="classes",
        factory=lambda params: class_data(),
    )
    return dataclasses.replace(spec, **changes)


def _counting(make):
    calls = iter(range(1000))
    return lambda params: make(next(calls))


BROKEN_CLASS_DATA = [
    (
        lambda params: class_data(images=np.zeros((8, 5, 5, 1))),
        "images are uint8 with channels last",
        "float64",
    ),
    (
        lambda params: class_data(class_names=("a", "b")),
        "offsets divide the images into named classes",
        "2 class names and 5 offsets",
    ),
    (
        lambda params: class_data(offsets=np.array([0, 2, 2, 6, 8])),
        "offsets divide the images into named classes",
        "no class empty",
    ),
    (
        lambda params: class_data(class_names=("a", "a", "c", "d")),
        "offsets divide the images into named classes",
        "stands twice",
    ),
    (
        lambda params: class_data(splits={**class_data().splits, "meta-val": np.array([0])}),
        "splits share no class",
        "in two splits",
    ),
    (
        lambda params: class_data(splits={**class_data().splits, "meta-test": np.array([9])}),
        "splits share no class",
        "not there",
    ),
    (
        lambda params: class_data(splits={**class_data().splits, "meta-test": np.array([], int)}),
        "splits share no class",
        "meta-test is empty",
    ),
    (
        lambda params: class_data(splits={"train": np.array([0])}),
        "splits share no class",
        "splits are ['train']",
    ),
    (lambda params: class_data(rotations={}), "rotations are known", "each split has one of"),
    (
        _counting(lambda n: class_data(fingerprint=str(n))),
        "the fingerprint is stable",
        "another one",
    ),
    (
        _counting(lambda n: class_data(images=np.full((8, 5, 5, 1), n, np.uint8))),
        "the same images every time",
        "other images",
    ),
]


@pytest.mark.parametrize(("factory", "name", "said"), BROKEN_CLASS_DATA)
def test_broken_images_fail_their_check(
    catalog: Catalog, factory: object, name: str, said: str
) -> None:
    (outcome,) = outcomes(dataset_spec(factory=factory), catalog, f"real: {name}").values()
    assert outcome.status == "FAILED"
    assert said in outcome.reason


def test_look_alike_must_be_stamped(catalog: Catalog) -> None:
    name = "synthetic: it is stamped so"
    spec = dataset_spec(synthetic=lambda params: class_data(stamps=()))
    assert outcomes(spec, catalog, name)[name].status == "FAILED"


def test_absent_data_is_skipped_with_its_message_and_the_look_alike_checked(
    catalog: Catalog,
) -> None:
    def absent(params):
        raise DataError("It is not there.", hint="Fetch it.")

    found = outcomes(dataset_spec(factory=absent, synthetic=lambda params: class_data()), catalog)
    assert found["real: the data is there"].reason == "It is not there. Fetch it."
    assert {o.status for n, o in found.items() if n.startswith("real")} == {"skipped"}
    assert {o.status for n, o in found.items() if not n.startswith("real")} == {"ok"}


class Shapeless(ToyRegression):
    def sample(self, words, shape, *, split):
        x, y = super().sample(words, shape, split=split)
        return x[..., 0], y


class Unrepeatable(ToyRegression):
    def sample(self, words, shape, *, split):
        x, y = super().sample(words, shape, split=split)
        return x, y + np.random.default_rng().normal(size=y.shape)


class Correlated(ToyRegression):
    def sample(self, words, shape, *, split):
        x, y = super().sample(words, shape, split=split)
        return x, y + y.mean()


class Constant(ToyRegression):
    def sample(self, words, shape, *, split):
        x, y = super().sample(words, shape, split=split)
        return x, 0 * y


@pytest.mark.parametrize(
    ("factory", "name", "said"),
    [
        (Shapeless, "points have the right shape and are finite", "x has shape (3, 15)"),
        (Unrepeatable, "all randomness is in the words", "the second time"),
        (Correlated, "all randomness is in the words", "points of another"),
        (Constant, "all randomness is in the words", "the same points"),
    ],
)
def test_broken_functions_fail_their_check(
    catalog: Catalog, factory: type, name: str, said: str
) -> None:
    spec = dataset_spec(kind="functions", params=ToyRegressionParams, factory=factory)
    (outcome,) = outcomes(spec, catalog, f"real: {name}").values()
    assert outcome.status == "FAILED"
    assert said in outcome.reason


def test_sound_functions_pass(catalog: Catalog) -> None:
    assert {o.status for o in outcomes(catalog.dataset("toy-regression"), catalog).values()} == {
        "ok"
    }


# --- suites -----------------------------------------------------------------------------------

SUITE = """
name: pond
version: 1
task: regression
metric: mse
space: mlp
sources:
  - {name: sine, dataset: toy-regression, params: {family: sine}}
settings:
  five: {protocol: {shots: 5, queries: 5}}
budgets:
  smoke: {meta_steps: 1, meta_batch: 1}
"""


@pytest.mark.parametrize(
    ("old", "new", "name", "said"),
    [
        ("metric: mse", "metric: speed", "it can be read", "metric"),
        ("name: pond", "name: lake", "its name is the file's", "called 'lake'"),
        ("space: mlp", "space: mpl", "its sources and its network are installed", "'mpl'"),
        ("space: mlp", "space: conv4", "its sources and its network are installed", "regression"),
        (
            "dataset: toy-regression, params: {family: sine}",
            "dataset: omniglot",
            "its sources and its network are installed",
            "omniglot, which holds classes; regression needs functions",
        ),
        (
            "meta_batch: 1",
            "meta_batch: 1, training: {reptile: {meta_stepz: 9}}",
            "every setting at every budget is valid",
            "Unknown budget parameter 'meta_stepz'. Did you mean meta_steps",
        ),
        (
            "meta_batch: 1",
            "meta_batch: 1, data: {nose_std: 1}",
            "its sources and its network are installed",
            "'nose_std' of source sine. Did you mean noise_std",
        ),
        ("metric: mse", "metric: accuracy", "it can be read", "metric of regression is mse"),
        ("family: sine", "family: cosine", "its sources and its network are installed", "cosine"),
        ("shots: 5", "shots: 0", "every setting at every budget is valid", "shots"),
        (
            "metric: mse",
            "metric: mse\nlearners: {maml: {inner_rl: 1}}",
            "parameters of plugins are valid",
            "inner_rl",
        ),
    ],
)
def test_broken_suite_fails_its_check(
    catalog: Catalog, tmp_path, old: str, new: str, name: str, said: str
) -> None:
    file = tmp_path / "pond.yaml"
    file.write_text(SUITE.replace(old, new))
    outcome = {c.name: conformance.run(c) for c in conformance.checks(file, catalog=catalog)}[name]
    assert outcome.status == "FAILED"
    assert said in outcome.reason


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("learners: {malm: {inner_lr: 1}}", "Unknown learner 'malm'. Did you mean maml"),
        ("spaces: {mpl: {width: 4}}", "Unknown space 'mpl'. Did you mean mlp"),
        ("strategies: {dartz: {}}", "Unknown strategy 'dartz'. Did you mean darts"),
        ("backends: {mnaz: {space: mlp}}", "Unknown learner 'mnaz'. Did you mean mnas"),
        ("backends: {mnas: {space: toy-cel}}", "Unknown space 'toy-cel'. Did you mean toy-cell"),
        (
            "backends: {mnas: {space: toy-cell, strategy: dartz}}",
            "Unknown strategy 'dartz'. Did you mean darts",
        ),
        ("TRAINING: {reptlie: {meta_steps: 2}}", "Unknown learner 'reptlie'. Did you mean reptile"),
        (
            "TRAINING: {}, settings: {five: {training: {reptlie: {meta_steps: 2}}}}",
            "Unknown learner 'reptlie'. Did you mean reptile",
        ),
    ],
)
def test_a_name_that_nobody_provides_is_a_warning(
    catalog: Catalog, tmp_path, more: str, said: str
) -> None:
    file = tmp_path / "pond.yaml"
    text = f"{SUITE}{more}\n"
    if more.startswith("TRAINING"):
        inside = more.replace("TRAINING", "training")
        text = SUITE.replace("meta_batch: 1", f"meta_batch: 1, {inside}")
    file.write_text(text)
    found = {c.name: conformance.run(c) for c in conformance.checks(file, catalog=catalog)}
    outcome = found.pop("the plugins that it speaks of are installed")
    assert outcome.status == "warning"
    assert said in outcome.reason
    assert {other.status for other in found.values()} == {"ok"}, found


def test_sound_suites_pass(catalog: Catalog, tmp_path) -> None:
    file = tmp_path / "pond.yaml"
    file.write_text(SUITE)
    for suite in (file, *catalog.suites.values()):
        found = [conformance.run(check) for check in conformance.checks(suite, catalog=catalog)]
        assert {outcome.status for outcome in found} == {"ok"}, (suite, found)


def test_checks_are_skipped_in_pytest_terms() -> None:
    import unittest

    assert issubclass(conformance.Skip, unittest.SkipTest)
    assert issubclass(conformance.Doubt, conformance.Skip)
