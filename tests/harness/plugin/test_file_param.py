"""A parameter that is a file: known by name and content, and found again by its path."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from conformance_specs import learner_spec, outcomes
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typer.testing import CliRunner

from metabench.cli import app
from metabench.cli.parameters import parameter_rows, parameters
from metabench.errors import DataError, MetabenchError, UsageError
from metabench.planning.networks import build_strategy
from metabench.planning.overrides import parse_changes
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.file_param import FILES, FileParam, files_of
from metabench.running.trained_learner import restore
from metabench_plugins.learners.maml import Maml

CELL = {
    "cell": [
        [0, 2, "linear"],
        [1, 2, "skip"],
        [0, 3, "linear"],
        [2, 3, "linear"],
        [0, 4, "skip"],
        [3, 4, "linear"],
    ]
}


class Params(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    one: FileParam | None = Field(default=None, description="A file.")
    many: tuple[FileParam, ...] = Field(default=(), description="Files.")
    inner: dict[str, FileParam] = Field(default_factory=dict, description="Files by name.")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "cell.json"
    file.write_text(json.dumps(CELL), encoding="utf-8")
    return file


def test_it_is_written_as_name_and_checksum_and_read_with_the_path(file: Path) -> None:
    params = Params.model_validate({"one": str(file), "many": [file], "inner": {"a": str(file)}})
    digest = sha256(file.read_bytes()).hexdigest()
    known = {"name": "cell.json", "sha256": digest}
    written = params.model_dump(mode="json")
    assert written == {"one": known, "many": [known], "inner": {"a": known}}
    assert files_of(params) == {digest: str(file)}
    again = Params.model_validate(written, context={FILES: files_of(params)})
    assert again == params
    assert again.one is not None
    assert again.one.path == file
    assert json.loads(again.one.read_text()) == CELL
    assert Params.model_validate(params.model_dump()) == params


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("absent.json", "there is no such file"),
        (".", "it is a folder, not a file"),
        (3, "it is not the path of a file"),
        ({"name": "a", "sha256": "zz"}, "it is not the path of a file"),
    ],
)
def test_what_is_no_file_is_refused(value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Params.model_validate({"one": value})


def test_a_home_folder_is_understood(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    assert (
        Params.model_validate({"one": "~/cell.json"}).one
        == Params.model_validate({"one": str(file)}).one
    )


def test_a_file_that_changes_or_goes_is_refused(file: Path) -> None:
    found = Params.model_validate({"one": str(file)}).one
    assert found is not None
    file.write_text("{}", encoding="utf-8")
    for read in (found.read_bytes, found.read_text, lambda: found.path):
        with pytest.raises(DataError, match=r"cell.json has changed since this run was planned\.$"):
            read()
    file.unlink()
    for read in (found.read_bytes, lambda: found.path):
        with pytest.raises(DataError, match="cannot be read any more"):
            read()
    with pytest.raises(DataError, match="known by its checksum alone") as caught:
        FileParam(found.name, found.sha256).read_bytes()
    assert "--set" in caught.value.hint


def test_text_that_is_not_utf_8_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff")
    found = Params.model_validate({"one": str(file)}).one
    assert found is not None
    with pytest.raises(DataError, match="not a text file in UTF-8"):
        found.read_text()


def test_show_says_that_a_parameter_is_the_path_of_a_file() -> None:
    rows = {row[0]: row[2] for row in parameter_rows(parameters(learner_spec(Maml, params=Params)))}
    assert rows["one"] == "path of a file or null"


def fixed(catalog: Catalog, *sets: str) -> PlannedRun:
    request = RunRequest(
        learners=("maml",),
        suite="toy-regression",
        budget="smoke",
        space="toy-cell",
        strategy="fixed",
        changes=parse_changes(sets),
    )
    (planned,) = plan(request, catalog)
    return planned


def test_the_same_file_elsewhere_is_the_same_run(
    catalog: Catalog, file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / file.name
    other.parent.mkdir()
    other.write_bytes(file.read_bytes())
    here, there = (fixed(catalog, f"strategy.file={path}") for path in (file, other))
    assert here.spec.run_id == there.spec.run_id
    assert str(tmp_path) not in here.spec.model_dump_json()
    strategy = here.spec.strategy
    assert strategy is not None
    digest = sha256(file.read_bytes()).hexdigest()
    assert strategy.params["file"] == {"name": "cell.json", "sha256": digest}
    assert str(strategy).startswith(f"fixed(file=cell.json (sha256 {digest[:8]})")
    assert f"strategy.file={file}" in here.command
    file.write_text(json.dumps({**CELL, "cell": CELL["cell"][::-1]}), encoding="utf-8")
    assert fixed(catalog, f"strategy.file={file}").spec.run_id != there.spec.run_id
    with pytest.raises(DataError, match="has changed since this run was planned"):
        build_strategy(strategy, catalog)


def test_without_a_file_the_identity_is_the_former_one(catalog: Catalog) -> None:
    strategy = fixed(catalog).spec.strategy
    assert strategy is not None
    assert strategy.params == {"genotype": "first"}


@pytest.mark.parametrize(
    ("content", "sets", "message"),
    [
        ("[]", (), r"The file cell.json holds no genotype \(it is neither a name"),
        ("{", (), "The file cell.json holds no genotype"),
        (json.dumps(CELL), ("strategy.genotype=tnas-1-shot",), "a genotype or a file, not both"),
    ],
)
def test_a_file_without_a_genotype_is_refused_before_the_run(
    catalog: Catalog, file: Path, content: str, sets: tuple[str, ...], message: str
) -> None:
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        fixed(catalog, f"strategy.file={file}", *sets)


def test_a_missing_file_is_said_in_one_sentence(catalog: Catalog) -> None:
    with pytest.raises(UsageError) as caught:
        fixed(catalog, "strategy.file=absent.json")
    assert caught.value.message == (
        "strategy.file='absent.json' is not valid for fixed: there is no such file."
    )


def test_a_run_with_a_file_runs_and_is_restored_while_the_file_is_there(
    catalog: Catalog, file: Path, tmp_path: Path
) -> None:
    import torch

    out = tmp_path / "out"
    words = ["run", "--learner", "maml", "--suite", "toy-regression", "--network", "toy-cell"]
    words += ["--strategy", "fixed", "--set", f"strategy.file={file}", "--budget", "smoke"]
    words += ["--limit", "2", "--set", "budget.meta_steps=2", "--set", "budget.meta_batch=2"]
    done = CliRunner().invoke(app, [*words, "--out", str(out)])
    assert done.exit_code == 0, done.output
    (record,) = out.rglob("run.json")
    written: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    assert str(tmp_path) not in json.dumps(written["spec"])
    digest = written["spec"]["strategy"]["params"]["file"]["sha256"]
    assert written["provenance"]["files"] == {digest: str(file)}
    assert "files" not in written["spec"]["strategy"]
    cpu = torch.device("cpu")
    assert restore(record.parent, catalog, device=cpu).record.run_id == written["run_id"]
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(MetabenchError, match="has changed since this run was planned"):
        restore(record.parent, catalog, device=cpu)


class Located(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    at: Path | None = Field(default=None, description="A path.")


class Spoken(Params):
    place: str = Field(default="", description="Where the file is.")

    def model_post_init(self, context: Any) -> None:
        if self.one is not None:
            object.__setattr__(self, "place", self.one.given)


PATHS = "a parameter that is a file is a FileParam"
CONTENT = "a file is known by its name and content"


@pytest.mark.parametrize(
    ("params", "check", "status", "reason"),
    [
        (Params, PATHS, "ok", ""),
        (Params, CONTENT, "ok", ""),
        (Located, PATHS, "warning", "The parameter at is a path"),
        (Spoken, CONTENT, "FAILED", "the parameter one is written with the path of the file"),
    ],
)
def test_the_kit_looks_at_files(
    catalog: Catalog, params: type[BaseModel], check: str, status: str, reason: str
) -> None:
    spec = learner_spec(Maml, params=params)
    outcome = outcomes(spec, catalog, check)[check]
    assert outcome.status == status
    assert reason in outcome.reason
