"""The same images at another path are the same run, and other images are told apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from result_factory import make_spec, write_run
from typer.testing import CliRunner

from metabench.cli import app
from metabench.planning.overrides import parse_changes
from metabench.planning.plan import PlannedRun, RunRequest, plan, plan_all, suite_of
from metabench.planning.runspec import SourceChoice
from metabench.plugin.catalog import Catalog
from metabench.reports.build import row_labels
from metabench.results.configurations import configurations
from metabench.results.reading import read_runs
from metabench.running.trained_learner import restore
from metabench_plugins.datasets.image_folder import ImageFolderParams

SUITE = """\
name: photos
version: 1
task: classification
metric: accuracy
space: conv4
sources: [{name: photos, dataset: image-folder, params: {path: photos, size: 16}}]
protocol: {ways: 2, shots: 1, queries: 1, episodes: 2, val_episodes: 1}
settings: {2w1s: {}}
budgets: {smoke: {meta_steps: 1, meta_batch: 1}}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suite of images, which are also at another path."""
    monkeypatch.chdir(tmp_path)
    Path("photos.yaml").write_text(SUITE)
    rng = np.random.default_rng(0)
    for name in "abcdefghij":
        Path("photos", name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, size=(16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path("photos", name, f"{number}.png"))
    shutil.copytree("photos", "elsewhere/pictures")


def planned(catalog: Catalog, *sets: str) -> PlannedRun:
    request = RunRequest(
        learners=("maml",), suite="photos.yaml", budget="smoke", changes=parse_changes(sets)
    )
    (one,) = plan(request, catalog)
    return one


def test_the_identity_holds_the_fingerprint_and_no_path(catalog: Catalog) -> None:
    here = planned(catalog)
    there = planned(catalog, "data.path=elsewhere/pictures")
    assert here.spec.run_id == there.spec.run_id
    (source,) = here.spec.sources
    assert "path" not in source.params
    assert source.params["splits"] is None
    assert here.spec.files == {"photos.path": "photos"}
    assert there.spec.files == {"photos.path": "elsewhere/pictures"}
    Path("elsewhere/pictures/a/0.png").write_bytes(Path("photos/a/1.png").read_bytes())
    other = planned(catalog, "data.path=elsewhere/pictures")
    assert other.spec.run_id != here.spec.run_id
    assert other.spec.data_fingerprint != here.spec.data_fingerprint


def test_a_place_alone_is_no_departure_from_the_suite(catalog: Catalog) -> None:
    usual = planned(catalog).stamps
    assert planned(catalog, "data.path=elsewhere/pictures").stamps == usual
    assert "custom" not in usual
    assert "custom" in planned(catalog, "data.path=elsewhere/pictures", "data.size=32").stamps
    assert "custom" in planned(catalog, "data.size=32").stamps


def test_two_suites_of_one_command_have_their_own_images(catalog: Catalog) -> None:
    text = SUITE.replace("name: photos\n", "name: others\n")
    Path("others.yaml").write_text(text.replace("path: photos", "path: elsewhere/pictures"))
    Path("elsewhere/pictures/a/0.png").write_bytes(Path("photos/a/1.png").read_bytes())
    requests = [
        RunRequest(learners=("maml",), suite=suite, budget="smoke")
        for suite in ("photos.yaml", "others.yaml")
    ]
    suites = {one.suite: suite_of(one.suite, catalog) for one in requests}
    first, second = plan_all(requests, catalog, suites=suites)
    assert first.spec.sources[0].params == second.spec.sources[0].params
    assert first.spec.data_fingerprint != second.spec.data_fingerprint


def test_an_older_record_with_a_path_is_read() -> None:
    params = {"path": "photos", "size": 8}
    source = SourceChoice(source="photos", name="image-folder", version=1, params=params)
    assert source.validated(ImageFolderParams).path == "photos"
    assert source.model_dump(mode="json")["params"] == params


def test_rows_of_other_images_are_told_apart(tmp_path: Path) -> None:
    for fingerprint in ("0" * 16, "f" * 16):
        write_run(tmp_path / "R", make_spec(data_fingerprint=fingerprint))
    found = configurations(read_runs(tmp_path / "R").runs)
    assert {*row_labels(found).values()} == {
        f"maml (data_fingerprint={digit * 16})" for digit in "0f"
    }


@pytest.mark.slow
def test_the_images_may_move(catalog: Catalog) -> None:
    def run(*words: str) -> str:
        command = ["run", "--suite", "photos.yaml", "--learner", "maml", "--budget", "smoke"]
        done = CliRunner().invoke(app, [*command, "--out", "R", *words])
        assert done.exit_code == 0, done.output
        return done.output

    assert "1 done" in run()
    (record,) = Path("R").rglob("run.json")
    assert json.loads(record.read_text())["provenance"]["files"] == {"photos.path": "photos"}
    restored = restore(record.parent, catalog, device=torch.device("cpu"))
    assert restored.record.run_id == record.parent.name
    shutil.rmtree("photos")
    assert "was done already" in run("--set", "data.path=elsewhere/pictures")
