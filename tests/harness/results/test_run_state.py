import json
import os
import time

import pytest
from result_factory import PROVENANCE, edit_json, make_spec, write_run
from state_factory import at_work, write_going

from metabench.data.plain_files import MAX_RECORD
from metabench.planning.runspec import Training
from metabench.results import state
from metabench.results.episode_files import NotCountedError
from metabench.results.reading import read_runs
from metabench.results.run_state import read_run_state
from metabench.results.store import RunStore, is_at_work

SPEC = make_spec(training=Training(meta_steps=1000, meta_batch=4), episodes=100)
POINTS = [
    {"step": 100, "loss": 2.0},
    {"step": 200, "loss": 1.5, "skipped": 3.0},
    {"step": 200, "val_score": 0.25},
    {"step": 300, "loss": 1.25, "skipped": 1.0},
]


def test_a_run_is_running_while_its_lock_is_held(tmp_path):
    folder = write_going(tmp_path, SPEC, POINTS)
    with at_work(folder):
        assert read_run_state(folder).state == "running"
    assert read_run_state(folder).state == "interrupted"  # its process was killed


@pytest.mark.parametrize("status", ["interrupted", "failed", "done"])
def test_other_states_are_those_of_the_record(tmp_path, status):
    assert read_run_state(write_run(tmp_path, SPEC, status=status)).state == status


def test_without_locks_the_last_write_decides(tmp_path, monkeypatch):
    folder = write_going(tmp_path, SPEC, POINTS)
    monkeypatch.setattr(state, "is_at_work", lambda folder: None)
    assert read_run_state(folder).state == "running"
    old = time.time() - state.LATELY - 60
    for file in folder.iterdir():
        os.utime(file, (old, old))
    assert read_run_state(folder).state == "interrupted"


def test_asking_for_a_lock_takes_it_from_nobody(tmp_path):
    folder = write_going(tmp_path, SPEC)
    assert is_at_work(folder) is False  # there is no lock file at all
    for _ in range(3):
        with RunStore(folder).locked():
            assert is_at_work(folder) is True
        assert is_at_work(folder) is False


def test_a_reader_that_has_the_lock_for_a_moment_stops_no_run(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    folder = write_going(tmp_path, SPEC)
    (folder / ".lock").touch()
    with (folder / ".lock").open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        monkeypatch.setattr(time, "sleep", lambda seconds: fcntl.flock(reader, fcntl.LOCK_UN))
        with RunStore(folder).locked():
            assert is_at_work(folder) is True


def test_what_a_run_has_logged_is_read(tmp_path):
    run = read_run_state(write_going(tmp_path, SPEC, POINTS))
    assert (run.steps, run.meta_steps, run.phase) == (300, 1000, "meta-train")
    assert (run.loss, run.val_score, run.curve.skipped) == (1.25, 25.0, 4)
    assert run.curve.loss == [(100, 2.0), (200, 1.5), (300, 1.25)]
    # 300 of 1,000 meta-steps of 4 tasks, none of 200 episodes
    assert run.share == pytest.approx(1200 / 4200)


def test_the_query_loss_goes_before_what_a_learner_calls_its_loss(tmp_path):
    points = [{"step": 100, "loss": 9.0, "query_loss": 1.0}]
    assert read_run_state(write_going(tmp_path, SPEC, points)).loss == 1.0


def test_a_file_that_is_cut_in_a_line_is_read_up_to_there(tmp_path):
    folder = write_going(tmp_path, SPEC, POINTS)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 400, "lo')
    assert read_run_state(folder).steps == 300


@pytest.mark.parametrize(
    "line",
    [b"\xff\xfe", b'{"step": "x"}', b'{"step": -1}', b'{"step": 1e999}', b"7", b"[" * 9999,
     b'{"step": 500, "loss": NaN}', b'{"loss": 1}', b'{"step": 500, "loss": 1' + b"0" * 400 + b"}"],
)  # fmt: skip
def test_damaged_points_are_passed_over(tmp_path, line):
    folder = write_going(tmp_path, SPEC, POINTS)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(line + b"\n")
    run = read_run_state(folder)
    assert run.loss == 1.25
    assert run.steps in (300, 500)


def test_no_more_steps_and_episodes_are_done_than_there_are(tmp_path):
    folder = write_going(tmp_path, SPEC, [{"step": 10**9, "loss": 1.0}])
    (folder / "episodes.jsonl").write_text("{}\n" * 5000)
    run = read_run_state(folder)
    assert (run.steps, run.episodes, run.share) == (1000, 200, 1.0)
    assert run.phase == "meta-test"


def test_episodes_are_counted_in_meta_test(tmp_path):
    folder = write_going(tmp_path, SPEC, [{"step": 1000, "loss": 1.0}])
    (folder / "episodes.jsonl").write_text("{}\n" * 50 + '{"index')
    run = read_run_state(folder)
    assert (run.phase, run.episodes, run.n_episodes) == ("meta-test", 50, 200)
    assert run.share == pytest.approx(4050 / 4200)


def test_the_speed_is_that_of_the_last_minute_of_work(tmp_path):
    folder = write_going(tmp_path, SPEC, POINTS)
    notes = [
        {"phase": "meta-train", "count": 10, "seconds": 1000.0},
        {"phase": "meta-train", "count": 120, "seconds": 30.0},
        {"phase": "meta-train", "count": 180, "seconds": 30.0},
        {"phase": "meta-test", "count": 30, "seconds": 10.0},
        {"phase": "meta-test", "count": -30, "seconds": 10.0},
        {"phase": ["meta-test"], "count": "x"},
    ]
    (folder / "timings.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in notes))
    assert read_run_state(folder).speeds == {"meta-train": 5.0, "meta-test": 3.0}


def test_a_first_start_has_a_speed_before_its_first_note(tmp_path):
    began = time.time() - 50
    started = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(began - 5))
    provenance = PROVENANCE.model_copy(update={"started": started})
    folder = write_going(tmp_path, SPEC, POINTS, provenance=provenance)
    os.utime(folder / "run.json", (began, began))
    os.utime(folder / "metrics.jsonl", (began + 40, began + 40))
    assert read_run_state(folder).speeds["meta-train"] == pytest.approx(300 / 40)
    # One that was resumed has made some of its steps before.
    os.utime(folder / "run.json", (began + 1000, began + 1000))
    os.utime(folder / "metrics.jsonl", (began + 1040, began + 1040))
    assert read_run_state(folder).speeds == {}


def test_a_record_that_cannot_be_read_is_said(tmp_path):
    folder = write_going(tmp_path, SPEC)
    (folder / "run.json").write_text("{")
    with pytest.raises(NotCountedError, match=r"run\.json is not readable"):
        read_run_state(folder)
    with (folder / "run.json").open("wb") as file:
        file.truncate(MAX_RECORD + 1)
    with pytest.raises(NotCountedError, match="it has more than 8,388,608 bytes"):
        read_run_state(folder)


def test_only_the_end_of_a_huge_curve_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("metabench.results.training_curve.MAX_CURVE", 60)
    folder = write_going(tmp_path, SPEC, POINTS)
    run = read_run_state(folder)
    assert (run.steps, run.loss) == (300, 1.25)
    assert len(run.curve.loss) == 1


def test_runs_that_go_on_are_no_problems(tmp_path):
    write_run(tmp_path, make_spec("reptile"))
    going = write_going(tmp_path, SPEC, POINTS)
    failed = write_run(tmp_path, make_spec("mnas"))
    edit_json(failed / "run.json", status="failed", error="no memory")
    with at_work(going):
        results = read_runs(tmp_path)
        assert results.under_way == (going,)
        (problem,) = results.problems
        assert "no memory" in problem
    assert read_runs(tmp_path).under_way == ()
    assert any("its process was killed" in one for one in read_runs(tmp_path).problems)
