"""Further metrics: of the same predictions, outside the identity, and added to finished runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from result_factory import edit_json, make_spec, write_run
from typer.testing import CliRunner

import metabench
from metabench.cli import app
from metabench.errors import PluginError, UsageError
from metabench.papers.reference import Reference
from metabench.papers.report import build_paper_report
from metabench.papers.table import PaperTable
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.plugin.contracts.metric import MetricFacts
from metabench.plugin.specs import MetricSpec, RunEvent
from metabench.render import Format, render
from metabench.render.figures import FIGURES, FigureRequest
from metabench.reports.build import build_report
from metabench.reports.tables import Table
from metabench.results.further_metrics import through_metric
from metabench.results.reading import FinishedRun, load_results, read_runs
from metabench.results.schema import EpisodeRecord
from metabench.results.store import RunStore
from metabench.running.loops import Control, Interrupted
from metabench.running.run import RunExecution

CPU = torch.device("cpu")


def absolute_error(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (outputs - y).abs().mean(dim=(1, 2))


def root(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (outputs - y).square().mean(dim=(1, 2)).sqrt()


def unbounded(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return absolute_error(outputs, y) / 0.0


def metric(name: str, function: Callable[..., torch.Tensor], version: int = 1) -> MetricSpec:
    return MetricSpec(
        name=name, version=version, summary="An error.", function=function, kinds=("regression",),
        title=f"the {name}", better="smaller", range=(0.0, None),
    )  # fmt: skip


MAE = metric("mae", absolute_error)


@pytest.fixture
def plugins(catalog: Catalog) -> Catalog:
    more = {m.name: m for m in (MAE, metric("rmse", root), metric("far", unbounded))}
    return replace(catalog, metrics={**catalog.metrics, **more})


def made(catalog: Catalog, *metrics: str, selection: str = "last") -> PlannedRun:
    changes = {
        "budget": {"meta_steps": 4, "meta_batch": 2},
        "protocol": {"episodes": 60, "val_episodes": 5, "selection": selection},
        "space": {"width": 6, "hidden": 1},
    }
    request = RunRequest(
        learners=("maml",), suite="toy-regression", budget="smoke", changes=changes, metrics=metrics
    )
    return plan(request, catalog)[0]


def run(
    planned: PlannedRun,
    catalog: Catalog,
    out: Path,
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Run it; return the messages."""
    said: list[str] = []

    def emit(event: RunEvent) -> None:
        if event.kind == "message":
            said.append(event.text)

    control = Control(emit=emit, stopped=stopped, checkpoint_seconds=0.0)
    RunExecution(planned, catalog, out=out, device=CPU, control=control)()
    return said


def only(out: Path) -> FinishedRun:
    results = read_runs(out)
    assert results.problems == ()
    (found,) = results.runs
    return found


def without_metrics(folder: Path) -> list[str]:
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    episodes = [EpisodeRecord.model_validate_json(line) for line in lines]
    return [e.model_copy(update={"metrics": None}).model_dump_json() for e in episodes]


def test_they_change_neither_the_identity_nor_any_other_byte(
    plugins: Catalog, tmp_path: Path
) -> None:
    for name, metrics in (("plain", ()), ("more", ("mae", "rmse"))):
        run(made(plugins, *metrics, selection="meta-val"), plugins, tmp_path / name)
    plain, more = (only(tmp_path / name) for name in ("plain", "more"))
    assert plain.record.run_id == more.record.run_id
    assert plain.config_id == more.config_id
    assert without_metrics(plain.folder) == without_metrics(more.folder)
    curves = [(found.folder / "metrics.jsonl").read_bytes() for found in (plain, more)]
    assert curves[0] == curves[1]
    assert plain.record.selected_step == more.record.selected_step
    assert list(plain.record.metrics) == ["mse"]
    assert list(more.record.metrics) == ["mse", "mae", "rmse"]
    assert "metrics" not in (plain.folder / "episodes.jsonl").read_text()
    assert "--metric mae,rmse" in more.record.provenance.command


def test_they_score_the_predictions_of_the_headline(plugins: Catalog, tmp_path: Path) -> None:
    run(made(plugins, "rmse", "mae"), plugins, tmp_path)
    episodes = only(tmp_path).episodes
    np.testing.assert_allclose(episodes.metrics["rmse"] ** 2, episodes.score, rtol=1e-5)
    assert (episodes.metrics["mae"] <= episodes.metrics["rmse"] + 1e-6).all()
    assert len(np.unique(episodes.metrics["mae"])) > 200


def test_a_finished_run_gets_them_from_its_checkpoint(plugins: Catalog, tmp_path: Path) -> None:
    """The file is then the same, byte for byte, as if they had been asked for at once."""
    run(made(plugins, "mae"), plugins, tmp_path / "at-once")
    run(made(plugins), plugins, tmp_path / "later")
    before = only(tmp_path / "later")
    assert "mae" not in before.episodes.metrics
    assert run(made(plugins, "mae"), plugins, tmp_path / "later") == []
    at_once, later = (only(tmp_path / name) for name in ("at-once", "later"))
    files = [(found.folder / "episodes.jsonl").read_bytes() for found in (at_once, later)]
    assert files[0] == files[1]
    assert later.record.metrics == at_once.record.metrics
    assert later.record.status == "done"
    assert [p.name for p in (later.folder / "evaluations").iterdir()] == ["extrapolation.jsonl"]
    stamp = (later.folder / "episodes.jsonl").stat().st_mtime_ns
    run(made(plugins), plugins, tmp_path / "later")  # they stay, whatever is asked for next
    run(made(plugins, "mae"), plugins, tmp_path / "later")
    assert (later.folder / "episodes.jsonl").stat().st_mtime_ns == stamp


def test_a_kill_while_they_are_added_does_not_make_scores_look_edited(
    plugins: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(made(plugins), plugins, tmp_path)
    add = RunStore.add_metrics_of

    def killed(self: RunStore, evaluation: str) -> None:
        add(self, evaluation)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunStore, "add_metrics_of", killed)
    with pytest.raises(KeyboardInterrupt):
        run(made(plugins, "mae"), plugins, tmp_path)
    monkeypatch.undo()
    only(tmp_path)
    assert run(made(plugins, "mae"), plugins, tmp_path) == []
    found = only(tmp_path)
    assert "mae" in found.record.metrics
    assert found.record.digests == RunStore(found.folder).digests()


def test_a_metric_of_a_newer_version_is_computed_again(plugins: Catalog, tmp_path: Path) -> None:
    run(made(plugins, "mae"), plugins, tmp_path)
    old = only(tmp_path).episodes
    twice = metric("mae", lambda outputs, y: 2 * absolute_error(outputs, y), version=2)
    newer = replace(plugins, metrics={**plugins.metrics, "mae": twice})
    run(made(newer, "mae"), newer, tmp_path)
    found = only(tmp_path)
    assert found.record.metrics["mae"].version == 2
    np.testing.assert_allclose(found.episodes.metrics["mae"], 2 * old.metrics["mae"], rtol=1e-6)
    np.testing.assert_array_equal(found.episodes.score, old.score)


def test_without_a_checkpoint_the_command_says_so(plugins: Catalog, tmp_path: Path) -> None:
    run(made(plugins), plugins, tmp_path)
    before = only(tmp_path)
    (before.folder / "checkpoints" / "weights.safetensors").unlink()
    (said,) = run(made(plugins, "mae"), plugins, tmp_path)
    assert said.startswith("mae is not computed: No checkpoint is left")
    after = only(tmp_path)
    assert after.record.metrics == before.record.metrics
    assert after.record.status == "done"


def test_a_score_outside_the_range_of_its_metric_names_the_plugin(
    plugins: Catalog, tmp_path: Path
) -> None:
    """As the headline it ends the run; as a further metric of a finished run it is reported."""
    negative = metric("mae", lambda outputs, y: -absolute_error(outputs, y))
    wrong = replace(plugins, metrics={**plugins.metrics, "mae": negative})
    said = r"Metric mae gave the score -[\d.]+, but its range is from 0\."
    with pytest.raises(PluginError, match=said):
        run(made(wrong, "mae"), wrong, tmp_path / "at-once")
    (record,) = read_runs(tmp_path / "at-once").others
    assert record.status == "failed"
    assert re.search(said, record.error)
    run(made(wrong), wrong, tmp_path / "later")
    (message,) = run(made(wrong, "mae"), wrong, tmp_path / "later")
    assert re.match(f"mae is not computed: {said} Correct the function", message)
    assert list(only(tmp_path / "later").record.metrics) == ["mse"]


def test_a_metric_that_is_nowhere_finite_is_said_to_be(plugins: Catalog, tmp_path: Path) -> None:
    run(made(plugins, "far"), plugins, tmp_path)
    done = CliRunner().invoke(app, ["report", str(tmp_path), "--metric", "far"])
    assert done.exit_code == 3
    said = " ".join(done.stderr.split())
    folder = only(tmp_path).folder
    assert f"'far' is finite in no run here: it is not finite in {folder} (240 of 240" in said
    assert "no finished" not in said


def test_other_predictions_than_those_of_the_run_are_refused(
    plugins: Catalog, tmp_path: Path
) -> None:
    run(made(plugins), plugins, tmp_path)
    folder = only(tmp_path).folder
    edit_json(folder / "run.json", digests={})  # as of an older metabench
    path = folder / "episodes.jsonl"
    lines = path.read_text().splitlines()
    lines[7] = json.dumps({**json.loads(lines[7]), "score": 123.0})
    path.write_text("".join(f"{line}\n" for line in lines))
    (said,) = run(made(plugins, "mae"), plugins, tmp_path)
    assert "meta-test episode 7 has the score" in said
    assert "123" in said
    assert path.read_text().splitlines() == lines


def test_an_interrupted_run_gets_them_for_all_episodes(plugins: Catalog, tmp_path: Path) -> None:
    stops = iter([False] * 4 + [True] * 99)
    with pytest.raises(Interrupted):
        run(made(plugins), plugins, tmp_path, stopped=lambda: next(stops))
    folder = next(tmp_path.rglob("episodes.jsonl")).parent
    assert 0 < len((folder / "episodes.jsonl").read_text().splitlines()) < 240
    run(made(plugins, "mae"), plugins, tmp_path)
    found = only(tmp_path)
    assert len(found.episodes.metrics["mae"]) == 240
    run(made(plugins), plugins, tmp_path / "whole")
    assert without_metrics(found.folder) == without_metrics(only(tmp_path / "whole").folder)


# What is asked for -----------------------------------------------------------------------------


def test_a_suite_may_name_them_and_the_headline_is_none_of_them(
    plugins: Catalog, tmp_path: Path
) -> None:
    text = plugins.suites["toy-regression"].read_text(encoding="utf-8")
    text = text.replace("name: toy-regression\n", "name: mine\n")
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace("metric: mse\n", "metric: mse\nmetrics: [mae, mse]\n"))
    request = RunRequest(
        learners=("maml",), suite=str(file), budget="smoke", metrics=("rmse", "mae")
    )
    assert plan(request, plugins)[0].metrics == ("mae", "rmse")


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("nll", "Metric nll is for classification, but suite toy-regression is regression.",
         "Metrics for regression: far, mae, mse, rmse."),
        ("mea", "Unknown metric 'mea'.", "mae"),
    ],
)  # fmt: skip
def test_a_metric_that_cannot_be_had_is_refused(
    plugins: Catalog, name: str, said: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        made(plugins, name)
    assert caught.value.message == said
    assert hint in caught.value.hint


def test_a_headline_of_a_newer_version_is_another_run(plugins: Catalog) -> None:
    newer = replace(plugins.metric("mse"), version=2)
    first, second = (
        made(replace(plugins, metrics={**plugins.metrics, "mse": mse}))
        for mse in (plugins.metric("mse"), newer)
    )
    assert "metric_version" not in first.spec.model_dump()
    assert second.spec.model_dump()["metric_version"] == 2
    assert first.spec.run_id != second.spec.run_id
    assert first.spec.config_id != second.spec.config_id


def test_a_plugins_metric_may_be_the_headline_and_selects(plugins: Catalog, tmp_path: Path) -> None:
    """With a metric of which more is better, the worst of the other is kept."""
    closeness = metric("closeness", lambda o, y: -absolute_error(o, y))
    larger = replace(closeness, better="larger", range=(None, 0.0))
    plugins = replace(plugins, metrics={**plugins.metrics, "closeness": larger})
    text = plugins.suites["toy-regression"].read_text(encoding="utf-8")
    file = tmp_path / "mine.yaml"
    text = text.replace("name: toy-regression\n", "name: mine\n")
    file.write_text(text.replace("metric: mse\n", "metric: closeness\n"))
    changes = {
        "budget": {"meta_steps": 4, "meta_batch": 2, "val_every": 1},
        "protocol": {"episodes": 40, "val_episodes": 5, "selection": "meta-val"},
    }
    request = RunRequest(learners=("maml",), suite=str(file), budget="smoke", changes=changes)
    run(plan(request, plugins)[0], plugins, tmp_path / "out")
    found = only(tmp_path / "out")
    assert found.record.metric == larger.facts
    assert (found.episodes.score < 0).all()
    lines = (found.folder / "metrics.jsonl").read_text().splitlines()
    scores = {v["step"]: v["val_score"] for v in map(json.loads, lines) if "val_score" in v}
    assert found.record.selected_step == max(scores, key=lambda step: scores[step])
    (table, _) = build_report(read_runs(tmp_path / "out")).tables
    assert table.caption.startswith("The closeness (closeness) on the query sets")


# What is shown ---------------------------------------------------------------------------------

NLL = MetricFacts(
    name="nll", title="negative log-likelihood", better="smaller", kinds=("classification",)
)
ACCURACY = MetricFacts(
    name="accuracy", title="accuracy", better="larger", percent=True, kinds=("classification",)
)


def write(
    out: Path,
    learner: str,
    values: list[float | None] | None,
    *,
    seed: int = 0,
    budget: str = "lite",
    episodes: int = 4,
) -> Path:
    spec = make_spec(learner, seed=seed, budget=budget, episodes=episodes)
    facts = {"accuracy": ACCURACY} | ({} if values is None else {"nll": NLL})
    folder = write_run(out, spec, [0.25 * (i % 4) for i in range(2 * episodes)], metrics=facts)
    path = folder / "episodes.jsonl"
    episodes = [json.loads(line) for line in path.read_text().splitlines()]
    for episode, value in zip(episodes, values or [], strict=False):
        episode["metrics"] = {"nll": value}
    path.write_text("".join(f"{json.dumps(episode)}\n" for episode in episodes))
    return folder


def test_a_table_of_a_further_metric(tmp_path: Path) -> None:
    write(tmp_path, "maml", [1.0, 2.0, 1.5, 2.5, 1.0, 2.0, 1.5, 2.5])
    write(tmp_path, "reptile", [2.0, 3.0, 2.5, 3.5, 2.0, 3.0, 2.5, 3.5])
    (table,) = build_report(through_metric(read_runs(tmp_path), "nll")).tables
    assert isinstance(table, Table)
    assert table.metric == NLL
    assert table.caption.startswith("Negative log-likelihood (nll) on the query sets")
    assert "It scores the predictions of the headline, whose metric is accuracy." in table.caption
    maml, reptile = table.rows
    cell = maml.cells["bird"]
    assert (cell.mean, cell.unit, cell.n) == (1.25, "nll", 4)
    half_width = 1.96 * np.std([1.0, 1.5, 1.0, 1.5]) / 2
    assert cell.half_width == pytest.approx(half_width, rel=1e-3)
    assert (maml.cells["average"].mark, reptile.cells["average"].mark) == ("best", "worse")
    csv = render(build_report(through_metric(read_runs(tmp_path), "nll")), Format.csv)
    assert csv.splitlines()[1].startswith("multidataset,5w1s,,nll,maml,")
    (headline,) = build_report(read_runs(tmp_path)).tables
    assert isinstance(headline, Table)
    assert headline.metric.name == "accuracy"
    assert "headline" not in headline.caption


def test_a_run_that_lacks_it_is_named_with_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, "maml", [1.0] * 8)
    lacking = write(tmp_path, "reptile", None)
    far = write(tmp_path, "hsml", [1.0] * 7 + [None])
    half = write(tmp_path, "tnas", [1.0] * 5)
    write_run(tmp_path, make_spec(suite="toy", metric="mse", sources=("sine",)))
    results = through_metric(read_runs(tmp_path), "nll")
    assert [run.record.spec.learner.name for run in results.runs] == ["maml"]
    what = "repeat its command with --metric nll, which computes it from the run's checkpoint."
    assert sorted(results.problems) == sorted(
        [
            f"{lacking}: the run has no nll; {what}",
            f"{half}: the run has no nll; {what}",
            f"{far}: 1 episode has no finite nll, so it is not counted.",
        ]
    )


def test_a_data_frame_has_a_column_for_each(tmp_path: Path) -> None:
    write(tmp_path, "maml", [1.0, 2.0, None, 4.0] * 2)
    write(tmp_path, "reptile", None)
    frame = load_results(tmp_path)
    assert list(frame.columns[-2:]) == ["metric", "metric.nll"]
    maml, reptile = (frame[frame.learner == name] for name in ("maml", "reptile"))
    np.testing.assert_array_equal(maml["metric.nll"], [1.0, 2.0, np.nan, 4.0] * 2)
    assert reptile["metric.nll"].isna().all()
    assert len(reptile) == 8


OPEN = dict.fromkeys(("n", "over", "formula"), "not stated")
REFERENCE = {
    "key": "example/table-1",
    "title": "Example",
    "citation": {"authors": "Doe", "title": "T", "venue": "CONF", "where": "Table 1"},
    "protocol": {
        "queries": 1,
        "steps_at_test": 5,
        "normalization": "transductive",
        "episodes": 1000,
        "trained_on": "meta-train",
        "selection": "last",
    },
    "settings": {"5w1s": {"ways": 5, "shots": 1}},
    "interval": OPEN,
    "columns": [
        {
            "name": "bird",
            "heading": "Bird",
            "suite": "multidataset",
            "source": "bird",
            "setting": "5w1s",
        }
    ],
    "rows": [
        {"method": "MAML", "learner": "maml", "cells": {"bird": "1.30 ± 0.20"}},
        {"method": "Reptile", "learner": "reptile", "cells": {"bird": "1.30 ± 0.20"}},
    ],
}


def test_a_papers_table_of_a_further_metric_shows_the_runs_that_have_it(tmp_path: Path) -> None:
    write(tmp_path, "maml", [1.0, 2.0, 1.5, 2.5, 1.0, 2.0, 1.5, 2.5], budget="paper")
    write(tmp_path, "reptile", None, budget="paper")
    nll = {"name": "nll", "title": "negative log-likelihood", "better": "smaller"}
    reference = Reference.model_validate({**REFERENCE, "metric": nll})
    (found,) = build_paper_report(read_runs(tmp_path), reference).tables
    assert isinstance(found, PaperTable)
    maml, reptile = found.rows
    ours, theirs = maml.cells["bird"].ours, maml.cells["bird"].printed
    assert ours is not None
    assert theirs is not None
    assert (ours.mean, ours.unit, theirs.unit) == (1.25, "nll", "nll")
    assert reptile.cells["bird"].ours is None
    assert "Ours: negative log-likelihood (nll) on the query sets" in found.caption
    verdict = maml.cells["bird"].verdict
    assert verdict is not None
    assert "metric" not in verdict.reason
    with pytest.raises(ValueError, match=r"write 'nll' as a mapping .* \{name: nll, title"):
        Reference.model_validate({**REFERENCE, "metric": "nll"})


def test_the_command_line_prints_it(tmp_path: Path) -> None:
    write(tmp_path, "maml", [1.0, 2.0] * 4)
    done = CliRunner().invoke(app, ["report", str(tmp_path), "--metric", "nll", "-f", "json"])
    assert done.exit_code == 0, done.output
    (table,) = json.loads(done.stdout)["tables"]
    assert table["metric"] == "nll"
    assert table["rows"][0]["cells"]["average"]["mean"] == 1.5


def test_compare_takes_a_further_metric(tmp_path: Path) -> None:
    write(tmp_path, "maml", [1.0, 2.0, 1.5, 2.5, 1.0, 2.0, 1.5, 2.5])
    write(tmp_path, "reptile", [2.5, 3.0, 3.0, 3.5, 2.5, 3.0, 3.0, 3.5])
    lacking = write(tmp_path, "reptile", None, seed=1)
    compare = ["compare", "maml", "reptile", str(tmp_path), "--metric", "nll"]
    done = CliRunner().invoke(app, [*compare, "--json"])
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)["comparisons"]
    assert found["unit"] == "nll"
    by_name = {column["column"]: column["difference"] for column in found["columns"]}
    assert by_name == {"bird": -1.5, "texture": -1.0, "average": -1.25}
    assert found["notes"][0] == (
        "It scores the predictions of the headline, whose metric is accuracy."
    )
    assert f"{lacking}: the run has no nll" in done.stderr
    text = CliRunner().invoke(app, compare).stdout
    assert "Scores in nll, less is better;" in text
    assert str(metabench.compare("maml", "reptile", tmp_path, metric="nll")) == text
    headline = CliRunner().invoke(app, [*compare[:-2], "--json"])
    assert json.loads(headline.stdout)["comparisons"][0]["unit"] == "%"


def test_compare_says_who_lacks_the_metric(tmp_path: Path) -> None:
    write(tmp_path, "maml", [1.0] * 8)
    write(tmp_path, "reptile", None)
    folder = str(tmp_path)
    for more, said in (
        (("--metric", "nll"), "No finished run here has the metric 'nll'; there is accuracy."),
        (("--metric", "nll", "--evaluation", "later"), "exclude each other"),
    ):
        done = CliRunner().invoke(app, ["compare", "maml", "reptile", folder, *more])
        assert done.exit_code == 2
        assert said in " ".join(done.stderr.split())


def test_ranks_are_those_of_the_metric(tmp_path: Path) -> None:
    for order, learner in enumerate(("maml", "reptile", "hsml")):
        write(tmp_path, learner, [order + 0.1 * i for i in range(12)], episodes=6)
    request = FigureRequest(results=read_runs(tmp_path), catalog=load_catalog)
    equal = FIGURES["ranks"].make(request).description
    assert "maml 2.00" in equal
    seen = replace(request, results=through_metric(request.results, "nll"))
    drawing = FIGURES["ranks"].make(seen)
    assert "budget lite, negative log-likelihood (nll): maml 1.00, reptile 2.00" in (
        drawing.description
    )
    out = tmp_path / "a.svg"
    done = CliRunner().invoke(
        app, ["figure", "ranks", str(tmp_path), "--metric", "nll", "-o", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "negative log-likelihood" in out.read_text()
    refused = CliRunner().invoke(app, ["figure", "curves", str(tmp_path), "--metric", "nll"])
    assert refused.exit_code == 2
    assert "No run here has a curve of 'nll'; there is none." in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--metric", "ece"), "No finished run here has the metric 'ece'; there is accuracy, nll."),
        (("--metric", "nll", "--paper", "m-nas/table-1"), "names its metric"),
        (("--metric", "nll", "-f", "html"), "shows the headline's metric"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    write(tmp_path, "maml", [1.0] * 8)
    done = CliRunner().invoke(app, ["report", str(tmp_path), *arguments])
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())


def test_a_record_that_does_not_describe_its_metric_is_not_counted(tmp_path: Path) -> None:
    folder = write(tmp_path, "maml", [1.0] * 8)
    record = json.loads((folder / "run.json").read_text())
    for name in ("accuracy", "nll"):
        record["spec"]["metric"] = name
        record["metrics"] = {}
        from metabench.values import digest

        record["run_id"] = digest(record["spec"])
        (folder / "run.json").write_text(json.dumps(record))
        problems = read_runs(tmp_path).problems
        assert bool(problems) == (name == "nll")
    assert "metrics does not describe nll" in problems[0]
