"""Running from Python: the records of the command, in a thread too; failures are raised."""

from __future__ import annotations

import shlex
import signal
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

import metabench
from metabench.cli import app
from metabench.plugin.specs import RunEvent

SHORT = {"budget.meta_steps": 3, "budget.meta_batch": 2}


def short_run(out: Path, **options: object) -> metabench.Runs:
    chosen = {"budget": "smoke", "changes": SHORT, "limit": 4, "out": out} | options
    return metabench.run("maml", "toy-regression", **chosen)  # type: ignore[arg-type]


def episodes(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*.jsonl")
        if path.name != "timings.jsonl"
    }


def test_a_call_makes_the_run_of_the_command(tmp_path: Path) -> None:
    runs = short_run(tmp_path / "a", seeds=range(2))
    command = (
        "run --learner maml --suite toy-regression --budget smoke --limit 4 --seed 0..1 "
        "--set budget.meta_steps=3 --set budget.meta_batch=2 --out "
    )
    done = CliRunner().invoke(app, shlex.split(command + str(tmp_path / "b")))
    assert done.exit_code == 0
    assert episodes(tmp_path / "a") == episodes(tmp_path / "b")
    frame = runs.to_frame()
    assert frame["status"].tolist() == ["done", "done"]
    assert frame["seed"].tolist() == [0, 1]
    assert "<table>" in runs._repr_html_()
    assert "\\toprule" in runs.to_latex()


def test_a_call_makes_a_grid(tmp_path: Path) -> None:
    runs = metabench.run(
        ("maml", "mnas"),
        ["toy-regression"],
        budget="smoke",
        changes=SHORT,
        sweep={"learner[maml].inner_lr": [0.01, 0.1]},
        network={"mnas": "toy-cell:gumbel"},
        limit=4,
        out=tmp_path,
    )
    specs = [outcome.job.planned.spec for outcome in runs.outcomes]
    assert [(s.learner.name, s.learner.params["inner_lr"]) for s in specs[:2]] == [
        ("maml", 0.01),
        ("maml", 0.1),
    ]
    assert [s.strategy and s.strategy.name for s in specs] == [None, None, "gumbel"]


def test_a_finished_run_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short_run(tmp_path)
    before = episodes(tmp_path)
    capsys.readouterr()
    short_run(tmp_path)
    assert "was done already" in capsys.readouterr().err
    assert episodes(tmp_path) == before


def test_a_call_works_in_a_thread(tmp_path: Path) -> None:
    handlers = signal.getsignal(signal.SIGINT)
    made: list[metabench.Runs] = []
    thread = threading.Thread(target=lambda: made.append(short_run(tmp_path, seeds=1)))
    thread.start()
    thread.join()
    assert made[0].to_frame()["status"].tolist() == ["done"]
    assert signal.getsignal(signal.SIGINT) is handlers


def test_events_go_to_the_caller(tmp_path: Path) -> None:
    seen: list[RunEvent] = []
    short_run(tmp_path, on_event=seen.append)
    assert {"run-started", "run-done"} <= {event.kind for event in seen}


def test_a_run_that_fails_is_raised_or_returned(tmp_path: Path) -> None:
    diverging = {**SHORT, "learner.inner_lr": 100, "learner.skip_above": None, "learner.clip": None}
    diverging |= {"learner.inner_steps": 100, "learner.inner_clip": None}
    with pytest.raises(metabench.MetabenchError, match="1 of 1 runs failed; the first: maml"):
        short_run(tmp_path, changes=diverging)
    runs = short_run(tmp_path, changes=diverging, check=False)
    assert runs.to_frame()["status"].tolist() == ["failed"]


def test_an_interrupt_saves_and_is_raised(tmp_path: Path) -> None:
    def interrupt(event: RunEvent) -> None:
        if event.kind == "progress":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        short_run(tmp_path, on_event=interrupt)
    assert short_run(tmp_path).to_frame()["status"].tolist() == ["done"]


LEARNER = """
import dataclasses

import metabench
import metabench_plugins


@metabench.hookimpl
def metabench_learners():
    (maml,) = (one for one in metabench_plugins.metabench_learners() if one.name == "maml")
    return [dataclasses.replace(maml, name="mine")]
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_plugin_files_may_be_given_once_only(tmp_path: Path, jobs: int) -> None:
    file = tmp_path / "mine.py"
    file.write_text(LEARNER)
    runs = metabench.run(
        "mine",
        "toy-regression",
        budget="smoke",
        changes=SHORT,
        limit=4,
        seeds=range(2),
        out=tmp_path / "R",
        jobs=jobs,
        plugins=(path for path in [file]),
    )
    assert runs.to_frame()["status"].tolist() == ["done", "done"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"setting": "9-shot"}, "9-shot"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"changes": {"learner.x": 1}}, "x"),
    ],
)
def test_a_bad_argument_is_an_error_with_a_hint(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(metabench.UsageError, match=words) as caught:
        short_run(tmp_path, **options)
    assert caught.value.hint


def test_a_call_says_how_its_runs_are_made(tmp_path: Path) -> None:
    made = [
        short_run(tmp_path, seeds=[0, 1], shard=shard, executor_params={"jobs": 1})
        for shard in ("1/2", "2/2")
    ]
    seeds = [outcome.job.planned.spec.seed for runs in made for outcome in runs.outcomes]
    assert sorted(seeds) == [0, 1]
    with pytest.raises(metabench.UsageError, match="Unknown executor 'loca'"):
        short_run(tmp_path, executor="loca")


def test_a_run_whose_time_is_over_is_returned_as_interrupted(tmp_path: Path) -> None:
    (outcome,) = short_run(tmp_path, time_limit=0.0).outcomes
    assert (outcome.status, outcome.text) == ("interrupted", "time limit")
    (outcome,) = short_run(tmp_path).outcomes
    assert outcome.status == "done"
