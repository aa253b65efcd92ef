import os
import time
from pathlib import Path

import pytest
from result_factory import make_spec, write_run
from state_factory import at_work, make_curve, make_plan, make_state, write_going

from metabench.errors import DataError
from metabench.planning.runspec import Training
from metabench.results import overview
from metabench.results.overview import Overview, OverviewReader, TimeLeft
from metabench.results.plans import announced

LONG = Training(meta_steps=1000, meta_batch=4)


def spec(seed: int = 0):
    return make_spec(training=LONG, seed=seed)


def overview_of(*runs, at=1000.0, **changes):
    return Overview(Path("R"), tuple(runs), at=at, **changes)


def test_time_left_is_that_of_the_steps_and_the_episodes():
    run = make_state(steps=600, speeds={"meta-train": 2.0, "meta-test": 10.0}, written=990.0)
    # 400 steps and 400 episodes, of which ten seconds have gone since the last write
    assert overview_of(run).seconds_left(run) == 200 + 40 - 10


def test_a_meta_test_that_nobody_timed_is_left_out():
    run = make_state(steps=600, speeds={"meta-train": 2.0}, written=1000.0)
    assert overview_of(run).seconds_left(run) == 200
    tested = make_state(steps=1000, episodes=100)
    assert overview_of(tested).seconds_left(tested) is None


def test_a_run_without_a_speed_has_that_of_its_kind():
    new = make_state("planned", awaited=True)
    other = make_state("planned", "reptile", awaited=True)
    done = [
        make_state("done", speeds={"meta-train": speed, "meta-test": 40.0}) for speed in (1, 5, 4)
    ]
    found = overview_of(new, other, *done)
    assert found.seconds_left(new) == 1000 / 4 + 10
    assert found.seconds_left(other) is None
    assert found.time_left == TimeLeft(260.0, 1)


def test_as_many_runs_as_now_are_made_at_a_time():
    speeds = {"meta-train": 2.0}
    running = [make_state(steps=steps, speeds=speeds, written=1000.0) for steps in (800, 900)]
    planned = [make_state("planned", speeds=speeds, awaited=True) for _ in range(3)]
    assert overview_of(*running).time_left == TimeLeft(100.0)
    assert overview_of(*running, *planned).time_left == TimeLeft((100 + 50 + 3 * 500) / 2)
    assert overview_of(make_state("planned", speeds=speeds)).time_left == TimeLeft(None)


def test_who_needs_attention():
    fine = [make_state("done"), make_state("running"), make_state("planned")]
    assert not overview_of(*fine).need_attention
    assert not overview_of(make_state("interrupted", awaited=True)).need_attention
    assert overview_of(*fine, make_state("interrupted")).need_attention
    assert overview_of(*fine, make_state("failed")).need_attention
    assert overview_of(*fine, problems=("R/x: run.json is missing.",)).need_attention


def test_the_share_is_that_of_all_known_runs():
    runs = [make_state("done"), make_state("planned"), make_state(steps=500, curve=make_curve(1.0))]
    # 500 of 1,000 meta-steps of 4 tasks and none of 400 episodes
    assert overview_of(*runs).share == pytest.approx((1 + 0 + 2000 / 4400) / 3)


def test_a_folder_is_read_with_its_plans(tmp_path):
    specs = [spec(seed) for seed in range(4)]
    with announced(make_plan(*specs), tmp_path):
        write_run(tmp_path, specs[0])
        write_going(tmp_path, specs[1], status="interrupted")
        going = write_going(tmp_path, specs[2])
        with at_work(going):
            found = OverviewReader(tmp_path)()
    states = [(run.seed, run.state, run.awaited) for run in found.runs]
    assert states == [
        (0, "done", False),
        (1, "interrupted", True),
        (2, "running", False),
        (3, "planned", True),
    ]
    assert found.under_way
    assert found.counts == {"running": 1, "interrupted": 1, "planned": 1, "done": 1}
    later = OverviewReader(tmp_path)()
    assert later.counts == {"interrupted": 2, "planned": 1, "done": 1}
    assert not later.under_way


def test_a_plan_is_only_for_its_own_results_folder(tmp_path):
    write_run(tmp_path / "other", spec(0))
    with announced(make_plan(spec(0), spec(1)), tmp_path / "R"):
        found = OverviewReader(tmp_path)()
    assert found.counts == {"planned": 2, "done": 1}


def test_a_run_that_cannot_be_read_is_a_problem_and_the_rest_is_read(tmp_path):
    write_run(tmp_path, spec(0))
    (write_run(tmp_path, spec(1)) / "run.json").write_text("{")
    os.mkfifo(write_run(tmp_path, spec(2)) / "metrics.jsonl")
    half_copied = write_run(tmp_path, spec(3))
    (half_copied / "run.json").unlink()
    found = OverviewReader(tmp_path)()
    assert found.counts == {"done": 1}
    problems = sorted(found.problems)
    assert len(problems) == 3
    assert f"{half_copied}: run.json is missing, so the run is not counted." in problems
    assert any("is not readable" in one for one in problems)
    assert any("is not a plain file" in one for one in problems)


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(DataError, match="There is no run below"):
        OverviewReader(tmp_path)()
    with pytest.raises(DataError, match="There is no folder"):
        OverviewReader(tmp_path / "none")()
    with announced(make_plan(spec(0), spec(1)), tmp_path):
        assert OverviewReader(tmp_path)().counts == {"planned": 2}


def test_what_has_not_changed_is_not_read_twice(tmp_path, monkeypatch):
    done, going = write_run(tmp_path, spec(0)), write_going(tmp_path, spec(1))
    monkeypatch.setattr("metabench.results.overview.settled", lambda stamps: True)
    asked = []
    real = overview.read_run_state
    monkeypatch.setattr(
        overview, "read_run_state", lambda folder: asked.append(folder) or real(folder)
    )
    read = OverviewReader(tmp_path)
    with at_work(going):
        assert read().counts == {"running": 1, "done": 1}
        assert read().counts == {"running": 1, "done": 1}
    assert read().counts == {"interrupted": 1, "done": 1}
    assert asked.count(done) == 1
    assert asked.count(going) == 3
    write_run(tmp_path, spec(2))
    assert read().counts == {"interrupted": 1, "done": 2}


def test_a_reader_that_looks_again_measures_the_speed(tmp_path):
    folder = write_going(tmp_path, spec(), [{"step": 100, "loss": 1.0}])
    read, now = OverviewReader(tmp_path), time.time()
    with at_work(folder):
        for step, seconds in ((100, 0), (150, 10), (160, 20)):
            with (folder / "metrics.jsonl").open("a") as file:
                file.write(f'{{"step": {step}, "loss": 1.0}}\n')
            for name in ("run.json", "metrics.jsonl"):
                os.utime(folder / name, (now + seconds, now + seconds))
            (run,) = read().runs
            if seconds == 0:
                assert run.speeds == {}
    assert run.speeds == {"meta-train": pytest.approx(3.0)}
