"""Learners that are not trained have no training seeds: more runs of them change no statistic."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from result_factory import make_spec, write_run

from metabench.planning.runspec import RunSpec, Training
from metabench.render import render
from metabench.reports.build import build_report
from metabench.reports.comparison import Comparison, compare
from metabench.results.configurations import configurations
from metabench.results.reading import read_runs
from metabench.stats import contrast, seeds_interval, variance_parts

DRAWS = np.random.default_rng(3)
EASE = DRAWS.normal(0.5, 0.1, 80)
TRAINED = [
    0.1 + shift + EASE + DRAWS.normal(0, 0.02, 80) for shift in (0.0, 0.01, 0.03, 0.04, 0.05)
]
FLOOR = EASE + DRAWS.normal(0, 0.05, 80)
OTHER = EASE + DRAWS.normal(0.01, 0.05, 80)


def untrained(name: str, seed: int = 0, **changes: Any) -> RunSpec:
    training = Training(meta_steps=0, meta_batch=4)
    return make_spec(name, seed=seed, episodes=40, space=None, training=training, **changes)


def write(out: Path, *, trained: int = 0, floor: int = 0, other: int = 0) -> Path:
    for seed in range(trained):
        write_run(out, make_spec("maml", seed=seed, episodes=40), list(TRAINED[seed]))
    for name, n, scores in (("floor", floor, FLOOR), ("other", other, OTHER)):
        for seed in range(n):
            write_run(out, untrained(name, seed), list(scores))
    return out


def compared(out: Path) -> Comparison:
    left, right = configurations(read_runs(out).runs)
    return compare(left, right)


def numbers(found: Comparison) -> list[Any]:
    return [asdict(column.difference) | {"visible": column.visible} for column in found.columns]


@pytest.mark.parametrize("trained", [1, 2, 3, 5])
def test_a_difference_to_one_run_is_that_to_several(tmp_path: Path, trained: int) -> None:
    once = compared(write(tmp_path / "once", trained=trained, floor=1))
    for runs in (2, 3, 5):
        again = compared(write(tmp_path / str(runs), trained=trained, floor=runs))
        assert numbers(again) == numbers(once)
        notes = [note for note in again.notes if "is not trained" in note]
        assert notes == [
            "floor is not trained: its seeds change nothing, and one run says all that others "
            "would."
        ]
    only_networks = any("these trained networks" in note for note in once.notes)
    assert only_networks == (trained == 1)
    assert once.columns[0].difference.speaks_of_learners == (trained > 1)


def test_only_the_seeds_of_the_other_side_are_random() -> None:
    left, right = {"a": np.stack(TRAINED[:3])}, {"a": FLOOR[None]}
    found = contrast(left, right, weights={"a": 1.0}, seedless=(False, True))
    # As of equal runs, whose seeds have no variance: of crossed random effects by hand.
    means = left["a"].mean(axis=1)
    rest = left["a"] - means[:, None] - left["a"].mean(axis=0) + means.mean()
    interaction = (rest**2).sum() / (2 * 79)
    values = left["a"].mean(axis=0) - FLOOR
    episodes = (values.var(ddof=1) - interaction / 3) / 80
    total = means.var(ddof=1) / 3 + episodes
    assert found.standard_error == pytest.approx(np.sqrt(total))
    assert found.degrees == pytest.approx(2 * total / (means.var(ddof=1) / 3))
    assert found.n_seeds == (3, 0)
    assert "3 seeds" in found.words()
    copies = contrast(left, {"a": np.stack([FLOOR] * 3)}, weights={"a": 1.0})
    assert found.standard_error == pytest.approx(copies.standard_error)
    parts = variance_parts(left, right, weights={"a": 1.0}, seedless=(False, True))
    assert parts.seeds == pytest.approx((means.var(ddof=1),))


def test_between_two_of_them_only_episodes_are_random(tmp_path: Path) -> None:
    once = compared(write(tmp_path / "once", floor=1, other=1))
    again = compared(write(tmp_path / "again", floor=3, other=2))
    assert numbers(once) == numbers(again)
    assert not once.columns[0].difference.speaks_of_learners
    assert not any("trained networks" in note for note in (*once.notes, *again.notes))
    assert any(note.startswith("floor and other are not trained") for note in again.notes)


def test_marks_and_what_is_said_of_them_do_not_depend_on_the_number_of_runs(
    tmp_path: Path,
) -> None:
    found = []
    for runs in (1, 2, 5):
        results = read_runs(write(tmp_path / str(runs), trained=5, floor=runs))
        report = build_report(results)
        (table,) = report.tables
        rows = {row.learner: row for row in table.rows}
        assert rows["floor"].n_seeds == 0
        found.append({name: row.cells["average"].mark for name, row in rows.items()})
        text = " ".join(render(report, "md").split())
        assert "with seeds and episodes both random" in text
        assert "if one of the two rows has one seed" not in text
        asked = build_report(results, interval="seeds").tables[0]
        (cell,) = (row.cells["average"] for row in asked.rows if row.learner == "floor")
        assert np.isnan(cell.half_width)  # and not 0
        assert "A row with one seed, or without training, has no interval." in asked.caption
    assert found == [{"maml": "best", "floor": "worse"}] * 3


def test_seeds_that_change_scores_are_seeds(tmp_path: Path) -> None:
    """A network without training has initial weights that its seed draws."""
    for seed in range(3):
        spec = make_spec(
            "maml", seed=seed, episodes=40, training=Training(meta_steps=0, meta_batch=4)
        )
        write_run(tmp_path / "a", spec, list(TRAINED[seed]))
    write(tmp_path / "a", floor=1)
    by_name = {c.spec.learner.name: c for c in configurations(read_runs(tmp_path / "a").runs)}
    drawn, floor = by_name["maml"], by_name["floor"]
    assert (drawn.seedless, floor.seedless) == (False, True)
    (single,) = configurations([drawn.runs[0]])
    assert (single.seedless, single.has_one_seed) == (False, True)
    (table,) = build_report(read_runs(tmp_path / "a"), interval="seeds").tables
    (row,) = (row for row in table.rows if row.learner == "maml")
    half_width = seeds_interval(drawn.scores.mean(axis=1)).half_width
    assert row.cells["average"].half_width == pytest.approx(100 * half_width)
