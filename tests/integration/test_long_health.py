"""Long runs and large folders: neither memory nor open files grow with what is done already."""

from __future__ import annotations

import resource
import statistics
from collections.abc import Sequence
from pathlib import Path

import pytest
from measured_command import measured
from result_factory import make_spec, write_run

import metabench
from metabench.plugin.specs import RunEvent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.exhaustive,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc"),
]

MIB = 2**20
WARM = 0.25
"""The first part of a run, in which memory is still taken once and for all."""


SUITE = """
name: long-health
version: 1
task: regression
metric: mse
space: mlp
sources: [{name: sine, dataset: toy-regression, params: {family: sine}}]
protocol: {queries: 5, shots: 5, steps_at_test: 1, curve_steps: 0}
settings: {5-shot: {}}
learners: {maml: {order: first, inner_steps: 1}}
budgets:
  smoke: {meta_steps: STEPS, meta_batch: 1, protocol: {episodes: EPISODES}}
"""


class Watch:
    """Notes memory and open files at each event of one phase."""

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self.done: list[int] = []
        self.resident: list[int] = []
        self.open_files: list[int] = []

    def __call__(self, event: RunEvent) -> None:
        if event.kind == "progress" and event.phase == self.phase:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.done.append(event.done)
            self.resident.append(pages * resource.getpagesize())
            self.open_files.append(len([*Path("/proc/self/fd").iterdir()]))

    def bytes_each(self) -> float:
        """Memory that one more step or episode takes: the slope by least squares, once warm."""
        return slope(self.done, self.resident)

    def files_each(self) -> float:
        """Files that one more step or episode leaves open, likewise."""
        return slope(self.done, self.open_files)


def slope(done: Sequence[int], values: Sequence[int]) -> float:
    first = int(WARM * len(done))
    assert len(done) - first >= 20, "too few events to fit a slope"
    return statistics.linear_regression(done[first:], values[first:]).slope


def test_a_slope_is_found() -> None:
    done = range(0, 4000, 100)
    assert slope(done, [7 * MIB + 300 * step for step in done]) == pytest.approx(300)


def watched(phase: str, folder: Path, *, steps: int, episodes: int) -> Watch:
    """A run of the cheapest learner, watched in one phase."""
    suite = folder / "long-health.yaml"
    suite.write_text(SUITE.replace("STEPS", str(steps)).replace("EPISODES", str(episodes)))
    watch = Watch(phase)
    runs = metabench.run(
        "maml", suite, budget="smoke", out=folder / "R", device="cpu", on_event=watch
    )
    assert [one.status for one in runs.outcomes] == ["done"]
    return watch


def test_20_000_meta_steps_take_no_more_memory_than_the_first(tmp_path: Path) -> None:
    watch = watched("meta-train", tmp_path, steps=20_000, episodes=10)
    assert watch.done[-1] == 20_000
    assert watch.bytes_each() * 20_000 < 16 * MIB
    assert watch.files_each() * 20_000 < 1


def test_100_000_episodes_take_no_more_memory_than_their_scores(tmp_path: Path) -> None:
    watch = watched("meta-test", tmp_path, steps=1, episodes=100_000)
    assert watch.done[-1] == 100_000
    assert watch.bytes_each() < 1000
    assert watch.files_each() * 100_000 < 1


def test_10_000_runs_are_reported_within_2_gib(tmp_path: Path) -> None:
    learners = ("maml", "reptile", "protonet", "mnas")
    for i in range(10_000):
        setting, rest = divmod(i, 20)
        spec = make_spec(learners[rest // 5], setting=f"s{setting}", seed=rest % 5, episodes=50)
        write_run(tmp_path / "R", spec, [(7 * k + 3 * i) % 6 / 5 for k in range(100)])
    with (tmp_path / "table.csv").open("wb") as sink:
        used = measured(("report", "R", "--format", "csv"), folder=tmp_path, stdout=sink)
    assert used.code == 0
    text = (tmp_path / "table.csv").read_text()
    assert text.count("\n") > 2_000  # four learners in each of 500 settings
    assert used.bytes < 2 * 2**30
