"""A training that starts from weights in a file: known by them, resumed, refused where unfit."""

from __future__ import annotations

import shutil
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import torch
from test_loops import CPU, run
from torch import Tensor
from typer.testing import CliRunner

import metabench
from metabench.cli import app
from metabench.errors import DataError, UsageError
from metabench.planning.grid import file_of_weights
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.planning.starting_weights import read_start
from metabench.plugin.catalog import Catalog
from metabench.reports.row_names import names_of
from metabench.results.configurations import configurations
from metabench.results.reading import read_runs
from metabench.running import checkpoint
from metabench.running.loops import Interrupted
from metabench.running.trained_learner import restore
from metabench.running.weights_file import export_weights
from metabench.sampling.seeding import generator

WORDS = {"network.width": 5, "budget.meta_steps": 4, "budget.meta_batch": 2}
SMALL: dict[str, dict[str, object]] = {
    "space": {"width": 5},
    "budget": {"meta_steps": 4, "meta_batch": 2},
    "protocol": {"episodes": 3, "selection": "last"},
}


def written(path: Path, *, width: int = 5) -> dict[str, Tensor]:
    """Write weights of the network of toy regression, which no seed draws; return them."""
    sizes = [1, *[width] * 4, 1]
    names = ["layer1", "layer2", "layer3", "layer4", "head"]
    rng, found = generator("test", "weights"), {}
    for name, n, m in zip(names, sizes, sizes[1:], strict=False):
        found[f"{name}.weight"] = torch.randn(n, m, generator=rng) / n
        found[f"{name}.bias"] = torch.randn(m, generator=rng)
    torch.save(found, path)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere.pt"
    written(path)
    return path


def planned(
    catalog: Catalog, file: Path | None, learner: str = "maml", /, **changes: dict[str, object]
) -> PlannedRun:
    request = RunRequest(
        learners=(learner,),
        suite="toy-regression",
        budget="smoke",
        changes={**SMALL, **changes},
        weights=None if file is None else file_of_weights(str(file)),
    )
    (found,) = plan(request, catalog)
    return found


@pytest.mark.parametrize(
    ("learner", "rates"),
    [("maml", {"outer_lr": 1e-9}), ("reptile", {"meta_lr": 1e-9, "meta_lr_end": 1e-9})],
)
def test_training_starts_from_the_weights_of_the_file(
    catalog: Catalog, tmp_path: Path, file: Path, learner: str, rates: dict[str, object]
) -> None:
    weights = written(file)
    made = run(planned(catalog, file, learner, learner=rates), catalog, tmp_path / "R")
    made()
    kept = restore(made.store.folder, catalog, device=CPU).built.learner.state_dict()["weights"]
    assert {*kept} == {*weights}
    for name, tensor in weights.items():
        torch.testing.assert_close(kept[name], tensor, atol=1e-6, rtol=0)


def test_a_run_is_known_by_the_name_and_the_content_of_its_file(
    catalog: Catalog, tmp_path: Path, file: Path
) -> None:
    made, usual = planned(catalog, file), planned(catalog, None)
    start = made.spec.model_dump(mode="json")["start"]
    assert start.keys() == {"name", "sha256"}
    assert "start" not in usual.spec.model_dump(mode="json")
    assert made.spec.run_id != usual.spec.run_id
    assert "foreign-weights" in made.stamps
    assert f"--weights {file}" in made.command
    (tmp_path / "there").mkdir()
    elsewhere = tmp_path / "there" / file.name
    shutil.copy(file, elsewhere)
    assert planned(catalog, elsewhere).spec.run_id == made.spec.run_id
    torch.save({n: t + 1 for n, t in written(elsewhere).items()}, elsewhere)
    assert planned(catalog, elsewhere).spec.run_id != made.spec.run_id


def test_a_run_that_was_stopped_gives_the_bytes_of_one_that_was_not(
    catalog: Catalog, tmp_path: Path, file: Path
) -> None:
    made = planned(catalog, file)
    whole = run(made, catalog, tmp_path / "whole")
    whole()
    asked = chain([False], repeat(True))
    with pytest.raises(Interrupted):
        run(made, catalog, tmp_path / "cut", stopped=lambda: next(asked))()
    cut = run(made, catalog, tmp_path / "cut")
    assert 0 < checkpoint.load(cut.store.checkpoint)["step"] < 4
    cut()
    for name in ("episodes.jsonl", "metrics.jsonl"):
        assert (cut.store.folder / name).read_bytes() == (whole.store.folder / name).read_bytes()
    record = cut.store.read_record()
    assert record is not None
    assert record.provenance.files == {made.spec.start and made.spec.start.sha256: str(file)}
    file.unlink()  # what is trained needs it no more
    assert restore(cut.store.folder, catalog, device=CPU).record == record


def test_a_file_that_changes_after_planning_is_refused(
    catalog: Catalog, tmp_path: Path, file: Path
) -> None:
    made = planned(catalog, file)
    torch.save({n: t + 1 for n, t in written(file).items()}, file)
    with pytest.raises(DataError, match="has changed since this run was planned"):
        run(made, catalog, tmp_path)()


def test_rows_of_a_table_say_where_training_started(
    catalog: Catalog, tmp_path: Path, file: Path
) -> None:
    for start in (file, None):
        run(planned(catalog, start), catalog, tmp_path / "R")()
    names = names_of(configurations(read_runs(tmp_path / "R").runs))
    sha256 = file_of_weights(str(file)).sha256
    assert sorted(names) == ["maml", f"maml (starts from elsewhere.pt (sha256 {sha256[:8]}))"]


def test_exported_weights_are_a_start(catalog: Catalog, tmp_path: Path) -> None:
    first = run(planned(catalog, None), catalog, tmp_path / "first")
    first()
    exported = tmp_path / "maml.safetensors"
    export_weights(first.store.folder, exported)
    kept = restore(first.store.folder, catalog, device=CPU).built.learner.state_dict()["weights"]
    found = read_start(exported)
    assert {*found} == {*kept}
    assert all(torch.equal(found[name], kept[name]) for name in kept)
    run(planned(catalog, exported, "reptile"), catalog, tmp_path / "second")()
    checkpoint.save(exported, {"learner": {"other": torch.ones(1)}}, about={"record": "{}"})
    with pytest.raises(DataError, match="holds the state of a learner"):
        read_start(exported)


@pytest.mark.parametrize(
    ("learner", "width", "changes", "error", "said"),
    [
        (
            "maml",
            6,
            {},
            DataError,
            r"do not fit network .*of another shape: layer1.weight \[1, 6\]",
        ),
        ("support-mean", 5, {}, UsageError, "takes no weights of a network"),
        ("maml", 5, {"budget": {"meta_steps": 0}}, UsageError, "maml does not train here"),
        ("bmaml", 5, {}, UsageError, "Particles of bmaml start from equal weights"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_planned(
    catalog: Catalog,
    tmp_path: Path,
    learner: str,
    width: int,
    changes: dict[str, dict[str, object]],
    error: type[Exception],
    said: str,
) -> None:
    file = tmp_path / "w.pt"
    written(file, width=width)
    own = {"space": {}} if learner == "support-mean" else {}
    with pytest.raises(error, match=said):
        planned(catalog, file, learner, **{**own, **changes})


def test_a_single_particle_starts_from_a_file_and_several_are_refused_everywhere(
    catalog: Catalog, tmp_path: Path, file: Path
) -> None:
    assert planned(catalog, file, "bmaml", learner={"particles": 1}).spec.start is not None
    words = ["evaluate", str(file), "--suite", "toy-regression", "--budget", "smoke"]
    words += ["--set", "network.width=5", "--learner", "bmaml", "--limit", "1"]
    words += ["--out", str(tmp_path / "R")]
    several = CliRunner().invoke(app, words)
    assert several.exit_code == 2
    assert "SVGD never separates these" in several.stderr
    single = CliRunner().invoke(app, [*words, "--set", "learner.particles=1"])
    assert single.exit_code == 0, single.stderr


def test_what_a_run_keeps_is_no_file_of_weights_and_the_way_to_one_is_said(
    catalog: Catalog, tmp_path: Path
) -> None:
    first = run(planned(catalog, None), catalog, tmp_path / "first run")
    first()
    folder = first.store.folder
    wanted = f"metabench export '{folder}' --out FILE.safetensors"
    with pytest.raises(UsageError, match="is a folder, not a file") as named:
        file_of_weights(str(folder))
    assert wanted in str(named.value.hint)
    for words in (["run", "--learner", "maml", "--weights"], ["evaluate"]):
        own = [*words, str(first.store.weights), "--suite", "toy-regression"]
        given = CliRunner().invoke(app, own)
        assert given.exit_code == 3
        assert "is a checkpoint of a run" in given.stderr
        assert wanted in given.stderr


def test_the_command_its_plan_and_python_ask_for_one_run(tmp_path: Path, file: Path) -> None:
    words = ["run", "--learner", "maml", "--suite", "toy-regression", "--budget", "smoke"]
    words += ["--limit", "2", "--weights", str(file)]
    words += [word for name, value in WORDS.items() for word in ("--set", f"{name}={value}")]
    out, saved = tmp_path / "R", tmp_path / "plan.yaml"
    done = CliRunner().invoke(app, [*words, "--out", str(out), "--save-plan", str(saved)])
    assert done.exit_code == 0, done.stderr
    assert f"weights: {file}" in saved.read_text()
    again = CliRunner().invoke(app, ["run", str(saved), "--out", str(out)])
    assert again.exit_code == 0, again.stderr
    python: dict[str, Any] = {"changes": WORDS, "budget": "smoke", "limit": 2, "out": out}
    metabench.run("maml", "toy-regression", weights=file, on_event=lambda event: None, **python)
    (found,) = read_runs(out).runs
    assert found.record.spec.start is not None
    shown = CliRunner().invoke(app, ["report", str(out), "--wide"]).stdout
    assert "starts from elsewhere.pt" in shown
    gone = CliRunner().invoke(app, [*words[:-8], "--weights", str(tmp_path / "none.pt")])
    assert gone.exit_code == 2
    assert "there is no such file" in gone.stderr
