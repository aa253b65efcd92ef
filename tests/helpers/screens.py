"""What the reading commands print on the committed results; run as a script, it writes it anew.

    python tests/helpers/screens.py

writes ``tests/golden/screens``. Look at the difference before you commit it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from metabench.cli import app

ROOT = Path(__file__).parents[2]
SCREENS = ROOT / "tests" / "golden" / "screens"
WIDTHS = (80, 100, 120)
COMMANDS = {
    "report": "report results/four-domains-search",
    "report-toy": "report results/toy-guarded",
    "report-omniglot": "report results/omniglot-lite --caption full",
    "report-selected": "report results/four-domains-search --learner maml,mnas --columns "
    "aircraft,average --sort aircraft",
    "report-paper": "report results/m-nas-table-1 --paper m-nas/table-1",
    "compare": "compare maml mnas results/four-domains-search",
    "claims": "claims results/four-domains-search",
    "claim": "claims results/omniglot-search metanas-reptile-omniglot",
    "genotypes": "genotypes results/four-domains-search --top 1",
    "list": "list executors",
    "show": "show nearest-neighbor",
    "show-paper": "show m-nas/table-1",
}
"""By the name of their files."""


def screen(command: str, width: int) -> str:
    """What a command prints on a terminal of so many columns, after the command itself."""
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        result = CliRunner().invoke(app, shlex.split(command), env={"COLUMNS": str(width)})
    finally:
        os.chdir(here)
    assert result.exit_code == 0, result.output
    return f"$ metabench {command}\n{result.stdout}"


def screens() -> Iterator[tuple[Path, str, int]]:
    """Each file with its command and width."""
    for name, command in COMMANDS.items():
        for width in WIDTHS:
            yield SCREENS / f"{name}-{width}.txt", command, width


if __name__ == "__main__":
    SCREENS.mkdir(exist_ok=True)
    for path, command, width in screens():
        path.write_text(screen(command, width), encoding="utf-8")
