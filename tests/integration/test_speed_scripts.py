"""``benchmarks/speed``: entrants compute the same, results tell what was timed, the check fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

SPEED = Path(__file__).parents[2] / "benchmarks" / "speed"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets scripts import each other, and forgets them afterwards: their names are common words."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(SPEED))
    yield
    own = {path.stem for path in SPEED.glob("*.py")} | {"peers"}
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in own:
            del sys.modules[name]


def small(name: str, **changes: Any) -> Any:
    workload = getattr(import_module("maml"), name)
    return replace(workload, tasks=2, steps=2, width=4, **changes)


@pytest.mark.parametrize("order", ["second", "first"])
@pytest.mark.parametrize("peer", ["plain loop", "torch.func loop", "torch.func vmap"])
@pytest.mark.parametrize("name", ["W1", "W2A"])
def test_peers_compute_our_meta_gradient(name: str, peer: str, order: str) -> None:
    workload = small(name, order=order, queries=2)
    step = workload.peer(peer, torch.float64)
    assert step is not None
    for ours, theirs in zip(workload.gradient(torch.float64)(), step(), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["W1", "W2A"])
def test_the_reference_of_the_check_computes_our_meta_gradient(name: str) -> None:
    workload = small(name, queries=2)
    reference = import_module("reference").reference(workload)
    for ours, theirs in zip(workload.gradient()(), reference(), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-2, atol=1e-4)


def test_an_order_that_a_peer_ignores_would_be_seen() -> None:
    first = small("W1", order="first").gradient(torch.float64)()
    second = small("W1").gradient(torch.float64)()
    assert any((a - b).abs().max() > 1e-8 for a, b in zip(first, second, strict=True))


def test_rates_are_counted_in_cpu_time_and_ratios_by_round() -> None:
    race = import_module("race")
    rates = race.race(
        {"one": race.Local(lambda: sum(range(20_000)), 3), "two": race.Local(lambda: None, 1)},
        rounds=3,
        seconds=0.001,
    )
    assert [len(own.rounds) for own in rates.values()] == [3, 3]
    assert rates["one"].over(rates["one"]) == 1
    assert race.Rates((1.0, 4.0, 9.0)).over(race.Rates((2.0, 4.0, 3.0))) == 1.0


def test_a_result_tells_the_share_of_the_better_peak() -> None:
    race, show, workload = map(import_module, ("race", "show", "workload"))
    rates = {
        "ours": race.Rates((10.0, 10.0)),
        "slow": race.Rates((2.0, 2.0)),
        "fast": race.Rates((5.0, 4.0)),
        "matrix product": race.Rates((100e9, 100e9)),
        "3x3 convolution": race.Rates((200e9, 200e9)),
    }
    result = show.Result(
        name="x",
        summary="",
        rates=rates,
        ours=("ours",),
        peers=("slow", "fast"),
        facts=workload.Facts(gflop=5.0),
    )
    assert result.best_peer == "fast"
    assert result.share("ours") == pytest.approx(0.25)
    assert result.as_json()["ratio_to_best_peer"] == pytest.approx(2.25)


def test_growth_is_the_slope_of_logarithms() -> None:
    growth = import_module("growth")
    assert growth.exponent({1: 1.0, 2: 2.8284, 4: 8.0}) == pytest.approx(1.5, abs=1e-3)
    rows = [growth.row(axis, self_timed(axis.sizes)) for axis in growth.AXES]
    assert {row[3] for row in rows} == {"1.00"}
    assert len({axis.name for axis in growth.AXES}) == len(growth.AXES)
    for axis in growth.AXES:
        assert len({axis.at(size) for size in axis.sizes}) == len(axis.sizes)


def self_timed(sizes: tuple[int, ...]) -> dict[int, Any]:
    """Rates of something that takes as long as it is large."""
    rates = import_module("race").Rates
    return {size: rates((1 / size, 1 / size)) for size in sizes}


def test_the_release_has_a_figure_for_all_that_is_checked() -> None:
    check = import_module("check")
    kept = json.loads(check.RELEASE.read_text(encoding="utf-8"))
    assert set(kept["relative_to_reference"]) == set(check.CHECKED)
    assert kept["tolerance"] >= 1.3


def test_the_check_names_what_has_become_slower_in_its_best_round() -> None:
    complaints = import_module("check").complaints
    release = {"a": 1.0, "b": 1.0}
    assert complaints({"a": (0.1, 0.8), "b": (0.7, 0.72)}, release, 1.4) == {}
    found = complaints({"a": (0.5, 0.5), "b": (2.0, 2.0)}, release, 1.4)
    assert list(found) == ["a"]
    assert found["a"].startswith("2.00 times slower")


@pytest.mark.parametrize(("later", "fails"), [(0.9, False), (0.5, True)])
def test_a_slow_step_is_timed_again_before_the_check_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], later: float, fails: bool
) -> None:
    check = import_module("check")
    release = json.loads(check.RELEASE.read_text(encoding="utf-8"))["relative_to_reference"]
    times = []

    def measured(names: Any, **_: Any) -> dict[str, tuple[float, ...]]:
        times.append(list(names))
        speed = 0.5 if len(times) == 1 else later
        slow = times[0][0]
        return {n: (release[n] * (speed if n == slow else 1.0),) for n in names}

    monkeypatch.setattr(check, "measured", measured)
    monkeypatch.setattr(check, "one_thread", lambda: None)
    monkeypatch.setattr(sys, "argv", ["check.py"])
    if fails:
        with pytest.raises(SystemExit, match="1"):
            check.main()
    else:
        check.main()
    assert times == [list(release), [next(iter(release))]]
    assert ("2.00 times slower" in capsys.readouterr().out) is fails


@pytest.mark.slow
def test_the_script_prints_and_writes_what_it_measured(tmp_path: Path) -> None:
    file = tmp_path / "speed.json"
    options = ["--workload", "W1", "--rounds", "1", "--seconds", "0", "--json", str(file)]
    command = [sys.executable, str(SPEED / "all.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "plain loop" in done.stdout
    assert "of peak" in done.stdout
    (result,) = json.loads(file.read_text())["results"]
    assert result["ratio_to_best_peer"] > 1
    assert result["differences"]["plain loop"] < 1e-8


@pytest.mark.slow
def test_another_revision_takes_turns_with_this_one() -> None:
    root = str(SPEED.parents[1])
    options = ["--against", root, "--workload", "W1", "--rounds", "1", "--seconds", "0"]
    command = [sys.executable, str(SPEED / "all.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("W1")]
    assert [line.split()[1] for line in lines] == ["meta-gradient", "meta-step"]
    assert all("ratio" in line for line in lines)
