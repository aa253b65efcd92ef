"""Episodes from sources: deterministic from (suite, split, seed, index) alone.

A batch is drawn without a loop over tasks: random words for all of them at once (``seeding``), then
one gather per source. Pixels stay uint8 on the device until they are gathered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from metabench.episodes import EpisodeShape, Labelled, TaskBatch, TaskShape
from metabench.errors import DataError
from metabench.protocols import ClassData, FunctionFamily
from metabench.seeding import choose, derive_key, words

SPLITS = ("meta-train", "meta-val", "meta-test")


@dataclass(frozen=True, slots=True)
class Draw:
    """Episodes of one source: tensors on the device, and per task the bytes that identify it."""

    support: Labelled
    query: Labelled
    identities: list[bytes]


class EpisodeSource(Protocol):
    """Draws episodes of one source from random words."""

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the episodes."""
        ...

    def task(self, ways: int) -> TaskShape:
        """What a network must accept and produce for this source."""
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


class ClassSource:
    """Few-shot classification episodes from images sorted by class.

    N classes without replacement, labelled 0..N-1; K+Q different images of each, the first K
    support. Support comes as K blocks, each with one image per class in an order of its own.
    """

    def __init__(self, name: str, data: ClassData, *, device: torch.device) -> None:
        self.name = name
        self.fingerprint = data.fingerprint
        self._data = data
        self._sizes = np.diff(data.offsets)
        self._classes = {split: self._with_rotations(split) for split in SPLITS}
        n, *self._image_shape = data.images.shape
        turned = any(data.rotations.get(split, "none") != "none" for split in SPLITS)
        images = data.images
        if turned:
            images = np.concatenate([np.rot90(images, k, axes=(1, 2)) for k in range(4)])
        self._n_images = n
        self._device = device
        pixels = torch.from_numpy(np.asarray(images.reshape(len(images), -1)))
        self._pixels = pixels.to(device) if _fits(images.nbytes, device) else pixels

    def _with_rotations(self, split: str) -> NDArray[np.int64]:
        """Pairs (class, quarter turns) that count as classes: ``[classes, 2]``."""
        ids = np.asarray(self._data.splits.get(split, ()), dtype=np.int64)
        turns = range(4) if self._data.rotations.get(split) == "classes" else range(1)
        return np.concatenate([np.stack([ids, np.full_like(ids, k)], axis=1) for k in turns])

    def task(self, ways: int) -> TaskShape:
        """Images in, one logit per way out."""
        height, width, channels = self._image_shape
        return TaskShape("classification", (channels, height, width), ways)

    def check(self, split: str, shape: EpisodeShape) -> None:
        """Refuse too few classes, and a class with too few images, by name."""
        classes = self._classes[split]
        if len(classes) < shape.ways:
            raise DataError(
                f"Source {self.name} has {len(classes)} classes in {split}; "
                f"{shape.ways} ways need {shape.ways}.",
                hint="Choose a split with more classes or a setting with fewer ways.",
            )
        need = shape.shots + shape.queries
        sizes = self._sizes[classes[:, 0]]
        if sizes.min() < need:
            small = classes[sizes.argmin(), 0]
            raise DataError(
                f"Class {self._data.class_names[small]!r} of source {self.name} has {sizes.min()} "
                f"images; {shape.shots} shots and {shape.queries} queries need {need}.",
                hint="Choose fewer shots or queries.",
            )

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

        chosen = classes[choose(by_class, np.full(n_tasks, len(classes)))]  # [tasks, ways, 2]
        ids, turns = chosen[..., 0], chosen[..., 1]
        if self._data.rotations.get(split) == "per-task":
            turns = (turn_word >> np.uint64(62)).astype(np.int64)
        image = choose(image_word.reshape(-1, need), self._sizes[ids].ravel())
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
        )

    def _labels(self, labels: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(labels).to(self._device, non_blocking=True)

    def _gather(self, index: NDArray[np.int64]) -> torch.Tensor:
        """Pixels in [0, 1], ``[tasks, n, channels, height, width]``, channels last in memory."""
        flat = torch.from_numpy(index.ravel()).to(self._pixels.device, non_blocking=True)
        rows = self._pixels.index_select(0, flat)
        if rows.device != self._device:
            staged = rows.pin_memory() if self._device.type == "cuda" else rows
            rows = staged.to(self._device, non_blocking=True)
        pixels = rows.to(torch.float32).div_(255)
        return pixels.view(*index.shape, *self._image_shape).permute(0, 1, 4, 2, 3)


class FunctionSource:
    """Regression episodes from a generator of functions; one way, shots and queries are points."""

    def __init__(self, name: str, family: FunctionFamily, *, device: torch.device) -> None:
        self.name = name
        self.fingerprint = family.fingerprint
        self._family = family
        self._device = device

    def task(self, ways: int) -> TaskShape:
        """The inputs and outputs of the functions."""
        return TaskShape("regression", (self._family.inputs,), self._family.outputs)

    def check(self, split: str, shape: EpisodeShape) -> None:
        """Refuse more than one way."""
        if shape.ways != 1:
            raise DataError(f"Source {self.name} is a regression task; ways must be 1.")

    def n_words(self, shape: EpisodeShape) -> int:
        """As many as the family wants."""
        return self._family.n_words(shape)

    def draw(self, word: NDArray[np.uint64], shape: EpisodeShape, *, split: str) -> Draw:
        """Draw one episode per row of words; see :class:`EpisodeSource`."""
        arrays = self._family.sample(word, shape, split=split)
        x, y = (torch.from_numpy(a.astype(np.float32)).to(self._device) for a in arrays)
        k = shape.shots
        return Draw(
            Labelled(x[:, :k].contiguous(), y[:, :k].contiguous()),
            Labelled(x[:, k:].contiguous(), y[:, k:].contiguous()),
            [row.tobytes() for row in word],
        )


class EpisodeSampler:
    """Draws batches of episodes of one split.

    Args:
        sources: in the suite's order.
        suite: name of the suite, part of the key of every random number.
        split: ``meta-train``, ``meta-val`` or ``meta-test``.
        seed: the run's seed in meta-train, the protocol's episode seed elsewhere.
        shape: examples per episode.
        balanced: episode ``i`` comes from source ``i % n_sources``; otherwise each episode draws
            its source, all equally likely.
    """

    def __init__(
        self,
        sources: Sequence[ClassSource | FunctionSource],
        *,
        suite: str,
        split: str,
        seed: int,
        shape: EpisodeShape,
        balanced: bool,
    ) -> None:
        for source in sources:
            source.check(split, shape)
        self._sources = list(sources)
        self._split = split
        self._shape = shape
        self._balanced = balanced
        self._source_key = derive_key(suite, split, seed, "source")
        self._keys = [derive_key(suite, split, seed, "episode", s.name) for s in sources]

    def batch(self, indices: NDArray[np.int64]) -> TaskBatch:
        """Draw the episodes with these numbers, in this order."""
        which = self._which(indices)
        rows = [np.flatnonzero(which == i) for i in range(len(self._sources))]
        draws = [self._draw(i, indices[own]) if len(own) else None for i, own in enumerate(rows)]
        names, keys = [""] * len(indices), [""] * len(indices)
        for source, own, draw in zip(self._sources, rows, draws, strict=True):
            for row, identity in zip(own, draw.identities if draw else (), strict=True):
                names[row] = source.name
                keys[row] = _episode_key(source.name, source.fingerprint, identity)
        order = np.concatenate(rows)
        drawn = [draw for draw in draws if draw is not None]
        return TaskBatch(
            _interleave([draw.support for draw in drawn], order),
            _interleave([draw.query for draw in drawn], order),
            tuple(names),
            tuple(keys),
        )

    def stream(self, start: int, stop: int, size: int) -> Iterator[TaskBatch]:
        """Yield batches ``start..stop`` of ``size`` episodes each; batch b holds b*size onwards.

        Several batches are drawn at once where they are small: drawing costs per call, not per
        episode. What is drawn does not depend on that.
        """
        block = max(1, min(64, _BLOCK_ELEMENTS // (size * self._elements())))
        for first in range(start, stop, block):
            last = min(first + block, stop)
            drawn = self.batch(np.arange(first * size, last * size))
            for i in range(last - first):
                yield _part(drawn, slice(i * size, (i + 1) * size))

    def _elements(self) -> int:
        inputs = max(int(np.prod(s.task(self._shape.ways).inputs)) for s in self._sources)
        return inputs * (self._shape.n_support + self._shape.n_query)

    def _which(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        if self._balanced:
            return indices % len(self._sources)
        drawn = words(self._source_key, indices, 1)[:, 0] >> np.uint64(32)
        return (drawn * np.uint64(len(self._sources)) >> np.uint64(32)).astype(np.int64)

    def _draw(self, i: int, indices: NDArray[np.int64]) -> Draw:
        source = self._sources[i]
        word = words(self._keys[i], indices, source.n_words(self._shape))
        return source.draw(word, self._shape, split=self._split)


_BLOCK_ELEMENTS = 2**21
"""Draw ahead at most this many numbers (8 MB of float32)."""


def _fits(n_bytes: int, device: torch.device) -> bool:
    """Whether a source can lie on the device as a whole; otherwise it is staged batch by batch."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return n_bytes <= free // 2


def _episode_key(name: str, fingerprint: str, identity: bytes) -> str:
    head = f"{name}\0{fingerprint}\0".encode()
    return hashlib.blake2b(head + identity, digest_size=8).hexdigest()


def _interleave(parts: list[Labelled], order: NDArray[np.int64]) -> Labelled:
    """Put the rows of several sources back into the order of the batch."""
    if len(parts) == 1:
        return parts[0]
    back = torch.from_numpy(np.argsort(order)).to(parts[0].x.device, non_blocking=True)
    x, y = (torch.cat([getattr(p, name) for p in parts]).index_select(0, back) for name in "xy")
    return Labelled(x, y)


def _part(batch: TaskBatch, rows: slice) -> TaskBatch:
    support, query = batch.support, batch.query
    return TaskBatch(
        Labelled(support.x[rows], support.y[rows]),
        Labelled(query.x[rows], query.y[rows]),
        batch.sources[rows],
        batch.keys[rows],
    )
