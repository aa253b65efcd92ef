"""Single episodes, drawn again from a record, are those that the run was tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from metabench.errors import DataError
from metabench.planning.source_data import load_data
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.data import ClassData, Scaling
from metabench.plugin.contracts.episode import EpisodeShape, Labelled
from metabench.results.reading import read_runs
from metabench.running.single_episodes import MetaTest, _by_class
from metabench.running.trained_learner import restore
from metabench.sampling.sampler import EpisodeSampler
from metabench.sampling.sources import ClassSource

CPU = torch.device("cpu")


def test_images_are_those_of_the_classes_that_are_named(catalog: Catalog, image_runs: Path) -> None:
    run = read_runs(image_runs).runs[0]
    (choice,) = run.record.spec.sources
    data = load_data(choice, catalog, data="synthetic")
    assert isinstance(data, ClassData)
    meta_test = MetaTest(run.record, catalog)
    for index in (0, 21):
        episode = meta_test.images(index)
        assert episode.key == run.episodes.key[index]
        assert len({*episode.classes}) == 5
        assert episode.support.shape == episode.query.shape == (5, 1, *data.images.shape[1:])
        for name, support, query in zip(
            episode.classes, episode.support, episode.query, strict=True
        ):
            number = data.class_names.index(name)
            own = data.images[data.offsets[number] : data.offsets[number + 1]]
            turned = [np.rot90(own, k, axes=(1, 2)) for k in range(4)]  # a class of a task is
            assert any(
                all((one == image).all(axis=(1, 2, 3)).any() for image in (support[0], query[0]))
                for one in turned
            )


def test_answers_give_the_scores_of_the_record(catalog: Catalog, image_runs: Path) -> None:
    for run in read_runs(image_runs).runs:
        indices = [25, 3, 11]
        answers = restore(run.folder, catalog, device=CPU).answers(indices)
        assert answers.shape == (3, 5)
        accuracy = (answers == np.arange(5)).mean(axis=1)  # a query of each class, in order
        np.testing.assert_allclose(accuracy, run.episodes.score[indices], atol=1e-6)


def test_another_set_of_data_is_refused(catalog: Catalog, image_runs: Path) -> None:
    record = read_runs(image_runs).runs[0].record
    other = record.spec.model_copy(update={"data_fingerprint": "0" * 16})
    with pytest.raises(DataError, match="data has changed"):
        MetaTest(record.model_copy(update={"spec": other}), catalog)


def class_data(**changes: object) -> ClassData:
    rng = np.random.default_rng(0)
    values = {
        "images": rng.integers(0, 256, size=(24, 3, 3, 3), dtype=np.uint8),
        "offsets": np.arange(0, 25, 4),
        "class_names": tuple("abcdef"),
        "splits": {
            "meta-train": np.array([0]),
            "meta-val": np.array([]),
            "meta-test": np.arange(1, 6),
        },
        "fingerprint": "x",
        "rotations": dict.fromkeys(("meta-train", "meta-val", "meta-test"), "classes"),
    }
    return ClassData(**{**values, **changes})  # type: ignore[arg-type]


def test_pixels_are_shown_without_scaling() -> None:
    scale, offset = np.array([2.0, 3.0, 4.0], np.float32), np.array([-1.0, 0.5, 0.0], np.float32)
    data = class_data(scaling=Scaling(scale, offset))
    pixels = data.images[[5, 9, 4, 8]]  # classes 1, 0, 1, 0
    x = torch.from_numpy(pixels.astype(np.float32) / 255).permute(0, 3, 1, 2)
    scaled = x * torch.from_numpy(scale)[:, None, None] + torch.from_numpy(offset)[:, None, None]
    shown = _by_class(Labelled(scaled[None], torch.tensor([[1, 0, 1, 0]])), data)
    np.testing.assert_array_equal(shown, [[pixels[1], pixels[3]], [pixels[0], pixels[2]]])


def test_a_class_that_is_a_quarter_turn_says_so() -> None:
    source = ClassSource("s", class_data(), device=CPU)
    names = [source.class_name("meta-test", position) for position in range(20)]
    assert len({*names}) == 20
    assert {"b", "b, turned by 90 degrees", "f, turned by 270 degrees"} <= {*names}


def test_classes_of_an_episode_are_those_of_its_source() -> None:
    sources = [ClassSource(name, class_data(), device=CPU) for name in ("s", "t")]
    sampler = EpisodeSampler(
        sources,
        suite="x",
        split="meta-test",
        seed=0,
        shape=EpisodeShape(ways=3, shots=1, queries=1),
        balanced=True,
    )
    for index in range(4):
        positions = sampler.classes_of(index)
        assert positions is not None
        batch = sampler.batch(np.array([index]))
        for label, position in enumerate(positions):
            name, _, turn = sources[0].class_name("meta-test", position).partition(", turned by ")
            turns = int(turn.removesuffix(" degrees") or 0) // 90
            number = "abcdef".index(name)
            own = np.rot90(class_data().images[4 * number : 4 * number + 4], turns, axes=(1, 2))
            (image,) = (batch.query.x[0][batch.query.y[0] == label] * 255).round().numpy()
            assert (own == image.transpose(1, 2, 0)).all(axis=(1, 2, 3)).any()
