import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.conformance.purity import assert_on, fake_accelerator
from metabench.errors import DataError
from metabench.plugin.contracts.data import ClassData
from metabench.plugin.contracts.episode import EpisodeShape, Labelled, TaskBatch
from metabench.sampling.sampler import EpisodeSampler
from metabench.sampling.sources import ClassSource, FunctionSource
from metabench_plugins.datasets.toy_regression import ToyRegression, ToyRegressionParams

CPU = torch.device("cpu")
PER_CLASS = 8


def class_data(rotations: str = "none", n_classes: int = 24) -> ClassData:
    """Images whose pixels say who they are: class in channel 0, number in channel 1."""
    n = n_classes * PER_CLASS
    images = np.zeros((n, 4, 4, 2), dtype=np.uint8)
    images[..., 0] = (np.arange(n) // PER_CLASS)[:, None, None]
    images[..., 1] = (np.arange(n) % PER_CLASS)[:, None, None]
    images[:, 0, 0, 0] += 100  # a mark in one corner shows the rotation
    third = n_classes // 3
    bounds = {"meta-train": 0, "meta-val": third, "meta-test": 2 * third}
    return ClassData(
        images=images,
        offsets=np.arange(0, n + 1, PER_CLASS),
        class_names=tuple(f"class-{i}" for i in range(n_classes)),
        splits={split: np.arange(first, first + third) for split, first in bounds.items()},
        fingerprint="0123456789abcdef",
        rotations=dict.fromkeys(bounds, rotations),
    )


def sampler(
    data: ClassData | None = None,
    *,
    split: str = "meta-train",
    seed: int = 0,
    shape: EpisodeShape = EpisodeShape(3, 2, 3),  # noqa: B008
) -> EpisodeSampler:
    source = ClassSource("marks", data or class_data(), device=CPU)
    return EpisodeSampler(
        [source], suite="test", split=split, seed=seed, shape=shape, balanced=False
    )


def toy_sampler(*, balanced: bool, seed: int = 0) -> EpisodeSampler:
    families = ("sine", "line", "quadratic", "harmonics")
    sources = [
        FunctionSource(f, ToyRegression(ToyRegressionParams(family=f)), device=CPU)
        for f in families
    ]
    return EpisodeSampler(
        sources,
        suite="toy",
        split="meta-train",
        seed=seed,
        shape=EpisodeShape(1, 10, 10),
        balanced=balanced,
    )


def classes_and_numbers(part: Labelled) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = (part.x * 255).round().long()
    return pixels[:, :, 0, 1, 1], pixels[:, :, 1, 1, 1]


def same(a: TaskBatch, b: TaskBatch) -> bool:
    tensors = zip(
        (a.support.x, a.support.y, a.query.x, a.query.y),
        (b.support.x, b.support.y, b.query.x, b.query.y),
        strict=True,
    )
    return a.keys == b.keys and a.sources == b.sources and all(torch.equal(*t) for t in tensors)


def rows(batch: TaskBatch, index: list[int]) -> TaskBatch:
    support, query = batch.support, batch.query
    return TaskBatch(
        Labelled(support.x[index], support.y[index]),
        Labelled(query.x[index], query.y[index]),
        tuple(batch.sources[i] for i in index),
        tuple(batch.keys[i] for i in index),
    )


@settings(max_examples=25)
@given(st.permutations(list(range(9))), st.integers(0, 1000))
def test_an_episode_does_not_depend_on_order_or_batch(order: list[int], start: int) -> None:
    for draws in (sampler(class_data("per-task")), toy_sampler(balanced=False)):
        together = draws.batch(np.arange(start, start + 9))
        assert same(draws.batch(start + np.array(order)), rows(together, order))
        assert same(draws.batch(np.array([start + 4])), rows(together, [4]))


def test_a_stream_gives_the_same_episodes_as_batches() -> None:
    draws = toy_sampler(balanced=False)
    for i, batch in enumerate(draws.stream(3, 150, 4), start=3):
        assert same(batch, draws.batch(np.arange(4 * i, 4 * i + 4)))
    assert i == 149


@settings(max_examples=30)
@given(
    st.integers(0, 2**31),
    st.sampled_from(["meta-train", "meta-val", "meta-test"]),
    st.integers(2, 6),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_support_and_query_are_disjoint_and_labels_name_classes(
    seed: int, split: str, ways: int, shots: int, queries: int
) -> None:
    shape = EpisodeShape(ways, shots, queries)
    batch = sampler(split=split, seed=seed, shape=shape).batch(np.arange(6))
    allowed = set(class_data().splits[split].tolist())
    for task in range(6):
        seen: dict[str, set[tuple[int, int]]] = {}
        names: dict[int, set[int]] = {label: set() for label in range(ways)}
        for name, part in (("support", batch.support), ("query", batch.query)):
            classes, numbers = classes_and_numbers(part)
            pairs = list(zip(classes[task].tolist(), numbers[task].tolist(), strict=True))
            assert len(set(pairs)) == len(pairs)
            seen[name] = set(pairs)
            assert part.y[task].bincount(minlength=ways).tolist() == [len(pairs) // ways] * ways
            for label, (cls, _) in zip(part.y[task].tolist(), pairs, strict=True):
                names[label].add(cls)
        assert not seen["support"] & seen["query"]
        assert all(len(classes) == 1 for classes in names.values())
        assert set.union(*names.values()) <= allowed
        assert len(set.union(*names.values())) == ways


def test_support_comes_in_blocks_with_every_class_once() -> None:
    batch = sampler(shape=EpisodeShape(4, 3, 1)).batch(np.arange(50))
    blocks = batch.support.y.view(50, 3, 4)
    assert (blocks.sort(dim=2).values == torch.arange(4)).all()
    assert len({tuple(block) for block in blocks.flatten(0, 1).tolist()}) > 15


def test_many_episodes_cover_all_classes_and_examples_equally() -> None:
    shape = EpisodeShape(2, 1, 1)
    batch = sampler(shape=shape).batch(np.arange(4000))
    classes, numbers = classes_and_numbers(batch.support)
    for drawn, n in ((classes, 8), (numbers, PER_CLASS)):
        counts = drawn.flatten().bincount(minlength=n)
        assert (counts[:n] - 8000 / n).abs().max() < 5 * (8000 / n) ** 0.5
    by_label = torch.stack([classes[batch.support.y == y].bincount(minlength=8) for y in (0, 1)])
    assert (by_label - 500).abs().max() < 5 * 500**0.5


def test_ten_thousand_episodes_cover_all_classes_and_differ() -> None:
    data = class_data(n_classes=144)  # marks of more classes would not fit into a pixel
    batch = sampler(data, shape=EpisodeShape(5, 1, 1)).batch(np.arange(10_000))
    classes, _ = classes_and_numbers(batch.support)
    counts = classes.flatten().bincount(minlength=48)
    assert len(counts) == 48
    assert (counts - 50_000 / 48).abs().max() < 5 * (50_000 / 48) ** 0.5
    assert len(set(batch.keys)) == 10_000


def test_rotations_per_task_turn_a_class_as_one() -> None:
    batch = sampler(class_data("per-task"), shape=EpisodeShape(3, 2, 2)).batch(np.arange(40))
    turns = []
    for part in (batch.support, batch.query):
        marked = (part.x[:, :, 0] * 255).round() >= 100
        corners = marked[:, :, [0, 3, 3, 0], [0, 0, 3, 3]]
        assert (corners.sum(dim=2) == 1).all()
        turns.append(corners.float().argmax(dim=2))
    for task in range(40):
        for label in range(3):
            own = [
                t[task][p.y[task] == label]
                for t, p in zip(turns, (batch.support, batch.query), strict=True)
            ]
            assert len(set(torch.cat(own).tolist())) == 1
    assert set(turns[0].flatten().tolist()) == {0, 1, 2, 3}


def test_rotations_as_classes_multiply_the_classes() -> None:
    data = class_data("classes")
    shape = EpisodeShape(32, 1, 1)  # 8 classes x 4 turns: exactly all of them
    batch = sampler(data, shape=shape).batch(np.arange(3))
    classes, _ = classes_and_numbers(batch.support)
    assert (classes[0].bincount() == 4).all()
    with pytest.raises(DataError, match="32 classes"):
        sampler(data, shape=EpisodeShape(33, 1, 1))


def test_supervised_classes_keep_their_labels_and_training_images_are_halved() -> None:
    data = dataclasses.replace(class_data(), supervised=True)
    shape = EpisodeShape(8, 3, 4)
    for split, first in (("meta-train", 0), ("meta-test", 16)):
        batch = sampler(data, split=split, shape=shape).batch(np.arange(200))
        for part in (batch.support, batch.query):
            classes, _ = classes_and_numbers(part)
            assert torch.equal(classes, part.y + first)
        (_, support), (_, query) = map(classes_and_numbers, (batch.support, batch.query))
        if split == "meta-train":
            assert set(support.unique().tolist()) == {0, 1, 2, 3}
            assert set(query.unique().tolist()) == {4, 5, 6, 7}
        else:
            assert set(query.unique().tolist()) == set(range(PER_CLASS))


def test_supervised_classes_are_one_task() -> None:
    data = dataclasses.replace(class_data(), supervised=True)
    with pytest.raises(DataError, match="one task of 8 classes in meta-train, not of 5"):
        sampler(data, shape=EpisodeShape(5, 1, 1))
    with pytest.raises(DataError, match="has 8 images; 3 shots and 5 queries need 10"):
        sampler(data, shape=EpisodeShape(8, 3, 5))


def test_too_few_images_are_named() -> None:
    with pytest.raises(DataError, match="'class-0' of source marks has 8 images") as caught:
        sampler(shape=EpisodeShape(2, 5, 4))
    assert "fewer" in caught.value.hint


def test_train_draws_each_source_equally_often_and_test_is_balanced() -> None:
    drawn = toy_sampler(balanced=False).batch(np.arange(4000)).sources
    for name in ("sine", "line", "quadratic", "harmonics"):
        assert abs(drawn.count(name) - 1000) < 5 * (4000 * 3 / 16) ** 0.5
    balanced = toy_sampler(balanced=True).batch(np.arange(8)).sources
    assert balanced == ("sine", "line", "quadratic", "harmonics") * 2


def test_seeds_splits_and_suites_give_other_episodes() -> None:
    base = toy_sampler(balanced=True).batch(np.arange(50)).keys
    other = toy_sampler(balanced=True, seed=1).batch(np.arange(50)).keys
    assert len(set(base)) == 50
    assert not set(base) & set(other)


def test_a_source_too_large_for_its_device_is_staged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metabench.sampling.sources._fits", lambda n_bytes, device: False)
    with fake_accelerator() as device:
        source = ClassSource("marks", class_data(), device=device)
        assert source._pixels.device.type == "cpu"
        shape = EpisodeShape(3, 2, 3)
        staged = EpisodeSampler(
            [source], suite="test", split="meta-train", seed=0, shape=shape, balanced=False
        ).batch(np.arange(4))
        assert_on(device, [staged.support.x, staged.support.y, staged.query.x, staged.query.y])
        pixels = staged.support.x.cpu()
    whole = sampler().batch(np.arange(4))
    assert torch.equal(pixels, whole.support.x)
    assert staged.keys == whole.keys


def test_images_are_scaled_and_channels_last() -> None:
    x = sampler().batch(np.arange(2)).support.x
    assert x.dtype == torch.float32
    assert x.shape == (2, 6, 2, 4, 4)
    assert x.max() <= 1
    assert x[0].is_contiguous(memory_format=torch.channels_last)
