"""``metabench data`` as a user types it, on a tiny Omniglot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench.cli.archives import packable
from metabench.cli.data import data_app
from metabench.data import Archive
from metabench.errors import DataError, MetabenchError, UsageError
from metabench_plugins.datasets import omniglot


def run(*arguments: str | Path) -> str:
    """Standard output of ``metabench data ARGUMENTS``; an expected error is raised."""
    result = CliRunner().invoke(data_app, [str(argument) for argument in arguments])
    if isinstance(result.exception, MetabenchError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(autouse=True)
def _tiny_omniglot(tiny_archive: Archive, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omniglot, "ARCHIVE", tiny_archive)


def test_import_prints_the_folder_of_the_pack(tiny_folder: Path, data_root: Path) -> None:
    folder = data_root / "omniglot" / "28-lanczos"
    assert run("import", "omniglot", tiny_folder) == f"{folder}\n"
    assert run("path", "omniglot") == f"{folder}\n"
    assert run("verify") == run("verify", "omniglot") == f"ok       {folder}\n"


def test_options_choose_another_preparation(tiny_folder: Path, data_root: Path) -> None:
    run("import", "omniglot", tiny_folder)
    run("import", "omniglot", tiny_folder, "--size", "20", "--resize", "box")
    folders = [data_root / "omniglot" / name for name in ("20-box", "28-lanczos")]
    assert run("path", "omniglot").splitlines() == [str(folder) for folder in folders]


def test_a_preset_is_a_preparation_by_name(tiny_folder: Path, data_root: Path) -> None:
    run("import", "omniglot", tiny_folder, "--preset", "torchmeta")
    run("import", "omniglot", tiny_folder, "--preset", "maml-script", "--size", "20")
    folders = [data_root / "omniglot" / name for name in ("20-nearest", "28-bilinear")]
    assert run("path", "omniglot").splitlines() == [str(folder) for folder in folders]
    for option, said in (("--preset", "preset 'bx' of omniglot"), ("--crop", "crop 'bx'")):
        with pytest.raises(UsageError, match=rf"^Unknown {said}\.$"):
            run("import", "omniglot", tiny_folder, option, "bx")


def test_list_shows_what_is_here(tiny_folder: Path, data_root: Path) -> None:
    assert not any(row["packs"] for row in json.loads(run("list", "--json")))
    run("import", "omniglot", tiny_folder)
    rows = {row["name"]: row for row in json.loads(run("list", "--json"))}
    assert rows["toy-regression"]["generated"]
    assert not rows["torchmeta-classes"]["generated"]
    assert rows["torchmeta-classes"]["own_files"]
    line = next(line for line in run("list").splitlines() if line.startswith("torchmeta-classes"))
    assert line.endswith("manages its own files")
    assert rows["omniglot"]["licence"] == "MIT"
    (pack,) = rows["omniglot"]["packs"]
    assert (pack["n_classes"], pack["n_images"], pack["error"]) == (5, 20, "")
    assert pack["preparation"] == {"size": 28, "resize": "lanczos", "crop": "none"}
    line = next(line for line in run("list").splitlines() if line.startswith("omniglot"))
    folder = str(data_root / "omniglot" / "28-lanczos")
    assert line.split() == ["omniglot", "MIT", "packed", "5", "20", folder]


def test_verify_names_every_damaged_pack(tiny_folder: Path, data_root: Path) -> None:
    run("import", "omniglot", tiny_folder)
    run("import", "omniglot", tiny_folder, "--size", "20")
    for name in ("20-lanczos", "28-lanczos"):
        (data_root / "omniglot" / name / "images.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"20-lanczos.* 28-lanczos|20-lanczos.*28-lanczos"):
        run("verify")


def test_an_unreadable_index_is_listed_as_an_error(tiny_folder: Path, data_root: Path) -> None:
    run("import", "omniglot", tiny_folder)
    (data_root / "omniglot" / "28-lanczos" / "index.json").write_text("{}")
    rows = {row["name"]: row for row in json.loads(run("list", "--json"))}
    assert "is not the index of a pack" in rows["omniglot"]["packs"][0]["error"]
    assert "is not the index of a pack" in run("list")


@pytest.mark.parametrize("verb", ["verify", "path"])
def test_absent_data_names_the_commands_that_help(verb: str) -> None:
    with pytest.raises(DataError, match="omniglot is not packed on this machine") as caught:
        run(verb, "omniglot")
    assert "metabench data fetch omniglot" in caught.value.hint
    assert "metabench data import omniglot PATH" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["miniimagenet", "tieredimagenet", "four-domains", "fungi", "image-folder"]
)
def test_absent_data_that_has_no_address_is_not_to_be_fetched(name: str) -> None:
    with pytest.raises(DataError, match=f"{name} is not packed on this machine") as caught:
        run("verify", name)
    assert "data fetch" not in caught.value.hint
    named = " --name NAME" if name == "image-folder" else ""
    assert f"`metabench data import {name} PATH{named}`; PATH is " in caught.value.hint


@pytest.mark.parametrize("name", ["miniimagenet", "tieredimagenet", "four-domains", "fungi"])
def test_a_run_on_it_names_the_import_alone(name: str) -> None:
    with pytest.raises(DataError, match="has not been prepared") as caught:
        run("show", name)
    assert "data fetch" not in caught.value.hint
    assert f"`metabench data import {name} PATH --size 84 --resize" in caught.value.hint


@pytest.mark.parametrize("harm", ["images.npy", "index.json"])
def test_damaged_images_with_a_name_are_imported_again_under_it(
    tiny_folder: Path, data_root: Path, harm: str
) -> None:
    run("import", "image-folder", tiny_folder, "--name", "mine", "--size", "20")
    (data_root / "image-folder" / "mine" / "20-lanczos" / harm).write_bytes(b"")
    with pytest.raises(DataError) as caught:
        run("verify", "image-folder")
    options = " --size 20 --resize lanczos --crop none" if harm == "images.npy" else ""
    command = f"`metabench data import image-folder PATH --name mine{options}`"
    assert caught.value.hint.startswith(f"Run {command}; PATH is a folder")


def test_a_file_that_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no archive")
    with pytest.raises(DataError, match=r"notes\.txt is neither a folder nor a zip") as caught:
        run("import", "omniglot", tmp_path / "notes.txt")
    assert caught.value.hint.startswith("PATH must be a folder")


def test_path_alone_is_the_data_root(data_root: Path) -> None:
    assert run("path") == f"{data_root}\n"


def test_verifying_nothing_says_so(data_root: Path) -> None:
    result = CliRunner().invoke(data_app, ["verify"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"Nothing is packed in {data_root}.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["import", "omnigloth", "."], "Unknown dataset 'omnigloth'"),
        (["fetch", "toy-regression"], "toy-regression is generated"),
        (["fetch", "torchmeta-classes"], "torchmeta-classes manages its own files"),
        (["import", "omniglot", ".", "--resize", "lanczo"], "Unknown resize filter 'lanczo'"),
    ],
)
def test_wrong_names_are_usage_errors(arguments: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run(*arguments)


@pytest.mark.parametrize("command", ["import", "fetch"])
def test_images_are_only_cropped_where_a_suite_can_open_them(command: str, tmp_path: Path) -> None:
    crops = {"aircraft", "birds"}
    for name, spec in packable().items():
        if spec.params_model().model_fields.keys() & {"size", "crop"} and name not in crops:
            with pytest.raises(UsageError, match=rf"^--crop box does not apply to {name}, "):
                run(command, name, *([tmp_path] if command == "import" else []), "--crop", "box")
    for name in crops:
        with pytest.raises(DataError, match=r"does not hold|holds no"):
            run("import", name, tmp_path, "--crop", "box")


def test_a_path_that_is_not_there_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        run("import", "omniglot", tmp_path / "nowhere")
