"""Trained weights from Python and from the command line."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from full_disk import full_disk
from typer.testing import CliRunner

import metabench
from metabench.cli import app
from metabench.errors import DataError, UsageError
from metabench.results.reading import read_runs

TINY = {
    "budget.meta_steps": 2,
    "budget.meta_batch": 1,
    "network.width": 4,
    "network.hidden": 1,
    "protocol.selection": "last",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two seeds."""
    out = tmp_path_factory.mktemp("trained")
    metabench.run(
        "maml", "toy-regression", budget="smoke", seeds=(0, 1), changes=TINY, limit=1, out=out,
        on_event=lambda event: None,
    )  # fmt: skip
    return out


def invoke(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_all_runs_of_a_folder_are_tested_and_their_tests_are_not(
    trained: Path, tmp_path: Path
) -> None:
    runs = metabench.evaluate(trained, out=tmp_path, on_event=lambda event: None)
    assert [outcome.status for outcome in runs.outcomes] == ["done", "done"]
    (row,) = metabench.report(tmp_path).content.tables[0].rows
    assert row.seeds == (0, 1)
    with pytest.raises(DataError, match="no trained run below"):
        metabench.evaluate(tmp_path, out=tmp_path)


def test_what_of_a_folder_has_no_weights_is_said(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "all", tmp_path / "tested"
    shutil.copytree(trained, folder)
    first, second = sorted(read_runs(folder).runs, key=lambda run: run.record.spec.seed)
    quick = {"budget": "smoke", "limit": 1, "out": folder, "on_event": lambda event: None}
    metabench.run("gaussian-process", "toy-regression", seeds=(0, 1), **quick)
    metabench.run("maml", "toy-regression", changes={**TINY, "budget.meta_steps": 0}, **quick)
    metabench.evaluate(first.folder, out=folder, limit=2, on_event=lambda event: None)
    capsys.readouterr()
    runs = metabench.evaluate(folder, out=out, on_event=lambda event: None)
    assert len(runs.outcomes) == 2
    said = f"Note: Not tested of {folder}: "
    without = "3 runs without training (gaussian-process, maml)", "1 test of given weights (maml)"
    (line,) = (one for one in capsys.readouterr().err.splitlines() if one.startswith("Note: "))
    assert line.startswith(said)
    for part in without:
        assert part in line
    # What a run left unfinished, or somebody removed, is said as well.
    (second.folder / "checkpoints" / "weights.safetensors").unlink()
    record = first.folder / "run.json"
    record.write_text(record.read_text().replace('"status": "done"', '"status": "failed"'))
    code, printed = invoke("evaluate", folder, "--out", out)
    printed = " ".join(printed.split())
    assert code == 3
    assert f"There is no trained run below {folder}, but" in printed
    gone = "1 run whose weights are gone (maml)", "1 unfinished run (maml)"
    for part in (*without, *gone):
        assert part in printed


def test_an_exported_file_is_tested_from_the_command_line(trained: Path, tmp_path: Path) -> None:
    first, second = sorted(read_runs(trained).runs, key=lambda run: run.record.spec.seed)
    file, out = tmp_path / "w.safetensors", tmp_path / "R"
    code, said = invoke("export", first.record.run_id[:6], trained, "--out", file)
    assert (code, said) == (0, f"Wrote {file}. Test it with: metabench evaluate {file}\n")
    content = file.read_bytes()
    for name, refused in ((file, "exists already."), ("w.pt", "does not end in .safetensors")):
        code, said = invoke("export", first.record.run_id[:6], trained, "--out", name)
        assert code == 2
        assert refused in said
    assert file.read_bytes() == content
    code, said = invoke("evaluate", file, "--set", "protocol.shots=2,3", "--out", out)
    assert code == 0, said
    for shots in (2, 3):  # what tells the two tests apart is in their labels
        assert f"shots={shots} seed 0: started" in said
    runs = read_runs(out).runs
    assert sorted(run.record.spec.protocol.shots for run in runs) == [2, 3]
    rows = metabench.report(out).content.tables[0].rows
    assert [row.facts[0] for row in rows] == ["shots=2", "shots=3"]
    command = runs[0].record.provenance.command
    assert command.startswith(f"metabench evaluate {file} --set protocol.shots=")
    assert invoke(*command.split()[1:])[0] == 0  # it is done already
    assert len(read_runs(out).runs) == 2
    assert second.record.training_id != first.record.training_id


def test_what_is_missing_is_said_in_a_sentence(trained: Path, tmp_path: Path) -> None:
    for words, said in (
        (["export", trained], "There are 2 runs below"),
        (["export", "zzzz", trained], "There is no run below"),
        (["evaluate", tmp_path / "nothing.safetensors"], "There is no file"),
        (["evaluate", trained, "--learner", "maml"], "so --learner and --network do not apply"),
        (["evaluate", trained, "--setting", "9-shot"], "9-shot"),
    ):
        code, printed = invoke(*words)
        assert code != 0
        assert said in " ".join(printed.split()), printed
    foreign = tmp_path / "elsewhere.pt"
    foreign.write_text("no tensors")
    with pytest.raises(DataError, match="cannot be read as a file of tensors"):
        metabench.evaluate(foreign, learner="maml", suite="toy-regression", out=tmp_path)


def test_a_full_disk_is_said_in_a_sentence(trained: Path, tmp_path: Path) -> None:
    run = min(read_runs(trained).runs, key=lambda run: run.record.spec.seed)
    with full_disk(500), pytest.raises(UsageError, match="File too large") as caught:
        metabench.export_weights(run.folder, tmp_path / "w.safetensors")
    assert caught.value.hint == "Free some space there."
    assert not list(tmp_path.iterdir())


def test_weights_from_elsewhere_need_a_learner(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "elsewhere.pt"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match="does not say how its weights are used") as caught:
        metabench.evaluate(path, out=tmp_path)
    assert "--learner and --suite" in caught.value.hint
    with pytest.raises(UsageError, match="Learner gaussian-process has its own network"):
        metabench.evaluate(path, learner="gaussian-process", suite="toy-regression", out=tmp_path)
    with pytest.raises(DataError, match="do not fit network mlp"):
        metabench.evaluate(path, learner="maml", suite="toy-regression", budget="smoke", limit=1,
                           out=tmp_path, on_event=lambda event: None)  # fmt: skip


def test_values_of_one_learner_are_swept_on_weights_from_elsewhere(tmp_path: Path) -> None:
    import torch

    from metabench.api.weights import plan_of
    from metabench.planning.overrides import parse_changes
    from metabench.plugin.catalog import load_catalog

    path = tmp_path / "elsewhere.pt"
    sizes = {"layer1": (1, 50), "layer2": (50, 50), "layer3": (50, 50), "layer4": (50, 50)}
    weights = {}
    for name, (inputs, outputs) in {**sizes, "head": (50, 1)}.items():
        weights[f"{name}.weight"] = torch.zeros(inputs, outputs)
        weights[f"{name}.bias"] = torch.zeros(outputs)
    torch.save(weights, path)
    test = {
        "suite": "toy-regression",
        "changes": parse_changes(["learner[maml].inner_lr=0.1,0.2"]),
    }
    planned = plan_of([path], load_catalog(), learner="maml", network=None, note=print, **test)
    assert [one.spec.learner.params["inner_lr"] for one in planned] == [0.1, 0.2]
    assert [one.told_by[-1] for one in planned] == ["inner_lr=0.1", "inner_lr=0.2"]
    code, printed = invoke(*shlex.split(planned[0].command)[1:], "--limit", 1, "--out", tmp_path)
    assert code == 0, printed
