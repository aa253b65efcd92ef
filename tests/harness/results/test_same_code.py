"""Runs of unlike code, torch or device are told of, and never averaged in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from result_factory import PROVENANCE, make_spec, write_run

from metabench.reports.build import build_report
from metabench.results.reading import read_runs
from metabench.results.same_code import code_differs, unlike

MADE = {"code": {"harness": "metabench 0.1.0 aa", "learner maml": "mine 1 bb"}, "git": "r1"}


def records_of(results: Any) -> list[Any]:
    return [run.record for run in results.runs]


def runs_with(tmp_path: Path, *made: dict[str, Any]) -> Any:
    for seed, changes in enumerate(made):
        provenance = PROVENANCE.model_copy(update=changes)
        write_run(tmp_path, make_spec(seed=seed), provenance=provenance)
    return read_runs(tmp_path)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            {**MADE, "code": {**MADE["code"], "learner maml": "mine 1 cc"}},
            "code of learner differs between seeds 0, 1 and seed 2",
        ),
        (
            {**MADE, "code": {**MADE["code"], "learner maml": "mine 2 cc"}},
            "code of learner differs between seeds 0, 1 (mine 1) and seed 2 (mine 2)",
        ),
        ({**MADE, "packages": {"torch": "2.4.0"}}, "torch unknown for seeds 0, 1, torch 2.4.0"),
        ({**MADE, "device": "cuda:0 (NVIDIA H200)"}, "device cuda (NVIDIA H200) for seed 2"),
    ],
)
def test_a_row_of_unlike_runs_says_so(tmp_path: Path, other: dict[str, Any], words: str) -> None:
    results = runs_with(tmp_path, MADE, MADE, other)
    assert words in unlike(records_of(results))
    (table,) = build_report(results).tables
    assert "made by different code or devices: maml: " in table.caption
    assert "some rows mix code or devices" in table.warnings


PLUGIN = """
from metabench import LearnerSpec, hookimpl
from metabench_plugins.learners.maml import Maml, MamlParams


@hookimpl
def metabench_learners():
    yield LearnerSpec(name="mine", version=1, summary="M.", params=MamlParams, factory=Maml)
"""


@pytest.mark.slow
def test_a_plugin_file_that_changes_between_two_seeds_is_told_of(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"

    def said(*words: str) -> str:
        command = [sys.executable, "-m", "metabench", *words, "--plugin", str(file)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return " ".join((done.stdout + done.stderr).split())

    run = ["run", "--learner", "mine", "--suite", "toy-regression", "--budget", "smoke"]
    run += ["--limit", "2", "--set", "budget.meta_steps=1", "--set", "budget.meta_batch=1"]
    file.write_text(PLUGIN)
    said(*run, "--out", "R")
    file.write_text(f"{PLUGIN}# another program, of the same version\n")
    again = said(*run, "--seed", "0,1", "--out", "R")
    assert "mine 10-shot seed 0: done: was done already by other code of learner mine" in again
    assert "mine 10-shot seed 1: done" in again
    shown = said("report", "R", "--caption", "full")
    assert "made by different code or devices: mine: code of learner" in shown


def test_older_records_are_told_apart_by_their_revision(tmp_path: Path) -> None:
    results = runs_with(tmp_path, {"git": "r1"}, {"git": "r2-dirty"})
    assert unlike(records_of(results)) == "revision r1 for seed 0, revision r2-dirty for seed 1"


def test_parts_that_changed_together_are_named_together(tmp_path: Path) -> None:
    codes = [
        {"learner maml": of[0], "network mlp": of[0] + "!", "harness": of[1]}
        for of in ("aa", "ab", "cb")
    ]
    results = runs_with(tmp_path, *({"code": code} for code in codes))
    assert unlike(records_of(results)) == (
        "code of harness differs between seed 0 and seeds 1, 2; "
        "code of learner, network differs between seeds 0, 1 and seed 2"
    )


def test_rows_whose_seeds_differ_alike_are_named_together(tmp_path: Path) -> None:
    for learner in ("maml", "anil"):
        for seed, digest in enumerate("ab"):
            code = {"harness": f"metabench 1 {digest}", f"learner {learner}": f"mine 1 {digest}"}
            provenance = PROVENANCE.model_copy(update={"code": code})
            write_run(tmp_path, make_spec(learner, seed=seed), provenance=provenance)
    (table,) = build_report(read_runs(tmp_path)).tables
    assert (
        "made by different code or devices: anil, maml: code of harness, learner differs between "
        "seed 0 and seed 1."
    ) in table.caption


def test_equal_code_is_not_spoken_of(tmp_path: Path) -> None:
    gpus = ({**MADE, "device": f"cuda:{i} (NVIDIA H200)"} for i in range(2))
    results = runs_with(tmp_path, *gpus)
    assert unlike(records_of(results)) == ""
    (table,) = build_report(results).tables
    texts = (table.caption, *table.warnings)
    assert not any(said in text for text in texts for said in ("other code", "code versions"))


def test_what_was_not_recorded_is_not_called_other_code() -> None:
    assert code_differs({}, {"harness": "a"}) == []
    assert code_differs({"harness": "a", "learner x": "b"}, {"harness": "a"}) == ["learner x"]


def test_a_row_whose_seeds_ran_under_other_conditions_says_so(tmp_path: Path) -> None:
    recorded = [
        {"steps_at_test": 5, "transductive": True, "normalization": "transductive"},
        {"steps_at_test": 7, "transductive": False, "normalization": "running"},
        {"steps_at_test": None, "transductive": False, "normalization": None},
    ]
    for seed, values in enumerate(recorded):
        write_run(tmp_path, make_spec(seed=seed), **values)
    (table,) = build_report(read_runs(tmp_path)).tables
    assert "inner steps at test: 5 or 7." in table.caption
    for said in (
        "inner steps at test 5 for seed 0, inner steps at test 7 for seed 1, inner steps at test "
        "unknown for seed 2",
        "normalization transductive for seed 0, normalization running for seed 1",
        "query statistics used for seed 0, query statistics not used for seeds 1, 2",
    ):
        assert said in table.caption


def test_a_condition_that_only_some_seeds_record_is_not_unlike(tmp_path: Path) -> None:
    for seed, steps in enumerate((5, None)):
        write_run(tmp_path, make_spec(seed=seed), steps_at_test=steps)
    assert unlike(records_of(read_runs(tmp_path))) == ""
