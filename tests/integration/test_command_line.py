"""The main job from the command line, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from metabench.cli import app
from metabench.planning.grid import parse_seeds
from metabench.running import checkpoint

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ANYWHERE = [
    *("run", "--suite", "toy-regression", "--budget", "smoke"),
    *("--set", "network.width=8", "--set", "network.hidden=2"),
]
TINY = [*ANYWHERE, "--device", "cpu"]


def metabench(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def process(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "metabench", *arguments]
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "CI": "1"})


def episodes(out: Path) -> dict[str, bytes]:
    return {str(f.relative_to(out)): f.read_bytes() for f in sorted(out.rglob("episodes.jsonl"))}


def wait_for(out: Path, name: str, size: int, running: subprocess.Popen[bytes]) -> None:
    """Wait until a results file has grown to ``size`` bytes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and running.poll() is None:
        if sum(file.stat().st_size for file in out.rglob(name)) >= size:
            return
        time.sleep(0.01)


def test_run_then_report(tmp_path: Path) -> None:
    arguments = ["--set", "budget.meta_steps=5", "--limit", "3", "--out", str(tmp_path)]
    done = metabench(*TINY, "--learner", "maml,reptile", "--seed", "0..1", *arguments)
    assert done.exit_code == 0, done.output
    assert "Runs: 4 done." in done.stderr
    table = metabench("report", str(tmp_path), "--format", "json")
    found, beside = json.loads(table.stdout)["tables"]
    assert (beside["setting"], beside["evaluation"]) == ("10-shot", "extrapolation")
    assert (found["suite"], found["setting"], found["metric"]) == (
        "toy-regression",
        "10-shot",
        "mse",
    )
    assert [row["learner"] for row in found["rows"]] == ["maml", "reptile"]
    for row in found["rows"]:
        assert row["seeds"] == [0, 1]
        assert {"smoke", "limit", "custom"} <= set(row["stamps"])
        assert row["n_params"] == 97
        assert set(row["cells"]) == {"sine", "line", "quadratic", "harmonics", "average"}
    again = metabench(*TINY, "--learner", "maml,reptile", "--seed", "0..1", *arguments)
    assert again.exit_code == 0
    assert again.stderr.count("was done already") == 4


def test_dry_run_prints_commands_and_runs_nothing(tmp_path: Path) -> None:
    done = metabench(
        *TINY, "--learner", "maml", "--seed", "3,5", "--dry-run", "--out", str(tmp_path)
    )
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 2
    assert "--seed 5" in done.stdout
    assert not list(tmp_path.iterdir())


def test_the_former_names_of_the_network_still_work() -> None:
    """Commands in the records of older runs have them; they are not shown."""
    made = {}
    for option, scope in (("--network", "network"), ("--space", "space")):
        for given in ([option, "mlp"], [f"{option}=mlp"]):
            arguments = ["run", "--suite", "toy-regression", "--learner", "maml", *given]
            done = metabench(*arguments, "--set", f"{scope}.width=8", "--dry-run")
            assert done.exit_code == 0, done.output
            made[option, len(given)] = done.stdout
    assert len(set(made.values())) == 1
    assert "--network mlp --set network.width=8\n" in made["--space", 2]
    shown = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "1000"}).stdout
    assert "--network" in shown
    assert "space" not in shown


def test_a_name_in_a_suite_that_nobody_provides_is_said_before_the_run(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    text = (BENCHMARKS / "toy-regression.yaml").read_text(encoding="utf-8")
    text = text.replace("name: toy-regression", "name: own", 1)
    own.write_text(text.replace("  mumomaml:", "  mumomamml:"))
    done = metabench("run", "--learner", "maml", "--suite", str(own), "--dry-run")
    assert done.exit_code == 0, done.output
    assert f"In suite {own}: Unknown learner 'mumomamml'. Did you mean mumomaml" in done.stderr
    assert "In suite" not in metabench(*TINY, "--learner", "maml", "--dry-run").stderr


DIVERGING = """
from metabench import LearnerSpec, hookimpl
from metabench_plugins.learners.maml import Maml, MamlParams


class Diverging(Maml):
    def meta_step(self, tasks, *, progress, rng):
        return {"loss": float("inf")}


@hookimpl
def metabench_learners():
    yield LearnerSpec(
        name="diverging",
        version=1,
        summary="Says that its loss is infinite.",
        params=MamlParams,
        factory=Diverging,
    )
"""


def test_a_diverging_run_ends_with_a_sentence_and_the_others_go_on(tmp_path: Path) -> None:
    plugin = tmp_path / "diverging.py"
    plugin.write_text(DIVERGING)
    done = metabench(
        *TINY,
        *("--learner", "diverging,reptile", "--limit", "2", "--set", "budget.meta_steps=30"),
        *("--plugin", str(plugin), "--out", str(tmp_path)),
    )
    assert done.exit_code == 1
    assert "diverging 10-shot seed 0: The run diverged: loss is inf at meta-step 1." in done.stderr
    assert "Traceback" not in done.output
    statuses = {
        json.loads(file.read_text())["spec"]["learner"]["name"]: json.loads(file.read_text())[
            "status"
        ]
        for file in tmp_path.rglob("run.json")
    }
    assert statuses == {"diverging": "failed", "reptile": "done"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--learner", "malm"], 2, ["Unknown learner 'malm'", "Did you mean maml"]),
        (
            ["--learner", "maml", "--setting", "9-shot"],
            2,
            ["Unknown setting '9-shot' of suite toy-regression.", "5-shot"],
        ),
        (["--learner", "maml", "--set", "learner.lr=1"], 2, ["'lr'", "inner_lr"]),
        (["--learner", "maml", "--set", "learner.inner_lr=-1"], 2, ["inner_lr=-1", "> 0"]),
        (["--learner", "maml", "--seed", "x"], 2, ["--seed 'x'"]),
        (["--learner", "maml", "--seed", "4..1"], 2, ["names no seed"]),
        (["--learner", "maml", "--seed", "2147483648"], 2, ["from 0 to 2147483647"]),
        (["--learner", "maml", "--seed", "9" * 5000], 2, ["from 0 to 2147483647"]),
        (["--learner", "maml", "--seed", "0..2147483647"], 2, ["more than 1000 seeds"]),
        (["--learner", "maml", "--seed", "0..999,1000"], 2, ["more than 1000 seeds"]),
        (["--learner", "maml", "--set", "protocol.ways=5"], 3, ["ways must be 1, not 5"]),
        (["--learner", "maml", "--set", "protocol.ways=5", "--dry-run"], 3, ["ways must be 1"]),
        (["--learner", "maml", "--device", "cuda:99"], 2, ["cuda:99"]),
        (["--learner", "maml", "--threads", "100000"], 2, ["--threads 100000 is more than the"]),
        (["--learner", "maml", "--device", "gpu"], 2, ["'gpu'"]),
        (["--learner", "maml", "--executor", "loca"], 2, ["local"]),
    ],
)
def test_bad_input_is_one_sentence_a_hint_and_a_code(
    tmp_path: Path, arguments: list[str], code: int, words: list[str]
) -> None:
    done = metabench(*ANYWHERE, *arguments, "--out", str(tmp_path))
    assert done.exit_code == code, done.output
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.output
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("inside", "reason"), [("", "it is a file"), ("deeper", "Not a directory")]
)
def test_a_results_folder_that_cannot_be_is_told_before_anything_runs(
    tmp_path: Path, inside: str, reason: str
) -> None:
    out = tmp_path / "file" / inside
    (tmp_path / "file").write_text("no folder")
    done = metabench(*TINY, "--learner", "maml", "--out", str(out))
    assert done.exit_code == 2, done.output
    assert f"Cannot write to {out}: {reason}." in done.stderr
    assert "--out" in done.stderr
    assert "started" not in done.stderr


def test_a_link_to_nowhere_is_no_results_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for target, reason in (
        (tmp_path / "gone", "a link that leads nowhere"),
        ("/dev/null", "no folder"),
    ):
        out.symlink_to(target)
        done = metabench(*TINY, "--learner", "maml", "--out", str(out))
        assert done.exit_code == 2, done.output
        assert f"Cannot write to {out}: it is {reason}" in done.stderr
        out.unlink()


def test_the_largest_seed_and_a_thousand_seeds_are_taken() -> None:
    arguments = ("--learner", "maml", "--dry-run", "--seed")
    assert metabench(*TINY, *arguments, "2147483647").stdout.count("--seed 2147483647") == 1
    assert len(parse_seeds("0..999")) == 1000
    assert parse_seeds("007,0..2") == (7, 0, 1, 2)


def test_absent_data_is_said_with_the_two_commands_that_help() -> None:
    done = metabench("run", "--learner", "maml", "--suite", "omniglot", "--budget", "smoke")
    assert done.exit_code == 3, done.output
    assert "metabench data fetch omniglot" in done.stderr
    assert "metabench data import omniglot PATH" in done.stderr


def test_help_list_and_completion_import_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from metabench.cli import app\n"
        "for words in (['--help'], ['run', '--help'], ['list', 'learners'], ['list', 'suites']):\n"
        "    try:\n        app(words)\n"
        "    except SystemExit as stop:\n        assert not stop.code\n"
        "heavy = {'torch', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


LONG_ENOUGH_TO_KILL = [
    *(*TINY, "--limit", "500", "--checkpoint-every", "0.05"),
    *("--set", "budget.meta_steps=400"),
]


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    """The episodes of a run that nobody killed, by learner."""

    @cache
    def of(learner: str) -> dict[str, bytes]:
        out = tmp_path_factory.mktemp(f"whole-{learner}")
        done = metabench(*LONG_ENOUGH_TO_KILL, "--learner", learner, "--out", str(out))
        assert done.exit_code == 0, done.output
        return episodes(out)

    return of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learner", "name", "size"),
    [
        ("maml", "last.safetensors", 1),
        ("reptile", "metrics.jsonl", 2000),
        ("maml", "episodes.jsonl", 20_000),
    ],
)
def test_sigkill_anywhere_and_the_same_command_gives_the_same_bytes(
    tmp_path: Path,
    whole_runs: Callable[[str], dict[str, bytes]],
    learner: str,
    name: str,
    size: int,
) -> None:
    cut, log = tmp_path / "cut", tmp_path / "cut.log"
    command = [*LONG_ENOUGH_TO_KILL, "--learner", learner, "--out", str(cut)]
    running = process(command, log)
    wait_for(cut, name, size, running)
    running.kill()
    assert running.wait() == -signal.SIGKILL, log.read_text()
    resumed = metabench(*command)
    assert resumed.exit_code == 0, resumed.output
    assert episodes(cut) == whole_runs(learner)
    assert len(episodes(cut)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [pytest.param("1", marks=pytest.mark.exhaustive), "2"])
def test_interrupt_saves_and_prints_the_command_that_resumes(tmp_path: Path, jobs: str) -> None:
    command = [
        *(*TINY, "--learner", "maml", "--seed", "0..1", "--jobs", jobs, "--limit", "20"),
        *("--set", "budget.meta_steps=1500", "--out", str(tmp_path / "out")),
    ]
    log = tmp_path / "log"
    running = process(command, log)
    wait_for(tmp_path / "out", "metrics.jsonl", 2000, running)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=60) == 130, log.read_text()
    text = log.read_text()
    assert "Resume with:" in text
    assert "--seed 0..1" in text
    states = [json.loads(f.read_text())["status"] for f in tmp_path.rglob("run.json")]
    assert "interrupted" in states
    assert "running" not in states
    log = tmp_path / "resumed.log"
    assert process(command, log).wait() == 0, log.read_text()
    assert "resumes at meta-step" in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.exhaustive),
        pytest.param(signal.SIGUSR1, marks=pytest.mark.exhaustive),
    ],
    ids=lambda number: number.name,
)
def test_a_signal_of_a_scheduler_saves_also_if_it_comes_many_times(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [*TINY, "--learner", "maml", "--set", "budget.meta_steps=100000"]
    log = tmp_path / "log"
    running = process([*command, "--out", str(tmp_path / "out")], log)
    wait_for(tmp_path / "out", "metrics.jsonl", 1, running)
    ends = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < ends:  # to its very end
        running.send_signal(number)
        time.sleep(0.005)
    assert running.returncode == 130, log.read_text()
    assert "Resume with:" in log.read_text()
    assert "Traceback" not in log.read_text()
    (state,) = tmp_path.rglob("last.safetensors")
    assert checkpoint.load(state)["step"] > 0
    (record,) = tmp_path.rglob("run.json")
    assert json.loads(record.read_text())["status"] == "interrupted"


@pytest.mark.slow
def test_runs_side_by_side_give_the_same_bytes_as_one_after_another(tmp_path: Path) -> None:
    command = [
        *(*TINY, "--learner", "maml,reptile", "--seed", "0..1", "--limit", "20"),
        *("--set", "budget.meta_steps=50", "--out"),
    ]
    log = tmp_path / "log"
    assert metabench(*command, str(tmp_path / "1"), "--jobs", "1").exit_code == 0
    side_by_side = [*command, str(tmp_path / "2"), "--jobs", "2"]
    assert process(side_by_side, log).wait() == 0, log.read_text()
    assert episodes(tmp_path / "1") == episodes(tmp_path / "2")
    assert len(episodes(tmp_path / "1")) == 4
