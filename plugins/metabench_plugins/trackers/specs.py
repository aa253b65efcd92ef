"""Specs of the built-in trackers; the code of a tracker is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator

from metabench import TrackerSpec

_HERE = "metabench_plugins.trackers"


def tracker_specs() -> Iterator[TrackerSpec]:
    """Files, and the services that many laboratories use."""
    yield TrackerSpec(
        name="csv",
        version=1,
        summary="CSV files of the parameters, curves and scores of each run.",
        params=f"{_HERE}.to_csv:CsvParams",
        factory=f"{_HERE}.to_csv:CsvTracker",
    )
    yield TrackerSpec(
        name="tensorboard",
        version=1,
        summary="Event files that TensorBoard shows.",
        params=f"{_HERE}.to_tensorboard:TensorBoardParams",
        factory=f"{_HERE}.to_tensorboard:TensorBoardTracker",
        title="TensorBoard",
    )
    yield TrackerSpec(
        name="mlflow",
        version=1,
        summary="Runs of an experiment on an MLflow server, or in a local database.",
        params=f"{_HERE}.to_mlflow:MlflowParams",
        factory=f"{_HERE}.to_mlflow:MlflowTracker",
        title="MLflow",
        trial={"uri": "local"},
    )
    yield TrackerSpec(
        name="wandb",
        version=1,
        summary="Runs of a project on Weights & Biases, or a folder that wandb sync sends later.",
        params=f"{_HERE}.to_wandb:WandbParams",
        factory=f"{_HERE}.to_wandb:WandbTracker",
        title="Weights & Biases",
        trial={"mode": "offline"},
    )
