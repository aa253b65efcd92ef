"""The runs of one configuration side by side: scores ``[seeds, episodes]`` of the same episodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.planning.overrides import Changes
from metabench.planning.runspec import RunSpec
from metabench.planning.tuned import Tuned
from metabench.plugin.contracts.metric import MetricFacts
from metabench.results.reading import FinishedRun
from metabench.stats import left_out, shared_positions
from metabench.text import counted


@dataclass(frozen=True, slots=True)
class Configuration:
    """Runs that differ in their seed only.

    Attributes:
        runs: by seed.
        scores: ``[seeds, n]``, on the episodes that all seeds have.
        source: ``[n]``.
        key: ``[n]``.
        n_left_out: episodes that only some seeds have.
    """

    runs: tuple[FinishedRun, ...]
    scores: NDArray[np.float64]
    source: NDArray[np.object_]
    key: NDArray[np.object_]
    n_left_out: int

    @property
    def spec(self) -> RunSpec:
        """The spec of the first seed; the others' differ in the seed alone."""
        return self.runs[0].record.spec

    @property
    def metric(self) -> MetricFacts:
        """The metric of the scores."""
        return self.runs[0].record.metric

    @property
    def label(self) -> str:
        """The configuration in words, for messages."""
        spec = self.spec
        place = f"{spec.suite}@{self.setting_and_evaluation}"
        return f"{spec.learner.name} on {place}, budget {spec.budget}"

    @property
    def evaluation(self) -> str:
        """The evaluation that the scores are of; "" is the headline's."""
        return self.runs[0].evaluation

    @property
    def setting_and_evaluation(self) -> str:
        """The setting as a table names it, with the evaluation where it is not the headline's."""
        return ", ".join(filter(None, (self.spec.setting, self.evaluation)))

    @property
    def n_params(self) -> int | None:
        """Weights of the network that predicts, a mean over episodes; None where not recorded."""
        counts = np.concatenate([run.episodes.n_params for run in self.runs])
        return None if np.isnan(counts).any() else round(float(counts.mean()))

    @property
    def steps_at_test(self) -> str:
        """The inner steps at meta-test, in words: the protocol's where the records name none."""
        recorded = [run.record.steps_at_test for run in self.runs]
        known = dict.fromkeys(str(steps) for steps in recorded if steps is not None)
        return " or ".join(known) or f"{self.spec.protocol.steps_at_test} (protocol)"

    @property
    def seedless(self) -> bool:
        """Whether it has no training seeds: nothing is trained, and its runs score alike.

        One run then says all that the others say. A single run counts if it has no network, whose
        initial weights a seed could draw.
        """
        spec = self.spec
        if spec.training.meta_steps or spec.weights is not None:
            return False
        if len(self.runs) == 1:
            return spec.space is None
        return bool((self.scores == self.scores[0]).all())

    @property
    def n_seeds(self) -> int:
        """How many training seeds it has; 0 where it is :attr:`seedless`."""
        return 0 if self.seedless else len(self.runs)

    @property
    def has_one_seed(self) -> bool:
        """Whether nothing is known of other seeds than its only one."""
        return self.n_seeds == 1

    @property
    def skipped_steps(self) -> int | None:
        """Meta-steps that were skipped, over all runs; None where the learner never skips."""
        counts = [run.record.skipped_steps for run in self.runs]
        known = [count for count in counts if count is not None]
        return sum(known) if known else None

    @property
    def training_conditions(self) -> dict[str, str]:
        """What is recorded of the training besides its length, by name, in words."""
        record = self.runs[0].record
        if not self.spec.training.meta_steps:
            return {}
        stated = {} if record.conditions is None else record.conditions.model_dump()
        facts = {name.replace("_", " "): value for name, value in stated.items() if value}
        has_episodes = not record.phases or any(phase.tasks for phase in record.phases)
        if record.train_shots is not None:
            sizes = f"{record.train_shots} + {record.train_queries}" if has_episodes else "none"
            of = "points" if self.spec.task == "regression" else "examples per class"
            facts[f"support + query {of}"] = sizes
        drawn = [phase.ways for phase in record.phases if phase.tasks]
        if record.train_ways is not None and not record.phases:
            drawn = [record.train_ways]
        if ways := [str(n) for n in dict.fromkeys(drawn) if n != self.spec.protocol.ways]:
            facts["classes per training episode"] = " and ".join(ways)
        if (together := self.spec.training.ensemble) is not None:
            facts["weights tested together"] = str(together)
        return facts

    @property
    def training_length(self) -> str:
        """Meta-steps x episodes per meta-step, in words; of each phase where there are several."""
        training = self.spec.training
        if not training.meta_steps:
            return "none"
        if phases := self.runs[0].record.phases:
            return ", then ".join(map(str, phases))
        return f"{training.meta_steps:,} x {training.meta_batch}"

    @property
    def tuned(self) -> tuple[Tuned, ...]:
        """How the values of its runs were chosen, each way once; none where nothing tuned them."""
        ways = (run.record.provenance.tuned for run in self.runs)
        return tuple(dict.fromkeys(way for way in ways if way is not None))

    @property
    def changes(self) -> Changes:
        """What the users set, of any of the runs, by scope and name."""
        found: dict[str, dict[str, Any]] = {}
        for run in self.runs:
            for scope, values in run.record.provenance.user_changes().items():
                found.setdefault(scope, {}).update(values)
        return found

    @property
    def left_out(self) -> str:
        """How many episodes are not used, in a sentence; "" where all are."""
        if not self.n_left_out:
            return ""
        episodes = counted(self.n_left_out, "episode")
        are = "is" if self.n_left_out == 1 else "are"
        return f"{self.label}: {episodes} that not every seed has {are} not used."

    @property
    def config_id(self) -> str:
        """Digest of what the runs have in common."""
        return self.runs[0].config_id

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs, by seed."""
        return tuple(run.record.run_id for run in self.runs)

    @property
    def stamps(self) -> tuple[str, ...]:
        """The stamps of any of the runs."""
        return tuple(dict.fromkeys(stamp for run in self.runs for stamp in run.record.stamps))

    def of_source(self, name: str) -> NDArray[np.float64]:
        """Scores of one source, ``[seeds, n of the source]``."""
        return self.scores[:, self.source == name]


def configurations(runs: Iterable[FinishedRun]) -> list[Configuration]:
    """Bring the seeds of each configuration together, in the order of the first runs."""
    by_config: dict[str, list[FinishedRun]] = defaultdict(list)
    for run in runs:
        by_config[run.config_id].append(run)
    return [pool(group) for group in by_config.values()]


def pool(runs: Sequence[FinishedRun]) -> Configuration:
    """Bring the runs of one configuration onto the episodes that they share."""
    ordered = tuple(sorted(runs, key=lambda run: run.record.spec.seed))
    keys = [run.episodes.key for run in ordered]
    positions = shared_positions(keys)
    first = ordered[0].episodes
    return Configuration(
        runs=ordered,
        scores=np.stack([run.episodes.score[p] for run, p in zip(ordered, positions, strict=True)]),
        source=first.source[positions[0]],
        key=first.key[positions[0]],
        n_left_out=left_out(keys),
    )


def stamps_of(*configs: Configuration) -> tuple[str, ...]:
    """The stamps of any of these configurations."""
    return tuple(dict.fromkeys(stamp for config in configs for stamp in config.stamps))
