import json

import pytest
from result_factory import make_spec, write_run

from metabench.render.page.differences import find_differences
from metabench.render.page.side_by_side import MOST_POINTS, find_side_by_side
from metabench.results.reading import read_runs

SCORES = [i % 5 / 4 for i in range(80)]


@pytest.fixture
def runs(tmp_path):
    for n, learner in enumerate(("maml", "mnas", "reptile")):
        scores = [score - n / 10 + (-1) ** (i // 2) * 0.01 * n for i, score in enumerate(SCORES)]
        scores[8] += n == 1
        run = write_run(tmp_path, make_spec(learner, episodes=40), scores)
        points = [{"step": step, "loss": n + 1 / step} for step in range(1, 200)]
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in points))
    return read_runs(tmp_path).runs


def test_every_pair_is_there_with_the_numbers_of_the_differences(runs):
    (group,) = find_side_by_side(runs)
    (differences,) = find_differences(runs)
    assert [side.row.learner for side in group.sides] == ["maml", "mnas", "reptile"]
    assert [(pair.left, pair.right) for pair in group.pairs] == [(0, 1), (0, 2), (1, 2)]
    for pair, against in zip(group.pairs, differences.others, strict=False):
        for column in group.columns:
            one, other = pair.by_column[column], against.by_column[column]
            assert one.mean == pytest.approx(-other.mean)
        assert pair.p == pytest.approx(against.p)


def test_the_episodes_that_differ_most_come_with_both_scores(runs):
    (group,) = find_side_by_side(runs)
    episodes = group.pairs[0].episodes
    assert len(episodes) == 8
    differences = [one.left - one.right for one in episodes]
    assert differences[:4] == sorted(differences[:4], reverse=True)
    assert differences[4] == min(differences)  # then those where the right one is higher
    assert differences[4] == pytest.approx(100 * (0.1 - 0.01 - 1), abs=1.1)


def test_curves_are_short_and_keep_their_ends(runs):
    (group,) = find_side_by_side(runs)
    line = group.sides[0].training["loss"]
    assert len(line) == MOST_POINTS
    assert line[0][1] > line[-1][1]
    assert line[-1][0] == pytest.approx(198, abs=2)


def test_groups_of_one_place_have_names_of_their_own(tmp_path):
    for version in (1, 2):
        for learner in ("maml", "mnas"):
            spec = make_spec(learner, episodes=40, suite_version=version)
            write_run(tmp_path, spec, SCORES)
    runs = read_runs(tmp_path).runs
    for found in (find_side_by_side(runs), find_differences(runs)):
        assert [one.place for one in found] == [
            f"multidataset @ 5w1s, budget lite, suite version {version}" for version in (1, 2)
        ]


def test_what_cannot_be_compared_is_no_pair(tmp_path):
    write_run(tmp_path, make_spec("maml", episodes=40), SCORES)
    write_run(tmp_path, make_spec("mnas", episodes=40, budget="smoke"), SCORES)
    assert find_side_by_side(read_runs(tmp_path).runs) == []
