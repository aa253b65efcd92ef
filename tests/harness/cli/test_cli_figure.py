"""``metabench figure``: where it writes, in which format, and how it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from result_factory import make_spec, write_run
from state_factory import at_work, write_going
from typer.testing import CliRunner, Result

from metabench.cli.figure import figure
from metabench.errors import DataError, UsageError
from metabench.planning.runspec import Choice

app = typer.Typer()
app.command()(figure)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "R", make_spec("mnas", strategy=Choice(name="darts", version=1)))
    line = {"index": 0, "genotype": {"cell": [[0, 1, "skip"]]}}
    (folder / "genotypes.jsonl").write_text(json.dumps(line) + "\n")
    return tmp_path / "R"


def test_the_file_is_named_after_the_figure(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("cell", searched)
    assert (done.exit_code, done.stdout) == (0, "cell.svg\n")
    assert (tmp_path / "cell.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("name", "head"), [("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a", b"<?")]
)
def test_the_ending_decides_the_format(
    searched: Path, tmp_path: Path, name: str, head: bytes
) -> None:
    assert run("cell", searched, "-o", tmp_path / name).exit_code == 0
    assert (tmp_path / name).read_bytes().startswith(head)


def test_a_dash_is_stdout_and_nothing_else_goes_there(searched: Path) -> None:
    write_run(searched, make_spec("darts-maml", strategy=Choice(name="darts", version=1)))
    done = run("cell", searched, "-o", "-")
    assert done.stdout.startswith("<?xml")
    assert done.stdout.rstrip().endswith("</svg>")
    assert done.stderr == "darts-maml is left out: it has no genotypes.jsonl.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cells"], "Unknown figure 'cells'"),
        (["cell", "--episode", "1"], "--episode does not apply to figure cell"),
        (["cell", "--metric", "loss"], "--metric does not apply to figure cell"),
        (["cell", "--edge", "0-1"], "--edge does not apply to figure cell"),
        (["cell", "--learner", "mans"], "Unknown learner 'mans' of the finished runs here"),
        (["cell", "--learner", ","], "--learner names nothing"),
        (["annealing", "--edge", "0,x"], "'x' is no edge"),
        (["cell", "-o", "x.png", "--format", "pdf"], "x.png ends in .png, but --format is pdf"),
        (["cell", "-o", "x.gif"], "x.gif ends in .gif, which is not a format"),
        (["cell", "-o", "x.gif", "-f", "svg"], "x.gif ends in .gif, which is not a format"),
        (["cell", "-o", "no/such/folder/x.png"], "Cannot write no/such/folder/x.png"),
    ],
)
def test_what_does_not_fit_is_refused(searched: Path, arguments: list[str], message: str) -> None:
    kind, *options = arguments
    done = run(kind, searched, *options)
    assert isinstance(done.exception, UsageError)
    assert message in done.exception.message


def test_help_and_hint_name_the_figures_of_an_episode(searched: Path) -> None:
    done = run("cell", searched, "--episode", "1")
    assert isinstance(done.exception, UsageError)
    assert done.exception.hint == "It applies to: fits, images, annealing."
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "1000"}).stdout
    assert "For the figures fits, images and annealing" in shown


def test_the_width_is_that_of_a_column_or_a_page(searched: Path, tmp_path: Path) -> None:
    sizes = {}
    for width, points in (("single", "240.944882"), ("double", "493.228346")):
        assert run("cell", searched, "--width", width, "-o", tmp_path / "a.svg").exit_code == 0
        sizes[width] = (tmp_path / "a.svg").read_text().partition('width="')[2].partition('pt"')[0]
        assert sizes[width] == points  # of 72 to an inch: 85 and 174 mm
    assert run("cell", searched, "--width", "wide").exit_code == 2


def test_only_the_learners_that_are_asked_for_are_shown(searched: Path) -> None:
    write_run(searched, make_spec("maml"))
    write_run(searched, make_spec("reptile"))
    for folder in searched.rglob("run.json"):
        (folder.parent / "metrics.jsonl").write_text(
            '{"step": 1, "query_loss": 2.0}\n{"step": 2, "query_loss": 1.0}\n'
        )
    shown = run("curves", searched, "--learner", "reptile,maml", "-o", "-").stdout
    assert "One line for each of maml, reptile." in shown


def test_a_folder_without_a_finished_run_has_no_figure(tmp_path: Path) -> None:
    write_run(tmp_path, make_spec(), status="failed", error="it broke")
    done = run("curves", tmp_path)
    assert isinstance(done.exception, DataError)
    assert "There is no finished and readable run in" in done.exception.message
    assert "it broke" in done.stderr


def test_without_matplotlib_one_sentence_says_what_to_install(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("cell", searched)
    assert isinstance(done.exception, UsageError)
    assert done.exception.message == "Figures need matplotlib, which is not installed."
    assert done.exception.hint == 'pip install "metabench[plots]"'


def test_runs_that_are_under_way_are_told_of(searched: Path, tmp_path: Path) -> None:
    with at_work(write_going(searched, make_spec("metanas"), [{"step": 1, "loss": 1.0}])):
        done = run("cell", searched, "-o", tmp_path / "cell.svg")
    assert done.exit_code == 0
    assert "1 run is under way and not counted" in done.stderr
