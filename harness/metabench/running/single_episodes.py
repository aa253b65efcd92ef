"""Single meta-test episodes of a run, drawn again from its record: what a learner saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.errors import DataError, UsageError
from metabench.planning.compatibility import episode_shapes
from metabench.plugin.contracts.data import ClassData
from metabench.plugin.contracts.episode import Labelled, TaskBatch
from metabench.results.figure_data import Array
from metabench.results.schema import RunRecord
from metabench.running.build import open_sources
from metabench.sampling.grid import QueryGrid
from metabench.sampling.sampler import EpisodeSampler
from metabench.sampling.sources import ClassSource

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

LOW, HIGH = -5.0, 5.0
"""The range of M-NAS's figure; wider where a task has points outside it."""


@dataclass(frozen=True, slots=True)
class FunctionEpisode:
    """A regression task.

    Attributes:
        index: of the meta-test episode.
        source: where the task was drawn from.
        key: digest of the episode.
        support_x: ``[shots]``.
        support_y: ``[shots]``.
        truth: the function at the points of the grid; None where the source cannot be asked there.
    """

    index: int
    source: str
    key: str
    support_x: Array
    support_y: Array
    truth: Array | None


@dataclass(frozen=True, slots=True)
class ImageEpisode:
    """A task to tell classes of images apart.

    Attributes:
        index: of the meta-test episode.
        source: where the task was drawn from.
        key: digest of the episode.
        classes: names, by label.
        support: ``[ways, shots, height, width, channels]``.
        query: ``[ways, queries, height, width, channels]``, in the order of the episode.
    """

    index: int
    source: str
    key: str
    classes: tuple[str, ...]
    support: NDArray[np.uint8]
    query: NDArray[np.uint8]


class MetaTest:
    """The meta-test episodes of a run, from its record and the data alone.

    Raises:
        DataError: when the data is missing, or another than the run's.
    """

    def __init__(self, record: RunRecord, catalog: Catalog) -> None:
        spec = record.spec.with_files(record.provenance.files or {})
        self._loaded, self._sources = open_sources(spec, catalog, device=torch.device("cpu"))
        self._episodes = EpisodeSampler(
            self._sources,
            suite=spec.suite,
            split="meta-test",
            seed=spec.protocol.episode_seed,
            shape=episode_shapes(spec, catalog)["meta-test"],
            balanced=True,
        )

    def functions(
        self, indices: Sequence[int], *, points: int
    ) -> tuple[QueryGrid, list[FunctionEpisode]]:
        """As :func:`functions_of`."""
        return functions_of(self._episodes, indices, points=points)

    def images(self, index: int) -> ImageEpisode:
        """One episode of images.

        Raises:
            DataError: when its examples are no images.
        """
        which = index % len(self._sources)
        source, data = self._sources[which], self._loaded[which]
        if not isinstance(source, ClassSource) or not isinstance(data, ClassData):
            raise DataError(f"Source {source.name} generates functions, so it has no images.")
        if data.images.ndim == 2:
            raise DataError(f"Source {source.name} holds vectors, which cannot be drawn.")
        tasks, classes = self._episodes.batch(np.array([index])), self._episodes.classes_of(index)
        assert classes is not None
        return ImageEpisode(
            index=index,
            source=source.name,
            key=tasks.keys[0],
            classes=tuple(source.class_name("meta-test", position) for position in classes),
            support=_by_class(tasks.support, data),
            query=_by_class(tasks.query, data),
        )


def functions_of(
    episodes: EpisodeSampler, indices: Sequence[int], *, points: int
) -> tuple[QueryGrid, list[FunctionEpisode]]:
    """Regression tasks, and a grid that holds the support points of all of them."""
    tasks = episodes.batch(np.array(indices))
    support_x, support_y = (_first(values) for values in (tasks.support.x, tasks.support.y))
    low, high = min(LOW, support_x.min() - 0.2), max(HIGH, support_x.max() + 0.2)
    grid = QueryGrid(points=points, low=float(f"{low:.5g}"), high=float(f"{high:.5g}"))
    truth = _truth(episodes, indices, grid)
    return grid, [
        FunctionEpisode(
            index=index,
            source=tasks.sources[row],
            key=tasks.keys[row],
            support_x=support_x[row],
            support_y=support_y[row],
            truth=None if truth is None else truth[row],
        )
        for row, index in enumerate(indices)
    ]


def _truth(episodes: EpisodeSampler, indices: Sequence[int], grid: QueryGrid) -> Array | None:
    """The functions at the points of a grid, ``[episodes, points]``.

    None if a source cannot be evaluated there.
    """
    try:
        asked: TaskBatch = episodes.on_grid(grid).batch(np.array(indices))
    except UsageError:
        return None
    return _first(asked.query.y)


def _first(values: Tensor) -> Array:
    """The first input or output of each example."""
    found: Array = values[..., 0].double().cpu().numpy()
    return found


def _by_class(part: Labelled, data: ClassData) -> NDArray[np.uint8]:
    """Pixels as they are in the data, class by class."""
    x = part.x[0].cpu().numpy()
    if data.scaling is not None:
        per_channel = (-1, 1, 1)
        scale, offset = (
            np.asarray(value, dtype=np.float32).reshape(per_channel)
            for value in (data.scaling.scale, data.scaling.offset)
        )
        x = (x - offset) / scale
    pixels = np.clip(np.rint(255 * x), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    labels = part.y[0].cpu().numpy()
    return np.stack([pixels[labels == way] for way in range(labels.max() + 1)])
