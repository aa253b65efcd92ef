"""Trained weights from Python: what ``metabench export`` and ``metabench evaluate`` do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metabench.api.executing import HowToRun, prepare
from metabench.api.plugins import catalog_with
from metabench.api.running import Runs, changes_from, ended, execute, print_ends, say
from metabench.errors import DataError, UsageError
from metabench.text import counted

if TYPE_CHECKING:
    from metabench.planning.evaluating import WeightsTest
    from metabench.planning.plan import PlannedRun, RunRequest
    from metabench.plugin.catalog import Catalog
    from metabench.plugin.specs import RunEvent


def export_weights(run: str | Path, out: str | Path) -> Path:
    """Write the weights that a finished run tested to one file, with the record of the run.

    It is a file of safetensors. The names of its tensors are the keys of the learner's state,
    ``learner.weights.head.bias``; its metadata has the record as JSON under ``record``.

    Args:
        run: the folder of the run, or a results folder with a single run.
        out: the file to write.

    Returns:
        The file, which is new.

    Raises:
        DataError: when the run is not trained, or its weights are gone.
        UsageError: when there is such a file already, its name does not end in ``.safetensors``,
            or it cannot be written.
    """
    from metabench.durable import NO_SPACE, hint_of
    from metabench.results.folders import run_folder
    from metabench.running import weights_file

    path = Path(out)
    if path.suffix != ".safetensors":
        raise UsageError(
            f"{path} does not end in .safetensors, which is the format of exported weights.",
            hint=f"Name the file {path.stem or 'weights'}.safetensors.",
        )
    if path.exists():
        raise UsageError(f"{path} exists already.", hint="Name another file, or remove it.")
    folder = run_folder(str(run), Path(run))
    try:
        weights_file.export_weights(folder, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"{path} cannot be written: {reason}.",
            hint=hint_of(error) if error.errno in NO_SPACE else "Name another file.",
        ) from error
    return path


def evaluate(
    weights: str | Path | Sequence[str | Path],
    *,
    suite: str | Path | None = None,
    setting: str | None = None,
    budget: str | None = None,
    learner: str | None = None,
    network: str | None = None,
    changes: Mapping[str, Any] | None = None,
    data: Literal["real", "synthetic"] | None = None,
    limit: int | None = None,
    metrics: Sequence[str] = (),
    out: str | Path = "results/local",
    jobs: int = 1,
    device: str = "auto",
    threads: int = 1,
    plugins: Iterable[str | Path] = (),
    on_event: Callable[[RunEvent], None] | None = None,
    check: bool = True,
) -> Runs:
    """Test trained weights, by default on the suite and setting of their training.

    Args:
        weights: exported files, folders of runs, results folders for all runs in them, or files
            of tensors from elsewhere.
        suite: name or path of the suite to test on.
        setting: of the suite.
        budget: of the suite, for the number of episodes.
        learner: for weights from elsewhere, what adapts them.
        network: for weights from elsewhere, whose weights they are.
        changes: values of ``--set`` that concern the test, such as
            ``{"protocol.steps_at_test": 10}``.
        data: the real data, or its generated look-alike.
        limit: test on so many episodes per source, in place of the suite's number.
        metrics: further metrics.
        out: the results folder.
        jobs: runs at a time, each in a process of its own if there are several.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        threads: CPU threads of each run.
        plugins: plugin files to load.
        on_event: called with each event; by default one line per run goes to stderr.
        check: raise if a run failed.

    Raises:
        UsageError: for unknown names, and for changes that do not concern a test.
        DataError: when weights or data are missing, or do not fit.
        MetabenchError: when a run failed and ``check`` is true; the others were still made.
    """
    from metabench.planning.plan import notes_of

    files = tuple(Path(file) for file in plugins)
    found = catalog_with(files)
    paths = [Path(one) for one in ([weights] if isinstance(weights, str | Path) else weights)]
    planned = plan_of(
        paths,
        found,
        learner=learner,
        network=network,
        note=_say_note,
        suite=None if suite is None else str(suite),
        setting=setting,
        budget=budget,
        data=data,
        limit=limit,
        changes=changes_from(changes),
        metrics=tuple(metrics),
        plugin_files=files,
    )
    for note in notes_of(planned):
        _say_note(note)
    how = HowToRun(out=Path(out), jobs=jobs, device=device, threads=threads, plugin_files=files)
    work, todo = prepare(planned, how, found)
    outcomes = execute(work, todo, found, show=on_event or print_ends)
    return ended(outcomes, how.out, check=check)


def _say_note(note: str) -> None:
    say(f"Note: {note}")


def plan_of(
    paths: Sequence[Path],
    catalog: Catalog,
    *,
    learner: str | None,
    network: str | None,
    note: Callable[[str], None],
    **test: Any,
) -> list[PlannedRun]:
    """The tests of some weights.

    Args:
        paths: of exported weights, runs, or tensors from elsewhere.
        catalog: the plugins.
        learner: for weights from elsewhere.
        network: likewise.
        note: called with a sentence on what of a folder is not tested.
        test: fields of :class:`~metabench.planning.evaluating.WeightsTest`. Several values of a
            change are tests of their own.

    Raises:
        UsageError: when there are none, or a learner is named that the weights have already, or
            is missing.
        DataError: when a folder has no trained run.
    """
    from metabench.planning.evaluating import WeightsTest, plan_foreign, plan_test
    from metabench.planning.overrides import combinations, swept_in
    from metabench.running.weights_file import check_foreign, digest_of_foreign, read_trained

    if not paths:
        raise UsageError("No weights are named.", hint="Name exported files or folders of runs.")
    tests = [WeightsTest(**{**test, "changes": one}) for one in combinations(test["changes"])]
    swept = swept_in(test["changes"])
    planned: list[PlannedRun] = []
    for path in (place for named in paths for place in _weights_at(named, note=note)):
        known = read_trained(path)
        if known is None:
            found = digest_of_foreign(path)
            for wanted in tests:
                request = _request_of_foreign(path, wanted, learner=learner, network=network)
                of_file = plan_foreign(path, found, request, catalog)
                for one in of_file:
                    check_foreign(one, catalog)
                planned += [_labelled_by_sweep(one, wanted, swept) for one in of_file]
        elif learner or network:
            raise UsageError(
                f"{path} says that its weights are of {known.spec.learner.name}, so --learner and "
                "--network do not apply.",
                hint="They are for weights from elsewhere. Leave them out.",
            )
        else:
            for wanted in tests:
                one = plan_test(known, wanted, catalog)
                planned.append(_labelled_by_sweep(one, wanted, swept))
    return list({one.spec.run_id: one for one in planned}.values())


def _labelled_by_sweep(
    planned: PlannedRun, test: WeightsTest, swept: Sequence[tuple[str, str]]
) -> PlannedRun:
    """A test whose label has the values that other tests of the command have otherwise."""
    from metabench.planning.overrides import sweep_in_words

    words = sweep_in_words(test.changes, swept, {"learner": planned.spec.learner.name})
    return replace(planned, told_by=(*planned.told_by, *words))


def _weights_at(path: Path, *, note: Callable[[str], None]) -> list[Path]:
    """The weights that a path names: a file, or each trained run in a folder.

    A run in a folder that has none is passed over, and so is one that tests given weights; a note
    says which.
    """
    from metabench.results.folders import look_below

    if not path.is_dir() or (path / "run.json").is_file():
        return [path]
    below = look_below(path)
    for problem in below.problems:
        note(problem)
    found: list[Path] = []
    others: dict[tuple[str, str], list[str]] = {}
    for folder in below.holding("run.json"):
        learner, lacking = _lacking(folder)
        if lacking:
            others.setdefault(lacking, []).append(learner)
        else:
            found.append(folder)
    said = ", ".join(
        f"{counted(len(learners), *words)} ({', '.join(dict.fromkeys(learners))})"
        for words, learners in others.items()
    )
    if not found:
        raise DataError(
            f"There is no trained run below {path}{f', but {said}' if said else ''}.",
            hint="Name another folder.",
        )
    if said:
        note(f"Not tested of {path}: {said}.")
    return found


def _lacking(folder: Path) -> tuple[str, tuple[str, str] | None]:
    """The learner of a run, and what the run is where it has no weights of its own training."""
    from metabench.results.store import RunStore

    store = RunStore(folder)
    record = store.read_record()
    if record is None:  # somebody removed it just now
        return "", ("removed run", "removed runs")
    spec, lacking = record.spec, None
    if spec.weights is not None:
        lacking = ("test of given weights", "tests of given weights")
    elif not spec.has_weights:
        lacking = ("run without training", "runs without training")
    elif record.status not in ("done", "trained"):
        lacking = ("unfinished run", "unfinished runs")
    elif not store.tested_weights(spec.protocol.selection).exists():
        lacking = ("run whose weights are gone", "runs whose weights are gone")
    return spec.learner.name, lacking


def _request_of_foreign(
    path: Path, test: WeightsTest, *, learner: str | None, network: str | None
) -> RunRequest:
    from metabench.planning.plan import RunRequest

    if not learner or not test.suite:
        raise UsageError(
            f"{path} does not say how its weights are used.",
            hint="Weights from elsewhere need --learner and --suite, and mostly --network.",
        )
    return RunRequest(
        learners=(learner,),
        suite=test.suite,
        settings=(test.setting,) if test.setting else (),
        budget=test.budget or "lite",
        space=network,
        changes=test.changes,
        data=test.data or "real",
        limit=test.limit,
        metrics=test.metrics,
        plugin_files=test.plugin_files,
    )
