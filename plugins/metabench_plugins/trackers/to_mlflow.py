"""MLflow: a run of an experiment for each run, with its parameters, curves and scores."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from metabench import CurvePoint, Frozen, RunEnd, RunFacts, UsageError

T = TypeVar("T")

LOCAL = "local"
"""The place that is a database in the results folder."""
AT_ONCE = 100
"""Parameters, and tags, that a server takes at once."""
METRICS_AT_ONCE = 1000
"""Points of curves that a server takes at once."""
LONGEST = 500
"""Characters of the value of a parameter that every server takes."""
STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
"""What MLflow calls the ways to end."""
_QUICK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Unless the user says otherwise: MLflow's own retries go on for minutes, and metabench retries."""


class MlflowParams(Frozen):
    """Parameters of the MLflow tracker."""

    uri: str | None = Field(
        default=None,
        description="Address of the server, such as http://localhost:5000, or `local`: the "
        "database mlflow.db in the results folder. null: MLFLOW_TRACKING_URI, else `local`.",
    )
    experiment: str | None = Field(
        default=None,
        description="Name of the experiment; null: MLFLOW_EXPERIMENT_NAME, else metabench.",
    )


class MlflowTracker:
    """A client of an MLflow server."""

    def __init__(self, params: MlflowParams, out: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages of packages, about their own future
            try:
                import mlflow
            except ImportError as error:
                raise UsageError(
                    "The tracker mlflow needs the package mlflow.",
                    hint='pip install "metabench[mlflow]"',
                ) from error
        for name, value in _QUICK.items():
            os.environ.setdefault(name, value)
        self._mlflow = mlflow
        self._experiment = (
            params.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "metabench"
        )
        uri = params.uri or os.environ.get("MLFLOW_TRACKING_URI") or LOCAL
        self._artifacts = (out / "mlflow-artifacts").as_uri() if uri == LOCAL else None
        if uri == LOCAL:
            out.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{out / 'mlflow.db'}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A new database takes a while to make, and one that is half made is of no use: it is
            # made here, where the command waits for it. Nothing is asked of a server yet.
            self._client = mlflow.MlflowClient(uri)

    def open(self, run: RunFacts, *, key: str) -> MlflowRun:
        """Begin or go on with a run; see :class:`metabench.Tracker`."""
        if key and self.has(run, key=key):
            self._client.update_run(key, status="RUNNING")
            return MlflowRun(self._client, self._mlflow, key, resumed=True)
        tags = {
            "mlflow.runName": run.label,
            "metabench.run_id": run.run_id,
            "metabench.folder": str(run.folder),
            "metabench.stamps": ", ".join(run.stamps),
            **{f"metabench.{name}": value for name, value in run.made_with.items()},
        }
        made = self._client.create_run(self._experiment_id(), tags=tags)
        found = MlflowRun(self._client, self._mlflow, made.info.run_id, resumed=False)
        found.log_parameters(run)
        return found

    def _experiment_id(self) -> str:
        known = self._client.get_experiment_by_name(self._experiment)
        if known is not None:
            return str(known.experiment_id)
        made = self._client.create_experiment(self._experiment, artifact_location=self._artifacts)
        return str(made)

    def has(self, run: RunFacts, *, key: str) -> bool:
        """Whether the server has a run; see :class:`metabench.LookingTracker`."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(key)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            return False
        return bool(found.info.lifecycle_stage != "deleted")


class MlflowRun:
    """A run on an MLflow server; its id there is its key."""

    def __init__(self, client: Any, mlflow: Any, key: str, *, resumed: bool) -> None:
        self.key = key
        self.resumed = resumed
        self._client = client
        self._entities = mlflow.entities
        self._steps_there: dict[str, set[int]] = {}

    def log_parameters(self, run: RunFacts) -> None:
        """Send the parameters; long values are cut."""
        make = self._entities.Param
        params = [make(name, _short(value)) for name, value in run.parameters.items()]
        for some in _parts(params, AT_ONCE):
            self._client.log_batch(self.key, params=some)

    def log(self, points: Sequence[CurvePoint]) -> None:
        """Send points; see :class:`metabench.TrackedRun`.

        An earlier hand-over may have failed after the server had taken some of it.
        """
        self._send((p.step, n, v) for p in points for n, v in p.values.items() if self._lacks(p, n))

    def _lacks(self, point: CurvePoint, name: str) -> bool:
        """Whether the server lacks a value; it has none of a run that is new there."""
        if not self.resumed:
            return True
        if name not in self._steps_there:
            there = self._client.get_metric_history(self.key, name)
            self._steps_there[name] = {value.step for value in there}
        return point.step not in self._steps_there[name]

    def _send(self, values: Iterable[tuple[int, str, float]]) -> None:
        """Send values, each with its step and its name."""
        make, now = self._entities.Metric, _now()
        metrics = [make(name, value, now, step) for step, name, value in values]
        for some in _parts(metrics, METRICS_AT_ONCE):
            self._client.log_batch(self.key, metrics=some)

    def end(self, end: RunEnd) -> None:
        """Send the scores and the status; see :class:`metabench.TrackedRun`."""
        known = self._client.get_run(self.key).data.metrics if end.scores else {}
        self._send((end.step, n, v) for n, v in end.values.items() if known.get(n) != v)
        self._client.set_tag(self.key, "metabench.error", end.text)  # "" after an earlier one
        self._client.set_terminated(self.key, STATUS[end.status])


def _short(value: object) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def _parts(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(things), size):
        yield things[first : first + size]
