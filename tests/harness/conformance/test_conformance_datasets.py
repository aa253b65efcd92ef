"""Every check of a dataset passes on a sound one, and fails on one that is broken on purpose."""

import dataclasses

import numpy as np
import pytest
from conformance_specs import assert_fails, outcomes
from pydantic import BaseModel, ConfigDict

from metabench.errors import DataError
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.data import ClassData
from metabench.plugin.specs import DatasetSpec
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


BROKEN_CLASS_DATA = [
    (
        lambda params: class_data(images=np.zeros((8, 5, 5, 1))),
        "images are uint8 with channels last, or finite vectors",
        "float64",
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
        "the images are the same every time",
        "the images change",
    ),
]


@pytest.mark.parametrize(("factory", "name", "said"), BROKEN_CLASS_DATA)
def test_broken_images_fail_their_check(
    catalog: Catalog, factory: object, name: str, said: str
) -> None:
    assert_fails(dataset_spec(factory=factory), catalog, f"real: {name}", said)


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


@pytest.mark.parametrize(
    ("factory", "name", "said"),
    [
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
