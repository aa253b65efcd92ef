"""The logits that a search keeps, and the schedules that follow progress."""

from __future__ import annotations

import math

import pytest
import torch

from metabench_plugins.learners.parts.logits_log import LogitsLog
from metabench_plugins.learners.parts.schedules import cos, floor, towards


def rows(*values: float) -> dict[str, torch.Tensor]:
    return {"arch.cell": torch.tensor(values)[:, None, None].expand(-1, 2, 3)}


def kept(log: LogitsLog) -> list[float]:
    return log.read()["arch.cell"][:, 1, 2].tolist()


def test_logits_are_read_in_the_order_in_which_they_came() -> None:
    log = LogitsLog(5)
    assert log.read() == {}
    log.add(rows(1, 2))
    log.add(rows(3))
    assert kept(log) == [1, 2, 3]


def test_of_more_than_there_is_room_for_the_last_are_kept() -> None:
    log = LogitsLog(4)
    for first in (1, 3, 5):
        log.add(rows(first, first + 1))
    assert kept(log) == [3, 4, 5, 6]


def test_a_restored_log_goes_on_and_leaves_the_state_it_was_given() -> None:
    log, again = LogitsLog(4), LogitsLog(4)
    log.add(rows(1, 2))
    again.load_state_dict(log.state_dict())
    again.add(rows(3))
    assert kept(log) == [1, 2]
    assert kept(again) == [1, 2, 3]
    log.load_state_dict({})
    assert log.read() == {}


@pytest.mark.parametrize("x", [0.0, 0.3, 2.999, 47.0])
def test_numbers_and_tensors_follow_one_schedule(x: float) -> None:
    given = torch.tensor(x, dtype=torch.float64)
    assert floor(x) == float(floor(given)) == math.floor(x)
    assert cos(x) == pytest.approx(float(cos(given)), abs=1e-15)
    assert isinstance(floor(x), float)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_way_keeps_the_precision_of_the_start(share: float) -> None:
    start, end = torch.rand(2, 7, generator=torch.Generator()).unbind()
    found = [towards(start, end, one) for one in (share, torch.tensor(share, dtype=torch.float64))]
    assert all(one.dtype == start.dtype for one in found)
    torch.testing.assert_close(*found)
    torch.testing.assert_close(found[0], start + share * (end - start))
