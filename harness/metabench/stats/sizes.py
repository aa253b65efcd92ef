"""How large a score may be to be computed with."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LARGEST = 1e60
"""Statistics take scores to the fourth power (a variance, squared for its degrees of freedom),
which a float cannot hold from about 1e77 on. Only a run that has diverged comes near."""


def computable(scores: ArrayLike) -> NDArray[np.bool_]:
    """Where scores are finite and at most :data:`LARGEST` in size.

    >>> computable([-1.5, 1e200, float("nan")]).tolist()
    [True, False, False]
    """
    return np.asarray(np.abs(np.asarray(scores, dtype=np.float64)) <= LARGEST)
