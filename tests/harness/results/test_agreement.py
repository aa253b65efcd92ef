"""Two makings of one run that disagree are named, with how they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from result_factory import PROVENANCE, make_spec, write_run
from typer.testing import CliRunner

from metabench.cli import app
from metabench.results.reading import read_runs

SCORES = [0.5, 0.25, 0.75, 0.5, 0.5, 0.25, 0.75, 0.5]
MADE = {"code": {"harness": "metabench 0.1.0 aa"}, "packages": {"torch": "2.5.0"}}


def made(out: Path, scores: list[float] = SCORES, **changes: Any) -> Path:
    provenance = PROVENANCE.model_copy(update={**MADE, **changes})
    return write_run(out, make_spec(), scores, provenance=provenance)


def test_equal_scores_are_counted_once(tmp_path: Path) -> None:
    first = made(tmp_path / "a")
    second = made(tmp_path / "b", packages={"torch": "2.6.0"})
    results = read_runs(tmp_path)
    assert [run.folder for run in results.runs] == [first]
    assert results.problems == (f"{second}: the same run is also in {first}, and is counted once.",)


@pytest.mark.parametrize(
    ("scores", "made_with", "words"),
    [
        (
            [0.5, 0.5, *SCORES[2:]],
            {"packages": {"torch": "2.6.0"}, "device": "cuda:0 (NVIDIA H200)"},
            "the two disagree: 1 of 8 episodes has other scores, by 25 at most (the mean of all "
            "is 50.00 or 53.12); they were made with torch 2.5.0 or 2.6.0, device cpu or cuda "
            "(NVIDIA H200). That in",
        ),
        (
            SCORES[::-1],
            {"code": {"harness": "metabench 0.1.0 bb"}},
            "4 of 8 episodes have other scores, by 50 at most (the mean of all is 50.00 or "
            "50.00); they were made with other code of harness. That in",
        ),
        (SCORES[:6], {}, "disagree: there are 8 or 6 episodes. That in"),
    ],
)
def test_other_scores_are_told_of(
    tmp_path: Path, scores: list[float], made_with: dict[str, Any], words: str
) -> None:
    first = made(tmp_path / "a")
    second = made(tmp_path / "b", scores, **made_with)
    results = read_runs(tmp_path)
    assert [run.folder for run in results.runs] == [first]
    problem = results.problems[-1]
    assert problem.startswith(f"{second}: the same run is also in {first}, and ")
    assert words in problem
    assert problem.endswith(f"That in {first} is counted.")
    shown = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert words in shown.stderr
    assert "50.00" in shown.stdout
