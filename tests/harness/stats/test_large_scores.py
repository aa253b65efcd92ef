"""Scores of any size give finite statistics, or one sentence that says why there are none."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from result_factory import edit_json, make_toy_spec, write_run

import metabench
from metabench.errors import MetabenchError, UsageError
from metabench.reports.validation import validation_score
from metabench.results.reading import read_runs
from metabench.stats import (
    LARGEST,
    average_interval,
    bootstrap_interval,
    computable,
    contrast,
    critical_difference,
    episodes_needed,
    field_interval,
    hierarchical_bootstrap,
    seeds_interval,
    seeds_needed,
    spread_ratio,
    standardized_difference,
    variance_parts,
    visible_difference,
    wilcoxon,
)

RNG = np.random.default_rng(0)
SCORES = np.abs(RNG.standard_normal((3, 40))) + 0.5
OTHERS = SCORES * (1 + 0.3 * RNG.random((3, 40)))
WEIGHTS = {"sine": 1.0}


def sides(scale: float) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"sine": scale * SCORES}, {"sine": scale * OTHERS}


STATISTICS: dict[str, Callable[[float], list[float]]] = {
    "field": lambda s: [field_interval(s * SCORES[0]).half_width / s],
    "average": lambda s: [
        average_interval([field_interval(s * row) for row in SCORES]).half_width / s
    ],
    "seeds": lambda s: [seeds_interval(s * SCORES.mean(axis=1)).half_width / s],
    "bootstrap": lambda s: [bootstrap_interval(s * SCORES[0]).half_width / s],
    "hierarchical": lambda s: [
        end / s
        for found in [hierarchical_bootstrap(*sides(s), weights=WEIGHTS)]
        for end in (found.low, found.mean, found.high)
    ],
    "contrast": lambda s: [
        value
        for found in [contrast(*sides(s), weights=WEIGHTS)]
        for value in (
            found.mean / s,
            found.standard_error / s,
            found.degrees,
            found.p_two_sided(),
            visible_difference(found) / s,
        )
    ],
    "seeds needed": lambda s: [
        seeds_needed(
            variance_parts(*sides(s), weights=WEIGHTS), difference=0.2 * s, n_episodes=40
        ).n
    ],
    "wilcoxon": lambda s: [wilcoxon(s * SCORES[0], s * OTHERS[0]).p],
    "effect": lambda s: [standardized_difference(s * SCORES[0], s * OTHERS[0]) or 0.0],
    "spread": lambda s: [spread_ratio(s * SCORES, 60).high],
    "ranks": lambda s: [
        critical_difference(s * SCORES.T, list("abc"), higher_is_better=False).p  # type: ignore[union-attr]
    ],
}


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_of_the_largest_scores_are_those_of_small_ones(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = STATISTICS[name](LARGEST / 10)
    assert np.isfinite(found).all()
    assert found == pytest.approx(STATISTICS[name](1.0), rel=1e-6)


def test_what_is_not_computable() -> None:
    values = [0.0, -LARGEST, 2 * LARGEST, -1e200, np.inf, np.nan]
    assert computable(values).tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize("std", [1.0, 1e60])
def test_a_difference_that_no_number_of_episodes_shows_is_named(std: float) -> None:
    with pytest.raises(UsageError, match="too small beside the spread"):
        episodes_needed(std, difference=1e-300)


def folder_with(tmp_path: Path, worst: float, *, val_score: float | None = None) -> Path:
    """Two learners with two seeds each; one episode of one run has the worst score."""
    for learner, shift in (("maml", 0.0), ("reptile", 0.1)):
        for seed in (0, 1):
            spec = make_toy_spec(learner, seed=seed, episodes=40)
            scores = [0.125 + 0.01 * i + shift + 0.05 * seed for i in range(40)]
            if learner == "reptile" and seed == 0:
                scores[3] = worst
            folder = write_run(tmp_path, spec, scores)
            if val_score is not None and learner == "reptile":
                edit_json(folder / "run.json", val_score=val_score, selected_step=10)
    return tmp_path


@pytest.mark.parametrize("worst", [1e15, 1e59, 1e61, 1e76, 1e160, 1.7e308])
@pytest.mark.parametrize("interval", ["field", "seeds", "bootstrap"])
def test_tables_and_comparisons_have_numbers_or_a_sentence(
    tmp_path: Path, worst: float, interval: Any
) -> None:
    folder = folder_with(tmp_path, worst)
    problems = read_runs(folder).problems
    if worst > LARGEST:
        (problem,) = problems
        assert "1 episode has no score that can be computed with" in problem
    else:
        assert not problems
    said: list[str] = []
    report = metabench.report(folder, interval=interval)
    texts = [str(report), report.to_markdown(), report.to_latex()]
    try:
        compared = metabench.compare("maml", "reptile", folder)
        texts.append(str(compared))
    except MetabenchError as error:
        said.append(error.message)
    for text in texts:
        words = text.lower().replace("±", " ").split()
        assert not {"nan", "inf", "-inf", "+inf"} & {word.strip("()[],;|&$") for word in words}
    assert worst > LARGEST or not said


def test_a_large_score_on_meta_validation_is_left_out(tmp_path: Path) -> None:
    runs = read_runs(folder_with(tmp_path, 0.5, val_score=1e200)).runs
    assert {validation_score(run) for run in runs} == {None}


def test_a_curve_has_no_points_that_cannot_be_computed_with(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 0.5)
    path = next(folder.rglob("episodes.jsonl"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["curve"] = [1e300, line["score"]]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    curves = [run.episodes.curve for run in read_runs(folder).runs]
    (curve,) = [one for one in curves if one.shape[1]]
    assert np.isnan(curve[:, 0]).all()
    assert np.isfinite(curve[:, 1]).all()
