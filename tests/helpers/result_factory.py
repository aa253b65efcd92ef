"""Makes small result folders for tests; run as a script, it writes ``tests/golden`` anew.

    python tests/helpers/result_factory.py

Only needed when the format of records or of reports changes; look at the difference before you
commit it.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench import SourceDeviation
from metabench.papers.table import PaperReport
from metabench.planning.runspec import Choice, EpisodeProtocol, RunSpec, SourceChoice, Training
from metabench.plugin.catalog import Catalog
from metabench.render import Format
from metabench.reports.tables import Report
from metabench.results.schema import EpisodeRecord, Provenance, RunRecord
from metabench.results.store import RunStore
from metabench.values import digest

if TYPE_CHECKING:
    from metabench.render import Format

GOLDEN = Path(__file__).parents[1] / "golden"
SOURCES = ("bird", "texture")
PROVENANCE = Provenance(
    command="metabench run",
    started="2020-02-07T12:00:00Z",
    device="cpu",
    threads=1,
    python="3.11",
    platform="any",
    packages={},
    git="",
)


def make_spec(
    learner: str = "maml",
    *,
    suite: str = "multidataset",
    setting: str = "5w1s",
    budget: str = "lite",
    metric: str = "accuracy",
    sources: tuple[str, ...] = SOURCES,
    seed: int = 0,
    episodes: int = 4,
    params: dict[str, Any] | None = None,
    **changes: Any,
) -> RunSpec:
    classification = metric == "accuracy"
    protocol = (
        {"ways": 5, "shots": 1, "queries": 1} if classification else {"shots": 10, "queries": 10}
    )
    values: dict[str, Any] = {
        "suite": suite,
        "suite_version": 1,
        "setting": setting,
        "budget": budget,
        "task": "classification" if classification else "regression",
        "metric": metric,
        "sources": tuple(SourceChoice(source=s, name=s, version=1) for s in sources),
        "protocol": EpisodeProtocol(**protocol, episodes=episodes),
        "training": Training(meta_steps=10, meta_batch=4),
        "learner": Choice(name=learner, version=1, params=params or {"inner_lr": 0.01}),
        "space": Choice(name="conv4" if classification else "mlp", version=1),
        "strategy": None,
        "data": "real",
        "data_fingerprint": "0123456789abcdef",
        "seed": seed,
    }
    return RunSpec(**{**values, **changes})


def of_installed_learner(spec: RunSpec, catalog: Catalog) -> RunSpec:
    """The spec with the installed version of its learner, if there is one of that name."""
    installed = catalog.learners.get(spec.learner.name)
    if installed is None:
        return spec
    learner = spec.learner.model_copy(update={"version": installed.version})
    return spec.model_copy(update={"learner": learner})


def make_episodes(spec: RunSpec, scores: list[float]) -> list[EpisodeRecord]:
    """Episodes with these scores, the sources taking turns."""
    names = [source.source for source in spec.sources]
    return [
        EpisodeRecord(
            index=i,
            source=names[i % len(names)],
            key=digest([spec.suite, spec.setting, i]),
            score=score,
        )
        for i, score in enumerate(scores)
    ]


def write_run(out: Path, spec: RunSpec, scores: list[float] | None = None, **changes: Any) -> Path:
    """Write a run as the store lays it out; return its folder."""
    values: dict[str, Any] = {
        "run_id": spec.run_id,
        "spec": spec,
        "status": "done",
        "backend": str(spec.space),
        "n_params": 32901,
        "steps_at_test": spec.protocol.steps_at_test,
        "transductive": True,
        "provenance": PROVENANCE,
    }
    record = RunRecord(**{**values, **changes})
    folder = (
        out / f"{spec.suite}@{spec.setting}" / spec.learner.name.replace("/", "_") / spec.run_id
    )
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(record.model_dump_json(indent=2) + "\n")
    n = spec.protocol.episodes * len(spec.sources)
    episodes = make_episodes(spec, [0.5] * n if scores is None else scores)
    lines = [episode.model_dump_json(exclude_none=True) for episode in episodes]
    (folder / "episodes.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


def make_toy_spec(learner: str, **changes: Any) -> RunSpec:
    """A run on functions of one family, with an error as its metric."""
    toy = {"suite": "toy-regression", "setting": "10s", "metric": "mse", "sources": ("sinusoid",)}
    return make_spec(learner, **{**toy, **changes})


def seal(folder: Path) -> Path:
    """Give the record of a run the digests of its files, as a run has them that is done."""
    edit_json(folder / "run.json", digests=RunStore(folder).digests())
    return folder


def with_score(folder: Path, score: float, *, file: str = "episodes.jsonl") -> None:
    """Edit the score of the first line of a file of a run."""
    path = folder / file
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps({**json.loads(first), "score": score}) + "\n" + "".join(rest))


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def write_golden_records(out: Path) -> None:
    """Two suites, two learners, two seeds but for one, a handful of episodes each."""
    for shift, learner in enumerate(("maml", "reptile")):
        for seed in (0, 1):
            spec = make_spec(learner, seed=seed)
            scores = [(i * i + 2 * shift + 3 * seed) % 7 % 6 / 5 for i in range(8)]
            write_run(out, spec, scores, stamps=("lite",))
            if learner == "maml" and seed:
                continue  # a single run of a suite in which others have several
            budget = "paper" if learner == "maml" else "smoke"
            spec = make_toy_spec(learner, budget=budget, seed=seed)
            scores = [0.125 * (i + 1) + 0.1 * shift + 0.05 * seed for i in range(4)]
            stamps = () if learner == "maml" else ("smoke",)
            write_run(out, spec, scores, n_params=7801, transductive=False, stamps=stamps)


def golden_report() -> Report:
    from metabench.reports.build import build_report
    from metabench.results.reading import read_runs

    return build_report(read_runs(GOLDEN / "records"))


def golden_paper_report() -> PaperReport:
    from metabench.papers.reference_files import load_reference
    from metabench.papers.report import build_paper_report
    from metabench.plugin.catalog import load_catalog
    from metabench.results.reading import read_runs

    reference = load_reference(GOLDEN / "references" / "example-table-1.yaml")
    suites = {"toy-regression": GOLDEN / "suites" / "toy-regression.yaml"}
    catalog = load_catalog()
    deviation = SourceDeviation(
        source="one inner step", here="five", why="all learners take five", where="Doe, section 4"
    )
    # Neither the versions of the built-in learners nor their deviations change the table.
    fixed = {"maml": (deviation,), "reptile": ()}
    learners = {
        name: replace(catalog.learner(name), version=1, deviations=own)
        for name, own in fixed.items()
    }
    catalog = replace(catalog, suites=suites, learners=learners)
    return build_paper_report(read_runs(GOLDEN / "records"), reference, catalog=catalog)


def arranged(folder: Path, catalog: Catalog, *columns: str, **options: str | None) -> Any:
    """The tables of a folder with some columns; ``sort`` and ``metric`` as options."""
    from metabench.api.reading import build_tables
    from metabench.papers.arranging import Arrangement

    _, built = build_tables(
        folder,
        paper=None,
        metric=options.get("metric"),
        interval="auto",
        catalog=lambda: catalog,
        arrangement=Arrangement(columns=columns, sort=options.get("sort")),
    )
    return built


def in_full(report: Report | PaperReport, format: Format) -> str:
    """The text of a format, of the terminal's with all columns and the whole caption."""
    from metabench.render import as_table, render
    from metabench.render.layout import Screen

    if format == "table":
        return as_table.render(report, Screen(wide=True, full_caption=True))
    return render(report, format)


def golden_text(report: Report | PaperReport, format: Format) -> str:
    """A report as the command writes it: LaTeX has the names that papers print."""
    from metabench.plugin.catalog import load_catalog
    from metabench.render import as_tex, render
    from metabench.render.print_names import print_names

    if format == "tex":
        return as_tex.render(report, names=print_names(load_catalog()))
    return render(report, format)


def nine_digits(text: str) -> str:
    """A text whose numbers keep nine digits: no more of a quantile of t is alike in all scipys."""
    return re.sub(r"\d+\.\d{9,}", lambda number: f"{float(number[0]):.9g}", text)


def write_golden_reports() -> None:
    for name, report in (("report", golden_report()), ("paper", golden_paper_report())):
        for format in (format for format in Format if format is not Format.html):
            text = golden_text(report, format)
            (GOLDEN / f"{name}.{format}").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    shutil.rmtree(GOLDEN / "records", ignore_errors=True)
    write_golden_records(GOLDEN / "records")
    write_golden_reports()
