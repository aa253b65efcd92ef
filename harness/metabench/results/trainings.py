"""Runs of a results folder that have one training, of which one may take what another has made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metabench.data.plain_files import MAX_RECORD, read_plain
from metabench.durable import link_to, replacing
from metabench.errors import DataError
from metabench.results.schema import RunRecord
from metabench.results.store import RunStore, is_at_work

if TYPE_CHECKING:
    from metabench.planning.runspec import RunSpec


@dataclass(frozen=True, slots=True)
class Twin:
    """Another run with the same training.

    Attributes:
        store: its folder.
        record: as it was when it was read.
    """

    store: RunStore
    record: RunRecord

    @property
    def origin(self) -> str:
        """The id of the run that made the training."""
        return self.record.training_from or self.record.run_id

    @property
    def trained(self) -> bool:
        """Whether its training is finished, and the weights are still there."""
        return self.store.weights.exists()

    @property
    def at_work(self) -> bool:
        """Whether a process is making it."""
        return bool(is_at_work(self.store.folder))

    @property
    def train_seconds(self) -> float:
        """Wall time of the training."""
        known = self.record.train_seconds
        return round(self.store.train_seconds(), 1) if known is None else known


def twins_of(record: RunRecord, out: Path) -> Iterator[Twin]:
    """The other runs of a results folder with the training of a record, in the order of ids."""
    spec = record.spec
    for folder in _folders_beside(spec, out):
        store = RunStore(folder)
        try:
            store.require_no_links()
            data = read_plain(folder / "run.json", MAX_RECORD)
            if record.training_id.encode() not in data:
                continue
            other = RunRecord.model_validate_json(data)
        except (OSError, ValueError, DataError):
            continue
        if other.training_id == record.training_id and other.run_id != record.run_id:
            yield Twin(store, other)


def _folders_beside(spec: RunSpec, out: Path) -> list[Path]:
    """The folders of runs of the same suite and learner, in all settings."""
    found = out.glob(f"*/{spec.learner.name}/*/run.json")
    mine = (path.parent for path in found if path.parts[-4].startswith(f"{spec.suite}@"))
    return sorted(mine, key=lambda folder: folder.name)


def take_training(store: RunStore, twin: Twin) -> None:
    """Give a run the curve and the weights of another one; the weights come last.

    The weights are a hard link where the file system has such: the file is never changed, only
    replaced.

    Raises:
        OSError: when the other's files are gone, or these cannot be written.
    """
    curve = twin.store.folder / "metrics.jsonl"
    if curve.exists():
        with replacing(store.folder / "metrics.jsonl") as copy:
            shutil.copyfile(curve, copy)
    store.weights.parent.mkdir(parents=True, exist_ok=True)
    if not link_to(twin.store.weights, store.weights):
        with replacing(store.weights) as copy:
            shutil.copyfile(twin.store.weights, copy)
