"""TensorBoard: a folder of event files for each run, with its parameters, curves and scores.

``torch.utils.tensorboard`` writes them. The tab *Time series* has curves and scores, *Text* the
parameters, and *HParams* a table of all runs with both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from metabench import CurvePoint, Frozen, Parameter, RunEnd, RunFacts, UsageError

EVENTS = "events.out.tfevents.*"


class TensorBoardParams(Frozen):
    """Parameters of the TensorBoard tracker."""

    folder: str | None = Field(
        default=None,
        description="Folder for `tensorboard --logdir`; a relative one is below the current "
        "folder. null: the folder tensorboard in the results folder. Each run has a folder "
        "SUITE@SETTING/LEARNER/RUN_ID in it.",
    )


class TensorBoardTracker:
    """A folder of event files for each run."""

    def __init__(self, params: TensorBoardParams, out: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError(
                "The tracker tensorboard needs the package tensorboard.",
                hint='pip install "metabench[tensorboard]"',
            ) from error
        self._folder = Path(params.folder).absolute() if params.folder else out / "tensorboard"
        self._writer = SummaryWriter

    def open(self, run: RunFacts, *, key: str) -> TensorBoardRun:
        """Begin or go on with a run; see :class:`metabench.Tracker`."""
        return TensorBoardRun(self._writer, self._folder / run.place, run, known=key)

    def has(self, run: RunFacts, *, key: str) -> bool:
        """Whether a run has event files; see :class:`metabench.LookingTracker`."""
        folder = self._folder / run.place
        return key == str(folder) and any(folder.glob(EVENTS))


class TensorBoardRun:
    """The event files of one run; their folder is its key.

    Every start of the run adds a file, and TensorBoard shows them as one run.
    """

    def __init__(self, writer: Any, folder: Path, run: RunFacts, *, known: str) -> None:
        self.key = str(folder)
        earlier = sorted(folder.glob(EVENTS))
        self.resumed = known == self.key and bool(earlier)
        if not self.resumed:
            for file in earlier:  # of a run that began anew: its points would be there twice
                file.unlink()
        self._writer = writer(str(folder))
        if not self.resumed:
            self._writer.add_text("parameters", _table(run))
            self._writer.file_writer.add_summary(_session(run.parameters)[0])
        self._writer.flush()

    def log(self, points: Sequence[CurvePoint]) -> None:
        """Add points; see :class:`metabench.TrackedRun`."""
        for point in points:
            for name, value in point.values.items():
                self._writer.add_scalar(name, value, point.step)
        self._writer.flush()

    def end(self, end: RunEnd) -> None:
        """Add the scores and close the file; see :class:`metabench.TrackedRun`."""
        for name, value in end.values.items():
            self._writer.add_scalar(name, value, end.step)
        self._writer.add_text("end", f"{end.status} {end.text}".strip(), end.step)
        if end.status == "done":
            self._writer.file_writer.add_summary(_session({})[1])
        self._writer.close()


def _session(parameters: Mapping[str, Parameter]) -> tuple[Any, Any]:
    """What the tab HParams reads: that a run began with these parameters, and that it ended.

    A description of the whole experiment is left out: every scalar can then be a column.
    """
    from torch.utils.tensorboard.summary import hparams

    values = {name: "null" if value is None else value for name, value in parameters.items()}
    _, start, end = hparams(values, {})  # type: ignore[no-untyped-call]
    return start, end


def _table(run: RunFacts) -> str:
    """The parameters of a run as a table in Markdown."""
    facts: dict[str, Parameter] = {
        "run_id": run.run_id,
        "run": run.label,
        "stamps": ", ".join(run.stamps),
        "folder": str(run.folder),
        **run.made_with,
        **run.parameters,
    }
    lines = [f"| {name} | {_cell(value)} |" for name, value in facts.items()]
    return "\n".join(["| parameter | value |", "| --- | --- |", *lines])


def _cell(value: Parameter) -> str:
    return "null" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
