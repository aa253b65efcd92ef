"""Which runs a command is going to make, written down while it makes them.

``<out>/.plans/<digest>.json`` names every run of a command that makes several. The command holds
the lock of the file, so a reader can tell whether it is still at work. The file is removed when all
of its runs have begun: from then on their own folders say how far they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metabench.durable import is_locked, locked
from metabench.errors import UsageError
from metabench.planning.plan import PlannedRun
from metabench.results.folders import Below
from metabench.results.foreign import read_end
from metabench.results.store import RunStore
from metabench.values import digest

FOLDER = ".plans"
MAX_PLAN = 16 * 2**20
"""Bytes of a plan that is read; a larger file is none."""
MAX_PLANS = 1000
"""Plans of a folder that are read."""


class PlanEntry(BaseModel):
    """A run of a plan."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    run_id: str = Field(max_length=60)
    suite: str = Field(max_length=60)
    setting: str = Field(max_length=60)
    budget: str = Field(max_length=60)
    learner: str = Field(max_length=60)
    seed: int = Field(ge=0, lt=2**31)
    config: str = Field(default="", max_length=60)  # which older plans do not have
    meta_steps: int = Field(ge=0, lt=2**53)
    meta_batch: int = Field(ge=0, lt=2**53)
    n_episodes: int = Field(ge=0, lt=2**53)
    command: str


class Plan(BaseModel):
    """The runs of a command."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    runs: tuple[PlanEntry, ...]


@contextmanager
def announced(planned: Sequence[PlannedRun], out: Path) -> Iterator[None]:
    """Keep the plan of a command in the results folder while the block makes its runs.

    One run needs no plan. A folder in which it cannot be written stops nothing.
    """
    if len(planned) < 2:
        yield
        return
    path = out / FOLDER / f"{digest(sorted(one.spec.run_id for one in planned))}.json"
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            ours = stack.enter_context(locked(path))
        except UsageError:
            ours = False
        except OSError:  # it cannot be locked, and is of no use without
            ours = False
            _forget(path)
        if ours:
            plan = Plan(runs=tuple(_entry(one, out) for one in planned))
            with suppress(OSError):  # a full disk stops no run here
                path.write_text(plan.model_dump_json() + "\n", encoding="utf-8")
        try:
            yield
        finally:
            stores = (RunStore.of(one.spec, out) for one in planned)
            if ours and all((store.folder / "run.json").exists() for store in stores):
                _forget(path)


def _forget(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
        path.parent.rmdir()  # fails while it holds other plans


def read_plans(below: Below) -> Iterator[tuple[PlanEntry, bool, Path]]:
    """The runs of all plans below a folder; files that are no plan are passed over.

    Args:
        below: what lies below the folder.

    Yields:
        A run, whether the command that planned it is still at work, and the results folder.
    """
    folders = (folder for folder in below.names if folder.name == FOLDER)
    files = (folder / name for folder in folders for name in below.names[folder])
    for path in sorted(file for file in files if file.suffix == ".json")[:MAX_PLANS]:
        try:
            found = Plan.model_validate_json(read_end(path, MAX_PLAN))
        except (OSError, ValidationError):
            continue
        at_work = bool(is_locked(path))
        for entry in found.runs:
            yield entry, at_work, path.parents[1]


def _entry(planned: PlannedRun, out: Path) -> PlanEntry:
    spec = planned.spec
    return PlanEntry(
        run_id=spec.run_id,
        suite=spec.suite,
        setting=spec.setting,
        budget=spec.budget,
        learner=spec.learner.name,
        seed=spec.seed,
        config=spec.config_id,
        meta_steps=spec.training.meta_steps,
        meta_batch=spec.training.meta_batch,
        n_episodes=spec.protocol.episodes * len(spec.sources),
        command=planned.command_into(out),
    )
