"""LaTeX tables in documents with the text widths of papers, and what does not fit there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Geometry:
    """The page of a kind of paper, and the widths for which tables are made in it."""

    options: str
    preamble: str
    widths: tuple[float, ...]


GEOMETRIES = {
    "CVPR": Geometry("twocolumn", "\\textwidth 6.875in\\columnsep 0.3125in", (234.0, 345.0, 496.0)),
    "NeurIPS": Geometry("onecolumn", "\\textwidth 5.5in\\textheight 9in", (345.0, 397.0)),
    "article": Geometry("onecolumn", "", (345.0,)),
}
_TEXT = "The text of a paper, in which the tables float. "


def misfits(folder: Path, tables: Sequence[str], geometry: Geometry) -> list[str]:
    """Set tables in one document; return what the log says of boxes and floats that do not fit.

    Args:
        folder: where the document is made.
        tables: texts of files of tables.
        geometry: of the document.
    """
    inputs = ""
    for number, text in enumerate(tables):
        (folder / f"tables-{number}.tex").write_text(text, encoding="utf-8")
        inputs += f"{_TEXT}\n\\input{{tables-{number}}}\n\\clearpage\n"
    (folder / "document.tex").write_text(
        f"\\documentclass[{geometry.options},10pt,letterpaper]{{article}}\n{geometry.preamble}\n"
        "\\usepackage{booktabs,xcolor}\n\\begin{document}\n"
        f"{_TEXT * 20}\n{inputs}\\end{{document}}\n"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "document.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    log = (folder / "document.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, log[-2000:]
    return re.findall(r"Overfull \\hbox.*|Overfull \\vbox.*|.*Float too large.*", log)
