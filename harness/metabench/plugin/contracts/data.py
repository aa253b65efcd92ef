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
class Scaling:
    """What is done to examples before a network sees them: ``x * scale + offset``.

    Attributes:
        scale: a number, or one for each channel or feature, ``[channels]`` or ``[features]``.
        offset: the same.
    """

    scale: float | NDArray[np.float32] = 1.0
    offset: float | NDArray[np.float32] = 0.0


@dataclass(frozen=True, slots=True)
class ClassData:
    """Images or vectors sorted by class: what a dataset of kind ``classes`` returns.

    A network gets the pixels of images in [0, 1], and vectors as they are, unless there is a
    ``scaling``.

    Attributes:
        images: ``[n, height, width, channels]`` uint8, or vectors ``[n, features]`` float32, such
            as frozen features or the rows of a table. Memory-mapped where large.
        offsets: ``[classes + 1]``; class ``c`` has the images ``offsets[c]:offsets[c + 1]``.
        class_names: one name per class.
        splits: class ids of ``meta-train``, ``meta-val`` (may be empty) and ``meta-test``.
        fingerprint: digest of pixels or features, classes, splits, preparation and scaling.
        rotations: per split, ``none``, ``classes`` (each quarter turn of a class is a class of its
            own) or ``per-task`` (each class of a task is turned by a random quarter turn). Vectors
            have ``none``.
        stamps: the stamps of every result on this data, such as ``subset`` or ``synthetic``.
        supervised: whether this is ordinary classification: a single task with all classes of a
            split in their order. In meta-train, support examples come from the first half of the
            images of each class and query examples from the second, as architecture search
            divides its training set.
        scaling: what is done to pixels in [0, 1], or to vectors; None for nothing.
        notes: sentences about the files that the user should read, such as which were left out.
    """

    images: NDArray[np.uint8] | NDArray[np.float32]
    offsets: NDArray[np.int64]
    class_names: tuple[str, ...]
    splits: Mapping[str, NDArray[np.int64]]
    fingerprint: str
    rotations: Mapping[str, str]
    stamps: tuple[str, ...] = ()
    supervised: bool = False
    scaling: Scaling | None = None
    notes: tuple[str, ...] = ()


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
