"""MLflow, read back through its own client: a real server on loopback, and one that is away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from tracked_runs import run_facts, short_run

from metabench import CurvePoint, RunEnd, load_results
from metabench.results.training_curve import read_training_curve

pytest.importorskip("mlflow", reason="mlflow is not installed: metabench[mlflow]")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that this test started."""
    home, port = tmp_path_factory.mktemp("mlflow"), free_port()
    words = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{home / 'server.db'}"]
    words += ["--artifacts-destination", str(home / "artifacts")]
    command = [sys.executable, "-m", "mlflow", "server", *words]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=home, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 240
        while not _answers(f"{address}/health"):
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def runs_of(uri: str, experiment: str) -> tuple[Any, list[Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return client, list(client.search_runs([found.experiment_id]))


def test_parameters_curves_and_scores_are_on_the_server(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    trackers = {"mlflow": {"experiment": "of a test"}}
    (outcome,) = short_run(tmp_path, trackers=trackers).outcomes
    short_run(tmp_path, trackers=trackers)  # it is done, and nothing is sent twice
    client, (run,) = runs_of(server, "of a test")
    spec = outcome.job.planned.spec
    assert (run.info.status, run.info.run_name) == ("FINISHED", "maml 10-shot seed 0")
    assert run.data.params["learner.inner_lr"] == "0.02"
    assert run.data.params["source.sine"] == "toy-regression"
    assert run.data.tags["metabench.run_id"] == spec.run_id
    assert run.data.tags["metabench.stamps"] == "smoke, limit, custom"
    folder = Path(run.data.tags["metabench.folder"])
    assert (folder / "run.json").is_file()
    curve = read_training_curve(folder / "metrics.jsonl")
    history = client.get_metric_history(run.info.run_id, "meta-train/loss")
    assert [(one.step, one.value) for one in history] == curve.scalars["loss"]
    mean = load_results(tmp_path).groupby("source")["score"].mean()["sine"]
    assert run.data.metrics["meta-test/sine/mse"] == pytest.approx(mean)
    assert run.data.metrics["meta-test/average/mse_half_width"] > 0
    assert server not in "".join(f.read_text() for f in tmp_path.rglob("*.json"))


def test_a_run_that_goes_on_is_one_run(tmp_path: Path, server: str) -> None:
    from metabench_plugins.trackers.to_mlflow import MlflowParams, MlflowTracker

    def tracker() -> MlflowTracker:
        return MlflowTracker(MlflowParams(uri=server, experiment="going on"), tmp_path)

    first = tracker().open(run_facts(tmp_path), key="")
    first.log([CurvePoint(1, {"meta-train/loss": 2.0})])
    first.end(RunEnd(status="interrupted", step=1))
    client, (stopped,) = runs_of(server, "going on")
    assert stopped.info.status == "KILLED"
    again = tracker().open(run_facts(tmp_path), key=first.key)
    assert client.get_run(first.key).info.status == "RUNNING"
    again.log([CurvePoint(2, {"meta-train/loss": 1.0})])
    again.end(RunEnd(status="failed", step=2, text="it diverged"))
    history = client.get_metric_history(first.key, "meta-train/loss")
    assert [(one.step, one.value) for one in history] == [(1, 2.0), (2, 1.0)]
    found = client.get_run(first.key)
    assert (found.info.status, found.data.tags["metabench.error"]) == ("FAILED", "it diverged")
    client.delete_run(first.key)
    anew = tracker().open(run_facts(tmp_path), key=first.key)
    assert (anew.resumed, anew.key != first.key) == (False, True)
    client.delete_run(anew.key)


def test_a_server_that_is_away_harms_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    address = f"http://me:secret@127.0.0.1:{free_port()}"
    (outcome,) = short_run(tmp_path, trackers={"mlflow": {"uri": address}}).outcomes
    assert outcome.status == "done"
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("The tracker mlflow failed, and the runs go on without it: ")
    assert last.endswith("of 1 run. The same command sends them.")
    assert "secret" not in first
    texts = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(b"secret" in text for text in texts)
