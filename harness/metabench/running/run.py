"""The life of one run: locked, recorded from its first moment, resumed, done or failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from metabench.durable import refused
from metabench.errors import DataError, MetabenchError
from metabench.planning.metrics import metric_facts
from metabench.planning.networks import describe_network
from metabench.planning.plan import PlannedRun
from metabench.planning.starting_weights import start_of
from metabench.planning.training_identity import training_id
from metabench.plugin.blame import described
from metabench.plugin.contracts.episode import EpisodeShape
from metabench.plugin.contracts.metric import MetricFacts
from metabench.plugin.contracts.ranks import ONE_RANK
from metabench.plugin.contracts.tracker import RunFacts
from metabench.plugin.specs import EventKind, RunEvent
from metabench.results.episode_files import NotCountedError, read_episodes
from metabench.results.run_facts import facts_of, scores_of
from metabench.results.same_code import code_differs
from metabench.results.schema import RunRecord, Status
from metabench.results.search_files import measure
from metabench.results.store import CURVE, RunStore, set_aside
from metabench.results.trainings import Twin
from metabench.results.validation_scores import validation_scores
from metabench.running import checkpoint, engines, provenance
from metabench.running.build import Built, build
from metabench.running.engines import Adapter, Engine
from metabench.running.figure_data import keep_figure_data
from metabench.running.loops import EMBEDDED, Control, Interrupted, Loops, SetAside, chunk_size
from metabench.running.mending import mend
from metabench.running.out_of_memory import is_out_of_memory, out_of_memory
from metabench.running.shared_training import share_training
from metabench.running.trained_learner import restore
from metabench.running.weights_file import place_weights
from metabench.text import counted

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog


_MADE_BY_THE_TEST = ("episodes.jsonl", "genotypes.jsonl", "embeddings.jsonl")

_AGAIN = "further metrics"
"""The meta-test that is repeated for them. No evaluation of a suite has a space in its name."""


class RunExecution:
    """One run on one device.

    Args:
        planned: what to run.
        catalog: where plugins are found.
        out: the results folder.
        device: where tensors live.
        control: how the run reports events and is stopped.
    """

    def __init__(
        self,
        planned: PlannedRun,
        catalog: Catalog,
        *,
        out: Path,
        device: torch.device,
        control: Control,
    ) -> None:
        self.store = RunStore.of(planned.spec, out)
        self._planned = planned
        self._catalog = catalog
        self._out = out
        self._device = device
        self._control = control
        self._engine: tuple[str, ...] = ()
        self._test_engine: tuple[str, ...] = ()
        self._ranks: tuple[str, ...] = ()
        self._written: RunRecord | None = None  # says more than the one it began with

    def __call__(self) -> RunRecord:
        """Run it to its end, from where an earlier start stopped.

        Raises:
            Interrupted: when stopped; the same command resumes.
            Elsewhere: when another process is making it.
            MetabenchError: when the run failed; the record says so.
        """
        with self.store.locked():
            for sentence in mend(
                self.store, rows={"genotypes": sys.maxsize, "embeddings": EMBEDDED}
            ):
                self._say_sentence(sentence)
            earlier = self.store.read_record()
            if earlier is not None:
                made_with = earlier.provenance
                self._engine, self._test_engine = made_with.engine, made_with.test_engine
                self._ranks = made_with.ranks
            if self._planned.trial:
                return self._try(earlier)
            if earlier is not None and earlier.status == "done" and self._is_whole(earlier):
                record = self._with_tuning(earlier)
                text = f"was done already{self._by_other_code(earlier)}"
            else:
                record, text = self._make(earlier), ""
            record = self._evaluate(self._add_metrics(record))
            keep_figure_data(self.store, record.spec, self._catalog, device=self._device)
            scores = scores_of(record, self.store.folder)
            self._say("run-done", text=text, run=self._facts(record), scores=scores)
            return record

    def _try(self, earlier: RunRecord | None) -> RunRecord:
        """Train, and judge on meta-validation what would be tested; nothing is tested."""
        if earlier is not None and validation_scores(self.store, earlier) is not None:
            record, text = earlier, "was done already"
        else:
            record, text = self._make(earlier), ""
        scores = scores_of(record, self.store.folder)
        self._say("run-done", text=text, run=self._facts(record), scores=scores)
        return record

    def _with_tuning(self, record: RunRecord) -> RunRecord:
        """The record of a finished run, which says how its values were chosen since then."""
        tuned = self._planned.tuned
        if tuned is None or tuned == record.provenance.tuned:
            return record
        made_with = record.provenance.model_copy(update={"tuned": tuned})
        return self._write(record.model_copy(update={"provenance": made_with}), "done")

    def _by_other_code(self, earlier: RunRecord) -> str:
        """Which code has changed since an earlier start, as the end of a sentence."""
        now = provenance.code_of(self._planned.spec, self._catalog)
        names = code_differs(earlier.provenance.code, now)
        return f" by other code of {', '.join(names)}" if names else ""

    def _is_whole(self, record: RunRecord) -> bool:
        """Whether all episodes of a finished run are there; if not, its checkpoint must be.

        Raises:
            DataError: when neither is.
        """
        flaw = self._flaw(record)
        of_test = [name for name in self.store.changed(record) if name in _MADE_BY_THE_TEST]
        if not flaw and of_test:
            flaw = f"{of_test[0]} was changed since the run wrote it"
        if not flaw:
            return True
        weights = self.store.tested_weights(record.spec.protocol.selection)
        if record.spec.has_weights and not weights.exists():
            raise DataError(
                f"The finished run in {self.store.folder} is damaged ({flaw}), and its checkpoint "
                "is gone.",
                hint="Move the folder away, and run the command again.",
            )
        self._say(
            "message", text=f"the finished run is damaged ({flaw}); its meta-test is repeated"
        )
        return False

    def _flaw(self, record: RunRecord, evaluation: str = "") -> str:
        """What is wrong with the episodes of a finished run; '' if nothing is wrong."""
        try:
            _, flaws = read_episodes(self.store.episodes_of(evaluation), record)
        except NotCountedError as problem:
            return str(problem)
        return flaws[0] if flaws else ""

    def _make(self, earlier: RunRecord | None) -> RunRecord:
        record = self._begin(earlier)
        self._say("run-started", run=self._facts(record))
        try:
            return self._run(record)
        except (Interrupted, KeyboardInterrupt):
            self._write(self._written or record, "interrupted", error=self._control.why())
            raise
        except (Exception, SystemExit) as error:
            record = self._written or record
            if is_out_of_memory(error):
                explained = out_of_memory(self._planned, self._device)
                self._fail(record, explained.message, hint=explained.hint)
                raise explained from error
            if isinstance(error, MetabenchError):
                self._fail(record, error.message, hint=error.hint)
                raise
            said, hint = refused(error, self._out) or (described(error), "")
            self._fail(record, said, hint=hint)
            raise

    def _begin(self, earlier: RunRecord | None) -> RunRecord:
        planned = self._planned
        made_with = provenance.collect(
            command=planned.command_into(self._out),
            changes=planned.changes,
            files=planned.spec.files,
            device=self._device,
            plan=planned.plan,
            tuned=planned.tuned,
            trial=planned.trial,
            code=provenance.code_of(planned.spec, self._catalog),
        )
        if earlier is not None:
            before = earlier.provenance
            if changed := self._by_other_code(earlier):
                self._say("message", text=f"began{changed}")
            kept_facts = {"started": before.started, "peak_memory_mib": before.peak_memory_mib}
            made_with = made_with.model_copy(update=kept_facts)
        kept: dict[str, Any] = {}
        if earlier is not None and self.store.weights.exists():
            kept = {"training_from": earlier.training_from, "train_seconds": earlier.train_seconds}
            kept["digests"] = {name: own for name, own in earlier.digests.items() if name == CURVE}
        record = RunRecord(
            **kept,
            run_id=planned.spec.run_id,
            training_id=training_id(planned.spec, self._catalog),
            spec=planned.spec,
            status="running",
            stamps=planned.stamps,
            backend=describe_network(planned.spec, self._catalog),
            evaluations=earlier.evaluations if earlier is not None else {},
            metrics=self._metrics_of(earlier),
            provenance=made_with,
        )
        if earlier is not None:
            self.store.forget_changed(earlier)
        return self._write(record, "running")

    def _run(self, record: RunRecord, *, alone: bool = False) -> RunRecord:
        """Train and test; ``alone`` without the training of another run, which may be damaged."""
        record = record if alone else self._share_training(record)
        if record.spec.weights is not None and not self._has_given_weights():
            place_weights(self.store, self._planned, self._catalog, device=self._device)
        metrics = record.further_metrics
        built = self._build(metrics)
        facts = {**_facts_of(built), **self._planned.facts}
        record = self._write(record, "running", **facts)
        picked = self._pick_engine(built)
        if not self._has_states():
            self._engine = ()  # nothing is left of what it made
        before, engine = self._engine, self._open_engine(picked, built)
        self._engine = engines.together(before, engine.name)
        ranks_before, self._ranks = self._ranks, self._shared_by()
        record = self._write(record, "running")
        validation = self._validation_adapter(picked, built)
        test = self._test_adapter(picked, built)
        loops = Loops(
            self._planned,
            built,
            self.store,
            self._device,
            self._control,
            engine,
            validation,
            test,
            record.training_id,
        )
        trained = None
        try:
            with suppress(SetAside):
                trained = loops.meta_train()
        finally:
            self._engine = engines.together(before, engine.name if engine.made else "")
            self._ranks = self._ranks if engine.made else ranks_before
        if trained is None:  # begin anew, with another learner
            of_before: dict[str, Any] = {"training_from": "", "train_seconds": None, "digests": {}}
            return self._run(record.model_copy(update=of_before), alone=True)
        record = record.model_copy(
            update={
                "selected_step": trained.step,
                "skipped_steps": trained.skipped,
                "val_score": trained.score,
                "train_seconds": record.train_seconds
                if record.training_from
                else round(self.store.train_seconds(), 1),
            }
        )
        if self._planned.trial:
            loops.meta_validate(built.meta_val())
            return self._write(record, "trained", digests=self._digests(record))
        return self._test(record, loops, test)

    def _test(self, record: RunRecord, loops: Loops, test: Adapter) -> RunRecord:
        """Test what is trained, and write the record of the run that is done."""
        tested_by = self._test_engine if self.store.episodes_of().exists() else ()
        # A kill must not lose what made the episodes.
        self._test_engine = engines.together(tested_by, test.name)
        record = self._write(record, "running")
        try:
            loops.meta_test()
        finally:
            self._test_engine = engines.together(tested_by, test.name if test.made else "")
        episodes, _ = read_episodes(self.store.episodes_of(), record)
        measures = measure(self.store.folder, episodes)
        return self._write(record, "done", measures=measures, digests=self._digests(record))

    def _digests(self, record: RunRecord) -> dict[str, str]:
        """Of the files as they are; that of a curve which an earlier start wrote stays."""
        return {**self.store.digests(), **record.digests}

    def _digests_with(self, record: RunRecord, name: str) -> dict[str, str]:
        """The digests of a record with that of a file as it is now; none of an older record."""
        return {**record.digests, **self.store.digests(name)} if record.digests else {}

    def _has_given_weights(self) -> bool:
        """Whether the weights to test are there; a damaged file of them is set aside."""
        path = self.store.weights
        if not path.exists():
            return False
        try:
            checkpoint.load(path)
        except DataError as error:
            self._say_sentence(f"{error.message} It is now called {set_aside(path)}.")
            return False
        return True

    def _share_training(self, record: RunRecord) -> RunRecord:
        """Take the training of another run, if there is one and this run has none."""
        spec = record.spec
        if self.store.weights.exists() or not spec.training.meta_steps or spec.weights is not None:
            return record
        before = self._engine, self._ranks
        shared = share_training(
            self.store,
            record,
            out=self._out,
            say=self._say_sentence,
            stopped=self._control.stopped,
            note=partial(self._note_origin, record),
        )
        if shared is None:  # it may have been gone when its origin was noted
            self._engine, self._ranks = before
        return shared or record

    def _note_origin(self, record: RunRecord, twin: Twin) -> RunRecord:
        """Write down which run made the training of this one."""
        self._engine, self._ranks = twin.record.provenance.engine, twin.record.provenance.ranks
        return self._write(
            record, "running", training_from=twin.origin, train_seconds=twin.train_seconds
        )

    def _build(self, metrics: Sequence[str]) -> Built:
        """Build the run, in all processes that make it."""
        leader = self._control.leader
        ranks = ONE_RANK if leader is None else leader.team
        make = partial(
            build,
            self._planned.spec,
            self._catalog,
            device=self._device,
            metrics=metrics,
            ranks=ranks,
            start=start_of(self._planned.spec, self._catalog),
        )
        return make() if leader is None else leader.build(self._planned, metrics, make)

    def _shared_by(self) -> tuple[str, ...]:
        """Who shares the meta-steps, after those of earlier starts; of one process nothing."""
        leader, before = self._control.leader, self._ranks
        resumed = self.store.checkpoint.exists()
        if not resumed:
            before = ()
        elif not before:
            before = ("1",)
        now = "1" if leader is None else f"{leader.team.count} {leader.team.backend}"
        if resumed and engines.latest(before) != now:
            self._say(
                "message",
                text=f"goes on with {_processes(now)}; it began with {_processes(before[-1])}, so "
                "its numbers differ by rounding",
            )
        found = engines.together(before, now)
        return () if found == ("1",) else found

    def _pick_engine(self, built: Built) -> Literal["eager", "compiled"]:
        """Pick what makes the meta-steps; left to itself, a run goes on as it began."""
        name, before = self._control.engine, engines.latest(self._engine)
        resumed = bool(before) and self._has_states()
        if name == "auto" and resumed:
            name = "eager" if before == "eager" else "compiled"
        meta_steps = self._planned.spec.training.meta_steps
        if self._control.leader is not None:
            name = "eager"
        picked = engines.chosen(name, device=self._device, task=built.task, meta_steps=meta_steps)
        if resumed and (picked == "eager") != (before == "eager"):
            self._say("message", text=f"goes on with engine {picked}; it began with {before}")
        return picked

    def _has_states(self) -> bool:
        """Whether there is something of the training."""
        return self.store.checkpoint.exists() or self.store.weights.exists()

    def _open_engine(self, picked: Literal["eager", "compiled"], built: Built) -> Engine:
        if (leader := self._control.leader) is not None:
            return leader.engine(built.learner, self._planned.spec.training.meta_steps)
        return engines.open_engine(
            picked, built.learner, device=self._device, say=self._say_sentence
        )

    def _validation_adapter(self, picked: Literal["eager", "compiled"], built: Built) -> Adapter:
        protocol, training = self._planned.spec.protocol, self._planned.spec.training
        times = 0 if built.validate is None else training.meta_steps // training.validates_every
        shape = protocol.val_shape()
        return self._open_adapter(picked, built, shape, protocol.val_episodes, times, curve=False)

    def _test_adapter(self, picked: Literal["eager", "compiled"], built: Built) -> Adapter:
        protocol = self._planned.spec.protocol
        shape = protocol.test_shape()
        return self._open_adapter(picked, built, shape, protocol.episodes, 1, curve=True)

    def _open_adapter(
        self,
        picked: Literal["eager", "compiled"],
        built: Built,
        shape: EpisodeShape,
        episodes: int,
        times: int,
        *,
        curve: bool,
    ) -> Adapter:
        """Open what adapts in an evaluation of ``episodes`` of each source, made some times."""
        size = chunk_size(shape, built.task)
        full = episodes * len(self._planned.spec.sources) // size
        return engines.open_adapter(
            picked,
            device=self._device,
            task=built.task,
            size=size,
            batches=times * full,
            curve=curve,
            say=self._say_sentence,
        )

    def _metrics_of(self, earlier: RunRecord | None) -> dict[str, MetricFacts]:
        """The metrics that are asked for, and those that episodes of an earlier start have."""
        spec = self._planned.spec
        asked = metric_facts((spec.metric, *self._planned.metrics), self._catalog)
        # Without an episode none was computed: one that failed is not asked for again.
        has_scores = earlier is not None and self.store.episodes_of().exists()
        before = earlier.metrics if earlier is not None and has_scores else {}
        if any(name in before and not _same(before[name], own) for name, own in asked.items()):
            self.store.forget_evaluation("")  # its episodes have scores of another version
        now = self._catalog.metrics
        kept = {
            name: own for name, own in before.items() if name in now and _same(now[name].facts, own)
        }
        return {**asked, **kept}

    def _add_metrics(self, record: RunRecord) -> RunRecord:
        """Compute the further metrics that a finished run lacks, from its checkpoint.

        The headline stays as it is. Metrics that cannot be computed are reported in a message.
        """
        facts = metric_facts(self._planned.metrics, self._catalog)
        lacking = {
            name: own
            for name, own in facts.items()
            if name not in record.metrics or not _same(record.metrics[name], own)
        }
        if not lacking:
            return record
        try:
            folder, device = self.store.folder, self._device
            built = restore(folder, self._catalog, device=device, metrics=lacking).built
            # The predictions are compared with those of the run: the same engine makes them.
            by_learner = engines.latest(record.provenance.test_engine) in ("", "eager")
            test = self._test_adapter("eager" if by_learner else "compiled", built)
            loops = Loops(self._planned, built, self.store, device, self._control, test=test)
            loops.evaluate(_AGAIN, built.test)
            # A kill between the two writes must not leave a digest of other episodes.
            others = {key: own for key, own in record.digests.items() if key != "episodes.jsonl"}
            self._write(record, "done", digests=others)
            try:
                self.store.add_metrics_of(_AGAIN)
            except DataError:
                self._write(record, "done")
                raise
            headline = {record.spec.metric: record.metric}
            metrics = {**headline, **record.metrics, **lacking}
            digests = self._digests_with(record, "episodes.jsonl")
            record = self._write(record, "done", metrics=metrics, digests=digests)
        except MetabenchError as error:
            text = f"{', '.join(lacking)} is not computed: {error.in_full}"
            self._say("message", text=text.strip())
        self.store.forget_evaluation(_AGAIN)
        return record

    def _evaluate(self, record: RunRecord) -> RunRecord:
        """Make the evaluations that are missing; report one that cannot be made, and go on."""
        for name, evaluation in self._planned.evaluations.items():
            file = f"evaluations/{name}.jsonl"
            if record.evaluations.get(name) == evaluation and not self._flaw(record, name):
                if record.digests and file not in record.digests:  # it was killed before
                    record = self._write(record, "done", digests=self._digests_with(record, file))
                continue
            try:
                restored = restore(
                    self.store.folder,
                    self._catalog,
                    device=self._device,
                    normalization=evaluation.normalization,
                )
                changed = file in self.store.changed(record)
                if changed or record.evaluations.get(name) != evaluation:
                    self.store.forget_evaluation(name)
                made = {**record.evaluations, name: evaluation}
                before = {key: own for key, own in record.digests.items() if key != file}
                record = self._write(record, "done", evaluations=made, digests=before)
                built = restored.built
                loops = Loops(self._planned, built, self.store, self._device, self._control)
                loops.evaluate(name, built.test.on_grid(evaluation.grid))
                digests = self._digests_with(record, file)
                record = self._write(record, "done", digests=digests)
            except MetabenchError as error:
                text = f"evaluation {name} is not made: {error.in_full}"
                self._say("message", text=text.strip())
        return record

    def _fail(self, record: RunRecord, reason: str, *, hint: str = "") -> None:
        self._write(record, "failed", error=f"{reason} {hint}".strip())
        self._say("run-failed", text=reason)

    def _write(self, record: RunRecord, status: Status, **changes: Any) -> RunRecord:
        now = provenance.peak_memory_mib(self._device)
        peaks = [p for p in (record.provenance.peak_memory_mib, now) if p is not None]
        made_with = record.provenance.model_copy(
            update={
                "peak_memory_mib": max(peaks, default=None),
                "engine": self._engine,
                "test_engine": self._test_engine,
                "ranks": self._ranks,
            }
        )
        record = record.model_copy(update={"status": status, "provenance": made_with, **changes})
        self.store.write_record(record)
        self._written = record
        return record

    def _say_sentence(self, text: str) -> None:
        self._say("message", text=text)

    def _facts(self, record: RunRecord) -> RunFacts:
        return facts_of(record, self.store.folder, label=self._planned.label)

    def _say(self, kind: EventKind, **details: Any) -> None:
        spec, label = self._planned.spec, self._planned.label
        self._control.emit(RunEvent(kind=kind, run_id=spec.run_id, label=label, **details))


def _facts_of(built: Built) -> dict[str, Any]:
    """What is known of a run once it is built, by the name of the record's field."""
    return {
        "train_ways": built.train_shape.ways,
        "train_shots": built.train_shape.shots,
        "train_queries": built.train_shape.queries,
        "train_classes": built.train_classes,
        "conditions": built.conditions,
        "phases": tuple(phase.record() for phase in built.phases if phase.name),
        "transductive": built.normalization == "transductive",
        "normalization": built.normalization,
        "n_params": built.n_params,
        "steps_at_test": built.steps_at_test,
        "data": built.data,
    }


def _processes(shared_by: str) -> str:
    """Who shares the meta-steps, in words."""
    return counted(int(shared_by.split()[0]), "process", "processes")


def _same(one: MetricFacts, other: MetricFacts) -> bool:
    """Whether two metrics give the same scores."""
    return (one.name, one.version) == (other.name, other.version)
