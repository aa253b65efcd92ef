"""The contracts of datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from metabench.plugin.contracts.episode import EpisodeShape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClassData:
    """Images sorted by class: what a dataset of kind ``classes`` returns.

    Attributes:
        images: ``[n, height, width, channels]`` uint8, memory-mapped where large.
        offsets: ``[classes + 1]``; class ``c`` has the images ``offsets[c]:offsets[c + 1]``.
        class_names: one name per class.
        splits: class ids of ``meta-train``, ``meta-val`` (may be empty) and ``meta-test``.
        fingerprint: digest of pixels, classes, splits and preparation.
        rotations: per split, ``none``, ``classes`` (each quarter turn of a class is a class of its
            own) or ``per-task`` (each class of a task is turned by a random quarter turn).
        stamps: the stamps of every result on this data, such as ``subset`` or ``synthetic``.
        supervised: whether this is ordinary classification: a single task with all classes of a
            split in their order. In meta-train, support examples come from the first half of the
            images of each class and query examples from the second, as architecture search
            divides its training set.
    """

    images: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    class_names: tuple[str, ...]
    splits: Mapping[str, NDArray[np.int64]]
    fingerprint: str
    rotations: Mapping[str, str]
    stamps: tuple[str, ...] = ()
    supervised: bool = False


@runtime_checkable
class FunctionFamily(Protocol):
    """A generator of regression tasks: what a dataset of kind ``functions`` returns."""

    inputs: int
    outputs: int
    fingerprint: str
    stamps: tuple[str, ...]

    def n_words(self, shape: EpisodeShape) -> int:
        """The number of random words that one episode needs."""
        ...

    def sample(
        self, words: NDArray[np.uint64], shape: EpisodeShape, *, split: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Turn random words into points; all randomness comes from ``words``.

        Args:
            words: ``[tasks, n_words]`` uniform 64-bit words.
            shape: support points first, query points after them.
            split: ``meta-train``, ``meta-val`` or ``meta-test``.

        Returns:
            x ``[tasks, shots + queries, inputs]`` and y ``[tasks, shots + queries, outputs]``.
        """
        ...


@runtime_checkable
class EvaluableFamily(FunctionFamily, Protocol):
    """A family whose functions can be evaluated at any input: an optional capability."""

    def values(self, words: NDArray[np.uint64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the functions that :meth:`sample` draws from ``words``, without noise.

        Args:
            words: ``[tasks, n_words]``, as given to :meth:`sample`.
            x: ``[points, inputs]``, the same for all tasks.

        Returns:
            ``[tasks, points, outputs]``.
        """
        ...
