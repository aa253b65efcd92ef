"""Numbers about a search besides scores: how many architectures, how far apart the tasks.

``silhouette`` is Rousseeuw's (1987), with Euclidean distances. ``probe`` is the accuracy of a
linear classifier that names a task's source from its embedding, on tasks it was not fitted to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

MEASURES = {
    "genotypes": "number of distinct architectures over the meta-test episodes",
    "genotype_share": "share of the most common architecture, in [0, 1]",
    "own_genotype_trained": "share of the meta-test episodes whose own architecture was trained, "
    "in [0, 1]; the others have the nearest one that was",
    "embeddings": "number of task embeddings, from which the next two are computed",
    "embedding_silhouette": "mean silhouette of the task embeddings by source, in [-1, 1]",
    "embedding_probe": "accuracy of a linear probe for the source of an embedding, in [0, 1]",
}
"""Every measure, with its meaning."""
PROPORTIONS = {"embedding_probe": "embeddings"}
"""Measures that are shares of a number of trials, with the measure that counts the trials."""
N_FOLDS = 10

Array = NDArray[np.float64]


def of_genotypes(genotypes: Sequence[Hashable]) -> dict[str, float]:
    """Measures of the architectures of all episodes.

    >>> of_genotypes(["a", "b", "a", "a"])
    {'genotypes': 2.0, 'genotype_share': 0.75}
    """
    ((_, most),) = Counter(genotypes).most_common(1)
    share = _rounded(most / len(genotypes))
    return {"genotypes": float(len(set(genotypes))), "genotype_share": share}


def of_own_genotypes(trained: Sequence[bool]) -> dict[str, float]:
    """Measures of whether each episode was predicted with its own architecture.

    >>> of_own_genotypes([True, True, False, True])
    {'own_genotype_trained': 0.75}
    """
    return {"own_genotype_trained": _rounded(sum(trained) / len(trained))}


def of_embeddings(x: Array, sources: Sequence[str]) -> dict[str, float]:
    """Measures of task embeddings; none where there is one source, or one of few tasks.

    Args:
        x: ``[tasks, d]``, finite.
        sources: of each task.
    """
    counts = Counter(sources)
    if len(counts) < 2 or min(counts.values()) < N_FOLDS:
        return {}
    return {
        "embeddings": float(len(x)),
        "embedding_silhouette": _rounded(silhouette(x, sources)),
        "embedding_probe": _rounded(probe(x, sources)),
    }


def silhouette(x: Array, labels: Sequence[str]) -> float:
    """The mean over points of ``(b - a) / max(a, b)``.

    ``a`` is the mean distance to the other points of the same label, ``b`` that to the points of
    the nearest other label. A point that is alone, or has ``a = b = 0``, counts 0.

    Args:
        x: ``[n, d]``.
        labels: ``[n]``, of at least two kinds.

    >>> round(silhouette(np.array([[0.0], [1.0], [10.0], [11.0]]), ["a", "a", "b", "b"]), 4)
    0.8997
    """
    names, label = np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)
    squares = (x**2).sum(axis=1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0.0))
    np.fill_diagonal(distance, 0.0)
    member = np.eye(len(names))[label]  # [n, labels]
    total, count = distance @ member, member.sum(axis=0)
    own = np.arange(len(x)), label
    inside = total[own] / np.maximum(count[label] - 1, 1)
    others = total / count
    others[own] = np.inf
    outside = others.min(axis=1)
    widest = np.maximum(inside, outside)
    values = np.divide(outside - inside, widest, out=np.zeros(len(x)), where=widest > 0)
    return float(np.where(count[label] > 1, values, 0.0).mean())


def probe(x: Array, labels: Sequence[str], *, ridge: float = 1.0) -> float:
    """Cross-validated accuracy of ridge regression onto indicators of the labels.

    The k-th point of each label is in fold ``k mod 10``, so folds hold all labels alike and an
    embedding that says nothing is right by chance. Features are standardized by the points that
    the classifier is fitted to.

    Args:
        x: ``[n, d]``.
        labels: ``[n]``; each at least twice.
        ridge: penalty of the squared weights, in units of one point's squared error.
    """
    _, label = np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)
    onto = np.eye(label.max() + 1)[label]
    rank = (np.cumsum(onto, axis=0)[np.arange(len(x)), label] - 1).astype(int)
    right = 0
    for fold in range(N_FOLDS):
        held = rank % N_FOLDS == fold
        mean, scale = x[~held].mean(axis=0), x[~held].std(axis=0)
        features = (x - mean) / np.where(scale > 0, scale, 1.0)
        known = features[~held]
        offset = onto[~held].mean(axis=0)
        gram = known.T @ known + ridge * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, known.T @ (onto[~held] - offset))
        found = (features[held] @ weights + offset).argmax(axis=1)
        right += int((found == label[held]).sum())
    return right / len(x)


def wilson(share: float, n: float, *, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson, 1927).

    >>> [round(end, 4) for end in wilson(0.5, 100)]
    [0.4038, 0.5962]
    """
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return max(0.0, center - half), min(1.0, center + half)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
