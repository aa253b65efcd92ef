"""The two loops: meta-training with its validation, and meta-test. Nothing else loops.

Every number is a function of the run's value: batches from (suite, split, seed, index), generators
from (seed, step), a fixed chunk of test episodes. A run that was killed and started again therefore
writes the same bytes as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from metabench.errors import DataError, DivergedError
from metabench.planning.plan import PlannedRun
from metabench.plugin.contracts.episode import (
    Adapted,
    EpisodeShape,
    Predictor,
    TaskBatch,
    TaskShape,
)
from metabench.plugin.contracts.genotype import Genotype
from metabench.plugin.contracts.learner import SKIPPED, Learner, PhasedLearner
from metabench.plugin.contracts.space import CanonicalSpace
from metabench.plugin.specs import RunEvent
from metabench.results.schema import EpisodeRecord
from metabench.results.store import RunStore, set_aside
from metabench.results.training_curve import VAL_SCORE
from metabench.results.validation_scores import META_VAL
from metabench.running import checkpoint, returned
from metabench.running.build import Built
from metabench.running.checkpoint import TRAINING_ID, without_training
from metabench.running.engines import Adapter, EagerAdapter, Engine, EngineName
from metabench.running.ensemble import Ensemble, keep, kept
from metabench.running.kept_states import check_position, check_training, load_kept
from metabench.running.training_phases import TrainingPhase, batches
from metabench.running.weights_file import load_given
from metabench.running.work import Work
from metabench.sampling.sampler import EpisodeSampler
from metabench.sampling.seeding import generator
from metabench.stats import computable
from metabench.values import rounded

if TYPE_CHECKING:
    from metabench.running.ranks.leading import Leader

LOG_POINTS = 200
"""Points of the training curve; the device is waited for only then."""
MOST_SKIPPED = 100
"""Meta-steps skipped in a row from which a run counts as diverged."""
TEST_ELEMENTS = 2**20
"""Numbers in the inputs of one chunk of test episodes. Part of what decides the last digit."""
EMBEDDED = 1000
"""Meta-test episodes whose embeddings are kept: the first ones, in which sources take turns. As
many as M-NAS's figure 6 shows; a file of 0.4 MB at 40 numbers a task, 1.2 MB at 128."""


UNJUDGED = "unjudged"
"""In a checkpoint: the meta-validation of these weights was stopped."""


class Interrupted(Exception):  # noqa: N818 - like KeyboardInterrupt, not an error
    """The run was asked to stop; the state is saved."""


class SetAside(Exception):  # noqa: N818 - the run goes on
    """A state that was kept is set aside; the learner, which may hold a part of it, is spoilt.

    A learner that is built anew trains to the same numbers.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """How a run reports events and is stopped.

    Attributes:
        emit: called with each event.
        stopped: called between steps; if it returns True, the run saves its state and stops.
        why: what the record says of a run that was stopped; "" where a user asked.
        checkpoint_seconds: least number of seconds between two checkpoints of the training.
        engine: what makes the meta-steps.
        leader: of the processes that make the run together; None if there is this one alone.
    """

    emit: Callable[[RunEvent], None]
    stopped: Callable[[], bool]
    why: Callable[[], str] = str
    checkpoint_seconds: float = 30.0
    engine: EngineName = "eager"
    leader: Leader | None = None


@dataclass(frozen=True, slots=True)
class TestedChunk:
    """What is found on a chunk of meta-test episodes; it can be pickled.

    Attributes:
        first: its first episode.
        records: one for each episode.
        genotypes: likewise, where the architecture is a result.
        own_genotypes: likewise, of :attr:`metabench.Adapted.own_genotypes`.
        embedding: rows of the first :data:`EMBEDDED` episodes, where tasks are embedded.
    """

    first: int
    records: Sequence[EpisodeRecord]
    genotypes: Sequence[Genotype] | None
    own_genotypes: Sequence[Genotype] | None
    embedding: Sequence[Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class Trained:
    """What meta-training leaves.

    Attributes:
        step: the meta-step of the weights to test.
        skipped: meta-steps that the learner skipped; None if it never skips.
        score: of these weights on meta-validation; None if the last are tested.
    """

    step: int
    skipped: int | None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class _State:
    """Where meta-training is: the steps done, the best meta-validation score, the skipped steps.

    ``in_a_row`` counts the last points of the curve all of whose steps were skipped, in steps.
    """

    step: int = 0
    best: float | None = None
    skipped: int | None = None
    in_a_row: int = 0

    def at(self, step: int) -> _State:
        return replace(self, step=step)


@dataclass(frozen=True, slots=True)
class Loops:
    """The loops of one run, with what they work on.

    Attributes:
        engine: makes the meta-steps; None for the learner itself.
        validation: adapts in meta-validation; the learner itself unless given.
        test: adapts in meta-test and further evaluations; likewise.
        training_id: of the training; "" for any.
    """

    planned: PlannedRun
    built: Built
    store: RunStore
    device: torch.device
    control: Control
    engine: Engine | None = None
    validation: Adapter = field(default_factory=EagerAdapter)
    test: Adapter = field(default_factory=EagerAdapter)
    training_id: str = ""

    def meta_train(self) -> Trained:
        """Train from where an earlier start stopped; leave the weights to test in the learner.

        They are kept in a file as well, and the states of training are removed. Where that file
        is there already, nothing is trained.

        Raises:
            SetAside: when what an earlier start kept does not fit; it is set aside.
            DataError: when given weights do not fit.
            Interrupted: when asked to stop.
            DivergedError: when a logged value is not finite; the last checkpoint is good.
        """
        if self.store.weights.exists():
            return self._trained_before()
        trained = self._train()
        if self.planned.spec.training.meta_steps:
            self._keep_weights(trained)
        return trained

    def _train(self) -> Trained:
        spec, built = self.planned.spec, self.built
        total = spec.training.meta_steps
        state, pending = self._resume()
        step = state.step
        meta_step = self.engine or built.learner.meta_step
        log_every = max(1, total // LOG_POINTS)
        val_every = spec.training.validates_every
        first = step
        work = Work(self.store, "meta-train", done=step)
        begun: TrainingPhase | None = None
        try:
            for phase, tasks in batches(built.phases, step):
                if phase is not begun:
                    begun = phase
                    self._say(
                        "phase-started", phase="meta-train", done=step, total=total, text=phase.name
                    )
                rng = generator(spec.seed, "meta-train", step)
                logged = meta_step(tasks, progress=step / total, rng=rng)
                pending.append(returned.scalars(logged, learner=spec.learner.name))
                step += 1
                if step % log_every == 0 or step == phase.stop:
                    state = self._log(state.at(step), pending)
                    pending = []
                validates = phase.phase.selects and self._validates
                if validates and (step % val_every == 0 or step == phase.stop):
                    state = self._judge(state.at(step), pending)
                if self.control.stopped():
                    self._summarize(state.at(step), pending)  # which are then known to be finite
                    self._save(state.at(step), pending)
                    raise Interrupted
                # Between two logged points nobody has looked at the losses: save at points only,
                # so that a checkpoint never holds weights that are not finite.
                if not pending and work.seconds > self.control.checkpoint_seconds:
                    self._save(state)
                    work.note(step)
        finally:
            work.note(step)
        if step > first:
            self._save(state)
        if state.best is None:
            return Trained(step, state.skipped)
        best = checkpoint.load(self.store.best_checkpoint, device=self.device)
        built.learner.load_state_dict(best["learner"])
        return Trained(int(best["step"]), state.skipped, best.get("score"))

    def meta_test(self) -> None:
        """Write one line per episode; lines that are there already are not made again.

        Raises:
            Interrupted: when asked to stop.
            DivergedError: when a score is not finite, or too large to compute with.
        """
        self._test(self.built.test)

    def evaluate(self, name: str, episodes: EpisodeSampler) -> None:
        """Write one line per episode of a further evaluation; raises as :meth:`meta_test`.

        Args:
            name: of the evaluation.
            episodes: the headline's, with other queries. Adaptation is the same to the last bit.
        """
        self._test(episodes, evaluation=name)

    def meta_validate(self, episodes: EpisodeSampler) -> None:
        """Write one line per meta-validation episode, of the weights that would be tested.

        Raises as :meth:`meta_test`.

        Args:
            episodes: those of meta-validation.
        """
        self._test(episodes, evaluation=META_VAL)

    def _test(self, episodes: EpisodeSampler, *, evaluation: str = "") -> None:
        phase = evaluation or "meta-test"
        split = META_VAL if evaluation == META_VAL else "meta-test"
        total, size = self._extent(split)
        further = self.built.scoring.further
        written = self.store.count_episodes(evaluation=evaluation, having=further)
        work = Work(self.store, phase, done=written)
        ensemble = self.planned.spec.training.ensemble
        tested = tested_learner(self.built, self.store, ensemble, device=self.device)
        if written < total:
            self._say("phase-started", phase=phase, done=written, total=total)
        make = self.tested_chunk(tested, episodes, split=split)
        firsts = _chunk_starts(total, size, done=written)
        leader = None if evaluation else self.control.leader
        if leader is None:
            chunks: Iterable[TestedChunk] = map(make, firsts)
        else:
            if firsts:
                leader.load(tested)
            chunks = leader.chunks("meta-test", make, firsts)
        for chunk in chunks:
            first, done = chunk.first, chunk.first + len(chunk.records)
            if chunk.genotypes is not None and not evaluation:
                self.store.append_genotypes(first, chunk.genotypes, own=chunk.own_genotypes)
            if chunk.embedding and not evaluation:
                self.store.append_embeddings(first, chunk.embedding)
            records = chunk.records[max(0, written - first) :]
            self.store.append_episodes(records, evaluation=evaluation)
            self._say("progress", phase=phase, done=done, total=total)
            if work.seconds > self.control.checkpoint_seconds:
                work.note(done)
            if self.control.stopped():
                raise Interrupted
        work.note(total)

    def _extent(self, split: str) -> tuple[int, int]:
        """The number of episodes of a split, and how many of them are adapted to at once."""
        spec = self.planned.spec
        n, shape = spec.protocol.episodes, spec.protocol.test_shape()
        if split == META_VAL:
            n, shape = spec.protocol.val_episodes, spec.protocol.val_shape()
        return n * len(spec.sources), chunk_size(shape, self.built.task)

    def tested_chunk(
        self, learner: Learner | Ensemble, episodes: EpisodeSampler, *, split: str = "meta-test"
    ) -> Callable[[int], TestedChunk]:
        """Return what tests a learner on the chunk that begins with an episode of a split."""
        total, size = self._extent(split)
        adapt = self.validation if split == META_VAL else self.test

        def make(first: int) -> TestedChunk:
            tasks = episodes.batch(np.arange(first, min(first + size, total)))
            adapted = adapt(learner, tasks, rng=generator(self.planned.spec.seed, split, first))
            adapted = self._checked(adapted, tasks)
            if split == META_VAL:
                adapted = replace(adapted, curve=None)
            records = self._episodes(adapted, tasks, first, split=split)
            found, own, embedding = adapted.genotypes, adapted.own_genotypes, adapted.embedding
            rows: list[list[float]] = []
            if embedding is not None and first < EMBEDDED:
                rows = embedding[: EMBEDDED - first].double().tolist()
            return TestedChunk(
                first,
                records,
                None if found is None else self._canonical(found),
                None if own is None else self._canonical(own),
                [[*map(_four_digits, row)] for row in rows],
            )

        return make

    def _canonical(self, genotypes: Sequence[Genotype]) -> list[Genotype]:
        """One genotype for all that are one architecture, where the network knows."""
        space = self.built.space
        found = returned.genotypes(genotypes, learner=self.planned.spec.learner.name)
        if not isinstance(space, CanonicalSpace):
            return list(found)
        known = {genotype: space.canonical(genotype) for genotype in set(found)}
        return [known[genotype] for genotype in found]

    # The state of training ---------------------------------------------------------------------

    def _keep_weights(self, trained: Trained) -> None:
        """Write the weights to test, and remove what only training needed."""
        found: dict[str, Any] = {"learner": without_training(self._state())}
        if trained.score is not None:
            found = checkpoint.load(self.store.best_checkpoint)
        facts = {"step": trained.step, "skipped": trained.skipped, "score": trained.score}
        kept = {**found, **facts, TRAINING_ID: self.training_id}
        checkpoint.save(self.store.weights, kept)
        self.store.forget_training()

    def _trained_before(self) -> Trained:
        spec = self.planned.spec
        if spec.weights is None:
            found = self._load(self.store.weights, whole=False)
        else:
            found = checkpoint.load(self.store.weights, device=self.device)
            check_position(found, path=self.store.weights)
            place = f"{spec.suite}@{spec.setting}"
            load_given(self.built.learner, found["learner"], place=place)
        self.store.forget_training()
        return Trained(found["step"], found.get("skipped"), found.get("score"))

    def _resume(self) -> tuple[_State, list[Mapping[str, Tensor | float]]]:
        """Where an earlier start stopped, and the scalars of its steps since the last point."""
        if not self.store.checkpoint.exists():
            self.store.rewind_metrics(0)
            if self.planned.spec.training.meta_steps:
                self.store.forget_tests()  # of weights that other code may have trained
            return _State(), []
        kept = self._load_states()
        unjudged = bool(kept.get(UNJUDGED))
        self.store.rewind_metrics(kept["step"], without=VAL_SCORE if unjudged else "")
        self._say("message", text=f"resumes at meta-step {kept['step']:,}")
        state = _State(kept["step"], kept.get("best"), kept.get(SKIPPED), kept.get("in_a_row", 0))
        pending = kept.get("pending", [])
        if unjudged:
            if self.control.leader is not None:
                self.control.leader.load(self.built.learner)
            state = self._judge(state, pending)
        return state, pending

    def _load_states(self) -> dict[str, Any]:
        """Load the state of training into the learner, once the best weights are known to fit.

        Raises:
            SetAside: when one of them does not.
        """
        last, best = self.store.checkpoint, self.store.best_checkpoint
        kept = self._load(last)
        if kept.get("best") is None:
            return kept
        if not best.exists():
            raise self._set_aside(last, f"The best weights of the training are gone: {best}.")
        try:
            self._load(best, whole=False)
        except SetAside:
            last.unlink()  # it says which weights are the best, which are now another file
            raise
        return self._load(last)

    def _load(self, path: Path, *, whole: bool = True) -> dict[str, Any]:
        """Load a state of this training into the learner; where it does not fit, set it aside."""
        spec, learner = self.planned.spec, self.built.learner
        try:
            found = checkpoint.load(path, device=self.device)
            check_training(found, self.training_id, path=path)
            check_position(found, path=path, most=spec.training.meta_steps)
            for one in (*found.get("others", ()), found):
                load_kept(learner, one.get("learner"), path=path, whole=whole)
        except DataError as error:
            raise self._set_aside(path, error.message) from error
        return found

    def _set_aside(self, path: Path, why: str) -> SetAside:
        """Set aside a file of a training that cannot be used, and say so."""
        name = set_aside(path)
        text = f"{why} {path.name} is now called {name}, and the training begins anew."
        self._say("message", text=text)
        return SetAside(path)

    def _save(
        self,
        state: _State,
        pending: Sequence[Mapping[str, Tensor | float]] = (),
        *,
        unjudged: bool = False,
    ) -> None:
        learner = self._state()
        kept = {**asdict(state), "learner": learner, TRAINING_ID: self.training_id}
        self.store.flush()  # the points of the curve up to here must not be lost before it
        if pending:
            kept["pending"] = list(pending)
        if unjudged:
            kept[UNJUDGED] = True
        checkpoint.save(self.store.checkpoint, kept)

    def _log(self, state: _State, pending: Sequence[Mapping[str, Tensor | float]]) -> _State:
        state, values = self._summarize(state, pending)
        self.store.append_metrics(state.step, {k: float(f"{v:.6g}") for k, v in values.items()})
        total = self.planned.spec.training.meta_steps
        self._say(
            "progress",
            phase="meta-train",
            done=state.step,
            total=total,
            values=values,
            skipped=state.skipped,
        )
        return state

    def _summarize(
        self, state: _State, pending: Sequence[Mapping[str, Tensor | float]]
    ) -> tuple[_State, dict[str, float]]:
        """Means over the steps since the last logged point; skipped ones are counted.

        Raises:
            DivergedError: when a mean is not finite, or many steps in a row were skipped.
        """
        values = _means(pending)
        skipped = values.pop(SKIPPED, None)
        if skipped is None:
            self._check(state.step, values)
            return state, values
        n = round(skipped * len(pending))
        state = replace(state, skipped=(state.skipped or 0) + n)
        counted = {SKIPPED: float(n)} if n else {}
        if n < len(pending):
            self._check(state.step, values)
            return replace(state, in_a_row=0), values | counted
        state = replace(state, in_a_row=state.in_a_row + n)
        if state.in_a_row >= min(MOST_SKIPPED, self.planned.spec.training.meta_steps):
            raise self._diverged(
                f"{state.in_a_row:,} meta-steps in a row up to {state.step:,} were skipped, "
                "because their gradients were not finite or far larger than before"
            )
        return state, counted

    def _check(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise self._diverged(f"{name} is {value} at meta-step {step:,}")

    def _diverged(self, how: str) -> DivergedError:
        good, name = self.store.checkpoint, self.planned.spec.learner.name
        kept = f"Its last good checkpoint is {good}. " if good.exists() else ""
        return DivergedError(
            f"The run diverged: {how}.",
            hint=f"{kept}Lower its learning rates, which metabench show {name} lists.",
        )

    def _check_scores(self, scores: Sequence[float], first: int, *, of: str, at: str = "") -> None:
        """Refuse scores that no statistic can be made of; outputs that are no numbers have such."""
        for index, score in enumerate(scores, start=first):
            if not computable(score):
                said = f"its {self.planned.spec.metric} on {of} episode {index:,} is {score:g}{at}"
                raise self._diverged(said)

    @property
    def _validates(self) -> bool:
        """Weights of a search are not the ones that are tested, so they are not selected."""
        if self.built.validate is None:  # asked at every meta-step
            return False
        learner = self.built.learner
        return not (isinstance(learner, PhasedLearner) and learner.searching)

    def _judge(self, state: _State, pending: Sequence[Mapping[str, Tensor | float]]) -> _State:
        """Meta-validate; where that is stopped, the next start begins with it."""
        try:
            return self._validate(state)
        except Interrupted:
            self._summarize(state, pending)  # which are then known to be finite
            self._save(state, pending, unjudged=True)
            raise

    def _validate(self, state: _State) -> _State:
        """Score the present weights on meta-validation; keep them if they are the best so far.

        Raises:
            Interrupted: when asked to stop.
            DivergedError: when a score is not finite, or too large to compute with.
        """
        spec = self.planned.spec
        assert self.built.validate is not None
        total, size = self._validated
        firsts, leader = _chunk_starts(total, size), self.control.leader
        chunks: Iterable[Tensor] = (
            map(self.validated_chunk, firsts)
            if leader is None
            else leader.chunks("meta-val", self.validated_chunk, firsts)
        )
        scores = []
        for chunk in chunks:
            scores.append(chunk)
            if self.control.stopped():
                raise Interrupted
        found = torch.cat(scores)
        self._check_scores(found.tolist(), 0, of=META_VAL, at=f" at meta-step {state.step:,}")
        score = float(found.mean())
        self._check(state.step, {VAL_SCORE: score})
        self.store.append_metrics(state.step, {VAL_SCORE: float(f"{score:.6g}")})
        self._say(
            "progress",
            phase="meta-val",
            done=state.step,
            total=spec.training.meta_steps,
            values={VAL_SCORE: score},
        )
        best = keep(
            self.store.best_checkpoint,
            without_training(self._state()),
            step=state.step,
            score=score,
            best=state.best,
            sign=self.built.scoring.metric.sign,
            most=spec.training.ensemble or 1,
            training_id=self.training_id,
        )
        return replace(state, best=best)

    @property
    def _validated(self) -> tuple[int, int]:
        """How many episodes meta-validation has, and a chunk of them."""
        spec = self.planned.spec
        size = chunk_size(spec.protocol.val_shape(), self.built.task)
        return spec.protocol.val_episodes * len(spec.sources), size

    def validated_chunk(self, first: int) -> Tensor:
        """The scores of the present weights on the meta-validation chunk that begins with one."""
        assert self.built.validate is not None
        total, size = self._validated
        tasks = self.built.validate.batch(np.arange(first, min(first + size, total)))
        rng = generator(self.planned.spec.seed, "meta-val", first)
        adapted = self._checked(self.validation(self.built.learner, tasks, rng=rng), tasks)
        return self._scores(adapted.predict, tasks)

    # Scores ------------------------------------------------------------------------------------

    def _checked(self, adapted: Adapted, tasks: TaskBatch) -> Adapted:
        spec = self.planned.spec
        return returned.adaptation(
            adapted, tasks, curve_steps=spec.protocol.curve_steps, learner=spec.learner.name
        )

    def _state(self) -> dict[str, Any]:
        name = self.planned.spec.learner.name
        return returned.state(self.built.learner.state_dict(), learner=name)

    def _outputs(self, predict: Predictor, tasks: TaskBatch) -> Tensor:
        return returned.outputs(
            predict,
            tasks,
            n_outputs=self.built.task.outputs,
            learner=self.planned.spec.learner.name,
        )

    def _scores(self, predict: Predictor, tasks: TaskBatch) -> Tensor:
        with torch.no_grad():
            return self.built.scoring.headline(self._outputs(predict, tasks), tasks.query.y)

    def _episodes(
        self, adapted: Adapted, tasks: TaskBatch, first: int, *, split: str
    ) -> list[EpisodeRecord]:
        # The curve first, step by step: a learner may make each step when it is asked for.
        curves: Sequence[tuple[float | None, ...] | None] = [None] * len(tasks)
        outputs: Tensor | None = None
        points = []
        with torch.no_grad():
            for predict in adapted.curve or ():
                after_step = self._outputs(predict, tasks)
                points.append(self.built.scoring.headline(after_step, tasks.query.y))
                if predict is adapted.predict:  # then it need not predict twice
                    outputs = after_step
            if outputs is None:
                outputs = self._outputs(adapted.predict, tasks)
        if points:
            curves = [tuple(map(_finite, row)) for row in torch.stack(points, dim=1).tolist()]
        scores: list[float] = self.built.scoring.headline(outputs, tasks.query.y).tolist()
        further = self.built.scoring.beside(outputs, tasks.query.y)
        self._check_scores(scores, first, of=split)
        others = {
            name: self._scores(predict, tasks).tolist()
            for name, predict in adapted.variants.items()
        }
        n_params: Sequence[int | None] = [None] * len(tasks)
        if adapted.n_params is not None:
            n_params = returned.sizes(adapted.n_params, learner=self.planned.spec.learner.name)
        return [
            EpisodeRecord(
                index=first + i,
                source=tasks.sources[i],
                key=tasks.keys[i],
                score=rounded(scores[i]),
                curve=curves[i],
                n_params=n_params[i],
                variants={name: _finite(row[i]) for name, row in others.items()} or None,
                metrics={name: _finite(row[i]) for name, row in further.items()} or None,
            )
            for i in range(len(tasks))
        ]

    def _say(self, kind: Any, **details: Any) -> None:
        spec, label = self.planned.spec, self.planned.label
        self.control.emit(RunEvent(kind=kind, run_id=spec.run_id, label=label, **details))


def tested_learner(
    built: Built, store: RunStore, ensemble: int | None, *, device: torch.device
) -> Learner | Ensemble:
    """The learner with the weights that are tested, or its best states together."""
    path = store.tested_weights("meta-val")
    if ensemble is None or not path.exists():
        return built.learner
    states = [one["learner"] for one in kept(path, device=device)]
    return Ensemble(built.learner, states, built.task.kind, built.n_params)


def chunk_size(shape: EpisodeShape, task: TaskShape) -> int:
    """How many episodes are adapted to at once, in meta-validation and meta-test."""
    n_examples = shape.n_support + shape.n_query
    return max(1, min(100, TEST_ELEMENTS // (n_examples * math.prod(task.inputs))))


def _chunk_starts(total: int, size: int, *, done: int = 0) -> range:
    """The first episode of each chunk, beginning with the chunk that holds episode ``done``."""
    return range(done - done % size, total, size) if done < total else range(0)


def _means(pending: Sequence[Mapping[str, Tensor | float]]) -> dict[str, float]:
    """Mean of each scalar over the steps that were not skipped, and the share of those that were.

    It is one wait for the device, whatever the number of steps.
    """
    if not pending:
        return {}
    # A learner may log other scalars in another phase of training.
    names = [name for name in pending[0] if name in pending[-1]]
    columns = {
        name: torch.stack(_beside([torch.as_tensor(step[name]).detach() for step in pending]))
        for name in names
    }
    if SKIPPED in columns:
        taken = columns[SKIPPED] == 0
        columns = {
            name: column if name == SKIPPED else column[taken.to(column.device)]
            for name, column in columns.items()
        }
    return {name: float(column.mean()) for name, column in columns.items()}


def _beside(values: Sequence[Tensor]) -> list[Tensor]:
    """The same tensors on one device: those of a checkpoint are all where the learner is."""
    device = next((v.device for v in values if v.device.type != "cpu"), torch.device("cpu"))
    return [value.to(device) for value in values]


def _four_digits(value: float) -> float | None:
    """Four digits, for numbers that are looked at together."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _finite(value: float) -> float | None:
    """JSON has no word for what is not finite."""
    return rounded(value) if math.isfinite(value) else None
