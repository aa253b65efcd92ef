"""Trackers by name, opened before any run begins, and runs passed on to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
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
    from metabench.planning.networks import built
    from metabench.planning.validation import validated
    from metabench.plugin.specs import resolve

    found: dict[str, Tracker] = {}
    specs = {name: catalog.tracker(name) for name in params}
    for name, spec in specs.items():
        scope = f"tracker[{name}]"
        checked = validated(spec.params_model(), params[name], what=scope, owner=name)
        make = partial(resolve(spec.factory), checked, out.absolute())
        found[name] = built(f"Tracker {name}", make, methods=("open",))
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


def pass_on(
    out: Path,
    trackers: Mapping[str, Tracker],
    *,
    say: Callable[[str], None],
    patience: float = threading.TIMEOUT_MAX,
) -> int:
    """Pass on to trackers what they do not have yet of the runs of a results folder.

    Runs that a process is making are left to it.

    Args:
        out: the results folder.
        trackers: by name.
        say: called with a sentence about what could not be read or sent, from any thread.
        patience: seconds to wait for all trackers together.

    Returns:
        How many runs a tracker was sent something of.

    Raises:
        DataError: when there is no such folder, or no run in it.
        MetabenchError: when a tracker did not take all.
    """
    from metabench.errors import DataError, MetabenchError
    from metabench.results.episode_files import NotCountedError
    from metabench.results.folders import look_below
    from metabench.results.reading import read_record
    from metabench.results.state import state_of
    from metabench.running.tracking import Followed, Following

    below = look_below(out)
    runs: dict[str, Followed] = {}
    for problem in below.problems:
        say(problem)
    for folder in below.holding("run.json", "episodes.jsonl"):
        try:
            if state_of(folder, read_record(folder)) != "running":
                runs[str(folder)] = Followed(folder)
        except NotCountedError as problem:
            say(f"{folder}: {problem}.")
    if not runs:
        raise DataError(f"There is no run below {out} that can be passed on.")
    following = Following(trackers, runs, say=say)
    for name in runs:
        following.look_at(name, ended=True)
    if not following.close(patience=patience):
        raise MetabenchError(
            "Not all runs were passed on.", hint="Give the same command again to send the rest."
        )
    return following.n_sent()
