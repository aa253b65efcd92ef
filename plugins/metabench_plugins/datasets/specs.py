"""Specs of the built-in datasets; the code of a dataset is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator

from metabench import DatasetSpec
from metabench_plugins.datasets import (
    aircraft,
    birds,
    cifar10,
    cifar100,
    feature_folder,
    four_domains,
    fungi,
    image_folder,
    miniimagenet,
    omniglot,
    textures,
    tieredimagenet,
    torchmeta_classes,
    torchmeta_toy,
)


def dataset_specs() -> Iterator[DatasetSpec]:
    """Toy regression and images."""
    yield DatasetSpec(
        name="toy-regression",
        version=1,
        summary="Toy regression of M-NAS: sine, line, quadratic and harmonic functions of "
        "one variable.",
        params="metabench_plugins.datasets.toy_regression:ToyRegressionParams",
        kind="functions",
        factory="metabench_plugins.datasets.toy_regression:ToyRegression",
        reference="Wang et al., M-NAS, AAAI 2020",
        licence="generated",
    )
    yield omniglot.SPEC
    yield four_domains.SPEC
    yield birds.SPEC
    yield textures.SPEC
    yield aircraft.SPEC
    yield fungi.SPEC
    yield miniimagenet.SPEC
    yield tieredimagenet.SPEC
    yield cifar10.SPEC
    yield from cifar100.SPECS
    yield image_folder.SPEC
    yield feature_folder.SPEC
    yield torchmeta_classes.SPEC
    yield torchmeta_toy.SPEC
