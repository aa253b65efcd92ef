import errno
import fcntl
import os

import pytest
from result_factory import make_spec, write_run
from state_factory import make_plan

from metabench.results.folders import look_below
from metabench.results.plans import announced, read_plans

SPECS = [make_spec(seed=seed) for seed in range(3)]


def planned(root):
    return [(entry.seed, at_work) for entry, at_work, _ in read_plans(look_below(root))]


def test_a_plan_is_there_while_its_command_is_at_work(tmp_path):
    with announced(make_plan(*SPECS), tmp_path / "R"):
        assert planned(tmp_path) == [(0, True), (1, True), (2, True)]
        ((entry, _, out), *_) = read_plans(look_below(tmp_path))
        assert out == tmp_path / "R"
        assert (entry.learner, entry.meta_steps, entry.n_episodes) == ("maml", 10, 8)
        assert entry.command == f"metabench run --seed 0 --out {tmp_path / 'R'}"
        for spec in SPECS:
            write_run(tmp_path / "R", spec)
    assert planned(tmp_path) == []
    assert not (tmp_path / "R" / ".plans").exists()


def test_a_plan_of_runs_that_never_began_stays(tmp_path):
    def work():
        write_run(tmp_path, SPECS[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), announced(make_plan(*SPECS), tmp_path):
        work()
    assert planned(tmp_path) == [(0, False), (1, False), (2, False)]
    with announced(make_plan(*SPECS), tmp_path):
        assert planned(tmp_path) == [(0, True), (1, True), (2, True)]
        for spec in SPECS[1:]:
            write_run(tmp_path, spec)
    assert planned(tmp_path) == []


def test_of_two_equal_commands_the_first_keeps_the_plan(tmp_path):
    with announced(make_plan(*SPECS), tmp_path):
        for spec in SPECS:
            write_run(tmp_path, spec)
        with announced(make_plan(*SPECS), tmp_path):
            pass
        assert len(planned(tmp_path)) == 3
    assert planned(tmp_path) == []


def test_one_run_needs_no_plan(tmp_path):
    with announced(make_plan(SPECS[0]), tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_a_plan_that_cannot_be_locked_leaves_nothing(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    with announced(make_plan(*SPECS), tmp_path):
        for spec in SPECS:
            write_run(tmp_path, spec)
    assert not (tmp_path / ".plans").exists()


def test_a_plan_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / ".plans").write_text("mine")
    made = []
    with announced(make_plan(*SPECS), tmp_path):
        made.append(1)
    assert made == [1]
    assert (tmp_path / ".plans").read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"runs": 1}', '{"runs": [{"run_id": "x"}]}', "[" * 99999, "\xff", "1" * 9999],
)
def test_what_is_no_plan_is_passed_over(tmp_path, text):
    (tmp_path / ".plans").mkdir()
    (tmp_path / ".plans" / "a.json").write_text(text, encoding="latin-1")
    os.mkfifo(tmp_path / ".plans" / "b.json")
    assert planned(tmp_path) == []
