"""Tables, comparisons and verdicts as values: the same numbers as the commands print."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from latex_documents import GEOMETRIES, misfits
from result_factory import make_spec, write_run
from typer.testing import CliRunner

import metabench
from metabench.cli import app

COMMITTED = Path(__file__).parents[3] / "results"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(3):
        write_run(tmp_path, make_spec("maml", seed=seed), [0.6, 0.7, 0.8, 0.7])
        write_run(tmp_path, make_spec("reptile", seed=seed), [0.5, 0.7, 0.6, 0.6])
    return tmp_path


def printed(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_report_has_the_numbers_of_the_command(folder: Path) -> None:
    view = metabench.report(folder)
    assert str(view) == printed("report", str(folder))
    assert view.to_latex() == printed("report", str(folder), "-f", "tex")
    wide = view.to_latex(width=496)
    assert wide == printed("report", str(folder), "-f", "tex", "--text-width", "496")
    assert "MAML" in view.to_latex()
    assert view.to_markdown() == printed("report", str(folder), "-f", "md")
    frame = view.to_frame()
    assert set(frame["learner"]) == {"maml", "reptile"}
    cells = [cell for table in view.content.tables for row in table.rows for cell in row.cells]
    assert len(frame) == len(cells)
    assert len(view.problems) == 6
    assert "only 4 of the 8 episodes" in view.problems[0]


def test_a_notebook_shows_a_report_as_a_table(folder: Path) -> None:
    html = metabench.report(folder)._repr_html_()
    assert html.count("<table>") == 1
    assert html.count("<tr>") == 3
    assert "<details>" in html


def test_names_from_records_are_text_in_a_notebook(tmp_path: Path) -> None:
    write_run(tmp_path, make_spec("<script>"))
    assert "<script>" not in metabench.report(tmp_path)._repr_html_()


def test_a_comparison_has_the_numbers_of_the_command(folder: Path) -> None:
    view = metabench.compare("maml", "reptile", folder)
    assert str(view) == printed("compare", "maml", "reptile", str(folder))
    (told,) = json.loads(printed("compare", "maml", "reptile", str(folder), "--json"))[
        "comparisons"
    ]
    frame = view.to_frame()
    assert frame["difference"].tolist() == [column["difference"] for column in told["columns"]]
    assert frame["low"].tolist() == [column["low"] for column in told["columns"]]
    assert view._repr_html_().count("<tr>") == 1 + len(frame)
    assert "\\toprule" in view.to_latex()


def test_claims_have_the_verdicts_of_the_command() -> None:
    folder = COMMITTED / "omniglot-search"
    view = metabench.claims(folder)
    assert str(view) == printed("claims", str(folder))
    told = json.loads(printed("claims", str(folder), "--json"))["claims"]
    frame = view.to_frame()
    assert frame["id"].tolist() == [claim["id"] for claim in told]
    assert frame["verdict"].tolist() == [claim["verdict"] for claim in told]
    assert view._repr_html_().count("<tr>") == 1 + len(told)
    latex = view.to_latex().replace("\\allowbreak{}", "")
    assert all(claim["id"] in latex for claim in told)
    assert "(suite omniglot, setting 20w1s" in latex


def test_what_cannot_be_read_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(metabench.DataError, match="There is no run below"):
        metabench.report(tmp_path)
    with pytest.raises(metabench.UsageError, match="names its metric"):
        metabench.report(tmp_path, paper="m-nas/table-1", metric="nll")
    with pytest.raises(metabench.DataError, match="There is no run below"):
        metabench.claims(tmp_path)
    with pytest.raises(metabench.UsageError, match="There is no plugin file"):
        metabench.claims(tmp_path, plugins=[tmp_path / "absent.py"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("paper", GEOMETRIES)
def test_differences_and_claims_fit_in_papers(paper: str, tmp_path: Path) -> None:
    study = COMMITTED / "toy-guarded"
    texts = [
        metabench.compare("mnas", "maml", study).to_latex(),
        metabench.claims(study).to_latex(),
    ]
    assert "$-$1.106" in texts[0]
    assert misfits(tmp_path, texts, GEOMETRIES[paper]) == []
