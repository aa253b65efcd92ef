"""t-SNE of a few hundred points (van der Maaten and Hinton, 2008): exact and deterministic.

It begins at the first two principal components, not at random points, so that the same points give
the same picture and far-apart groups keep their places (Kobak and Berens, 2019).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EXAGGERATION, EXAGGERATED_STEPS = 12.0, 150
MIN_GAIN = 0.01
TINY = 1e-12


def tsne(x: Array, *, perplexity: float = 30.0, steps: int = 500) -> Array:
    """Place points in the plane so that neighbors stay neighbors.

    Args:
        x: ``[n, d]``, n at least 2. Time and memory grow with the square of n.
        perplexity: about how many neighbors a point has; at most a third of the others.
        steps: of gradient descent, with momentum and a rate per coordinate.

    Returns:
        ``[n, 2]``, around 0.
    """
    p = affinities(x, perplexity=min(perplexity, max(1.0, (len(x) - 1) / 3)))
    y = principal_components(x) * 1e-4
    rate = max(len(x) / EXAGGERATION / 4, 50.0)
    velocity, gain = np.zeros_like(y), np.ones_like(y)
    for step in range(steps):
        early = step < EXAGGERATED_STEPS
        slope = gradient(y, p * EXAGGERATION if early else p)
        gain = np.where(velocity * slope < 0, gain + 0.2, gain * 0.8).clip(MIN_GAIN)
        velocity = (0.5 if early else 0.8) * velocity - rate * gain * slope
        y = y + velocity
    placed: Array = y - y.mean(axis=0)
    return placed


def affinities(x: Array, *, perplexity: float) -> Array:
    """Symmetric probabilities ``[n, n]`` of pairs, from a Gaussian around each point.

    Its width is such that the distribution of a point's neighbors has the perplexity asked for.
    """
    squares = _squared_distances(x)
    np.fill_diagonal(squares, np.inf)
    squares -= squares.min(axis=1, keepdims=True)
    low, high = np.full(len(x), -60.0), np.full(len(x), 60.0)  # of the precision's logarithm
    for _ in range(60):
        middle = (low + high) / 2
        p = np.exp(-np.exp(middle)[:, None] * squares)
        p /= p.sum(axis=1, keepdims=True)
        entropy = -(p * np.log(np.maximum(p, TINY))).sum(axis=1)
        narrow = entropy < np.log(perplexity)
        low, high = np.where(narrow, low, middle), np.where(narrow, middle, high)
    symmetric: Array = (p + p.T) / (2 * len(x))
    return symmetric


def gradient(y: Array, p: Array) -> Array:
    """Of the Kullback-Leibler divergence from ``p`` to the Student similarities of ``y``."""
    closeness = _squared_distances(y)
    closeness += 1
    np.reciprocal(closeness, out=closeness)
    np.fill_diagonal(closeness, 0.0)
    pull = closeness * (-1 / closeness.sum())
    pull += p
    pull *= closeness
    slope: Array = 4 * (pull.sum(axis=1)[:, None] * y - pull @ y)
    return slope


def principal_components(x: Array) -> Array:
    """The first two, ``[n, 2]``, in units of the first one's deviation; 0 where there is none.

    The sign of each is such that its largest weight is positive.
    """
    centered = x - x.mean(axis=0)
    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    found = np.zeros((len(x), 2))
    for column, direction in enumerate(directions[:2]):
        found[:, column] = centered @ direction * np.sign(direction[np.abs(direction).argmax()])
    deviation = found[:, 0].std()
    return found / deviation if deviation > 0 else found


def _squared_distances(x: Array) -> Array:
    squares = (x**2).sum(axis=1)
    found: Array = x @ (-2 * x.T)
    found += squares
    found += squares[:, None]
    np.maximum(found, 0.0, out=found)
    np.fill_diagonal(found, 0.0)
    return found
