"""Trackers by name, opened before any run begins, and runs passed on to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from metabench.plugin.catalog import Catalog
    from metabench.plugin.contracts.tracker import Tracker
    from metabench.running.executors import Job
    from metabench.running.tracking import Followed


def asked_for(
    trackers: str | Sequence[str] | Mapping[str, Mapping[str, Any]],
) -> Mapping[str, Mapping[str, Any]]:
    """Parameters by the name of the tracker, from one name, several names, or just that."""
    if isinstance(trackers, Mapping):
        return trackers
    return {name: {} for name in ([trackers] if isinstance(trackers, str) else trackers)}


def trackers_of(
    catalog: Catalog, params: Mapping[str, Mapping[str, Any]], out: Path
) -> dict[str, Tracker]:
    """Make trackers from their parameters.

    Args:
        catalog: where they are found.
        params: the parameters of each tracker, by its name.
        out: the results folder.

    Raises:
        UsageError: for an unknown tracker or parameter, and a package that is missing.
    """
    from metabench.planning.validation import validated
    from metabench.plugin.specs import resolve

    found: dict[str, Tracker] = {}
    specs = {name: catalog.tracker(name) for name in params}
    for name, spec in specs.items():
        scope = f"tracker[{name}]"
        checked = validated(spec.params_model(), params[name], what=scope, owner=name)
        found[name] = resolve(spec.factory)(checked, out.absolute())
    return found


def followed_runs(jobs: Iterable[Job]) -> dict[str, Followed]:
    """The runs of a command as trackers follow them, by id."""
    from metabench.results.store import RunStore
    from metabench.running.tracking import Followed

    planned = [(job.planned, job.out) for job in jobs]
    return {
        one.spec.run_id: Followed(RunStore.of(one.spec, out).folder, one.label)
        for one, out in planned
    }
