"""--precision: what a run's identity, record and row say, and what it sets and restores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import UsageError
from metabench.nn.products import are_in_bf16
from metabench.planning.plan import RunRequest, plan
from metabench.planning.runspec import RunSpec
from metabench.plugin.catalog import load_catalog
from metabench.running.precision import check_precision, computing_in

RUN = "run --suite toy-regression --learner maml --budget smoke --limit 4 --set budget.meta_steps=2"


def planned(precision: str):  # type: ignore[no-untyped-def]
    request = RunRequest(
        learners=("maml",),
        suite="toy-regression",
        budget="smoke",
        precision=precision,  # type: ignore[arg-type]
    )
    (run,) = plan(request, load_catalog())
    return run


def test_float32_leaves_identity_and_record_as_they_were() -> None:
    run = planned("float32")
    dumped = run.spec.model_dump(mode="json")
    assert "precision" not in dumped
    assert RunSpec.model_validate(dumped).run_id == run.spec.run_id
    assert run.stamps == ("smoke",)
    assert "--precision" not in run.command


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_another_precision_is_part_of_the_identity_and_a_stamp(precision: str) -> None:
    run, usual = planned(precision), planned("float32")
    assert run.spec.model_dump(mode="json")["precision"] == precision
    assert RunSpec.model_validate_json(run.spec.model_dump_json()) == run.spec
    assert run.spec.run_id != usual.spec.run_id
    assert run.spec.config_id != usual.spec.config_id
    assert run.stamps == ("smoke", precision)
    assert f"--precision {precision}" in run.command


def test_tf32_needs_a_cuda_device(tmp_path: Path) -> None:
    for device in ("cuda", "cuda:1"):
        check_precision("tf32", device)
    with pytest.raises(UsageError, match="needs a CUDA device, and this run is on cpu"):
        check_precision("tf32", "cpu")
    command = f"{RUN} --precision tf32 --device cpu --out {tmp_path}"
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 2
    assert "--precision tf32 needs a CUDA device" in done.output
    assert not list(tmp_path.iterdir())


def test_what_is_set_for_a_run_is_restored_after_it() -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    with computing_in("tf32"):
        assert (matmul.allow_tf32, cudnn.allow_tf32) == (True, True)
    assert (matmul.allow_tf32, cudnn.allow_tf32) == before
    with computing_in("bf16"):
        assert are_in_bf16()
    with computing_in("float32"):
        assert not are_in_bf16()
        assert (matmul.allow_tf32, cudnn.allow_tf32) == before


def test_a_run_in_bf16_is_a_row_of_its_own_that_says_so(tmp_path: Path) -> None:
    records, losses = {}, {}
    for precision in ("float32", "bf16"):
        command = f"{RUN} --precision {precision} --out {tmp_path}"
        assert CliRunner().invoke(app, command.split()).exit_code == 0
    for file in tmp_path.rglob("run.json"):
        record = json.loads(file.read_text())
        precision = record["spec"].get("precision")
        assert record["stamps"] == ["smoke", "limit", "custom", *([precision] if precision else [])]
        records[precision] = record
        (first, *_) = (file.parent / "metrics.jsonl").read_text().splitlines()
        losses[precision] = json.loads(first)["loss"]
    assert set(records) == {None, "bf16"}
    assert losses["bf16"] != losses[None]
    assert losses["bf16"] == pytest.approx(losses[None], rel=0.02)
    table = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert table.exit_code == 0, table.output
    rows = [line for line in table.output.splitlines() if "maml" in line.lower()]
    # In the table of the headline and in that of the suite's further evaluation.
    assert ["bf16" in row for row in rows] == [False, True] * 2, table.output
