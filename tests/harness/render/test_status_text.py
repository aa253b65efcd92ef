"""The text of ``metabench status``; ``tests/golden/status`` holds it at three widths."""

import shlex
from pathlib import Path

import pytest
from state_factory import make_curve, make_state

from metabench.render.status_text import left_text, percent, status_table, status_text
from metabench.render.status_values import status_values
from metabench.results.metrics import FORMER
from metabench.results.overview import Overview

GOLDEN = Path(__file__).parents[2] / "golden" / "status"
LONG = "a-learner-of-somebody-else-with-a-name-of-sixty-characters-x"
SPEEDS = {"meta-train": 10.0, "meta-test": 100.0}


def overview() -> Overview:
    shots = {"suite": "omniglot", "setting": "20w1s", "metric": FORMER["accuracy"]}
    runs = [
        make_state(
            "failed",
            "mnas",
            seed=7,
            steps=250,
            curve=make_curve(3.5, 2.25),
            error="The run diverged: loss is nan at meta-step 300. Its last good "
            "checkpoint is results/checkpoints/last.safetensors.",
            run_id="00000000000000aa",
            command="metabench run --learner mnas --suite toy-regression --setting 10-shot "
            "--budget paper --seed 7 --set learner.inner_lr=0.001 --out results",
        ),
        *(
            make_state(
                seed=seed,
                meta_steps=40_000,
                steps=25_600,
                curve=make_curve(0.759039, 0.750949, score=0.78592),
                speeds=SPEEDS,
                written=1000.0,
                run_id="44ec77ecfbe713c8",
            )
            for seed in (0, 1)
        ),
        make_state("interrupted", "reptile", steps=999, curve=make_curve(12345.678)),
        make_state("planned", "maml", seed=2, awaited=True, meta_steps=40_000),
        *(make_state("done", learner) for learner in ("hsml", "hsml", "maml")),
        make_state("running", LONG, seed=2**31 - 1, steps=1, **shots),
        make_state(
            "running",
            "metanas",
            steps=1000,
            episodes=120,
            curve=make_curve(1.5, score=0.95312),
            **shots,
        ),
    ]
    order = sorted(runs, key=lambda run: (run.kind, run.seed))
    return Overview(Path("results"), tuple(order), at=1000.0)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_text_is_the_golden_one_and_fits(width):
    text = status_text(overview(), width=width)
    assert text == (GOLDEN / f"{width}.txt").read_text()
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_number_and_no_word_is_cut(width):
    words = status_text(overview(), width=width).split()
    for one in (
        "0.7509",
        "0.786",
        "95.31",
        "1.235e+04",
        "2147483647",
        LONG,
        "48",
        "learner.inner_lr=0.001",
    ):
        assert any(one in word for word in words), one


def test_wide_terminals_say_more():
    assert "25,600/40,000" in status_text(overview(), width=100)
    assert "44ec77ecfbe713c8" in status_text(overview(), width=120)


def test_states_have_colors_and_the_same_text():
    colored = status_text(overview(), width=100, color=True)
    assert "\x1b[31mfailed\x1b[0m" in colored
    plain = colored
    for code in ("31", "32", "33", "36", "0"):
        plain = plain.replace(f"\x1b[{code}m", "")
    assert plain == status_text(overview(), width=100)


def test_names_of_others_write_no_control_codes():
    hostile = make_state("failed", "\x1b[2Jx\ny", error="\x1b]0;a\x07", command="\x1b[1m")
    found = Overview(Path("\x1b[2J"), (hostile,))
    assert "\x1b" not in status_text(found)
    assert "\x07" not in status_text(found)
    assert (
        "<b>" not in status_table(Overview(Path("R"), (make_state("done", "<b>"),))).to_html()[20:]
    )


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_command_can_be_pasted(width):
    command = (
        "metabench run --learner mnas --set 'network.cell={normal: [[0, 2, skip]]}' --out 'my R'"
    )
    run = make_state("interrupted", command=command)
    text = status_text(Overview(Path("R"), (run,)), width=width)
    printed = text[text.index("metabench run") :].replace("\\\n", "")
    assert shlex.split(printed) == shlex.split(command)
    edited = make_state("interrupted", command="metabench run 'x")
    assert "metabench run 'x" in status_text(Overview(Path("R"), (edited,)), width=width)


def test_many_runs_are_counted_and_not_all_listed():
    runs = [make_state("failed", seed=seed, error="no memory") for seed in range(500)]
    lines = status_text(Overview(Path("R"), tuple(runs))).splitlines()
    assert len(lines) < 150
    assert any("400 further runs" in line for line in lines)
    assert any("495 further runs" in line for line in lines)


def test_planned_runs_without_a_command_at_work_are_said_with_the_command():
    runs = (make_state("planned", seed=0), make_state("planned", seed=1))
    text = status_text(Overview(Path("R"), runs))
    assert "No command is at work on 2 planned runs." in text
    assert "  metabench run --learner maml --suite toy-regression --out R" in text


def test_numbers_of_runs_are_not_taken_for_seeds():
    runs = (make_state("done"), make_state("planned", seed=1), make_state("planned", seed=2))
    lines = status_text(Overview(Path("R"), runs)).splitlines()
    assert "1 done: maml (1 run)" in lines
    assert "2 planned: maml (2 runs)" in lines


def test_runs_without_a_known_time_are_said_in_words():
    assert left_text(overview()).endswith("left, not counting 2 runs whose time is not known yet")
    runs = tuple(run for run in overview().runs if run.learner != "metanas")
    assert left_text(Overview(Path("R"), runs, at=1000.0)).endswith(
        "1 run whose time is not known yet"
    )


def test_all_is_only_what_is_whole():
    assert (percent(0.0), percent(0.9999), percent(1.0)) == ("0 %", "99 %", "100 %")


def test_values_are_those_of_the_text():
    values = status_values(overview())
    assert values["counts"] == {
        "running": 4,
        "failed": 1,
        "interrupted": 1,
        "planned": 1,
        "done": 3,
    }
    assert values["runs_of_unknown_time"] == 2
    maml = next(
        run for run in values["runs"] if run["state"] == "running" and run["learner"] == "maml"
    )
    assert (maml["meta_steps"], maml["all_meta_steps"]) == (25_600, 40_000)
    assert maml["seconds_left"] == 1444.0
    assert maml["val_score"] == pytest.approx(0.78592)
    assert len({tuple(run) for run in values["runs"]}) == 1
