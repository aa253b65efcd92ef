"""The MLflow tracker on a server that fails in the middle of a hand-over, without MLflow itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from metabench import CurvePoint, RunEnd, RunScore
from metabench_plugins.trackers import to_mlflow
from metabench_plugins.trackers.to_mlflow import MlflowRun


class Metric(NamedTuple):
    """A value as MLflow has it."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass
class Server:
    """Takes batches, as many as it is told to.

    Attributes:
        takes: batches before one fails.
        answers: whether the one that fails is not taken either.
        metrics: what it has.
    """

    takes: int
    answers: bool
    metrics: list[Metric] = field(default_factory=list)

    def log_batch(self, key: str, *, metrics: Sequence[Metric]) -> None:
        failed = self.takes == 0
        self.takes -= 1
        if not (failed and self.answers):
            self.metrics += metrics
        if failed:
            raise OSError("it is away")

    def get_metric_history(self, key: str, name: str) -> list[Metric]:
        return [one for one in self.metrics if one.key == name]

    def get_run(self, key: str) -> Any:
        latest = {one.key: one.value for one in self.metrics}
        return SimpleNamespace(data=SimpleNamespace(metrics=latest))

    def set_tag(self, *words: str) -> None:
        pass

    def set_terminated(self, *words: str) -> None:
        pass


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_mlflow, "METRICS_AT_ONCE", 3)


def opened(server: Server, *, resumed: bool) -> MlflowRun:
    entities = SimpleNamespace(Metric=Metric)
    return MlflowRun(server, SimpleNamespace(entities=entities), "key", resumed=resumed)


POINTS = [CurvePoint(step, {"loss": 1.0 / step, "score": 0.5}) for step in range(1, 6)]


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("takes", [0, 1, 2])
def test_no_value_is_there_twice_after_a_failure(takes: int, *, answers: bool) -> None:
    server = Server(takes, answers)
    with pytest.raises(OSError, match="away"):
        opened(server, resumed=False).log(POINTS)
    again = opened(server, resumed=True)
    again.log(POINTS)
    again.log([CurvePoint(6, {"loss": 0.1})])
    found = Counter((one.key, one.step) for one in server.metrics)
    wanted = [(name, p.step) for p in POINTS for name in p.values]
    assert found == Counter([*wanted, ("loss", 6)])


def test_a_score_that_changed_is_sent_at_the_same_step() -> None:
    server = Server(100, answers=True)
    for mean in (0.5, 0.5, 0.25):
        score = RunScore(metric="mse", source="sine", mean=mean, half_width=None, n=1)
        opened(server, resumed=True).end(RunEnd(status="done", step=9, scores=(score,)))
    assert [(one.step, one.value) for one in server.metrics] == [(9, 0.5), (9, 0.25)]
