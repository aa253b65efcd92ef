"""The price of planned runs in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.render.price_text import price_text
from metabench.results.costs import Costs, Stretch
from metabench.results.price import kind_of, priced
from metabench.results.run_state import RunState

DONE = RunState(
    folder=Path("R"),
    state="done",
    run_id="",
    suite="",
    setting="",
    budget="",
    learner="",
    seed=0,
    meta_steps=1,
    n_episodes=1,
)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder R beside the tests, as of the README's first command, has runs that are done."""
    monkeypatch.chdir(tmp_path)


def test_the_text_says_time_memory_disk_and_what_is_missing(catalog: Catalog) -> None:
    changes = {"learner": {"inner_lr": 0.5}}
    request = RunRequest(
        learners=("maml", "reptile"),
        suite="toy-regression",
        budget="smoke",
        seeds=(0, 1),
        changes=changes,
    )
    runs = plan(request, catalog)
    costs = Costs(
        stretches=(Stretch(start=0, stop=1, step_seconds=9),),
        test_seconds=0.1,
        memory_mib=600,
        memory_is_least=True,
        episode_bytes=1000,
        load=2,
        notes=("Mind the gap.",),
    )
    runs[1] = replace(runs[1], lacks=("toys are missing. Fetch them.",))
    price = priced(
        runs,
        {kind_of(runs[0]): costs},
        out=Path("R"),
        device="cpu",
        jobs=2,
        why={kind_of(runs[2]): "it crashed"},
    )
    text = price_text(price)
    lines = text.splitlines()
    assert lines[1].split("  ")[0] == "maml toy-regression@10-shot"
    entries = [entry.strip() for entry in lines[1].split("  ") if entry]
    assert entries[1:] == ["0 of 2", "1 h 15 min", "over 600 MiB", "400 kB", "measured"]
    assert "not known: it crashed" in lines[2]
    assert "2 runs on cpu will take about 1 h 15 min, 2 at a time" in text
    assert "at its present load it is 2 h 31 min" in text
    assert "the time of 2 further runs is not known" in text
    assert "at least 1.2 GiB of memory and write about 800 kB to R." in text
    one = price_text(replace(price, runs=price.runs[:1]))
    assert "1 run on cpu will take" in one
    assert "It takes at least 600 MiB of memory and writes about" in one
    assert "Mind the gap." in text
    assert "Missing data of 1 run: toys are missing. Fetch them." in text
    assert "on generated data of the same shape" in text
    assert all(len(line) <= 70 for line in price_text(price, 70).splitlines())


def test_nothing_is_left_of_finished_runs(catalog: Catalog) -> None:
    runs = plan(RunRequest(learners=("maml",), suite="toy-regression", budget="smoke"), catalog)
    price = priced(runs, {}, out=Path("R"), device="cpu", jobs=1, why={})
    assert "The time of 1 run is not known." in price_text(price)
    done = replace(price, runs=(replace(price.runs[0], state=DONE),))
    assert price_text(done).endswith("\n\nOf 1 run, 1 is done in R.\n")


def test_rows_say_what_tells_them_apart(catalog: Catalog) -> None:
    runs = []
    for rate in (0.1, 0.2):
        changes = {"learner": {"inner_lr": rate}, "budget": {"meta_steps": 3}}
        request = RunRequest(
            learners=("maml",), suite="toy-regression", budget="smoke", changes=changes
        )
        runs += plan(request, catalog)
    text = price_text(priced(runs, {}, out=Path("R"), device="cpu", jobs=1, why={}))
    named = [line.split("  ")[0] for line in text.splitlines()[1:3]]
    assert named == [f"maml toy-regression@10-shot learner.inner_lr={rate}" for rate in (0.1, 0.2)]
