"""The only writer of results: one folder per run, atomic or append-only, safe to kill at any time.

``<out>/<suite>@<setting>/<learner>/<run_id>/`` holds ``run.json``, ``episodes.jsonl``,
``metrics.jsonl``, ``timings.jsonl``, ``evaluations/`` and ``checkpoints/``; of learners that search
or embed tasks ``genotypes.jsonl`` and ``embeddings.jsonl`` as well.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from metabench.errors import DataError, MetabenchError
from metabench.records import EpisodeRecord, RunRecord
from metabench.runspec import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metabench.genotype import Genotype
    from metabench.runspec import RunSpec


class RunStore:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, spec: RunSpec, out: Path) -> RunStore:
        """The folder of a run below the results folder ``out``."""
        return cls(out / f"{spec.suite}@{spec.setting}" / spec.learner.name / spec.run_id)

    @property
    def checkpoint(self) -> Path:
        """Where training stands."""
        return self.folder / "checkpoints" / "last.safetensors"

    @property
    def best_checkpoint(self) -> Path:
        """The best weights on meta-validation."""
        return self.folder / "checkpoints" / "best.safetensors"

    def _episodes(self, evaluation: str) -> Path:
        name = f"evaluations/{evaluation}.jsonl" if evaluation else "episodes.jsonl"
        return self.folder / name

    def read_record(self) -> RunRecord | None:
        """The record of an earlier start; None if there is none."""
        path = self.folder / "run.json"
        try:
            return RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DataError(
                f"{path} is not a readable run record.", hint="Move it away to run this cell anew."
            ) from error

    def write_record(self, record: RunRecord) -> None:
        """Replace ``run.json`` in one step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "run.json"
        _replace(path, record.model_dump_json(indent=2) + "\n")

    def append_episodes(self, records: Iterable[EpisodeRecord], *, evaluation: str = "") -> None:
        """Add episodes in the order of their index, to the headline's if no other is named."""
        lines = [record.model_dump_json(exclude_none=True) for record in records]
        path = self._episodes(evaluation)
        path.parent.mkdir(exist_ok=True)
        _append(path, lines)

    def append_genotypes(self, first: int, genotypes: Sequence[Genotype]) -> None:
        """Add the architectures of meta-test episodes ``first``, ``first + 1``, ..., once each."""
        self._append_once("genotype", first, [genotype.to_json() for genotype in genotypes])

    def append_embeddings(self, first: int, embeddings: Sequence[Sequence[float | None]]) -> None:
        """Likewise their embeddings."""
        self._append_once("embedding", first, embeddings)

    def _append_once(self, noun: str, first: int, values: Sequence[Any]) -> None:
        """Add a line per episode to the file of a noun, but for those that are there already."""
        path = self.folder / f"{noun}s.jsonl"
        there = _repaired(path)
        after = json.loads(there[-1])["index"] if there else -1
        lines = [
            canonical_json({"index": index, noun: value})
            for index, value in enumerate(values, start=first)
            if index > after
        ]
        _append(path, lines)

    def count_episodes(self, *, evaluation: str = "") -> int:
        """Complete episodes so far; a line torn by a kill is cut off first."""
        return len(_repaired(self._episodes(evaluation)))

    def forget_evaluation(self, evaluation: str) -> None:
        """Remove the episodes of an evaluation that the suite has defined anew."""
        self._episodes(evaluation).unlink(missing_ok=True)

    def append_metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Add a point of the training curve."""
        _append(self.folder / "metrics.jsonl", [json.dumps({"step": step, **values})])

    def rewind_metrics(self, step: int) -> None:
        """Forget points after ``step``: a resumed run makes them again."""
        path = self.folder / "metrics.jsonl"
        kept = [line for line in _repaired(path) if json.loads(line)["step"] <= step]
        if path.exists():
            _replace(path, "".join(f"{line}\n" for line in kept))

    def append_timing(self, values: Mapping[str, Any]) -> None:
        """Add a note of wall time; kept apart so that the other files hold no clock values."""
        _append(self.folder / "timings.jsonl", [json.dumps(dict(values))])

    def train_seconds(self) -> float:
        """Wall time of meta-training over all starts."""
        lines = map(json.loads, _repaired(self.folder / "timings.jsonl"))
        return math.fsum(line["seconds"] for line in lines if line["phase"] == "meta-train")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process off this run; the lock ends with the process, however it ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
            if not _try_lock(file):
                raise MetabenchError(
                    f"The run in {self.folder} is being made by another process.",
                    hint="Wait for it, or choose another --out.",
                )
            yield


def _replace(path: Path, text: str) -> None:
    """Write under another name, then rename: a kill leaves the old or the new file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _append(path: Path, lines: list[str]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


def _repaired(path: Path) -> list[str]:
    """The complete lines of an append-only file, after cutting off a torn last line."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("rb+") as file:
            file.truncate(len(whole))
    return whole.decode("utf-8").splitlines()


def _try_lock(file: IO[str]) -> bool:
    with suppress(ImportError):  # Windows has no fcntl; runs are then not guarded
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
