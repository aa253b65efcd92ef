"""Contact sheets: the images of an episode, in its order, with the right margins."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metabench.errors import DataError
from metabench.plugin.contracts.data import ClassData
from metabench.render.figures.contact_sheet import MARGIN, TITLE, contact_sheet

SIZE = 60


def plain(n_classes: int, per_class: int, channels: int = 3) -> ClassData:
    """Images of one grey per class."""
    images = np.empty((n_classes * per_class, SIZE, SIZE, channels), dtype=np.uint8)
    images[:] = 20 * (np.arange(n_classes).repeat(per_class) + 1)[:, None, None, None]
    splits = dict.fromkeys(("meta-train", "meta-val"), np.empty(0, dtype=np.int64))
    return ClassData(
        images=images,
        offsets=np.arange(n_classes + 1) * per_class,
        class_names=tuple(map(str, range(n_classes))),
        splits={**splits, "meta-test": np.arange(n_classes)},
        fingerprint="0" * 16,
        rotations=dict.fromkeys((*splits, "meta-test"), "none"),
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_is_a_class_in_support_and_query(channels: int) -> None:
    sheet = np.asarray(contact_sheet([("plain", plain(8, 12, channels))], split="meta-test"))
    step = SIZE + MARGIN
    rows = [sheet[TITLE + way * step + SIZE // 2, :, 0] for way in range(5)]
    greys = []
    for row in rows:
        shown = row[row < 255]
        assert len(shown) == 10 * SIZE, "five support and five query images"
        (grey,) = set(shown.tolist())
        greys.append(grey)
    assert len(set(greys)) == 5


def test_sources_stand_below_each_other() -> None:
    one = contact_sheet([("a", plain(6, 12))], split="meta-test")
    two = contact_sheet([("a", plain(6, 12)), ("b", plain(6, 12))], split="meta-test")
    assert (two.width, two.height) == (one.width, 2 * one.height)


def test_small_sources_give_small_episodes() -> None:
    small = contact_sheet([("a", plain(3, 5))], split="meta-test")
    step = SIZE + MARGIN
    assert small.height == TITLE + 3 * step + TITLE // 2


def test_a_split_without_classes_is_an_error_with_a_name() -> None:
    data = dataclasses.replace(plain(3, 5))
    with pytest.raises(DataError, match="Source a has 0 classes in meta-val"):
        contact_sheet([("a", data)], split="meta-val")
