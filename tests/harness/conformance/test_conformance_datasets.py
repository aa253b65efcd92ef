"""Every check of a dataset passes on a sound one, and fails on one that is broken on purpose."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from conformance_specs import assert_fails, outcomes
from pydantic import BaseModel, ConfigDict

from metabench.errors import DataError, PluginError
from metabench.planning.runspec import SourceChoice
from metabench.planning.source_data import load_data
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.data import ClassData, Scaling
from metabench.plugin.contracts.episode import EpisodeShape
from metabench.plugin.specs import DatasetSpec
from metabench.sampling.sources import FunctionSource
from metabench_plugins.datasets.toy_regression import ToyRegression, ToyRegressionParams


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


def _swapped(n):
    """Splits of which meta-train and meta-test change places every time."""
    splits = class_data().splits
    train, test = splits["meta-train"], splits["meta-test"]
    return {"meta-train": test, "meta-test": train} if n % 2 else {}


BROKEN_CLASS_DATA = [
    (
        lambda params: class_data(images=np.zeros((8, 5, 5, 1))),
        "images are uint8 with channels last, or finite vectors",
        "float64",
    ),
    (
        lambda params: class_data(images=np.zeros((8, 5, 5, 1), np.float32)),
        "images are uint8 with channels last, or finite vectors",
        "Images in floating point are not scaled: give their pixels as uint8",
    ),
    (
        lambda params: class_data(images=[[1]]),
        "images are uint8 with channels last, or finite vectors",
        "images is a list; it must be a NumPy array",
    ),
    (
        lambda params: class_data(scaling=Scaling(np.ones(3, np.float32), 0.0)),
        "images are uint8 with channels last, or finite vectors",
        "the scale of scaling has shape [3]; it must be a number, or one for each of the 1",
    ),
    (lambda params: None, "it holds what its kind says", "returned a NoneType"),
    (
        lambda params: class_data(images=np.zeros((8, 5, 6, 1), np.uint8)),
        "rotations are known",
        "images of 5 x 6 pixels cannot be turned",
    ),
    (
        lambda params: class_data(offsets=[0, 2, 4.5, 6, 8]),
        "offsets divide the images into named classes",
        "they must be integers",
    ),
    (
        lambda params: class_data(splits={**class_data().splits, "meta-val": ["c"]}),
        "no class is in two splits",
        "meta-val is <U1 [1]",
    ),
    (
        lambda params: class_data(stamps="synthetic"),
        "the fingerprint is stable",
        "the stamps are 'synthetic'",
    ),
    (
        lambda params: class_data(images=np.full((8, 5), np.nan, dtype=np.float32)),
        "images are uint8 with channels last, or finite vectors",
        "not finite",
    ),
    (
        lambda params: class_data(images=np.zeros((8, 5), dtype=np.float32)),
        "rotations are known",
        "vectors cannot be turned",
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
        "occurs twice",
    ),
    (
        lambda params: class_data(splits={**class_data().splits, "meta-val": np.array([0])}),
        "no class is in two splits",
        "in two splits",
    ),
    (
        lambda params: class_data(splits={**class_data().splits, "meta-test": np.array([9])}),
        "no class is in two splits",
        "does not exist",
    ),
    (
        lambda params: class_data(splits={**class_data().splits, "meta-test": np.array([], int)}),
        "no class is in two splits",
        "meta-test is empty",
    ),
    (
        lambda params: class_data(splits={"train": np.array([0])}),
        "no class is in two splits",
        "splits are ['train']",
    ),
    (lambda params: class_data(rotations={}), "rotations are known", "each split must have one of"),
    (
        _counting(lambda n: class_data(fingerprint=str(n))),
        "the fingerprint is stable",
        "changes when the data is loaded again",
    ),
    (
        _counting(lambda n: class_data(images=np.full((8, 5, 5, 1), n, np.uint8))),
        "images, classes and splits are the same every time",
        "the images change",
    ),
    (
        _counting(lambda n: class_data(class_names=(f"a{n}", "b", "c", "d"))),
        "images, classes and splits are the same every time",
        "the classes change",
    ),
    (
        _counting(lambda n: class_data(splits={**class_data().splits, **_swapped(n)})),
        "images, classes and splits are the same every time",
        "the classes of meta-train, meta-test change",
    ),
]


@pytest.mark.parametrize(("factory", "name", "said"), BROKEN_CLASS_DATA)
def test_broken_images_fail_their_check(
    catalog: Catalog, factory: object, name: str, said: str
) -> None:
    assert_fails(dataset_spec(factory=factory), catalog, f"real: {name}", said)


SEEN_BY_THE_KIT_ALONE = ("not finite", "is empty", "when the data is loaded again", " change")
"""It reads all data, twice. Data of a user's own may lack a split, which is another error."""


@pytest.mark.parametrize(
    ("factory", "said"),
    [(one, said) for one, _, said in BROKEN_CLASS_DATA if not said.endswith(SEEN_BY_THE_KIT_ALONE)],
)
def test_a_run_refuses_data_that_the_kit_refuses(
    catalog: Catalog, factory: object, said: str
) -> None:
    wrong = dataclasses.replace(catalog, datasets={"under-test": dataset_spec(factory=factory)})
    with pytest.raises(PluginError) as caught:
        load_data(SourceChoice(source="s", name="under-test", version=1), wrong, data="real")
    assert caught.value.message.startswith("The data of under-test cannot be used: ")
    assert said in caught.value.message


def test_an_exception_of_a_dataset_is_one_sentence(catalog: Catalog) -> None:
    spec = dataset_spec(factory=lambda params: {}["n"])
    wrong = dataclasses.replace(catalog, datasets={"under-test": spec})
    with pytest.raises(
        PluginError, match=r"^Dataset under-test cannot be built: KeyError: 'n' \(test_"
    ):
        load_data(SourceChoice(source="s", name="under-test", version=1), wrong, data="real")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, y: (x[..., 0], y), "x has shape"),
        (lambda x, y: (x, y / 0), "y is not finite"),
        (lambda x, y: x, "sample returned a ndarray; it must be a pair"),
        (lambda x, y: (x, y.tolist()), "y is a list"),
    ],
)
def test_a_run_draws_no_points_that_the_kit_refuses(change: Any, said: str) -> None:
    class Changed(ToyRegression):
        def sample(self, words, shape, *, split):
            with np.errstate(all="ignore"):
                return change(*super().sample(words, shape, split=split))

    source = FunctionSource("s", Changed(ToyRegressionParams()), device=torch.device("cpu"))
    shape = EpisodeShape(1, 5, 10)
    words = np.zeros((2, source.n_words(shape)), np.uint64)
    with pytest.raises(PluginError, match=f"^Source s cannot be drawn from: {said}"):
        source.draw(words, shape, split="meta-train")


def test_look_alike_must_be_stamped(catalog: Catalog) -> None:
    name = "synthetic: it has the stamp synthetic"
    spec = dataset_spec(synthetic=lambda params: class_data(stamps=()))
    assert outcomes(spec, catalog, name)[name].status == "FAILED"


def test_absent_data_is_skipped_with_its_message_and_the_look_alike_checked(
    catalog: Catalog,
) -> None:
    def absent(params):
        raise DataError("It is not there.", hint="Fetch it.")

    found = outcomes(dataset_spec(factory=absent, synthetic=lambda params: class_data()), catalog)
    assert found["real: the data is available"].reason == "It is not there. Fetch it."
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


class ByPlace(ToyRegression):
    def sample(self, words, shape, *, split):
        x, y = super().sample(words, shape, split=split)
        return x, y + np.arange(len(words))[:, None, None]


class WritesIntoWords(ToyRegression):
    def sample(self, words, shape, *, split):
        points = super().sample(words, shape, split=split)
        words[0, 0] += np.uint64(1)
        return points


class Wordless(ToyRegression):
    def n_words(self, shape):
        return 2.0


def _with_values(change):
    class Changed(ToyRegression):
        def values(self, words, x):
            return change(super().values(words, x))

    return Changed


VALUES = "values are those of the functions that are drawn"


@pytest.mark.parametrize(
    ("factory", "name", "said"),
    [
        (ByPlace, "points do not depend on the place in a batch", "at another place in a batch"),
        (WritesIntoWords, "all randomness comes from the words", "sample changes the words"),
        (Wordless, "points have the right shape and are finite", "n_words returned 2.0"),
        (_with_values(lambda v: 0 * v + 1), VALUES, "the same number for all functions"),
        (_with_values(lambda v: v[..., 0]), VALUES, "values returned shape (32, 15)"),
        (_with_values(lambda v: np.nan * v), VALUES, "not finite"),
        (_with_values(lambda v: 2 * v), VALUES, "other functions than sample draws"),
        (_with_values(lambda v: v + 9), VALUES, "other functions than sample draws"),
        (_with_values(lambda v: v - v.mean()), VALUES, "change with those beside it"),
        (Shapeless, "points have the right shape and are finite", "x has shape (3, 15)"),
        (Unrepeatable, "all randomness comes from the words", "the second time"),
        (Correlated, "all randomness comes from the words", "points of another"),
        (Constant, "all randomness comes from the words", "the same points"),
    ],
)
def test_broken_functions_fail_their_check(
    catalog: Catalog, factory: type, name: str, said: str
) -> None:
    spec = dataset_spec(kind="functions", params=ToyRegressionParams, factory=factory)
    assert_fails(spec, catalog, f"real: {name}", said)


def test_sound_functions_pass(catalog: Catalog) -> None:
    assert {o.status for o in outcomes(catalog.dataset("toy-regression"), catalog).values()} == {
        "ok"
    }
