"""The two loops of the harness: meta-training with its validation, and meta-test. Nothing else loops.

Every number is a function of the run's value: batches from (suite, split, seed, index), generators
from (seed, step), a fixed chunk of test episodes. A run that was killed and started again therefore
writes the same bytes as one that was not.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from metabench import checkpoint, provenance
from metabench.building import Built, build
from metabench.episodes import Adapted, TaskBatch, TaskShape
from metabench.errors import DivergedError, MetabenchError
from metabench.losses import task_scores
from metabench.planning import Cell
from metabench.records import EpisodeRecord, RunRecord, Status
from metabench.sampler import EpisodeSampler
from metabench.seeding import generator
from metabench.specs import RunEvent
from metabench.store import RunStore

if TYPE_CHECKING:
    from metabench.catalog import Catalog
    from metabench.runspec import EpisodeProtocol, RunSpec

logger = logging.getLogger(__name__)

LOG_POINTS = 200
"""Points of the training curve; the device is waited for only then."""
CHECKPOINT_SECONDS = 30.0
TEST_ELEMENTS = 2**20
"""Numbers in the inputs of one chunk of test episodes: decides the chunk, by the run's value alone."""

Emit = Callable[[RunEvent], None]


class Interrupted(Exception):  # noqa: N818 - like KeyboardInterrupt, not an error
    """The user asked to stop; the state is saved."""


class Run:
    """One cell on one device.

    Args:
        cell: what to run.
        catalog: where plugins are found.
        out: the results folder.
        device: where tensors live.
        emit: called with events as they happen.
        stopped: asked between steps; True stops the run with its state saved.
    """

    def __init__(
        self,
        cell: Cell,
        catalog: Catalog,
        *,
        out: Path,
        device: torch.device,
        emit: Emit,
        stopped: Callable[[], bool],
    ) -> None:
        self.cell = cell
        self.spec: RunSpec = cell.spec
        self.store = RunStore(out, cell.spec)
        self._catalog = catalog
        self._device = device
        self._emit = emit
        self._stopped = stopped

    def __call__(self) -> RunRecord:
        """Run the cell to its end, from wherever an earlier start left it.

        Raises:
            Interrupted: when stopped; the same command resumes.
            MetabenchError: when the run failed; the record says so.
        """
        with self.store.locked():
            record = self.store.read_record()
            if record is not None and record.status == "done":
                self._say("cell-done", text="was done already")
                return record
            self._say("cell-started")
            command = f"{self.cell.command} --out {self.store.folder.parents[2]}"
            made_with = provenance.collect(command=command, device=self._device)
            if record is not None:
                made_with = made_with.model_copy(update={"started": record.provenance.started})
            self._record = RunRecord(
                run_id=self.spec.run_id,
                spec=self.spec,
                status="running",
                stamps=self.cell.stamps,
                backend=str(self.spec.space) if self.spec.space else "own network",
                provenance=made_with,
            )
            try:
                self._run()
            except MetabenchError as error:
                self._update("failed", error=error.message)
                self._say("cell-failed", text=error.message)
                raise
            except (Interrupted, KeyboardInterrupt):
                self._update("interrupted")
                raise
            except Exception as error:
                self._update("failed", error=f"{type(error).__name__}: {error}")
                self._say("cell-failed", text=f"{type(error).__name__}: {error}")
                raise
            self._say("cell-done")
            return self._record

    def _run(self) -> None:
        built = build(self.spec, self._catalog, device=self._device)
        self._update("running", transductive=built.transductive, n_params=built.n_params)
        step = self._train(built)
        self._test(built)
        self._update("done", selected_step=step, train_seconds=round(self.store.train_seconds(), 1))

    # Meta-training -----------------------------------------------------------------------------

    def _train(self, built: Built) -> int:
        """Train to the end and leave the tested weights in the learner; return their step."""
        total, size = self.spec.training.meta_steps, self.spec.training.meta_batch
        step, best = self._resume(built)
        log_every = max(1, total // LOG_POINTS)
        val_every = self.spec.training.val_every or max(1, total // 20)
        pending: list[Mapping[str, Tensor | float]] = []
        saved_at = started = time.monotonic()
        first = step
        try:
            for tasks in built.train.stream(step, total, size):
                rng = generator(self.spec.seed, "meta-train", step)
                pending.append(built.learner.meta_step(tasks, progress=step / total, rng=rng))
                step += 1
                if step % log_every == 0 or step == total:
                    self._log(step, total, pending)
                    pending = []
                if built.validate is not None and (step % val_every == 0 or step == total):
                    best = self._validate(built, step, best)
                if self._stopped():
                    raise Interrupted
                # Between two logged points the losses have not been looked at: save at points only,
                # so that a checkpoint never holds weights that are not finite.
                if not pending and time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                    self._save(built, step, best)
                    saved_at = time.monotonic()
        except Interrupted:
            self._check(step, _means(pending))
            self._save(built, step, best)
            raise
        finally:
            if step > first:
                seconds = round(time.monotonic() - started, 3)
                self.store.append_timing(
                    {"phase": "meta-train", "steps": step - first, "seconds": seconds}
                )
        if step > first or total == 0:
            self._save(built, step, best)
        if built.validate is not None and best is not None:
            state = checkpoint.load(self.store.best_checkpoint, device=self._device)
            built.learner.load_state_dict(state["learner"])
            return int(state["step"])
        return step

    def _resume(self, built: Built) -> tuple[int, float | None]:
        if not self.store.checkpoint.exists():
            self.store.rewind_metrics(0)
            return 0, None
        state = checkpoint.load(self.store.checkpoint, device=self._device)
        built.learner.load_state_dict(state["learner"])
        self.store.rewind_metrics(state["step"])
        self._say("message", text=f"resumes at meta-step {state['step']:,}")
        return int(state["step"]), state["best"]

    def _save(self, built: Built, step: int, best: float | None) -> None:
        state = {"step": step, "best": best, "learner": built.learner.state_dict()}
        checkpoint.save(self.store.checkpoint, state)

    def _log(self, step: int, total: int, pending: list[Mapping[str, Tensor | float]]) -> None:
        values = _means(pending)
        self._check(step, values)
        self.store.append_metrics(step, {k: float(f"{v:.6g}") for k, v in values.items()})
        self._say("progress", phase="meta-train", done=step, total=total, values=values)

    def _check(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise DivergedError(
                    f"{self.cell.label} diverged: {name} is {value} at meta-step {step:,}.",
                    hint=f"Its last good checkpoint is {self.store.checkpoint}.",
                )

    def _validate(self, built: Built, step: int, best: float | None) -> float:
        """Score the present weights on meta-validation; keep them if they are the best so far."""
        assert built.validate is not None
        n_episodes = self.spec.protocol.val_episodes * len(self.spec.sources)
        scores: list[Tensor] = []
        for first, tasks in _chunks(
            built.validate, n_episodes, _chunk(self.spec.protocol, built.task)
        ):
            rng = generator(self.spec.seed, "meta-val", first)
            adapted = built.learner.adapt(tasks.support, rng=rng)
            scores.append(self._score(adapted.predict, tasks))
        score = float(torch.cat(scores).mean())
        self._check(step, {"val_score": score})
        self.store.append_metrics(step, {"val_score": float(f"{score:.6g}")})
        sign = 1.0 if self.spec.metric == "accuracy" else -1.0
        if best is not None and sign * score <= sign * best:
            return best
        checkpoint.save(
            self.store.best_checkpoint, {"step": step, "learner": built.learner.state_dict()}
        )
        return score

    # Meta-test ---------------------------------------------------------------------------------

    def _test(self, built: Built) -> None:
        """Write one line per episode; lines that are there already are not made again."""
        total = self.spec.protocol.episodes * len(self.spec.sources)
        written = self.store.count_episodes()
        started = time.monotonic()
        for first, tasks in _chunks(
            built.test, total, _chunk(self.spec.protocol, built.task), done=written
        ):
            rng = generator(self.spec.seed, "meta-test", first)
            records = self._episodes(built.learner.adapt(tasks.support, rng=rng), tasks, first)
            self.store.append_episodes(records[max(0, written - first) :])
            self._say("progress", phase="meta-test", done=first + len(tasks), total=total)
            if self._stopped():
                raise Interrupted
        self.store.append_timing(
            {
                "phase": "meta-test",
                "episodes": total - written,
                "seconds": round(time.monotonic() - started, 3),
            }
        )

    def _episodes(self, adapted: Adapted, tasks: TaskBatch, first: int) -> list[EpisodeRecord]:
        scores = self._score(adapted.predict, tasks).tolist()
        for i, score in enumerate(scores):
            if not math.isfinite(score):
                raise DivergedError(
                    f"{self.cell.label} diverged: its {self.spec.metric} on meta-test episode "
                    f"{first + i:,} is {score}."
                )
        curves: list[tuple[float | None, ...] | None] = [None] * len(tasks)
        if adapted.curve is not None:
            points = torch.stack([self._score(predict, tasks) for predict in adapted.curve], dim=1)
            curves = [tuple(_rounded(value) for value in row) for row in points.tolist()]
        n_params = adapted.n_params or [None] * len(tasks)
        return [
            EpisodeRecord(
                index=first + i,
                source=tasks.sources[i],
                key=tasks.keys[i],
                score=float(f"{scores[i]:.7g}"),
                curve=curves[i],
                n_params=n_params[i],
            )
            for i in range(len(tasks))
        ]

    def _score(self, predict: Callable[[Tensor], Tensor], tasks: TaskBatch) -> Tensor:
        with torch.no_grad():
            return task_scores(predict(tasks.query.x), tasks.query.y, metric=self.spec.metric)

    # Records -----------------------------------------------------------------------------------

    def _update(self, status: Status, **changes: Any) -> None:
        self._record = self._record.model_copy(update={"status": status, **changes})
        self.store.write_record(self._record)

    def _say(self, kind: Any, **details: Any) -> None:
        self._emit(RunEvent(kind=kind, run_id=self.spec.run_id, label=self.cell.label, **details))


def _chunk(protocol: EpisodeProtocol, task: TaskShape) -> int:
    """How many test episodes are adapted to at once."""
    n_examples = protocol.ways * (protocol.shots + protocol.queries)
    return max(1, min(100, TEST_ELEMENTS // (n_examples * math.prod(task.inputs))))


def _chunks(
    sampler: EpisodeSampler, total: int, size: int, *, done: int = 0
) -> Iterator[tuple[int, TaskBatch]]:
    """Yield (first index, batch) from the chunk that holds episode ``done``."""
    if done < total:
        for first in range(done - done % size, total, size):
            yield first, sampler.batch(np.arange(first, min(first + size, total)))


def _means(pending: list[Mapping[str, Tensor | float]]) -> dict[str, float]:
    """Mean of each scalar over steps: one wait for the device, whatever their number."""
    if not pending:
        return {}
    # A learner may log other scalars in another phase of training.
    return {
        name: float(torch.stack([torch.as_tensor(step[name]).detach() for step in pending]).mean())
        for name in pending[0].keys() & pending[-1].keys()
    }


def _rounded(value: float) -> float | None:
    """Seven digits, all that float32 holds; None for what is not finite (JSON has no word for it)."""
    return float(f"{value:.7g}") if math.isfinite(value) else None
