"""Where every random number comes from: a key derived from names, then a counter.

``words`` is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) used as a counter-based generator: the
word of (key, index, position) depends on nothing else, so any episode can be drawn alone, in any
order, in any batch, in any process, and whole batches are drawn without a loop.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.values import canonical_json

if TYPE_CHECKING:
    import torch

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def derive_key(*parts: str | int) -> int:
    """Derive a 64-bit key from names and numbers.

    >>> derive_key("omniglot", "meta-test", 0) == derive_key("omniglot", "meta-test", 0)
    True
    >>> derive_key("omniglot", "meta-test", 0) == derive_key("omniglot", "meta-test", 1)
    False
    """
    text = canonical_json(list(parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def generator(*parts: str | int) -> torch.Generator:
    """Make a CPU generator whose seed is derived from ``parts``."""
    import torch

    return torch.Generator().manual_seed(derive_key(*parts) >> 1)


def words(key: int, indices: NDArray[np.int64], n_words: int) -> NDArray[np.uint64]:
    """Draw ``n_words`` uniform 64-bit words for each index.

    Args:
        key: from :func:`derive_key`.
        indices: ``[tasks]`` episode numbers, in any order.
        n_words: words per index.

    Returns:
        ``[tasks, n_words]``; row i depends on ``key`` and ``indices[i]`` alone.
    """
    with np.errstate(over="ignore"):
        base = _mix(np.uint64(key) + indices.astype(np.uint64) * _GOLDEN)
        steps = np.arange(1, n_words + 1, dtype=np.uint64) * _GOLDEN
        return _mix(base[:, None] + steps)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(word: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Map words to [0, 1) with 53 bits."""
    return (word >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Map pairs of words to standard normals (Box and Muller)."""
    radius = np.sqrt(-2.0 * np.log1p(-uniform(first)))
    return radius * np.cos(2.0 * np.pi * uniform(second))


def choose(word: NDArray[np.uint64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Draw distinct items per row: the first steps of a Fisher-Yates shuffle, all rows at once.

    Args:
        word: ``[rows, k]`` random words, k items to draw.
        sizes: ``[rows]`` how many items each row chooses from, at least k.

    Returns:
        ``[rows, k]`` distinct integers below ``sizes``.
    """
    n_rows, k = word.shape
    u = uniform(word)
    deck = np.tile(np.arange(sizes.max(initial=0)), (n_rows, 1))
    rows = np.arange(n_rows)
    for i in range(k):
        j = i + (u[:, i] * (sizes - i)).astype(np.int64)
        picked = deck[rows, j]
        deck[rows, j] = deck[:, i]
        deck[:, i] = picked
    return deck[:, :k]
