"""Labelled examples of the meta-train classes, for learners that classify as well."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from metabench.plugin.contracts.episode import ClassBatch
from metabench.sampling.seeding import derive_key, words
from metabench.sampling.sources import ClassSource, first_class_ids


class LabelledSampler:
    """Draws batches from all images of the meta-train classes, with replacement.

    Each example comes from a source, all equally likely, and there from an image, all equally
    likely. A batch depends on (suite, seed, step) alone.

    Args:
        sources: in the suite's order. The ids of classes count through them in this order.
        suite: name of the suite, part of the key of every random number.
        seed: of the run.
    """

    def __init__(self, sources: Sequence[ClassSource], *, suite: str, seed: int) -> None:
        self._sources = list(sources)
        self._first_ids = first_class_ids(sources)
        self._key = derive_key(suite, "meta-train", seed, "labelled")

    def batch(self, step: int, n_examples: int) -> ClassBatch:
        """The labelled examples of a meta-step."""
        indices = np.arange(step * n_examples, (step + 1) * n_examples)
        source_word, image_word = words(self._key, indices, 2).T
        n_sources = np.uint64(len(self._sources))
        which = ((source_word >> np.uint64(32)) * n_sources) >> np.uint64(32)
        key = hashlib.blake2b(digest_size=8)
        order, x, y = [], [], []
        for i, source in enumerate(self._sources):
            own = np.flatnonzero(which == i)
            images, ids, identity = source.labelled(image_word[own])
            key.update(f"{source.name}\0{source.fingerprint}\0".encode() + identity)
            order.append(own)
            x.append(images)
            labels = torch.from_numpy(ids + self._first_ids[i])
            y.append(labels.to(images.device, non_blocking=True))
        back = torch.from_numpy(np.argsort(np.concatenate(order)))
        back = back.to(x[0].device, non_blocking=True)
        return ClassBatch(
            torch.cat(x).index_select(0, back)[None],
            torch.cat(y).index_select(0, back)[None],
            key.hexdigest(),
        )
