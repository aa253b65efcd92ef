"""What a learner sees of the processes that share its tasks."""

from __future__ import annotations

import pytest
import torch

from metabench import Ranks
from metabench.plugin.contracts.ranks import ONE_RANK, own_tasks


@pytest.mark.parametrize(("n_tasks", "count"), [(1, 1), (5, 2), (4, 4), (25, 4), (3, 2)])
def test_each_task_belongs_to_one_rank_and_shares_differ_by_at_most_one(
    n_tasks: int, count: int
) -> None:
    shares = [range(n_tasks)[own_tasks(n_tasks, rank=r, count=count)] for r in range(count)]
    assert [task for share in shares for task in share] == list(range(n_tasks))
    sizes = [len(share) for share in shares]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


def test_a_single_process_has_all_tasks_and_sums_to_what_it_adds() -> None:
    one = torch.tensor([1.0, 2.0])
    assert isinstance(ONE_RANK, Ranks)
    assert ONE_RANK.own(7) == slice(0, 7)
    first, second = ONE_RANK.summed([one, None], like=[one, one])
    assert first is one
    assert second is None
