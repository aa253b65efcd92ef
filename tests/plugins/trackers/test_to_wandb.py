"""Weights & Biases without a network: the folder that ``wandb sync`` can send."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tracked_runs import run_facts, short_run

from metabench.results.training_curve import read_training_curve
from metabench_plugins.trackers.to_wandb import WandbParams, WandbTracker

wandb = pytest.importorskip("wandb", reason="wandb is not installed: metabench[wandb]")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MODE", "API_KEY", "IDENTITY_TOKEN_FILE", "DIR", "PROJECT", "ENTITY"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


BLOCK = 32_768
"""Bytes of a block of LevelDB's log format, in which Weights & Biases writes its records."""


def records(file: Path) -> Iterator[Any]:
    """What Weights & Biases wrote to be sent."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = file.read_bytes(), 7, b""  # after the head of the file
    assert data.startswith(b":W&B")
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # no room for another head in this block
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(whole)
            whole = b""


def history(file: Path, name: str) -> list[tuple[int, float]]:
    found = []
    for record in records(file):
        items = {
            item.key or "/".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item
        }
        if name in items:
            found.append((items["_step"], items[name]))
    return found


def test_a_folder_that_can_be_sent_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "my-project")
    (outcome,) = short_run(tmp_path, trackers=["wandb"]).outcomes
    short_run(tmp_path, trackers=["wandb"])  # it is done, and nothing is written twice
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    place = Path("toy-regression@10-shot", "maml", outcome.job.planned.spec.run_id)
    curve = read_training_curve(tmp_path / place / "metrics.jsonl")
    assert history(file, "meta-train/loss") == curve.scalars["loss"]
    assert history(file, "meta-val/val_score") == curve.scalars["val_score"]
    (run,) = [r.run for r in records(file) if r.WhichOneof("record_type") == "run"]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert (run.project, run.display_name) == ("my-project", "maml 10-shot seed 0")
    assert config["learner.inner_lr"] == 0.02
    assert config["stamps"] == ["smoke", "limit", "custom"]
    summary = {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for record in records(file)
        for item in record.summary.update
    }
    assert summary["status"] == "done"
    assert summary["meta-test/sine/mse"] > 0


def test_a_run_has_one_id_in_one_folder(tmp_path: Path) -> None:
    tracker = WandbTracker(WandbParams(mode="offline"), tmp_path / "R")
    keys = []
    for out in (tmp_path / "R", tmp_path / "other"):
        tracked = tracker.open(run_facts(out), key="")
        keys.append(tracked.key)
        tracked._run.finish()
    assert keys[0] != keys[1]
    again = tracker.open(run_facts(tmp_path / "R"), key=keys[0])
    assert (again.key, again.resumed) == (keys[0], True)
    again._run.finish()


def test_who_is_not_logged_in_is_never_asked(tmp_path: Path) -> None:
    assert WandbTracker(WandbParams(), tmp_path)._mode == "offline"


@pytest.mark.parametrize(
    "variables",
    [{"WANDB_API_KEY": "0" * 40}, {"NETRC": "netrc"}, {"WANDB_MODE": "online"}],
    ids=lambda variables: next(iter(variables)),
)
def test_who_is_logged_in_is_online(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password 0\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert WandbTracker(WandbParams(), tmp_path)._mode == "online"
