"""Which runs several processes can share; the rest is refused before a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metabench.errors import UsageError
from metabench.planning.compatibility import common_task, training_phases
from metabench.planning.networks import build_space, describe_network
from metabench.planning.source_data import load_data
from metabench.plugin.contracts.space import StatefulSpace

if TYPE_CHECKING:
    from metabench.planning.plan import PlannedRun
    from metabench.planning.runspec import RunSpec
    from metabench.plugin.catalog import Catalog


def check_ranks(runs: Sequence[PlannedRun], catalog: Catalog, ranks: int) -> None:
    """Refuse runs whose meta-steps so many processes cannot share; one makes all.

    Args:
        runs: what is planned.
        catalog: the plugins.
        ranks: how many processes there are.

    Raises:
        UsageError: for the first run that cannot be shared, with what to choose.
    """
    for planned in runs if ranks > 1 else ():
        if planned.spec.training.meta_steps > 0:
            _check(planned.spec, catalog, ranks)


def _check(spec: RunSpec, catalog: Catalog, ranks: int) -> None:
    learner = catalog.learner(spec.learner.name)
    if not learner.splits_tasks:
        every = catalog.learners.values()
        able = sorted(s.name for s in every if s.splits_tasks and spec.task in s.kinds)
        raise UsageError(
            f"Learner {learner.name} makes its meta-steps in one process, and --ranks asks for "
            f"{ranks}.",
            hint=f"Leave out --ranks, or choose another learner: {', '.join(able)}.",
        )
    fewest = min(
        spec.training.meta_batch if phase.tasks is None else phase.tasks
        for phase in training_phases(spec, catalog)
    )
    if fewest < ranks:
        raise UsageError(
            f"A meta-step of learner {learner.name} has {fewest} tasks, too few for --ranks "
            f"{ranks}: each process needs one.",
            hint=f"Use --ranks {fewest} or fewer."
            if fewest > 1
            else "Leave out --ranks, or use a larger meta-batch: --set budget.meta_batch=N.",
        )
    if spec.space is None or not learner.takes_state:
        return  # others are refused a network with a state
    loaded = [load_data(choice, catalog, data=spec.data) for choice in spec.sources]
    if isinstance(build_space(spec.space, common_task(spec, loaded), catalog), StatefulSpace):
        raise UsageError(
            f"Network {describe_network(spec, catalog)} trains on the tasks of a meta-step "
            f"together, by running statistics or dropout, and --ranks divides them among {ranks} "
            "processes.",
            hint="Leave out --ranks, or choose a network without, such as conv4 with its defaults, "
            "with --network.",
        )
