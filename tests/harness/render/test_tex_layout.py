"""Where tables are split so that they fit, and whether widths are what TeX makes of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path

import pytest

from metabench.render.compact import CompactTable, Line, Number
from metabench.render.tex_layout import (
    ARTICLE,
    COLUMN,
    SEPARATION,
    SIZES,
    laid_out,
    shrunk,
    text_width,
    word_parts,
)
from metabench.render.tex_text import escape


def table(
    *columns: tuple[str, ...], n_lines: int = 3, left: tuple[str, ...] = ("Learner",)
) -> CompactTable:
    numbers = tuple(Number("12.345", "0.678") for _ in columns)
    return CompactTable(
        caption="What it shows.",
        label="tab:it",
        left=left,
        columns=columns,
        lines=tuple(Line(left=("MAML",) * len(left), numbers=numbers) for _ in range(n_lines)),
    )


def test_a_table_that_fits_is_one_panel() -> None:
    layout = laid_out(table(("a",), ("b",)), COLUMN)
    (panel,) = layout.panels
    assert layout.size == SIZES[0]
    assert panel.columns == (0, 1)
    assert panel.width < COLUMN


@pytest.mark.parametrize("width", [180.0, COLUMN, ARTICLE, 496.0])
@pytest.mark.parametrize("n", [1, 4, 11, 30])
def test_panels_have_every_column_and_line_once_and_fit(n: int, width: float) -> None:
    columns = [("suite", f"column {i}") for i in range(n)]
    layout = laid_out(table(*columns, n_lines=50), width)
    places = [
        (line, col) for panel in layout.panels for line in panel.lines for col in panel.columns
    ]
    assert sorted(places) == [(line, col) for line in range(50) for col in range(n)]
    assert all(panel.width <= width for panel in layout.panels)
    assert all(len(panel.lines) < 50 for panel in layout.panels)


def test_columns_of_one_setting_stay_together_where_they_can() -> None:
    columns = [(setting, f"{i}") for setting in ("first", "second") for i in range(4)]
    layout = laid_out(table(*columns), ARTICLE)
    assert [panel.columns for panel in layout.panels] == [(0, 1, 2, 3), (4, 5, 6, 7)]


def test_a_smaller_type_is_taken_where_it_saves_a_panel() -> None:
    wide = table(*[(f"{i}",) for i in range(6)])
    narrowest = next(
        width for width in range(200, 500) if len(laid_out(wide, float(width)).panels) == 1
    )
    assert laid_out(wide, float(narrowest)).size == SIZES[-1]
    assert laid_out(wide, narrowest + 60.0).size == SIZES[0]


def test_only_names_are_repeated_in_further_panels() -> None:
    layout = laid_out(
        table(*[(f"{i}",) for i in range(12)], left=("Learner", "Network", "Weights")), ARTICLE
    )
    first, *others = layout.panels
    assert len(first.left) == 3
    assert {len(panel.left) for panel in others} == {1}


def test_columns_are_not_narrower_than_a_word_while_there_is_room() -> None:
    assert shrunk([100.0, 50.0], 100.0, least=[70.0, 10.0]) == pytest.approx([70.0, 24.0])
    assert sum(shrunk([100.0, 50.0], 60.0, least=[70.0, 40.0])) <= 60.0 - SEPARATION


def test_words_of_a_language_are_not_broken() -> None:
    assert word_parts("regularization") == ["regularization"]
    for words in ("extrapolation:", "(regularization)", "transductive,"):
        assert word_parts(words) == [words]
    assert len(word_parts("x" * 60)) > 1
    assert "".join(word_parts("a/b_c(d=[0,1])" * 5)) == "a/b_c(d=[0,1])" * 5


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_widths_are_at_least_those_of_computer_modern(tmp_path: Path) -> None:
    texts = [
        *(chr(code) for code in range(33, 127) if chr(code) not in "-'`\""),
        *("M-NAS-Shared", "Accuracy (%)", "Random search (MAML)", "Conv-4 (filters=32, pool=max)"),
    ]

    def as_set(text: str) -> str:
        """A letter alone many times, without the kerning of equal letters."""
        return "{}".join([escape(text)] * 20) if len(text) == 1 else escape(text)

    sizes = {"small": 1.0, "footnotesize": SIZES[-1].scale}
    measured = "".join(
        f"\\setbox0=\\hbox{{\\{size} {as_set(text)}}}\\typeout{{WIDTH \\the\\wd0}}\n"
        for size in sizes
        for text in texts
    )
    (tmp_path / "widths.tex").write_text(
        f"\\documentclass{{article}}\\begin{{document}}\n{measured}\\end{{document}}"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "widths.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = [float(width) for width in re.findall(r"WIDTH ([\d.]+)pt", done.stdout)]
    guessed = [scale * text_width(text) for scale in sizes.values() for text in texts]
    guessed = [
        20 * ours if len(text) == 1 else ours for ours, text in zip(guessed, 2 * texts, strict=True)
    ]
    pairs = zip(guessed, found, chain(texts, texts), strict=True)
    assert [text for ours, real, text in pairs if not real <= ours <= 1.15 * real] == []
