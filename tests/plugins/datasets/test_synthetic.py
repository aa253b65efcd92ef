"""Generated classes: equal for equal seeds, different between classes, and learnable."""

from __future__ import annotations

import numpy as np
import pytest

from metabench_plugins.datasets.parts.synthetic import synthetic_classes

PER_SPLIT = {"meta-train": 6, "meta-val": 2, "meta-test": 4}


@pytest.mark.parametrize("shape", [(28, 28, 1), (20, 24, 3)])
def test_shapes_splits_and_stamp(shape: tuple[int, int, int]) -> None:
    data = synthetic_classes(PER_SPLIT, 5, shape=shape, seed=0)
    assert data.images.shape == (60, *shape)
    assert data.images.dtype == np.uint8
    assert data.offsets.tolist() == list(range(0, 61, 5))
    assert len(data.class_names) == 12
    assert [data.splits[split].tolist() for split in PER_SPLIT] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7],
        [8, 9, 10, 11],
    ]
    assert data.stamps == ("synthetic",)


def test_equal_seeds_give_equal_images_and_others_do_not() -> None:
    first = synthetic_classes(PER_SPLIT, 5, shape=(28, 28, 1), seed=3)
    again = synthetic_classes(PER_SPLIT, 5, shape=(28, 28, 1), seed=3)
    other = synthetic_classes(PER_SPLIT, 5, shape=(28, 28, 1), seed=4)
    np.testing.assert_array_equal(first.images, again.images)
    assert first.fingerprint == again.fingerprint
    assert (first.images != other.images).any(axis=(1, 2, 3)).all()
    assert first.fingerprint != other.fingerprint


@pytest.mark.parametrize("channels", [1, 3])
def test_a_class_can_be_told_from_five_examples(channels: int) -> None:
    data = synthetic_classes({"meta-test": 40}, 20, shape=(28, 28, channels), seed=0)
    pixels = data.images.reshape(40, 20, -1).astype(np.float64)
    means = pixels[:, :5].mean(axis=1)
    drawn = pixels[:, 5:]
    # Squared distance without the term that is the same for all classes.
    distances = (means**2).sum(axis=-1) - 2 * drawn @ means.T
    right = distances.argmin(axis=-1) == np.arange(40)[:, None]
    assert 0.8 < right.mean() < 1.0, "neither hopeless nor trivial"
