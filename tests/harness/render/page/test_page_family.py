"""The p-values of the differences on a page, as a family: how often any of them errs."""

from __future__ import annotations

import base64
import zlib
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from result_factory import PROVENANCE, make_spec

from metabench.planning.runspec import Choice
from metabench.render.page import differences
from metabench.render.page.differences import find_differences
from metabench.render.page.html import render_page
from metabench.render.page.html.stored import stored
from metabench.render.page.side_by_side import find_side_by_side
from metabench.render.page.values import Differences, Page
from metabench.reports.build import build_report
from metabench.results.configurations import configurations
from metabench.results.episode_files import Episodes
from metabench.results.paired_scores import shared_scores
from metabench.results.reading import FinishedRun, Results
from metabench.results.schema import RunRecord
from metabench.stats import contrast, families, holm

N = 200
"""Episodes."""


def make_run(
    learner: str, scores: np.ndarray, *, seed: int = 0, params: dict[str, float] | None = None
) -> FinishedRun:
    spec = make_spec(learner, metric="mse", sources=("sine",), episodes=N, seed=seed, params=params)
    record = RunRecord(run_id=spec.run_id, spec=spec, status="done", provenance=PROVENANCE)
    episodes = Episodes(
        index=np.arange(N),
        source=np.array(["sine"] * N, dtype=object),
        key=np.array([f"{i}" for i in range(N)], dtype=object),
        score=scores,
        n_params=np.full(N, np.nan),
    )
    return FinishedRun(Path(learner), record, episodes, spec.config_id)


def runs_of_equal_learners(rng: np.random.Generator, *, k: int, seeds: int) -> list[FinishedRun]:
    """Equal expectation; episodes are hard or easy for all, seeds better or worse."""
    hard = rng.normal(size=N)
    return [
        make_run(f"learner-{i}", level + hard + rng.normal(size=N), seed=seed)
        for i in range(k)
        for seed, level in enumerate(rng.normal(size=seeds) if seeds > 1 else [0.0])
    ]


def only(runs: list[FinishedRun]) -> Differences:
    (found,) = find_differences(runs)
    return found


@pytest.mark.parametrize(("seeds", "trials"), [(1, 1000), (3, 300)])
def test_of_five_equal_learners_a_page_calls_any_different_in_one_of_twenty_cases(seeds, trials):
    """Holm over the four pairs with the best alone would err in 10 % with one seed."""
    rng = np.random.default_rng(0)
    errors = [
        min(against.p for against in only(runs_of_equal_learners(rng, k=5, seeds=seeds)).others)
        < 0.05
        for _ in range(trials)
    ]
    standard_error = (0.05 * 0.95 / trials) ** 0.5
    assert np.mean(errors) <= 0.05 + 2 * standard_error


def test_the_family_is_every_pair(monkeypatch):
    rng = np.random.default_rng(1)
    runs = runs_of_equal_learners(rng, k=4, seeds=1)
    found = only(runs)
    assert found.adjustment == "by Holm's procedure over all 6 pairs of the 4 configurations"
    p_of = {}
    for left, right in combinations(configurations(runs), 2):
        shared = shared_scores(left, right)
        one = contrast(shared.left, shared.right, weights={"sine": 1.0})
        names = frozenset({left.spec.learner.name, right.spec.learner.name})
        p_of[names] = 2 * min(one.p_above(0.0), one.p_below(0.0))
    adjusted = dict(zip(p_of, holm([*p_of.values()]), strict=True))
    for against in found.others:
        names = frozenset({against.row.learner, found.best.learner})
        assert against.p == pytest.approx(adjusted[names])

    for module in (differences, families):
        monkeypatch.setattr(module, "MOST_PAIRS", 5)
    found = only(runs)
    assert found.adjustment == "by Bonferroni's correction for all 6 pairs of the 4 configurations"
    for against in found.others:
        names = frozenset({against.row.learner, found.best.learner})
        assert against.p == pytest.approx(min(1.0, 6 * p_of[names]))


def test_two_seeds_have_no_p_value_and_the_caption_says_why():
    """Adjusted for three pairs it would be too small, so nothing is called different by it."""
    rng = np.random.default_rng(4)
    runs = [
        make_run(f"learner-{i}", 10 * i + rng.normal(size=N), seed=seed)
        for i in range(3)
        for seed in range(2)
    ]
    found = only(runs)
    assert [(against.p, against.p_by_column) for against in found.others] == [
        (None, {"sine": None})
    ] * 2
    (group,) = find_side_by_side(runs)
    assert [pair.p for pair in group.pairs] == [None] * 3
    page = Page(title="x", tables=(), papers=(), differences=(found,), sides=(group,))
    text = render_page(page)
    assert (
        "With 2 seeds, intervals adjusted for 3 pairs are too narrow: each side needs at least 3. "
        "The p-values would be too small, so these differences have none and do not count."
    ) in text
    assert "p is for" not in text
    assert '<td class="number apart"' not in text
    assert zlib.decompress(base64.b64decode(stored(page))).count(b'"p":""') == 3

    (table,) = build_report(Results(tuple(runs), (), ()), adjusted=True).tables
    marks = {row.learner: row.cells["sine"] for row in table.rows}
    assert [marks[f"learner-{i}"].family_mark for i in range(3)] == ["best", "tied", "tied"]
    assert [marks[f"learner-{i}"].mark for i in (1, 2)] == ["worse", "worse"]  # by 95 % each

    one_pair = only([run for run in runs if run.record.spec.learner.name != "learner-2"])
    assert one_pair.others[0].p < 0.05
    assert "have none" not in " ".join(one_pair.notes)


def test_seeds_and_degrees_of_freedom_are_those_of_each_row():
    rng = np.random.default_rng(2)
    runs = [
        *(make_run("best", rng.normal(size=N) - 5, seed=seed) for seed in range(4)),
        *(make_run("three", rng.normal(size=N) - 1 + seed, seed=seed) for seed in range(3)),
        make_run("one", rng.normal(size=N) + 4),
    ]
    found = only(runs)
    three, one = (against.by_column["sine"] for against in found.others)
    assert (three.n_seeds, one.n_seeds) == ((3, 4), (1, 4))
    text = render_page(Page(title="x", tables=(), papers=(), differences=(found,)))
    assert ">3 and 4</td>" in text
    assert f">{three.degrees:.1f}</td>" in text
    assert ">1 and 4</td>" in text
    assert "in rows with degrees of freedom, difference of the means over seeds ± t" in text
    assert "; in the others, mean paired difference ± z std/sqrt(n)" in text
    alone = render_page(
        Page(
            title="x", tables=(), papers=(), differences=(replace(found, others=found.others[:1]),)
        )
    )
    assert "Satterthwaite" in alone
    assert "z std/sqrt(n)" not in alone


def test_two_seeds_against_more_are_left_out_and_the_page_says_what_to_run():
    rng = np.random.default_rng(3)
    runs = [
        *(make_run("two", rng.normal(size=N) - 5, seed=seed) for seed in range(2)),
        *(make_run("best", rng.normal(size=N) - 1, seed=seed) for seed in range(3)),
        *(make_run("other", rng.normal(size=N) + 1, seed=seed) for seed in range(3)),
    ]
    found = only(runs)
    assert found.best.learner == "best"  # nothing can be compared with two
    assert [against.row.learner for against in found.others] == ["other"]
    (note,) = (note for note in found.notes if "left out" in note)
    assert "is left out: with 2 and 3 seeds, each side needs at least 3. Run one more seed" in note
    assert note.startswith("two is left out")


def test_what_is_left_out_is_told_apart_from_other_rows_of_its_learner():
    rng = np.random.default_rng(3)
    runs = [
        make_run("maml", rng.normal(size=N) + rate, seed=seed, params={"inner_lr": rate})
        for rate, n_seeds in ((0.1, 3), (0.2, 3), (0.4, 2))
        for seed in range(n_seeds)
    ]
    (note,) = (note for note in only(runs).notes if "left out" in note)
    assert note.startswith("maml (inner_lr=0.4) is left out: with ")


def test_a_row_has_its_network_where_its_name_could_mean_several() -> None:
    rng = np.random.default_rng(0)
    runs = []
    for learner, network in (("maml", "mlp"), ("maml", "toy-cell"), ("reptile", "mlp")):
        run = make_run(learner, rng.normal(size=N))
        spec = run.record.spec.model_copy(update={"space": Choice(name=network, version=1)})
        record = run.record.model_copy(
            update={"spec": spec, "run_id": spec.run_id, "backend": network}
        )
        runs.append(replace(run, record=record, config_id=spec.config_id))
    found = only(runs)
    names = {found.best.name, *(against.row.name for against in found.others)}
    assert names == {"maml (mlp)", "maml (toy-cell)", "reptile"}
