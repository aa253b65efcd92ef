"""What episodes are drawn from: images or vectors by class, or a generator of functions.

Pixels stay uint8 on the device until they are gathered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from metabench.errors import DataError, PluginError
from metabench.plugin.contracts.data import ClassData, EvaluableFamily, FunctionFamily
from metabench.plugin.contracts.episode import EpisodeShape, Labelled, TaskShape
from metabench.sampling.checks import (
    check_classes,
    check_functions,
    classes_of,
    halved,
    require_values,
    task_of,
)
from metabench.sampling.flaws import (
    SPLITS,
    flaw_of_examples,
    flaw_of_points,
    flaw_of_rotations,
)
from metabench.sampling.grid import QueryGrid
from metabench.sampling.seeding import choose, uniform


@dataclass(frozen=True, slots=True)
class Draw:
    """Episodes of one source: tensors on the device, and per task the bytes that identify it.

    ``classes [tasks, ways]`` are positions in the classes of the split; None without classes.
    """

    support: Labelled
    query: Labelled
    identities: list[bytes]
    classes: NDArray[np.int64] | None = None


class EpisodeSource(Protocol):
    """Draws episodes of one source from random words."""

    name: str

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the episodes."""
        ...

    def task(self, ways: int) -> TaskShape:
        """What a network must accept and produce for this source."""
        ...

    def n_classes(self, split: str) -> int:
        """How many classes a split has; 0 for functions."""
        ...

    def check(self, split: str, shape: EpisodeShape) -> None:
        """Raise ``DataError`` when this split cannot serve episodes of this shape."""
        ...

    def n_words(self, shape: EpisodeShape) -> int:
        """Random words that one episode needs."""
        ...

    def draw(self, word: NDArray[np.uint64], shape: EpisodeShape, *, split: str) -> Draw:
        """Draw one episode per row of ``word [tasks, n_words]``."""
        ...

    def on_grid(self, grid: QueryGrid) -> EpisodeSource:
        """The same episodes with the points of a grid as queries; ``UsageError`` for images."""
        ...


class ClassSource:
    """Few-shot classification episodes from images or vectors sorted by class.

    N classes without replacement, labelled 0..N-1; K+Q different images of each, the first K
    support. Support comes as K blocks, each with one image per class in an order of its own.
    """

    def __init__(self, name: str, data: ClassData, *, device: torch.device) -> None:
        for flaw in filter(None, (flaw_of_examples(data), flaw_of_rotations(data))):
            raise DataError(f"Source {name} cannot be drawn from: {flaw}")
        self.name = name
        self.fingerprint = data.fingerprint
        self._data = data
        self._sizes = np.diff(data.offsets)
        self._classes = {split: classes_of(data, split) for split in SPLITS}
        n, *self._image_shape = data.images.shape
        turned = any(data.rotations.get(split, "none") != "none" for split in SPLITS)
        images = data.images
        if turned:
            images = np.concatenate([np.rot90(images, k, axes=(1, 2)) for k in range(4)])
        self._n_images = n
        self._device = device
        pixels = torch.from_numpy(np.asarray(images.reshape(len(images), -1)))
        self._pixels = pixels.to(device) if _fits(images.nbytes, device) else pixels
        self._scaling = None if data.scaling is None else _scaling(data, device)

    def task(self, ways: int) -> TaskShape:
        """Images or vectors in, one logit per way out."""
        return task_of(self._data, ways)

    def check(self, split: str, shape: EpisodeShape) -> None:
        """Refuse too few classes, and a class with too few images, by name."""
        check_classes(self.name, self._data, split, shape)

    def n_words(self, shape: EpisodeShape) -> int:
        """Per class: the class, its turn, its images, and its place in each support block."""
        return shape.ways * (1 + 1 + shape.shots + shape.queries + shape.shots)

    def draw(self, word: NDArray[np.uint64], shape: EpisodeShape, *, split: str) -> Draw:
        """Draw one episode per row of words; see :class:`EpisodeSource`."""
        n_tasks, ways = len(word), shape.ways
        need = shape.shots + shape.queries
        classes = self._classes[split]
        by_class, turn_word, rest = np.split(word, [ways, 2 * ways], axis=1)
        image_word, order_word = np.split(rest, [ways * need], axis=1)

        if self._data.supervised:
            positions = np.tile(np.arange(len(classes)), (n_tasks, 1))  # [tasks, ways]
        else:
            positions = choose(by_class, np.full(n_tasks, len(classes)))
        ids, turns = classes[positions, 0], classes[positions, 1]
        if self._data.rotations.get(split) == "per-task":
            turns = (turn_word >> np.uint64(62)).astype(np.int64)
        sizes, image_word = self._sizes[ids].ravel(), image_word.reshape(-1, need)
        if halved(self._data, split):
            for_support, for_query = np.split(image_word, [shape.shots], axis=1)
            second = choose(for_query, sizes - sizes // 2) + (sizes // 2)[:, None]
            image = np.concatenate([choose(for_support, sizes // 2), second], axis=1)
        else:
            image = choose(image_word, sizes)
        image = image.reshape(n_tasks, ways, need) + self._data.offsets[ids][..., None]
        image += (turns * self._n_images)[..., None]

        order = order_word.reshape(n_tasks, shape.shots, ways).argsort(axis=2, kind="stable")
        blocks = image[:, :, : shape.shots].transpose(0, 2, 1)  # [tasks, shots, ways]
        support = np.take_along_axis(blocks, order, axis=2).reshape(n_tasks, -1)
        query = image[:, :, shape.shots :].reshape(n_tasks, -1)
        labels = np.repeat(np.arange(ways), shape.queries)
        return Draw(
            Labelled(self._gather(support), self._labels(order.reshape(n_tasks, -1))),
            Labelled(self._gather(query), self._labels(np.tile(labels, (n_tasks, 1)))),
            [row.tobytes() for row in np.concatenate([support, query], axis=1)],
            positions,
        )

    def n_classes(self, split: str) -> int:
        """How many classes a split has; quarter turns count where they are classes."""
        return len(self._classes[split])

    def class_name(self, split: str, position: int) -> str:
        """The name of a class of a split; of one that is made by a quarter turn, with its turn."""
        class_id, turns = self._classes[split][position]
        turned = f", turned by {90 * turns} degrees" if turns else ""
        return f"{self._data.class_names[class_id]}{turned}"

    def labelled(self, word: NDArray[np.uint64]) -> tuple[torch.Tensor, NDArray[np.int64], bytes]:
        """Draw an example per word from all images of the meta-train classes, equally likely.

        Returns:
            images ``[n, channels, height, width]``, positions of their classes in meta-train
            ``[n]``, and the bytes that identify them. An image is turned where its quarter turn
            makes its class, and not where turns are drawn per task.
        """
        classes = self._classes["meta-train"]
        ends = np.cumsum(self._sizes[classes[:, 0]])
        drawn = (uniform(word) * ends[-1]).astype(np.int64)
        position = np.searchsorted(ends, drawn, side="right")
        ids, turns = classes[position].T
        within = drawn - (ends - self._sizes[classes[:, 0]])[position]
        image = self._data.offsets[ids] + within + turns * self._n_images
        return self._gather(image[None])[0], position, image.tobytes()

    def on_grid(self, grid: QueryGrid) -> EpisodeSource:
        """Refuse a grid, since examples of classes are not points of a line."""
        require_values([self._data])
        raise AssertionError("classes have no values")

    def _labels(self, labels: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(labels).to(self._device, non_blocking=True)

    def _gather(self, index: NDArray[np.int64]) -> torch.Tensor:
        """Pixels in [0, 1], ``[tasks, n, channels, height, width]``, channels last in memory.

        Vectors are ``[tasks, n, features]``.
        """
        flat = torch.from_numpy(index.ravel()).to(self._pixels.device, non_blocking=True)
        rows = self._pixels.index_select(0, flat)
        if rows.device.type != self._device.type:  # "cuda" and "cuda:0" are one device
            staged = rows.pin_memory() if self._device.type == "cuda" else rows
            rows = staged.to(self._device, non_blocking=True)
        if len(self._image_shape) == 1:
            x = rows.view(*index.shape, -1)
        else:
            pixels = rows.to(torch.float32).div_(255)
            x = pixels.view(*index.shape, *self._image_shape).permute(0, 1, 4, 2, 3)
        if self._scaling is None:
            return x
        scale, offset = self._scaling
        return x * scale + offset


class FunctionSource:
    """Regression episodes from a generator of functions; one way, shots and queries are points."""

    def __init__(
        self,
        name: str,
        family: FunctionFamily,
        *,
        device: torch.device,
        grid: QueryGrid | None = None,
    ) -> None:
        self.name = name
        self.fingerprint = family.fingerprint
        self._family = family
        self._device = device
        self._grid = grid

    def on_grid(self, grid: QueryGrid) -> FunctionSource:
        """The same functions and support points, with the points of a grid as queries."""
        require_values([self._family])
        return FunctionSource(self.name, self._family, device=self._device, grid=grid)

    def task(self, ways: int) -> TaskShape:
        """The inputs and outputs of the functions."""
        return task_of(self._family, ways)

    def n_classes(self, split: str) -> int:
        """None: functions have no classes."""
        return 0

    def check(self, split: str, shape: EpisodeShape) -> None:
        """Refuse more than one way."""
        check_functions(self.name, shape)

    def n_words(self, shape: EpisodeShape) -> int:
        """As many as the family wants."""
        return self._family.n_words(shape)

    def draw(self, word: NDArray[np.uint64], shape: EpisodeShape, *, split: str) -> Draw:
        """Draw one episode per row of words; see :class:`EpisodeSource`."""
        k = shape.shots
        drawn = self._family.sample(word, shape, split=split)
        if flaw := flaw_of_points(drawn, self._family, n_tasks=len(word), shape=shape):
            raise PluginError(f"Source {self.name} cannot be drawn from: {flaw}")
        x_all, y_all = drawn
        if self._grid is not None:
            x_all, y_all = x_all[:, :k], y_all[:, :k]
            points = np.linspace(self._grid.low, self._grid.high, self._grid.points)[:, None]
            values = cast("EvaluableFamily", self._family).values(word, points)
            x_all = np.concatenate([x_all, np.tile(points, (len(word), 1, 1))], axis=1)
            y_all = np.concatenate([y_all, values], axis=1)
        x, y = (self._move(a) for a in (x_all, y_all))
        return Draw(
            Labelled(x[:, :k].contiguous(), y[:, :k].contiguous()),
            Labelled(x[:, k:].contiguous(), y[:, k:].contiguous()),
            [row.tobytes() for row in word],
        )

    def _move(self, values: NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self._device, non_blocking=True)


def _scaling(data: ClassData, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and offset, shaped for one example."""
    assert data.scaling is not None
    both = (np.asarray(v, dtype=np.float32) for v in (data.scaling.scale, data.scaling.offset))
    per_channel = (-1,) if data.images.ndim == 2 else (-1, 1, 1)
    scale, offset = (torch.from_numpy(v.reshape(per_channel)).to(device) for v in both)
    return scale, offset


def _fits(n_bytes: int, device: torch.device) -> bool:
    """Whether a source can lie on the device as a whole; otherwise it is staged batch by batch."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return n_bytes <= free // 2


def open_source(
    name: str, data: ClassData | FunctionFamily, *, device: torch.device
) -> ClassSource | FunctionSource:
    """Put the data of one source on a device, ready to be sampled."""
    if isinstance(data, ClassData):
        return ClassSource(name, data, device=device)
    return FunctionSource(name, data, device=device)


def first_class_ids(sources: Sequence[EpisodeSource]) -> list[int]:
    """The id of the first meta-train class of each source, and after them the number of classes."""
    first = [0]
    for source in sources:
        first.append(first[-1] + source.n_classes("meta-train"))
    return first
