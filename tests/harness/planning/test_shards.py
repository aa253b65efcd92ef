"""Shares of planned runs."""

from __future__ import annotations

import pytest

from metabench.errors import UsageError
from metabench.planning.plan import RunRequest, plan
from metabench.planning.shards import Shard, parse_shard
from metabench.plugin.catalog import load_catalog

RUNS = plan(
    RunRequest(learners=("maml", "reptile"), suite="toy-regression", seeds=tuple(range(5))),
    load_catalog(),
)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 13])
def test_all_shards_together_have_each_run_once(n: int) -> None:
    shares = [Shard(number, n).divide(RUNS) for number in range(1, n + 1)]
    own = [one.spec.run_id for share, _ in shares for one in share]
    assert sorted(own) == sorted(one.spec.run_id for one in RUNS)
    sizes = [len(share) for share, _ in shares]
    assert max(sizes) - min(sizes) <= 1
    for share, others in shares:
        assert [one for one in RUNS if one in share] == share
        assert [one for one in RUNS if one not in share] == others


def test_a_run_stays_in_its_shard_whatever_the_order_of_the_plan() -> None:
    share, _ = Shard(2, 3).divide(RUNS)
    again, _ = Shard(2, 3).divide(RUNS[::-1])
    assert {one.spec.run_id for one in again} == {one.spec.run_id for one in share}


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/b", "1/0", "-1/4", "1/4/2", ""])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not one of several shards") as caught:
        parse_shard(text)
    assert "1/4" in caught.value.hint
