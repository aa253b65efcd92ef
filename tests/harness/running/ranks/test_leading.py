"""One run by several ranks, which are threads here: the result of one, and who does what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from team_factory import ThreadTeam, close, led, lines

from metabench.errors import DataError, DivergedError, MetabenchError
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.plugin.specs import RunEvent
from metabench.results.schema import RunRecord
from metabench.running.loops import Control, Interrupted
from metabench.running.ranks.following import follow
from metabench.running.ranks.leading import Leader
from metabench.running.ranks.messages import Build, End, Evaluate, Load, Step, moved
from metabench.running.run import RunExecution

CPU = torch.device("cpu")


def planned(catalog: Catalog, **changes: Any) -> PlannedRun:
    changes.setdefault("budget", {"meta_steps": 6, "meta_batch": 3})
    changes.setdefault("protocol", {"episodes": 60, "val_episodes": 40})
    changes.setdefault("space", {"width": 8, "hidden": 2})
    request = RunRequest(
        learners=("maml",), suite="toy-regression", budget="smoke", changes=changes
    )
    return plan(request, catalog)[0]


def run(
    made: PlannedRun, catalog: Catalog, out: Path, leader: Leader | None, **control: Any
) -> tuple[RunExecution, list[RunEvent]]:
    events: list[RunEvent] = []
    control = {"emit": events.append, "stopped": lambda: False, **control}
    given = Control(checkpoint_seconds=0.0, leader=leader, **control)
    return RunExecution(made, catalog, out=out, device=CPU, control=given), events


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_make_the_run_of_one_process(count: int, catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog)
    alone, _ = run(made, catalog, tmp_path / "one", None)
    wanted = alone()
    with led(count, catalog) as leader:
        shared, _ = run(made, catalog, tmp_path / "ranks", leader)
        found = shared()
    assert found.run_id == wanted.run_id
    assert wanted.provenance.ranks == ()
    assert found.provenance.ranks == (f"{count} threads",)
    assert found.skipped_steps == wanted.skipped_steps == 0
    for name in ("metrics.jsonl", "episodes.jsonl"):
        one, other = (lines(each.store.folder / name) for each in (alone, shared))
        assert len(one) > 5
        assert close(one, other)


def test_the_leader_says_what_is_next(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog, protocol={"episodes": 60, "selection": "last"})
    with led(2, catalog) as leader:
        team = leader.team
        assert isinstance(team, ThreadTeam)
        run(made, catalog, tmp_path, leader)[0]()
    told = [type(message) for message in team.told]
    assert told == [Build, Load, *[Step] * 6, Load, Evaluate, Evaluate, End]
    assert [m.number for m in team.told if isinstance(m, Step)] == list(range(6))
    # Chunks of 100 of the 240 episodes, two at a time.
    assert [list(m.firsts) for m in team.told if isinstance(m, Evaluate)] == [[0, 100], [200]]
    assert team.n_sums == 6


def test_a_stopped_run_goes_on_with_another_number_of_ranks(
    catalog: Catalog, tmp_path: Path
) -> None:
    made = planned(catalog)
    wanted, _ = run(made, catalog, tmp_path / "one", None)
    wanted()
    steps = 0

    def after_three() -> bool:
        nonlocal steps
        steps += 1
        return steps >= 3

    with led(3, catalog) as leader, pytest.raises(Interrupted):
        run(made, catalog, tmp_path / "ranks", leader, stopped=after_three)[0]()
    with led(2, catalog) as leader:
        resumed, events = run(made, catalog, tmp_path / "ranks", leader)
        record = resumed()
    assert record.provenance.ranks == ("3 threads", "2 threads")
    said = [event.text for event in events if event.kind == "message"]
    assert (
        "goes on with 2 processes; it began with 3 processes, so its numbers differ by "
        in (said[0])
    )
    for name in ("metrics.jsonl", "episodes.jsonl"):
        one, other = (lines(each.store.folder / name) for each in (wanted, resumed))
        assert close(one, other)


def test_one_process_goes_on_with_what_ranks_began(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog, protocol={"episodes": 60, "selection": "last"})
    with led(2, catalog) as leader, pytest.raises(Interrupted):
        run(made, catalog, tmp_path, leader, stopped=lambda: True)[0]()
    record = run(made, catalog, tmp_path, None)[0]()
    assert record.provenance.ranks == ("2 threads", "1")
    assert RunRecord.model_validate_json(record.model_dump_json()) == record


def test_several_runs_follow_each_other(catalog: Catalog, tmp_path: Path) -> None:
    """Also where one of them diverges in between, as it does in one process."""
    good = planned(catalog)
    bad = planned(
        catalog,
        learner={"outer_lr": 1.0, "inner_lr": 100.0, "inner_clip": None},
        protocol={"episodes": 60, "selection": "last"},
    )
    with led(2, catalog) as leader:
        run(good, catalog, tmp_path / "a", leader)[0]()
        with pytest.raises(DivergedError) as shared:
            run(bad, catalog, tmp_path / "a", leader)[0]()
        assert not leader.team.broken
        record = run(good, catalog, tmp_path / "b", leader)[0]()
    assert record.status == "done"
    with pytest.raises(DivergedError, match="6 meta-steps in a row") as alone:
        run(bad, catalog, tmp_path / "c", None)[0]()
    assert shared.value.message == alone.value.message


def test_what_is_wrong_on_a_follower_is_said(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise DataError("There is no data on this machine.")

    monkeypatch.setattr("metabench.running.ranks.following.build", missing)
    made = planned(catalog)
    with led(2, catalog) as leader:
        with pytest.raises(DataError, match="no data on this machine"):
            run(made, catalog, tmp_path, leader)[0]()
        monkeypatch.undo()
        assert run(made, catalog, tmp_path, leader)[0]().status == "done"


def test_chunks_come_in_order_and_their_errors_too(catalog: Catalog) -> None:
    def answer(team: Any, _: Catalog) -> None:
        while not isinstance(message := team.hear(), End):
            assert isinstance(message, Evaluate)
            mine = message.firsts[1] if len(message.firsts) > 1 else None
            team.gather(MetabenchError("not this one") if mine == 3 else mine)

    with led(2, catalog, followed=answer) as leader:
        assert list(leader.chunks("meta-test", lambda first: first, [0, 1, 2])) == [0, 1, 2]
        found = leader.chunks("meta-test", lambda first: first, [0, 1, 2, 3, 4])
        assert [next(found) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(MetabenchError, match="not this one"):
            next(found)


def test_a_step_that_fails_breaks_the_team(catalog: Catalog) -> None:
    """The others wait within theirs, so no further run can be made."""

    class Fails:
        def state_dict(self) -> dict[str, Any]:
            return {}

        def meta_step(self, *_: Any, **__: Any) -> None:
            raise ZeroDivisionError

    def hears_two(team: Any, _: Catalog) -> None:
        assert isinstance(team.hear(), Load)
        assert team.hear() == Step(5)

    with led(2, catalog, followed=hears_two) as leader:
        engine = leader.engine(Fails(), 10)  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError):
            engine(None, progress=0.5, rng=torch.Generator())  # type: ignore[arg-type]
        assert leader.team.broken


def test_a_state_is_moved_with_all_that_is_in_it() -> None:
    state = {"a": torch.ones(1), "b": [1, (torch.zeros(2), "x")], "c": None}
    found = moved(state, "meta")
    assert found["a"].device.type == found["b"][1][0].device.type == "meta"
    assert found["b"][0] == 1
    assert found["b"][1][1] == "x"
    assert found["c"] is None
    assert state["a"].device.type == "cpu"  # type: ignore[union-attr]


def test_a_follower_ends_at_the_end(catalog: Catalog) -> None:
    with led(3, catalog, followed=follow) as leader:
        assert leader.team.count == 3


def test_a_finished_run_calls_nobody(catalog: Catalog, tmp_path: Path) -> None:
    def call() -> Any:
        raise AssertionError("there is nothing to do")

    made = planned(catalog, budget={"meta_steps": 1, "meta_batch": 2})
    first = run(made, catalog, tmp_path, None)[0]()
    again, events = run(made, catalog, tmp_path, Leader(call))
    assert again() == first
    assert [event.text for event in events] == ["was done already"]
