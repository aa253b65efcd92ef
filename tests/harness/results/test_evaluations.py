"""Evaluations beside the headline one: same tasks and support, same identity, same headline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from metabench.errors import DataError, UsageError
from metabench.planning.evaluation import Evaluation
from metabench.planning.plan import PlannedRun, RunRequest, plan, suite_file
from metabench.planning.suite import Suite, load_suite
from metabench.plugin.catalog import Catalog
from metabench.plugin.specs import RunEvent
from metabench.render.text_table import title
from metabench.reports.build import build_report
from metabench.reports.tables import Table
from metabench.results.evaluations import through
from metabench.results.reading import read_runs
from metabench.results.schema import RunRecord
from metabench.running import checkpoint
from metabench.running.build import build
from metabench.running.loops import Control, Interrupted
from metabench.running.run import RunExecution
from metabench.running.trained_learner import restore
from metabench.sampling.checks import require_values
from metabench.sampling.grid import QueryGrid

CPU = torch.device("cpu")
NAME = "extrapolation"
SMALL = {
    "budget": {"meta_steps": 5, "meta_batch": 2},
    "protocol": {"episodes": 60, "selection": "last"},
    "space": {"width": 6, "hidden": 1},
}


def cell(catalog: Catalog, **changes: dict[str, object]) -> PlannedRun:
    request = RunRequest(
        learners=("maml",), suite="toy-regression", budget="smoke", changes={**SMALL, **changes}
    )
    return plan(request, catalog)[0]


def run(
    made: PlannedRun,
    catalog: Catalog,
    out: Path,
    *,
    emit: Callable[[RunEvent], None] = lambda event: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Path:
    control = Control(emit=emit, stopped=stopped, checkpoint_seconds=0.0)
    once = RunExecution(made, catalog, out=out, device=CPU, control=control)
    once()
    return once.store.folder


@pytest.fixture(scope="module")
def folder(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(cell(catalog), catalog, tmp_path_factory.mktemp("out"))


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_evaluations_are_no_part_of_the_identity_of_a_run(catalog: Catalog) -> None:
    request = RunRequest(learners=("maml",), suite="toy-regression", budget="paper")
    (made,) = plan(request, catalog)
    assert NAME in made.evaluations
    assert NAME not in made.spec.model_dump_json()  # the identity is the digest of this


def test_the_grid_keeps_tasks_keys_and_support(catalog: Catalog) -> None:
    made = cell(catalog)
    headline = build(made.spec, catalog, device=CPU).test
    asked = headline.on_grid(made.evaluations[NAME].grid)
    index = np.arange(17)
    one, other = headline.batch(index), asked.batch(index)
    assert one.keys == other.keys
    assert torch.equal(one.support.x, other.support.x)
    assert torch.equal(one.support.y, other.support.y)
    points = torch.linspace(-5, 5, 100).expand(17, 100)[..., None]
    torch.testing.assert_close(other.query.x, points)
    assert headline.batch(index).query.x.shape == (17, 10, 1)  # and is left as it was
    line = other.sources.index("line")
    slope = other.query.y[line].diff(dim=0)
    torch.testing.assert_close(slope, slope[:1].expand_as(slope), atol=1e-5, rtol=0)


def test_it_is_written_beside_the_headline(folder: Path) -> None:
    record = RunRecord.model_validate_json((folder / "run.json").read_text())
    assert record.status == "done"
    assert record.evaluations[NAME].grid == QueryGrid(points=100, low=-5, high=5)
    headline, beside = lines(folder / "episodes.jsonl"), lines(folder / f"evaluations/{NAME}.jsonl")
    assert [e["key"] for e in headline] == [e["key"] for e in beside]
    assert [e["index"] for e in beside] == list(range(240))
    assert all(len(e["curve"]) == 11 for e in beside)  # type: ignore[arg-type]
    assert [e["score"] for e in headline] != [e["score"] for e in beside]
    (found,) = read_runs(folder).runs
    assert found.evaluations[NAME].key.tolist() == found.episodes.key.tolist()
    assert found.evaluations[NAME].curve.shape == (240, 11)
    np.testing.assert_array_equal(
        found.evaluations[NAME].curve[:, 5], found.evaluations[NAME].score
    )


def test_the_headline_is_what_it_is_without_evaluations(
    catalog: Catalog, folder: Path, tmp_path: Path
) -> None:
    made = cell(catalog)
    alone = run(PlannedRun(made.spec, made.stamps, made.command), catalog, tmp_path)
    assert not (alone / "evaluations").exists()
    assert (alone / "episodes.jsonl").read_bytes() == (folder / "episodes.jsonl").read_bytes()


def test_a_finished_run_is_given_what_it_lacks(
    catalog: Catalog, folder: Path, tmp_path: Path
) -> None:
    made = cell(catalog)
    run(PlannedRun(made.spec, made.stamps, made.command), catalog, tmp_path)
    events: list[RunEvent] = []
    later = run(made, catalog, tmp_path, emit=events.append)
    name = f"evaluations/{NAME}.jsonl"
    assert (later / name).read_bytes() == (folder / name).read_bytes()
    assert {e.kind for e in events} == {"phase-started", "progress", "run-done"}
    events.clear()
    run(made, catalog, tmp_path, emit=events.append)
    assert [e.text for e in events] == ["was done already"]


class Killed(BaseException):
    """Stands for a SIGKILL."""


def test_a_killed_evaluation_ends_with_the_same_bytes(
    catalog: Catalog, folder: Path, tmp_path: Path
) -> None:
    made = cell(catalog)

    def kill(event: RunEvent) -> None:
        if event.phase == NAME and event.done >= 100:
            raise Killed

    with pytest.raises(Killed):
        run(made, catalog, tmp_path, emit=kill)
    (path,) = tmp_path.rglob(f"{NAME}.jsonl")
    assert len(lines(path)) == 100
    (problem,) = read_runs(tmp_path).problems
    assert "evaluation extrapolation is not counted: only 100 of the 240 episodes" in problem
    with path.open("a") as file:
        file.write('{"index": 100, "sour')  # torn in the middle of a line
    asked = iter([False, True])
    with pytest.raises(Interrupted):
        run(made, catalog, tmp_path, stopped=lambda: next(asked, True))
    run(made, catalog, tmp_path)
    assert path.read_bytes() == (folder / f"evaluations/{NAME}.jsonl").read_bytes()
    assert read_runs(tmp_path).problems == ()


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def damage_a_line(path: Path) -> None:
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*whole[:20], b'{"index": 20, "\xff"\n', *whole[21:]]))


@pytest.mark.parametrize("harm", [remove, truncate, damage_a_line])
@pytest.mark.parametrize("name", ["episodes.jsonl", f"evaluations/{NAME}.jsonl"])
def test_a_damaged_finished_run_is_made_whole_from_its_checkpoint(
    catalog: Catalog, folder: Path, tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    made = cell(catalog)
    where = tmp_path / folder.relative_to(folder.parents[2])
    shutil.copytree(folder, where)
    harm(where / name)
    assert read_runs(tmp_path).problems != ()
    events: list[RunEvent] = []
    run(made, catalog, tmp_path, emit=events.append)
    assert all(event.phase != "meta-train" for event in events)
    said = [e for e in events if e.text.startswith("the finished run is damaged (")]
    assert len(said) == (name == "episodes.jsonl")
    for path in ("episodes.jsonl", f"evaluations/{NAME}.jsonl", "metrics.jsonl"):
        assert (where / path).read_bytes() == (folder / path).read_bytes(), path
    assert read_runs(tmp_path).problems == ()
    events.clear()
    run(made, catalog, tmp_path, emit=events.append)
    assert [e.text for e in events] == ["was done already"]


def test_a_damaged_finished_run_without_a_checkpoint_is_left_as_it_is(
    catalog: Catalog, folder: Path, tmp_path: Path
) -> None:
    where = tmp_path / folder.relative_to(folder.parents[2])
    shutil.copytree(folder, where)
    truncate(where / "episodes.jsonl")
    (where / "checkpoints/weights.safetensors").unlink()
    before = {path: path.read_bytes() for path in where.rglob("*.json*")}
    with pytest.raises(DataError, match=r"is damaged \(.*\), and its checkpoint is gone") as caught:
        run(cell(catalog), catalog, tmp_path)
    assert "Move the folder away" in caught.value.hint
    assert {path: path.read_bytes() for path in where.rglob("*.json*")} == before


def test_without_a_checkpoint_one_sentence_says_so(catalog: Catalog, tmp_path: Path) -> None:
    made = cell(catalog)
    before = run(PlannedRun(made.spec, made.stamps, made.command), catalog, tmp_path)
    (before / "checkpoints/weights.safetensors").unlink()
    record = (before / "run.json").read_bytes()
    events: list[RunEvent] = []
    run(made, catalog, tmp_path, emit=events.append)
    said = [event.text for event in events if event.kind == "message"]
    assert len(said) == 1
    assert said[0].startswith("evaluation extrapolation is not made: No checkpoint is left in ")
    assert (before / "run.json").read_bytes() == record
    assert not (before / "evaluations").exists()


def test_an_evaluation_defined_anew_is_made_anew(catalog: Catalog, tmp_path: Path) -> None:
    made = cell(catalog)
    where = run(made, catalog, tmp_path)
    first = (where / f"evaluations/{NAME}.jsonl").read_bytes()
    other = Evaluation(grid=QueryGrid(points=50, low=-1, high=1))
    run(PlannedRun(made.spec, made.stamps, made.command, {NAME: other}), catalog, tmp_path)
    assert len(lines(where / f"evaluations/{NAME}.jsonl")) == 240
    assert (where / f"evaluations/{NAME}.jsonl").read_bytes() != first
    assert read_runs(tmp_path).runs[0].record.evaluations == {NAME: other}


def test_restoring_gives_the_weights_that_were_tested(catalog: Catalog, folder: Path) -> None:
    restored = restore(folder, catalog, device=CPU)
    state = checkpoint.load(folder / "checkpoints/weights.safetensors")["learner"]["weights"]
    weights = restored.built.learner.state_dict()["weights"]
    assert all(torch.equal(weights[name], state[name]) for name in state)
    fresh = build(restored.record.spec, catalog, device=CPU).learner.state_dict()["weights"]
    assert not all(torch.equal(fresh[name], state[name]) for name in state)


def test_a_checkpoint_of_another_step_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    where = run(cell(catalog), catalog, tmp_path)
    path = where / "checkpoints/weights.safetensors"
    checkpoint.save(path, {**checkpoint.load(path), "step": 4})
    with pytest.raises(DataError, match="is of meta-step 4, and the run tested meta-step 5"):
        restore(where, catalog, device=CPU)


def test_an_unfinished_run_is_not_restored(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished run"):
        restore(tmp_path, catalog, device=CPU)


def test_another_version_of_a_plugin_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    where = run(cell(catalog), catalog, tmp_path)
    text = (where / "run.json").read_text()
    version = catalog.learner("maml").version
    learner = f'"name": "maml",\n      "version": {version}'
    assert learner in text
    (where / "run.json").write_text(text.replace(learner, learner[:-1] + "7"))
    with pytest.raises(DataError, match=f"version 7 of maml; installed is version {version}"):
        restore(where, catalog, device=CPU)


def test_images_have_no_grid() -> None:
    with pytest.raises(UsageError, match="functions of one input"):
        require_values([object()])  # type: ignore[list-item]


@pytest.mark.parametrize("name", ["../up", "Upper", "", "a b"])
def test_names_are_names_of_files(catalog: Catalog, name: str) -> None:
    values = load_suite(suite_file("toy-regression", catalog)).model_dump(mode="json")
    values["evaluations"] = {name: values["evaluations"][NAME]}
    with pytest.raises(ValueError, match="pattern"):
        Suite.model_validate(values)


def test_a_grid_runs_upwards() -> None:
    with pytest.raises(ValueError, match="lower to a higher"):
        QueryGrid(points=3, low=1, high=1)


def test_the_report_has_a_table_of_its_own_for_it(catalog: Catalog, tmp_path: Path) -> None:
    run(cell(catalog), catalog, tmp_path)
    headline, beside = build_report(read_runs(tmp_path)).tables
    assert isinstance(headline, Table)
    assert isinstance(beside, Table)
    assert [(t.setting, t.evaluation) for t in (headline, beside)] == [
        ("10-shot", ""),
        ("10-shot", NAME),
    ]
    assert title(beside) == "toy-regression @ 10-shot, extrapolation"
    assert beside.caption.startswith("Evaluation extrapolation: 100 equally spaced query points")
    assert "Support points: 10, query points: 100" in beside.caption
    assert "Normalization: inductive" in beside.caption
    (found,) = read_runs(tmp_path).runs
    lines_of = found.evaluations[NAME]
    mean = lines_of.score[lines_of.source == "line"].mean()
    assert beside.rows[0].cells["line"].mean == pytest.approx(mean)
    assert beside.rows[0].runs == headline.rows[0].runs


def test_equal_names_of_different_meaning_share_no_table(catalog: Catalog, tmp_path: Path) -> None:
    run(cell(catalog), catalog, tmp_path)
    made = cell(catalog, learner={"inner_lr": 0.02})
    other = Evaluation(grid=QueryGrid(points=100, low=-1, high=1))
    run(PlannedRun(made.spec, made.stamps, made.command, {NAME: other}), catalog, tmp_path)
    tables = build_report(read_runs(tmp_path)).tables
    assert [len(table.rows) for table in tables] == [2, 1, 1]


@pytest.mark.parametrize(
    ("recorded", "asked", "seen"),
    [
        ("running", "transductive", "running"),
        ("running", "inductive", "running"),
        ("transductive", "transductive", "transductive"),
        ("transductive", "inductive", "inductive"),
        ("inductive", "transductive", "inductive"),
        (None, "inductive", None),
    ],
)
def test_an_evaluation_says_whose_statistics_normalize(
    folder: Path, recorded: str | None, asked: str, seen: str | None
) -> None:
    (found,) = read_runs(folder.parents[1]).runs
    evaluation = found.record.evaluations[NAME].model_copy(update={"normalization": asked})
    record = found.record.model_copy(
        update={
            "normalization": recorded,
            "transductive": recorded == "transductive",
            "evaluations": {NAME: evaluation},
        }
    )
    through_it = through(replace(found, record=record), NAME).record
    assert through_it.normalization == seen
    assert through_it.transductive == (seen == "transductive")
