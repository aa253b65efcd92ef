"""The scores of two configurations on the episodes that both were tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.planning.runspec import RunSpec
from metabench.results.configurations import Configuration
from metabench.results.metrics import AVERAGE
from metabench.stats import Blocks, left_out, shared_positions
from metabench.text import counted

MIN_EPISODES = 30
"""With fewer per source, the normal distribution does not describe their mean."""


@dataclass(frozen=True, slots=True)
class Shared:
    """Scores of two configurations on the same episodes, as they are printed.

    Attributes:
        left: ``[seeds, episodes]`` by source; one row of a side without seeds.
        right: likewise, the same episodes in the same order.
        keys: ``[episodes]`` by source.
        n_left_out: episodes that only one of the two has.
        seedless: which of the two has no training seeds.
    """

    left: Blocks
    right: Blocks
    keys: Mapping[str, NDArray[np.object_]]
    n_left_out: int
    seedless: tuple[bool, bool] = (False, False)

    @property
    def n_fewest(self) -> int:
        """Episodes of the source that has the fewest."""
        return min(len(keys) for keys in self.keys.values())

    @property
    def left_out(self) -> str:
        """How many episodes are not used, in words; "" where all are."""
        if not self.n_left_out:
            return ""
        are = "is" if self.n_left_out == 1 else "are"
        return f"{counted(self.n_left_out, 'episode')} that only one of the two has {are} not used"


def weights_of(column: str, sources: Sequence[str]) -> dict[str, float]:
    """The column of a table as a weighted sum of its sources.

    >>> weights_of("average", ["sine", "line"])
    {'sine': 0.5, 'line': 0.5}
    """
    if column == AVERAGE:
        return {source: 1 / len(sources) for source in sources}
    return {column: 1.0}


def sources_of(spec: RunSpec) -> tuple[str, ...]:
    """Names of the sources, in order."""
    return tuple(source.source for source in spec.sources)


def shared_scores(left: Configuration, right: Configuration) -> Shared:
    """Both sides on the episodes that they share; none is left of a source that shares none."""
    keys = [left.key, right.key]
    here, there = shared_positions(keys)
    source = left.source[here]
    masks = {name: source == name for name in sources_of(left.spec)}
    mine, theirs = scaled(left)[:, here], scaled(right)[:, there]
    return Shared(
        left={name: mine[:, mask] for name, mask in masks.items()},
        right={name: theirs[:, mask] for name, mask in masks.items()},
        keys={name: left.key[here][mask] for name, mask in masks.items()},
        n_left_out=left_out(keys),
        seedless=(left.seedless, right.seedless),
    )


def own_scores(config: Configuration) -> Blocks:
    """Scores ``[seeds, episodes]`` of one configuration by source, as they are printed."""
    scores = scaled(config)
    return {name: scores[:, config.source == name] for name in sources_of(config.spec)}


def scaled(config: Configuration) -> NDArray[np.float64]:
    """Scores ``[seeds, episodes]`` as they are printed, such as an accuracy in percent."""
    scores = config.scores[:1] if config.seedless else config.scores
    return scores * config.metric.scale
