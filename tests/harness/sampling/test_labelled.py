"""Labelled examples of meta-train classes, and the ids of classes in meta-train episodes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from tests.harness.sampling.test_sampler import CPU, class_data, sampler

from metabench.sampling.labelled import LabelledSampler
from metabench.sampling.sources import ClassSource, first_class_ids


def sources(*rotations: str) -> list[ClassSource]:
    return [
        ClassSource(f"marks-{i}", class_data(kind), device=CPU) for i, kind in enumerate(rotations)
    ]


def class_in(image: torch.Tensor) -> int:
    """The class that the pixels of a test image name."""
    return round(float(image[0, 1, 1]) * 255)


def test_ids_name_the_classes_of_the_images() -> None:
    tasks = sampler().batch(np.arange(20))
    assert tasks.classes is not None
    assert tasks.classes.shape == (20, 3)
    for t in range(20):
        for image, label in zip(tasks.support.x[t], tasks.support.y[t], strict=True):
            assert class_in(image) == tasks.classes[t, label]


@pytest.mark.parametrize("split", ["meta-val", "meta-test"])
def test_ids_are_not_given_outside_meta_train(split: str) -> None:
    assert sampler(split=split).batch(np.arange(3)).classes is None


def test_streamed_batches_have_the_ids_of_their_tasks() -> None:
    own = sampler()
    (*_, last) = own.stream(0, 3, 2)
    again = own.batch(np.arange(4, 6))
    assert last.classes is not None
    assert again.classes is not None
    assert torch.equal(last.classes, again.classes)


def test_labels_name_the_classes_of_labelled_examples() -> None:
    batch = LabelledSampler(sources("none"), suite="test", seed=0).batch(3, 50)
    assert batch.x.shape == (1, 50, 2, 4, 4)
    assert [class_in(image) for image in batch.x[0]] == batch.y[0].tolist()


def test_ids_count_through_sources_and_quarter_turns() -> None:
    both = sources("none", "classes")
    assert first_class_ids(both) == [0, 8, 8 + 4 * 8]
    batch = LabelledSampler(both, suite="test", seed=0).batch(0, 400)
    assert set(batch.y[0].tolist()) == set(range(40))
    for image, label in zip(batch.x[0], batch.y[0].tolist(), strict=True):
        of_source = label if label < 8 else label - 8
        assert class_in(image) == of_source % 8
        turns = 0 if label < 8 else of_source // 8
        marked = np.rot90(np.eye(4)[:1].T @ np.eye(4)[:1], turns)
        row, column = np.argwhere(marked)[0]
        brightest = image[0].flatten().argmax()
        assert divmod(int(brightest), 4) == (row, column)


def test_all_images_of_meta_train_are_equally_likely() -> None:
    drawn = LabelledSampler(sources("none"), suite="test", seed=1).batch(0, 64_000)
    number = (drawn.x[0, :, 1, 1, 1] * 255).round().long()
    counts = Counter((8 * drawn.y[0] + number).tolist())
    assert len(counts) == 64  # 8 classes with 8 images
    assert max(abs(n - 1000) for n in counts.values()) < 5 * 1000**0.5


def test_a_batch_follows_from_seed_and_step_alone() -> None:
    first, second = (LabelledSampler(sources("none"), suite="test", seed=0) for _ in range(2))
    first.batch(0, 10)
    assert torch.equal(first.batch(4, 10).x, second.batch(4, 10).x)
    assert first.batch(4, 10).key == second.batch(4, 10).key
    assert first.batch(4, 10).key != first.batch(5, 10).key
    other = LabelledSampler(sources("none"), suite="test", seed=1)
    assert other.batch(4, 10).key != first.batch(4, 10).key
