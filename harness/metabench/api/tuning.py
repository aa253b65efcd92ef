"""Tuning from Python: what ``metabench tune`` does, with the trials as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metabench.api.executing import HowToRun, prepare
from metabench.api.plugins import catalog_with
from metabench.api.running import execute, fields_of, print_ends, say
from metabench.api.tracking import asked_for, pass_on, trackers_of
from metabench.errors import MetabenchError

if TYPE_CHECKING:
    import pandas as pd

    from metabench.planning.plan import PlannedRun
    from metabench.planning.runspec import Precision
    from metabench.planning.tuning import Planner, SamplerName, Study, TuningPlan
    from metabench.plugin.catalog import Catalog
    from metabench.plugin.contracts.tracker import Tracker
    from metabench.plugin.specs import RunEvent
    from metabench.results.tunings import StudyRecord, TuningRecord
    from metabench.running.engines import EngineName
    from metabench.running.executors import JobOutcome


@dataclass(frozen=True, slots=True)
class Tuning:
    """The trials of a tuning. A notebook shows them; ``print`` gives plain text.

    Attributes:
        record: the content of ``tuning.json``.
        folder: of the tuning.
    """

    record: TuningRecord
    folder: Path

    @property
    def studies(self) -> tuple[StudyRecord, ...]:
        """One for each learner in each setting of a suite."""
        return self.record.studies

    @property
    def chosen(self) -> Mapping[str, Mapping[str, Any]]:
        """The chosen values by study and parameter; without studies whose trials all failed."""
        from metabench.results.tunings import chosen_values

        return chosen_values(self.studies)

    @property
    def plans(self) -> list[Path]:
        """The plan files that run the chosen values."""
        return [self.folder / study.plan for study in self.studies if study.plan]

    def to_frame(self) -> pd.DataFrame:
        """One row per trial: suite, setting, learner, trial, the values, status, score, ..."""
        import pandas as pd

        rows = [
            {
                "suite": study.suite,
                "setting": study.setting,
                "learner": study.learner,
                "trial": trial.number,
                **trial.values,
                "status": trial.status,
                "score": trial.score,
                "half_width": trial.half_width,
                "chosen": trial.number == study.chosen,
            }
            for study in self.studies
            for trial in study.trials
        ]
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        """As ``metabench tune`` prints it."""
        from metabench.render.tuning_text import tuning_text

        return tuning_text(self.record, self.folder)

    def _repr_html_(self) -> str:
        from metabench.render.tuning_text import study_table

        return "".join(study_table(study).to_html() for study in self.studies)


def tune(
    learner: str | Sequence[str],
    suite: str | Path | Sequence[str | Path],
    *,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    ranges: Mapping[str, str] | None = None,
    sampler: SamplerName | None = None,
    trials: int | None = None,
    sampler_seed: int = 0,
    setting: str | Sequence[str] = (),
    budget: str = "lite",
    network: str | Mapping[str, str] | None = None,
    strategy: str | Mapping[str, str] | None = None,
    seeds: int | Iterable[int] = (0,),
    changes: Mapping[str, Any] | None = None,
    data: Literal["real", "synthetic"] = "real",
    limit: int | None = None,
    metrics: Sequence[str] = (),
    weights: str | Path | None = None,
    out: str | Path = "results/tuning",
    jobs: int | None = None,
    executor: str = "local",
    executor_params: Mapping[str, Any] | None = None,
    time_limit: float | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    engine: EngineName = "eager",
    threads: int = 1,
    ranks: int = 1,
    trackers: str | Sequence[str] | Mapping[str, Mapping[str, Any]] = (),
    plugins: Iterable[str | Path] = (),
    on_event: Callable[[RunEvent], None] | None = None,
) -> Tuning:
    """Choose values on meta-validation, as ``metabench tune`` does; the same call goes on.

    No meta-test episode is drawn. A failed trial is kept in the record, and is not chosen.

    Args:
        learner: one name or several; each is tuned for itself.
        suite: one or several: names of suites, or paths of suite files.
        sweep: values by parameter, such as ``{"learner.inner_steps": [1, 5]}``.
        ranges: a range by parameter, such as ``{"learner.inner_lr": "1e-3..1e-1:log"}``.
        sampler: ``grid``, ``random`` or ``tpe`` (Optuna's); by default a grid if all values are
            listed, else random.
        trials: of each learner and setting; by default all of a grid, else 20.
        sampler_seed: of the draws.
        setting: one name or several; the first of each suite by default.
        budget: how long to train.
        network: instead of the suite's, such as ``conv4`` or ``tnas:darts``, or by learner.
        strategy: of a searched network, or by learner.
        seeds: of each trial; scores are averaged over them.
        changes: values of ``--set`` that all trials share.
        data: the real data, or its generated look-alike.
        limit: on how many episodes per source the chosen values are tested, in place of the
            suite's number.
        metrics: further metrics.
        weights: a file of weights that each training starts from.
        out: the folder of the tuning.
        jobs: runs at a time, by default one on this machine; several have a process each.
        executor: how runs are executed: ``local``, or another one.
        executor_params: its parameters, such as ``{"partition": "gpu"}``.
        time_limit: seconds after which a run saves its state and stops; the same call resumes it.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: how layers multiply: ``float32``, ``tf32`` or ``bf16``.
        engine: what makes the meta-steps and adapts: ``eager``, ``compiled`` or ``auto``.
        threads: CPU threads of each process.
        ranks: processes that share the tasks of each meta-step. They are started anew, so a script
            guards what it does by ``if __name__ == "__main__"``.
        trackers: that trials are passed on to: one name or several, or the parameters by name.
        plugins: plugin files to load.
        on_event: called with each event; by default one line per run goes to stderr.

    Raises:
        UsageError: for unknown names, values out of bounds, combinations that do not fit, nothing
            to tune, and a folder that holds another tuning.
        DataError: when data is missing or has no meta-validation.
        KeyboardInterrupt: when it was interrupted; the state is saved.
    """
    from metabench.planning.tuning import TuningPlan
    from metabench.planning.validation import validated

    files = tuple(Path(file) for file in plugins)
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
        ranges=dict(ranges or {}),
        sampler=sampler,
        trials=trials,
        sampler_seed=sampler_seed,
    )
    plan = validated(TuningPlan, fields, what="tune:")
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
    found = catalog_with(files)
    planner, studies = open_studies(plan, found, plugin_files=files)
    return run_tuning(
        plan,
        studies,
        planner,
        how,
        command="metabench.tune",
        show=on_event or print_ends,
        trackers=asked_for(trackers),
    )


def open_studies(
    plan: TuningPlan, catalog: Catalog, *, plugin_files: tuple[Path, ...]
) -> tuple[Planner, list[Study]]:
    """What a plan tunes, all checked, and what plans its runs.

    Raises:
        UsageError: as :func:`tune`.
        DataError: as :func:`tune`.
    """
    from metabench.planning.tuning import Planner, studies_of

    planner = Planner(catalog, plan.suites_of(catalog), plugin_files, {})
    return planner, studies_of(plan, planner)


def run_tuning(
    plan: TuningPlan,
    studies: Sequence[Study],
    planner: Planner,
    how: HowToRun,
    *,
    command: str,
    show: Callable[[RunEvent], None],
    trackers: Mapping[str, Mapping[str, Any]] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Tuning:
    """Make the trials of a plan that are missing.

    Args:
        plan: what is asked for.
        studies: of :func:`open_studies`.
        planner: likewise.
        how: how runs are made; ``out`` is the folder of the tuning.
        command: that the record names.
        show: gets the events of runs.
        trackers: that trials are passed on to: their parameters by name.
        warn: as of :func:`~metabench.api.running.execute`.

    Raises:
        UsageError: when the folder holds another tuning, or the sampler or a tracker cannot serve.
        MetabenchError: when another process is working on it.
        KeyboardInterrupt: when it was interrupted; the state is saved.
    """
    import torch

    from metabench.durable import locked
    from metabench.planning.plan import PlannedRun
    from metabench.planning.samplers import optuna_version
    from metabench.results.tunings import TRIALS, TuningRecord, read_tuning, require_same
    from metabench.running import provenance
    from metabench.running.devices import pick_device
    from metabench.running.tuning import at_work, run_trials

    folder, catalog = how.out, planner.catalog
    into_trials = replace(how, out=folder / TRIALS)
    # What does not exist here or does not fit is said before any trial.
    prepare([PlannedRun(study.spec, (), command) for study in studies], into_trials, catalog)
    opened = trackers_of(catalog, trackers or {}, folder)

    def make(planned: Sequence[PlannedRun]) -> list[JobOutcome]:
        executor, jobs = prepare(planned, into_trials, catalog)
        return execute(executor, jobs, catalog, show=show, trackers=opened, warn=warn)

    with locked(folder / ".lock") as ours:
        if not ours:
            raise MetabenchError(
                f"Another process is working on the tuning in {folder}.",
                hint="Wait for it, or choose another --out.",
            )
        earlier = read_tuning(folder)
        if earlier is not None:
            require_same(earlier, plan, folder)
        made_with = earlier.provenance if earlier is not None else None
        record = TuningRecord(
            digest=plan.digest,
            plan=plan,
            sampler=plan.picked_sampler,
            optuna=optuna_version() if plan.picked_sampler == "tpe" else "",
            provenance=made_with
            or provenance.collect(
                command=command,
                changes={},
                files={},
                device=torch.device(pick_device(how.device)),
                code=_code_of(studies, catalog),
            ),
            studies=(),
        )
        work = at_work(plan, studies, planner, earlier)
        at_once = ceil((how.jobs or 1) / (len(studies) * len(plan.seeds)))
        record = run_trials(record, work, planner, folder, make=make, at_once=at_once)
        if opened and earlier is not None:
            _pass_on_earlier(folder / TRIALS, opened, warn or say)
        return Tuning(record, folder)


def _pass_on_earlier(
    trials: Path, trackers: Mapping[str, Tracker], say: Callable[[str], None]
) -> None:
    """Pass on the trials that an earlier call has made, but for what the trackers have already."""
    from metabench.running.tracking import PATIENCE

    try:
        pass_on(trials, trackers, say=say, patience=PATIENCE)
    except MetabenchError as error:  # the tuning is as good without it
        say(error.in_full)


def _code_of(studies: Sequence[Study], catalog: Catalog) -> dict[str, str]:
    """The code of all that the studies use."""
    from metabench.running.provenance import code_of

    found: dict[str, str] = {}
    for study in studies:
        found |= code_of(study.spec, catalog)
    return found


def run_chosen(
    tuning: Tuning,
    planner: Planner,
    how: HowToRun,
    *,
    show: Callable[[RunEvent], None],
    trackers: Mapping[str, Mapping[str, Any]] | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[JobOutcome]:
    """Run the chosen values to their end, meta-test included, from the trained trials.

    Args:
        tuning: whose plans are run.
        planner: plans the runs.
        how: how they are made; ``out`` is the results folder.
        show: gets the events of runs.
        trackers: as of :func:`run_tuning`.
        warn: likewise.
    """
    from metabench.planning.grid import read_grid
    from metabench.results.tunings import TRIALS
    from metabench.running.tuning import adopt_training

    planned = []
    for path in tuning.plans:
        grid = read_grid(path)
        planned += [replace(run, plan=grid.digest) for run in planner.runs(grid)]
    executor, jobs = prepare(planned, how, planner.catalog)
    for one in planned:
        adopt_training(one.spec, tuning.folder / TRIALS, how.out)
    opened = trackers_of(planner.catalog, trackers or {}, how.out)
    return execute(executor, jobs, planner.catalog, show=show, trackers=opened, warn=warn)
