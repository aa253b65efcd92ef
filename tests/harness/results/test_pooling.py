"""Seeds of one configuration are brought together only where their scores mean the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from result_factory import edit_json, make_spec, write_run

from metabench.errors import UsageError
from metabench.planning.evaluation import Evaluation
from metabench.plugin.contracts.metric import MetricFacts
from metabench.reports.build import build_report
from metabench.reports.comparison import compare_pairs
from metabench.reports.comparison_sides import Wanted, find_sides
from metabench.results.configurations import configurations
from metabench.results.evaluations import evaluated_configurations
from metabench.results.further_metrics import through_metric
from metabench.results.paired_scores import shared_scores
from metabench.results.reading import read_runs
from metabench.sampling.grid import QueryGrid

N = 40


def with_evaluation(folder: Path, **grid: float) -> None:
    """An evaluation of the name ``dense``, with the scores of the headline."""
    asked = Evaluation(grid=QueryGrid(**grid))
    edit_json(folder / "run.json", evaluations={"dense": asked.model_dump(mode="json")})
    (folder / "evaluations").mkdir()
    text = (folder / "episodes.jsonl").read_text()
    (folder / "evaluations" / "dense.jsonl").write_text(text)


def with_metric(folder: Path, version: int) -> None:
    facts = MetricFacts(name="nll", version=version, title="loss", better="smaller")
    edit_json(folder / "run.json", metrics={"nll": facts.model_dump(mode="json")})
    path = folder / "episodes.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(f"{json.dumps({**f, 'metrics': {'nll': 0.5}})}\n" for f in found))


def run(out: Path, learner: str, seed: int) -> Path:
    spec = make_spec(learner, sources=("bird",), episodes=N, seed=seed)
    return write_run(out, spec, [0.01 * i + 0.1 * (learner == "mnas") for i in range(N)])


def test_an_evaluation_of_other_queries_is_not_averaged_over_seeds(tmp_path: Path) -> None:
    for learner in ("maml", "mnas"):
        for seed, points in enumerate((200, 200, 50)):
            with_evaluation(run(tmp_path, learner, seed), points=points, low=-1, high=1)
    found = evaluated_configurations(read_runs(tmp_path).runs, evaluation="dense")
    assert {(c.spec.protocol.queries, len(c.runs)) for c in found} == {(200, 2), (50, 1)}
    sides = find_sides("mnas", "maml", folder=tmp_path, wanted=Wanted(evaluation="dense"))
    compared = compare_pairs(sides.pairs, evaluation="dense")
    assert {one.columns[0].difference.n_seeds for one in compared} == {(2, 2), (1, 1)}


def test_an_evaluation_in_another_place_is_not_averaged_over_seeds(tmp_path: Path) -> None:
    for learner in ("maml", "mnas"):
        for seed, high in enumerate((1.0, 9.0)):
            with_evaluation(run(tmp_path, learner, seed), points=50, low=-1, high=high)
    with pytest.raises(UsageError, match="the evaluation has several definitions"):
        find_sides("mnas", "maml", folder=tmp_path, wanted=Wanted(evaluation="dense"))


def test_versions_of_a_further_metric_are_rows_of_their_own(tmp_path: Path) -> None:
    for seed, version in enumerate((1, 1, 2)):
        with_metric(run(tmp_path, "maml", seed), version)
    (table,) = build_report(through_metric(read_runs(tmp_path), "nll")).tables
    assert [(row.name, row.seeds) for row in table.rows] == [
        ("maml", (0, 1)),
        ("maml (metric_version=2)", (2,)),
    ]


def keep(folder: Path, first: int, last: int) -> None:
    path = folder / "episodes.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[first:last]))


@pytest.mark.parametrize(
    ("here", "there", "left_out"),
    [((0, 40), (0, 40), 0), ((0, 40), (5, 40), 5), ((0, 30), (5, 40), 15), ((0, 20), (20, 40), 40)],
)
def test_every_episode_that_one_side_lacks_is_counted_as_left_out(
    tmp_path: Path, here: tuple[int, int], there: tuple[int, int], left_out: int
) -> None:
    for seed, rows in enumerate((here, there)):
        keep(run(tmp_path, "maml", seed), *rows)
    runs = read_runs(tmp_path).runs
    (config,) = configurations(runs)
    assert config.n_left_out == left_out
    left, right = (configurations([one])[0] for one in runs)
    assert shared_scores(left, right).n_left_out == left_out
