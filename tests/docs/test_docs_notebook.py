"""The notebook of the documentation runs from its first cell to its last, and shows tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from doc_pages import DOCS

NOTEBOOK = DOCS / "examples" / "compare-two-learners.ipynb"


@pytest.mark.slow
def test_the_notebook_shows_tables(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient executes notebooks")
    pytest.importorskip("ipykernel", reason="a notebook needs a kernel")
    import nbformat

    text = NOTEBOOK.read_text(encoding="utf-8")
    short = text.replace("limit=20", 'limit=20, changes={\\"budget.meta_steps\\": 20}')
    assert short != text
    notebook = nbformat.reads(short, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    shown = [
        output.data["text/html"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    assert len(shown) == 3
    assert all("<table" in html and "maml" in html for html in shown)


def test_the_notebook_is_kept_without_outputs() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert '"outputs": [\n' not in text
