"""How far the runs of a folder are, from Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from metabench.results.overview import Overview


@dataclass(frozen=True, slots=True)
class StatusView:
    """How far the runs of a folder were. A notebook shows a table; ``print`` gives plain text.

    Attributes:
        overview: the runs as values.
    """

    overview: Overview

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read."""
        return self.overview.problems

    @property
    def under_way(self) -> bool:
        """Whether a process is making a run, or a command is at work that is going to make one."""
        return self.overview.under_way

    def to_dict(self) -> dict[str, Any]:
        """As ``metabench status --format json``."""
        from metabench.render.status_values import status_values

        return status_values(self.overview)

    def to_frame(self) -> pd.DataFrame:
        """One row per run, with the fields that the JSON format has."""
        import pandas as pd

        return pd.DataFrame(self.to_dict()["runs"])

    def __str__(self) -> str:
        """As ``metabench status``."""
        from metabench.render.status_text import status_text

        return status_text(self.overview)

    def _repr_html_(self) -> str:
        from metabench.render.status_text import status_table

        return status_table(self.overview).to_html()


def status(directory: str | Path = "results") -> StatusView:
    """Read how far the runs of a folder are, as ``metabench status`` does.

    Args:
        directory: the results folder, or the folder of one run.

    Raises:
        DataError: when there is no run, and no plan of one.
    """
    from metabench.results.overview import OverviewReader

    return StatusView(OverviewReader(Path(directory))())
