"""Episodes from sources: deterministic from (suite, split, seed, index) alone.

A batch is drawn without a loop over tasks: random words for all of them at once (``seeding``), then
one gather per source (``episode_sources``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from copy import copy

import numpy as np
import torch
from numpy.typing import NDArray

from metabench.plugin.contracts.episode import EpisodeShape, Labelled, TaskBatch
from metabench.sampling.grid import QueryGrid
from metabench.sampling.seeding import derive_key, words
from metabench.sampling.sources import Draw, EpisodeSource, first_class_ids


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
        phase: name of the phase of a meta-training with several, each of which has its own
            episodes.
    """

    def __init__(
        self,
        sources: Sequence[EpisodeSource],
        *,
        suite: str,
        split: str,
        seed: int,
        shape: EpisodeShape,
        balanced: bool,
        phase: str = "",
    ) -> None:
        for source in sources:
            source.check(split, shape)
        self._sources = list(sources)
        self._split = split
        self._shape = shape
        self._balanced = balanced
        own: list[str | int] = [suite, split, seed, *([phase] if phase else [])]
        self._source_key = derive_key(*own, "source")
        self._keys = [derive_key(*own, "episode", s.name) for s in sources]
        self._first_ids = first_class_ids(sources) if split == "meta-train" else None

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
            self._classes(draws, order),
        )

    def _classes(
        self, draws: Sequence[Draw | None], order: NDArray[np.int64]
    ) -> torch.Tensor | None:
        """Ids of classes, ``[tasks, ways]``, which count through the sources; meta-train only."""
        if self._first_ids is None:
            return None
        ids = [
            draw.classes + first
            for draw, first in zip(draws, self._first_ids, strict=False)
            if draw is not None and draw.classes is not None
        ]
        if not ids:
            return None
        device = next(draw.support.x.device for draw in draws if draw is not None)
        in_order = np.concatenate(ids)[np.argsort(order)]
        return torch.from_numpy(in_order).to(device, non_blocking=True)

    def classes_of(self, index: int) -> NDArray[np.int64] | None:
        """Positions of an episode's classes in the split, by label, ``[ways]``; None of functions.

        They are of the episode's own source.
        """
        which = int(self._which(np.array([index]))[0])
        classes = self._draw(which, np.array([index])).classes
        return None if classes is None else classes[0]

    def on_grid(self, grid: QueryGrid) -> EpisodeSampler:
        """The same episodes, keys and support included, with the points of a grid as queries.

        Raises:
            UsageError: when a source is not a family of functions with the method ``values``.
        """
        asked = copy(self)
        asked._sources = [source.on_grid(grid) for source in self._sources]
        return asked

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
        None if batch.classes is None else batch.classes[rows],
    )
