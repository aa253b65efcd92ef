"""What a run keeps for figures of single tasks, so that they need no checkpoint.

``fits.jsonl`` has what a learner predicts on some regression tasks, ``mixtures.jsonl`` how the
weights of operations change while it adapts to a task.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from metabench.errors import DataError
from metabench.results.foreign import text_lines
from metabench.results.schema import RunRecord
from metabench.text import plain

Array = NDArray[np.float64]
FITS, MIXTURES = "fits", "mixtures"
"""Stems of the files."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fit:
    """What a learner predicts on one task.

    Attributes:
        index: of the meta-test episode.
        source: where the task was drawn from.
        x: evenly spaced points, ``[points]``.
        support_x: ``[shots]``.
        support_y: ``[shots]``.
        truth: the function at the points; None where the source cannot be asked there.
        fit: the prediction at the points.
    """

    index: int
    source: str
    x: Array
    support_x: Array
    support_y: Array
    truth: Array | None
    fit: Array

    def to_json(self) -> dict[str, Any]:
        """A line of the file, five digits each; of the points, the ends and the number."""
        return {
            "index": self.index,
            "source": self.source,
            "low": float(self.x[0]),
            "high": float(self.x[-1]),
            "support_x": _short(self.support_x),
            "support_y": _short(self.support_y),
            "truth": None if self.truth is None else _short(self.truth),
            "fit": _short(self.fit),
        }

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Fit:
        """Read a line."""
        fit, truth = _array(line["fit"]), line["truth"]
        return cls(
            index=int(line["index"]),
            source=str(line["source"]),
            x=np.linspace(line["low"], line["high"], len(fit)),
            support_x=_array(line["support_x"]),
            support_y=_array(line["support_y"]),
            truth=None if truth is None else _array(truth),
            fit=fit,
        )


@dataclass(frozen=True, slots=True)
class MixturePanel:
    """The weights of one edge, or of the pairs of inputs of one node.

    Attributes:
        cell: the cell.
        source: the node where the edge begins; None for pairs of inputs.
        target: the node where it ends.
        names: of the operations, or of the pairs.
        weights: ``[points, names]``.
    """

    cell: str
    source: int | None
    target: int
    names: tuple[str, ...]
    weights: Array

    @property
    def title(self) -> str:
        """Which edge or node of which cell, ``normal 0 to 2`` or ``normal into 3``."""
        cell = plain(self.cell)
        if self.source is None:
            return f"{cell} into {self.target}"
        return f"{cell} {self.source} to {self.target}"


@dataclass(frozen=True, slots=True)
class MixturePath:
    """The weights of all edges as a learner adapts to one task.

    Attributes:
        index: of the meta-test episode.
        steps: how many inner steps were made at each point, from 0 to the last.
        panels: the edges and nodes.
    """

    index: int
    steps: tuple[int, ...]
    panels: tuple[MixturePanel, ...]

    def to_json(self) -> dict[str, Any]:
        """A line of the file, three decimals each; null where a weight is not finite."""
        panels = [
            asdict(panel) | {"weights": [*map(_short, panel.weights.round(3))]}
            for panel in self.panels
        ]
        return {"index": self.index, "steps": self.steps, "panels": panels}

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> MixturePath:
        """Read a line."""
        panels = []
        for panel in line["panels"]:
            names, weights = tuple(map(str, panel["names"])), _array(panel["weights"])
            if weights.shape != (len(line["steps"]), len(names)):
                raise ValueError(f"weights of shape {weights.shape}")
            source = panel["source"]
            ends = None if source is None else int(source), int(panel["target"])
            panels.append(MixturePanel(str(panel["cell"]), *ends, names, weights))
        return cls(int(line["index"]), tuple(map(int, line["steps"])), tuple(panels))


def read_fits(folder: Path) -> dict[int, Fit]:
    """The fits of a run by the index of the episode; empty where it kept none.

    Raises:
        DataError: when a line is damaged.
    """
    return {one.index: one for one in _read(folder / f"{FITS}.jsonl", Fit.from_json)}


def read_mixtures(folder: Path) -> dict[int, MixturePath]:
    """The paths of a run by the index of the episode; empty where it kept none.

    Raises:
        DataError: when a line is damaged.
    """
    return {one.index: one for one in _read(folder / f"{MIXTURES}.jsonl", MixturePath.from_json)}


def command_again(record: RunRecord) -> str:
    """The command that makes a run once more, in a new folder."""
    try:
        words = iter(shlex.split(record.provenance.command))
    except ValueError:  # it was edited by hand
        return record.provenance.command
    kept = []
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            kept.append(word)
    return shlex.join([*kept, "--out", "NEW"])


def _read(path: Path, read: Callable[[dict[str, Any]], T]) -> list[T]:
    found = []
    for line in text_lines(path):
        try:
            found.append(read(from_json(line)))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{path} has a damaged line: {line[:60]!r}.",
                hint="Remove the file; the command of the run makes it again from its checkpoint.",
            ) from error
    return found


def _array(values: Any) -> Array:
    return np.array(values, dtype=np.float64)


def _short(values: Array) -> list[float | None]:
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]
