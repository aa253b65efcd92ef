"""An outer gradient of which several processes have a part each: see :class:`metabench.Ranks`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from metabench import Ranks
from metabench_plugins.learners.parts.split_batch import even_parts


def own_parts(ranks: Ranks, n_tasks: int, most: int) -> list[slice]:
    """Divide the tasks of this rank as :func:`even_parts` does.

    Args:
        ranks: who shares the tasks.
        n_tasks: of the meta-batch.
        most: how many a part may have.
    """
    own = ranks.own(n_tasks)
    inner = even_parts(own.stop - own.start, most)
    return [slice(own.start + part.start, own.start + part.stop) for part in inner]


def share_of_tasks(ranks: Ranks, n_tasks: int) -> float:
    """The part of a meta-batch that this rank runs."""
    return len(range(n_tasks)[ranks.own(n_tasks)]) / n_tasks


def over_ranks(
    ranks: Ranks,
    gradients: Sequence[Tensor | None],
    weights: Sequence[Tensor],
    means: Mapping[str, Tensor],
    *,
    n_tasks: int,
) -> tuple[list[Tensor | None], dict[str, Tensor]]:
    """Put together what all ranks found; of a single one it is what it found.

    Args:
        ranks: who shares the tasks.
        gradients: of the outer loss, as far as this rank's tasks and terms add to it.
        weights: what was differentiated for, in the same order.
        means: scalars over this rank's tasks.
        n_tasks: of the meta-batch.

    Returns:
        The gradient of the whole outer loss, and the means over all tasks.
    """
    values = list(means.values())
    if ranks.count > 1:
        share = share_of_tasks(ranks, n_tasks)
        values = [value * share for value in values]
    found = ranks.summed([*gradients, *values], like=[*weights, *values])
    of_all = [value for value in found[len(weights) :] if value is not None]
    return found[: len(weights)], dict(zip(means, of_all, strict=True))
