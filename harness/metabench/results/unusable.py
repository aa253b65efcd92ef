"""What is wrong with scores of which no statistic can be computed, in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench.stats import LARGEST, computable
from metabench.text import counted


def flaw_of_scores(scores: NDArray[np.float64], *, name: str = "score") -> str:
    """Which of the scores of some episodes cannot be used; "" where all can.

    >>> flaw_of_scores(np.array([0.5, np.nan]))
    '1 episode has no finite score'
    >>> flaw_of_scores(np.array([1e200, 0.5]), name="mse")
    '1 episode has no mse that can be computed with: it is not finite, or above 1e+60 in size'
    """
    bad = scores[~computable(scores)]
    if not len(bad):
        return ""
    has = "has" if len(bad) == 1 else "have"
    what = f"no finite {name}"
    if np.isfinite(bad).any():
        why = f"it is not finite, or above {LARGEST:g} in size"
        what = f"no {name} that can be computed with: {why}"
    return f"{counted(len(bad), 'episode')} {has} {what}"
