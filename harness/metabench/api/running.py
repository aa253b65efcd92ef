"""Running from Python: what ``metabench run`` does, with a value for each run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metabench.api.executing import HowToRun, prepare
from metabench.api.plugins import catalog_with
from metabench.api.reading import ReportView, report
from metabench.api.tracking import asked_for, followed_runs, trackers_of
from metabench.errors import MetabenchError, PluginError
from metabench.plugin.blame import guarded
from metabench.text import counted

if TYPE_CHECKING:
    import pandas as pd

    from metabench.planning.overrides import Changes
    from metabench.planning.runspec import Precision
    from metabench.plugin.catalog import Catalog
    from metabench.plugin.contracts.tracker import Tracker
    from metabench.plugin.specs import RunEvent
    from metabench.running.engines import EngineName
    from metabench.running.executors import Executor, Job, JobOutcome


@dataclass(frozen=True, slots=True)
class Runs:
    """How the runs of a call ended. A notebook shows their table.

    Attributes:
        outcomes: of each run, in the order of learners, settings and seeds.
        out: the results folder.
    """

    outcomes: Sequence[JobOutcome]
    out: Path

    @property
    def report(self) -> ReportView:
        """The tables of the results folder."""
        return report(self.out)

    def to_frame(self) -> pd.DataFrame:
        """One row per run: learner, suite, setting, seed, run_id, status and what failed."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "learner": outcome.job.planned.spec.learner.name,
                    "suite": outcome.job.planned.spec.suite,
                    "setting": outcome.job.planned.spec.setting,
                    "seed": outcome.job.planned.spec.seed,
                    "run_id": outcome.job.planned.spec.run_id,
                    "status": outcome.status,
                    "text": outcome.text,
                }
                for outcome in self.outcomes
            ]
        )

    def to_latex(self, *, width: float | None = None) -> str:
        """The tables of the results folder; see :meth:`ReportView.to_latex`."""
        return self.report.to_latex(width=width)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def run(
    learner: str | Sequence[str],
    suite: str | Path | Sequence[str | Path],
    *,
    setting: str | Sequence[str] = (),
    budget: str = "lite",
    network: str | Mapping[str, str] | None = None,
    strategy: str | Mapping[str, str] | None = None,
    seeds: int | Iterable[int] = (0,),
    changes: Mapping[str, Any] | None = None,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    data: Literal["real", "synthetic"] = "real",
    limit: int | None = None,
    metrics: Sequence[str] = (),
    weights: str | Path | None = None,
    out: str | Path = "results/local",
    jobs: int | None = None,
    executor: str = "local",
    executor_params: Mapping[str, Any] | None = None,
    time_limit: float | None = None,
    shard: str = "",
    device: str = "auto",
    precision: Precision = "float32",
    engine: EngineName = "eager",
    threads: int = 1,
    ranks: int = 1,
    trackers: str | Sequence[str] | Mapping[str, Mapping[str, Any]] = (),
    plugins: Iterable[str | Path] = (),
    on_event: Callable[[RunEvent], None] | None = None,
    check: bool = True,
) -> Runs:
    """Run learners on suites, as ``metabench run`` does; finished runs are skipped.

    It works in a thread and in a notebook. In the main thread, an interrupt saves the state of the
    run and stops; the same call resumes it.

    Args:
        learner: one name or several.
        suite: one or several: names of suites, or paths of suite files.
        setting: one name or several; the first of each suite by default.
        budget: how long to train and test.
        network: instead of the suite's, such as ``conv4`` or ``tnas:darts``, or by learner.
        strategy: of a searched network, or by learner.
        seeds: one or several.
        changes: values of ``--set``, such as ``{"learner.inner_lr": 0.01}``.
        sweep: several values by parameter, such as ``{"learner.inner_lr": [0.01, 0.1]}``; each
            combination makes runs of its own.
        data: the real data, or its generated look-alike.
        limit: test on so many episodes per source, in place of the suite's number.
        metrics: further metrics.
        weights: a file of weights that each training starts from.
        out: the results folder.
        jobs: runs at a time, by default one on this machine; several have a process each.
        executor: how runs are executed: ``local``, or another one.
        executor_params: its parameters, such as ``{"partition": "gpu"}``.
        time_limit: seconds after which a run saves its state and stops; the same call resumes it.
        shard: make only a share of the runs: ``1/4`` is the first of four shares.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: how layers multiply: ``float32``, ``tf32`` or ``bf16``.
        engine: what makes the meta-steps and adapts: ``eager``, ``compiled`` or ``auto``.
        threads: CPU threads of each process.
        ranks: processes that share the tasks of each meta-step. They are started anew, so a script
            guards what it does by ``if __name__ == "__main__"``.
        trackers: one name or several, or the parameters by name, such as
            ``{"mlflow": {"experiment": "mine"}}``.
        plugins: plugin files to load.
        on_event: called with each event; by default one line per run goes to stderr.
        check: raise if a run failed.

    Raises:
        UsageError: for unknown names, values out of bounds and combinations that do not fit.
        DataError: when data is missing, or too small for the episodes.
        MetabenchError: when a run failed and ``check`` is true; the others were still made.
        KeyboardInterrupt: when the user interrupted it; the state is saved.
    """
    from metabench.planning.grid import Grid
    from metabench.planning.plan import notes_of
    from metabench.planning.shards import parse_shard
    from metabench.planning.validation import validated

    files = tuple(Path(file) for file in plugins)
    found = catalog_with(files)
    fields = fields_of(
        learner=learner,
        suite=suite,
        network=network,
        strategy=strategy,
        seeds=seeds,
        changes=changes,
        sweep=sweep,
        setting=setting,
        budget=budget,
        data=data,
        limit=limit,
        metrics=tuple(metrics),
        weights=None if weights is None else str(weights),
        precision=precision,
    )
    planned = validated(Grid, fields, what="run:").plan(found, plugin_files=files)
    if shard:
        planned, _ = parse_shard(shard).divide(planned)
    for note in notes_of(planned):
        say(f"Note: {note}")
    how = HowToRun(
        out=Path(out),
        executor=executor,
        executor_params=executor_params or {},
        jobs=jobs,
        ranks=ranks,
        device=device,
        engine=engine,
        threads=threads,
        plugin_files=files,
        time_limit=time_limit,
    )
    work, todo = prepare(planned, how, found)
    opened = trackers_of(found, asked_for(trackers), how.out)
    outcomes = execute(work, todo, found, show=on_event or print_ends, trackers=opened)
    return ended(outcomes, how.out, check=check)


def ended(outcomes: Sequence[JobOutcome], folder: Path, *, check: bool) -> Runs:
    """What a call returns once its runs have ended.

    Args:
        outcomes: of the runs.
        folder: the results folder.
        check: raise if a run failed.

    Raises:
        KeyboardInterrupt: when a run was interrupted.
        MetabenchError: when one failed and ``check`` is true.
    """
    if any(outcome.status == "interrupted" and not outcome.text for outcome in outcomes):
        raise KeyboardInterrupt
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed and check:
        first = failed[0]
        raise MetabenchError(
            f"{len(failed)} of {len(outcomes)} runs failed; the first: {first.job.planned.label}: "
            f"{first.text}",
            hint=first.hint,
        )
    return Runs(outcomes, folder)


def execute(
    work: Executor,
    jobs: Sequence[Job],
    catalog: Catalog,
    *,
    show: Callable[[RunEvent], None],
    trackers: Mapping[str, Tracker] | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[JobOutcome]:
    """Make runs, and pass their events on; an interrupt of the main thread stops them.

    The plan is kept in the results folder meanwhile, where it can be watched.

    Args:
        work: makes the runs.
        jobs: the runs.
        catalog: whose plugins get the events.
        show: gets the events first.
        trackers: that runs are passed on to, by name.
        warn: called with a sentence about a tracker that failed, from any thread, or a listener
            that hangs; by default it goes to stderr.
    """
    from metabench.results.plans import announced
    from metabench.running.interrupt import StopRequest
    from metabench.running.listening import aside
    from metabench.running.tracking import following

    def emit(event: RunEvent) -> None:
        show(event)
        followed.hear(event)
        tell_plugins(event)

    # Only the main thread may listen to signals.
    in_main = threading.current_thread() is threading.main_thread()
    stop = StopRequest()
    planned = [job.planned for job in jobs]
    with (
        stop if in_main else nullcontext(),  # first, so that a signal does not cut off what closes
        following(trackers or {}, followed_runs(jobs), say=warn or say) as followed,
        aside(catalog.listeners(), say=warn or say) as tell_plugins,
        announced(planned, jobs[0].out) if jobs else nullcontext(),
    ):
        return _checked_outcomes(work, jobs, emit=emit, stopped=stop)


def _checked_outcomes(
    work: Executor,
    jobs: Sequence[Job],
    *,
    emit: Callable[[RunEvent], None],
    stopped: Callable[[], bool],
) -> list[JobOutcome]:
    """What an executor returns, if it is an outcome of each job.

    Raises:
        PluginError: when it is not, or when the executor fails.
    """
    from metabench.running.executors import JobOutcome

    outcomes: object = guarded(
        "The executor failed", lambda: work(jobs, emit=emit, stopped=stopped)
    )
    if not isinstance(outcomes, list | tuple):
        said = f"a {type(outcomes).__name__}"
    elif any(not isinstance(one, JobOutcome) for one in outcomes):
        said = "things that are no JobOutcome"
    elif [one.job.run_id for one in outcomes] != [job.run_id for job in jobs]:
        said = f"{counted(len(outcomes), 'outcome')} for {counted(len(jobs), 'job')}, or others"
    else:
        return list(outcomes)
    raise PluginError(
        f"The executor returned {said}, so it is not known which runs were made; it must return "
        "a JobOutcome for each job, in their order.",
        hint="`metabench status` shows what was made; `metabench plugins check` tells more.",
    )


def changes_from(values: Mapping[str, Any] | None) -> Changes:
    """Values by ``scope.name`` as values by scope and name."""
    from metabench.planning.overrides import place_of

    found: dict[str, dict[str, Any]] = {}
    for path, value in (values or {}).items():
        scope, name = place_of(path, said=path)
        found.setdefault(scope, {})[name] = value
    return found


def fields_of(
    *,
    learner: str | Sequence[str],
    suite: str | Path | Sequence[str | Path],
    setting: str | Sequence[str] = (),
    network: str | Mapping[str, str] | None = None,
    strategy: str | Mapping[str, str] | None = None,
    seeds: int | Iterable[int] = (0,),
    changes: Mapping[str, Any] | None = None,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    **others: Any,
) -> dict[str, Any]:
    """The fields of a :class:`~metabench.planning.grid.Grid` from the arguments of a call.

    Args:
        learner: as of :func:`run`, like the next ones.
        suite: likewise.
        setting: likewise.
        network: likewise.
        strategy: likewise.
        seeds: likewise.
        changes: likewise.
        sweep: likewise.
        others: further fields.
    """
    return {
        "learners": learner,
        "suites": [str(one) for one in ([suite] if isinstance(suite, str | Path) else suite)],
        "settings": setting,
        **_for_learners("network", "networks", network),
        **_for_learners("strategy", "strategies", strategy),
        "seeds": seeds if isinstance(seeds, int) else tuple(seeds),
        "set": dict(changes or {}),
        "sweep": {name: [*values] for name, values in (sweep or {}).items()},
        **others,
    }


def _for_learners(
    of_all: str, by_learner: str, value: str | Mapping[str, str] | None
) -> dict[str, Any]:
    """The field of a grid that holds one name for all learners, or the one of a name for each."""
    return {by_learner: dict(value)} if isinstance(value, Mapping) else {of_all: value}


def print_ends(event: RunEvent) -> None:
    """Say on stderr how each run ends."""
    words = {"run-done": "done", "run-failed": "failed", "message": ""}
    if event.kind in words:
        text = ": ".join(part for part in (words[event.kind], event.text) if part)
        say(f"{event.label}: {text}")


def say(line: str) -> None:
    """Print a line on stderr, if that can be written."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
