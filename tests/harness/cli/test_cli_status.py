import json
import os
import subprocess
import sys
import threading

import pytest
from result_factory import make_spec, write_run
from state_factory import at_work, make_plan, write_going
from typer.testing import CliRunner

from metabench.cli import app
from metabench.planning.runspec import Training
from metabench.results.plans import announced
from metabench.results.store import RunStore

SPEC = make_spec("mnas", training=Training(meta_steps=1000, meta_batch=4))
POINTS = [{"step": 500, "loss": 1.25}, {"step": 500, "val_score": 0.5}]


def run(*arguments: object, **env: str):
    return CliRunner().invoke(app, ["status", *map(str, arguments)], env=env)


def test_runs_that_go_on_and_are_done_are_fine(tmp_path):
    write_run(tmp_path, make_spec())
    with at_work(write_going(tmp_path, SPEC, POINTS)):
        result = run(tmp_path)
    assert result.exit_code == 0
    assert "2 runs" in result.stdout
    assert "1 running, 1 done" in " ".join(result.stdout.split())
    assert "1.25  50.00  500/1,000" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_a_run_that_needs_a_command_gives_exit_code_1(tmp_path, status):
    write_going(tmp_path, SPEC, POINTS, status=status, error="no memory")
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "no memory" in result.stdout
    assert "  metabench run" in result.stdout


def test_a_planned_run_gives_exit_code_0(tmp_path):
    with announced(make_plan(make_spec(), SPEC), tmp_path):
        assert run(tmp_path).exit_code == 0


def test_what_cannot_be_read_is_said_and_gives_exit_code_1(tmp_path):
    write_run(tmp_path, make_spec())
    (write_run(tmp_path, SPEC) / "run.json").write_text("{")
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "1 run in" in result.stdout
    assert "run.json is not readable" in result.stderr


def test_no_runs_are_an_error_of_the_data(tmp_path):
    result = run(tmp_path)
    assert result.exit_code == 3
    assert "There is no run below" in result.output


@pytest.mark.parametrize("seconds", ["inf", "nan", "1e10"])
def test_a_time_that_no_clock_can_wait_is_refused(tmp_path, seconds):
    write_run(tmp_path, make_spec())
    result = run(tmp_path, "--watch", "--every", seconds)
    assert result.exit_code == 2
    assert "--every" in result.stderr


def test_json_has_every_run(tmp_path):
    write_run(tmp_path, make_spec())
    with at_work(write_going(tmp_path, SPEC, POINTS)):
        values = json.loads(run(tmp_path, "--format", "json").stdout)
    assert values["counts"] == {"running": 1, "done": 1}
    assert [one["state"] for one in values["runs"]] == ["done", "running"]
    assert values["runs"][1]["val_score"] == 50.0
    assert values["runs"][1]["unit"] == "%"


def test_watching_ends_when_nothing_is_at_work(tmp_path):
    folder = write_going(tmp_path, SPEC, POINTS)
    release, held = threading.Event(), threading.Event()

    def work():
        with RunStore(folder).locked():
            held.set()
            release.wait(20)
        held.set()

    process = threading.Thread(target=work)
    process.start()
    held.wait(20)
    timer = threading.Timer(1.0, release.set)
    timer.start()
    result = run(tmp_path, "--watch", "--every", "0.2", "-f", "json")
    process.join()
    states = [json.loads(line)["runs"][0]["state"] for line in result.stdout.splitlines()]
    assert len(states) > 2
    assert states == ["running"] * (len(states) - 1) + ["interrupted"]
    assert result.exit_code == 1


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_a_terminal_has_its_width(tmp_path, columns):
    for seed in range(3):
        write_going(tmp_path, SPEC.model_copy(update={"seed": seed}), POINTS)
    result = run(tmp_path, COLUMNS=str(columns))
    assert max(map(len, result.stdout.splitlines())) <= columns


def test_it_starts_without_what_computes(tmp_path):
    write_run(tmp_path, make_spec())
    program = (
        "import sys; from metabench.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('HEAVY', sorted({'torch', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "status", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_a_report_says_that_runs_go_on_and_counts_the_others(tmp_path):
    write_run(tmp_path, make_spec())
    with at_work(write_going(tmp_path, SPEC, POINTS)):
        result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 0
    assert "1 run is under way and not counted" in result.stderr
    assert "killed" not in result.stderr
