"""Makes runs that go on, for tests: a folder whose lock is held, and plain states."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from result_factory import make_spec, write_run

from metabench.planning.plan import PlannedRun
from metabench.planning.runspec import RunSpec
from metabench.results.metrics import FORMER
from metabench.results.run_state import RunState
from metabench.results.store import RunStore
from metabench.results.training_curve import TrainingCurve


def write_going(
    out: Path, spec: RunSpec | None = None, points: Iterable[dict[str, Any]] = (), **changes: Any
) -> Path:
    """Write a run that has begun and has no episode yet; return its folder."""
    folder = write_run(out, spec or make_spec(), **{"status": "running", **changes})
    (folder / "episodes.jsonl").unlink()
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in points))
    return folder


@contextmanager
def at_work(*folders: Path) -> Iterator[None]:
    """Hold the locks of these runs, as the processes that make them do."""
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(RunStore(folder).locked())
        yield


def make_plan(*specs: RunSpec) -> list[PlannedRun]:
    """Planned runs of these specs."""
    return [PlannedRun(one, (), f"metabench run --seed {one.seed}") for one in specs]


def make_state(state: str = "running", learner: str = "maml", **changes: Any) -> RunState:
    """A state of a run without a folder."""
    values: dict[str, Any] = {
        "folder": Path("R"),
        "state": state,
        "run_id": "0123456789abcdef",
        "suite": "toy-regression",
        "setting": "10-shot",
        "budget": "paper",
        "learner": learner,
        "seed": 0,
        "metric": FORMER["mse"],
        "meta_steps": 1000,
        "n_episodes": 400,
        "meta_batch": 4,
        "command": f"metabench run --learner {learner} --suite toy-regression --out R",
    }
    return RunState(**{**values, **changes})


def make_curve(*losses: float, score: float | None = None) -> TrainingCurve:
    """A curve of these losses, one in 100 steps, and one score at its end."""
    points = [((i + 1) * 100, loss) for i, loss in enumerate(losses)]
    last = points[-1][0] if points else 0
    scores = [] if score is None else [(last, score)]
    return TrainingCurve(last, {"loss": points, **({"val_score": scores} if scores else {})})
