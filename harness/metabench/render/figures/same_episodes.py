"""The runs of a folder that a figure of one episode can show together."""

from __future__ import annotations

from collections.abc import Iterable

from metabench.errors import DataError, UsageError
from metabench.planning.runspec import RunSpec
from metabench.plugin.contracts.episode import TaskKind
from metabench.render.figures.stamps import shown_of
from metabench.results.labels import labelled
from metabench.results.reading import FinishedRun, Results
from metabench.values import digest


def runs_of_episode(results: Results, episode: int, *, task: TaskKind) -> dict[str, FinishedRun]:
    """The first seed of every configuration on a kind of task, by label.

    Args:
        results: where the runs are.
        episode: which meta-test episode of each source.
        task: the kind of task.

    Raises:
        DataError: when no run is on this kind of task.
        UsageError: when the runs are on different episodes, or there is no such episode.
    """
    found = {
        label: config.runs[0]
        for label, config in labelled(results).items()
        if config.spec.task == task
    }
    if not found:
        nothing = "fits" if task == "regression" else "images"
        raise DataError(
            f"No finished run in this folder is on {task}, so there are no {nothing} to draw."
        )
    groups = {_episodes_of(run.record.spec): run.record.spec for run in found.values()}
    if len(groups) > 1:
        names = ", ".join(sorted({f"{spec.suite}@{spec.setting}" for spec in groups.values()}))
        raise UsageError(
            f"The runs in this folder have different episodes ({names}), but a figure shows one "
            "task per source.",
            hint="Choose runs of the same suite, setting and data, with --suite and --setting.",
        )
    n_episodes = min(run.record.spec.protocol.episodes for run in found.values())
    if not 0 <= episode < n_episodes:
        raise UsageError(
            f"There is no episode {episode}; each source has {n_episodes:,}.",
            hint=f"Choose one from 0 to {n_episodes - 1}.",
        )
    return found


def seeds_shown(results: Results, labels: Iterable[str]) -> list[str]:
    """Which seed a figure of single tasks shows, of each configuration that has several."""
    return [
        f"{label}: seed {config.spec.seed} is shown."
        for label, config in shown_of(results, labels).items()
        if len(config.runs) > 1
    ]


def _episodes_of(spec: RunSpec) -> str:
    """Digest of what decides the meta-test episodes."""
    p = spec.protocol
    sources = [source.model_dump(mode="json") for source in spec.sources]
    shape = [p.ways, p.shots, p.queries, p.episode_seed]
    return digest([spec.suite, sources, spec.data_fingerprint, shape])
