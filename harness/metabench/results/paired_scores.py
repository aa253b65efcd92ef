"""Two configurations on the episodes that both were tested on, and why that may not be allowed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.planning.runspec import RunSpec, Training
from metabench.planning.yaml_files import flow
from metabench.reports.captions import AVERAGE
from metabench.reports.tables import SCALES, UNITS
from metabench.results.configurations import Pooled, configurations
from metabench.results.evaluations import through
from metabench.results.reading import Run
from metabench.stats import Blocks, shared_positions
from metabench.text import counted

HEADLINE = "headline"
"""The evaluation that tables show first."""

MIN_EPISODES = 30
"""Fewer per source, and the normal distribution does not describe their mean."""

_MANY = 3
"""So many learners trained equally long are not named one by one."""

_CONDITIONS = {
    *("suite", "suite_version", "setting", "metric", "budget"),
    *("data", "data_fingerprint", "protocol", "sources"),
}


@dataclass(frozen=True, slots=True)
class Shared:
    """Scores of two configurations on the same episodes, in percent or as squared errors.

    Attributes:
        left: ``[seeds, episodes]`` by source.
        right: likewise, the same episodes in the same order.
        keys: ``[episodes]`` by source.
        n_left_out: episodes that only one of the two has.
    """

    left: Blocks
    right: Blocks
    keys: Mapping[str, NDArray[np.object_]]
    n_left_out: int

    @property
    def n_fewest(self) -> int:
        """Episodes of the source that has the fewest."""
        return min(len(keys) for keys in self.keys.values())

    @property
    def left_out(self) -> str:
        """What of the two is not used, in words; "" where all is."""
        if not self.n_left_out:
            return ""
        return f"{counted(self.n_left_out, 'episode')} left out that only one of them has"


def evaluated_configurations(runs: Iterable[Run], *, evaluation: str | None = None) -> list[Pooled]:
    """Bring the seeds of each configuration together, as one evaluation sees them.

    Args:
        runs: runs of any configurations.
        evaluation: which of a run's evaluations is looked at, the headline one if absent; runs
            that do not have it are left out.
    """
    if evaluation not in (None, HEADLINE):
        runs = [through(run, evaluation) for run in runs if evaluation in run.evaluations]
    return configurations(runs)


def unit_of(spec: RunSpec) -> str:
    """What scores are printed in: ``%`` or ``mse``."""
    return UNITS[spec.metric]


def weights_of(column: str, sources: Sequence[str]) -> dict[str, float]:
    """The column of a table as a weighted sum of its sources.

    >>> weights_of("average", ["sine", "line"])
    {'sine': 0.5, 'line': 0.5}
    """
    if column == AVERAGE:
        return {source: 1 / len(sources) for source in sources}
    return {column: 1.0}


def sources_of(spec: RunSpec) -> tuple[str, ...]:
    """Names of the sources, in order."""
    return tuple(source.source for source in spec.sources)


def training_note(configs: Sequence[Pooled]) -> str:
    """How long each trained, in a sentence, where learners of one budget trained differently."""
    by_budget: dict[str, list[Pooled]] = defaultdict(list)
    for config in configs:
        by_budget[config.spec.budget].append(config)
    said = {budget: _lengths(group) for budget, group in by_budget.items()}
    differing = {budget: text for budget, text in said.items() if text}
    if not differing:
        return ""
    texts = (
        f"at budget {budget} {text}" if len(by_budget) > 1 else text
        for budget, text in differing.items()
    )
    return f"Lengths of training differ (meta-steps x episodes): {'; '.join(texts)}."


def _lengths(configs: Sequence[Pooled]) -> str:
    """The lengths of training, the usual one of many learners last; "" where all are equal.

    A learner that stands there with two lengths is named with both.
    """
    pairs = dict.fromkeys(
        (c.spec.learner.name, f"{c.spec.training.meta_steps:,} x {c.spec.training.meta_batch}")
        for c in configs
    )
    counts = Counter(length for _, length in pairs)
    if len(counts) < 2:
        return ""
    usual, n = counts.most_common(1)[0]
    if n < _MANY:
        return ", ".join(f"{name} {length}" for name, length in pairs)
    unusual = [f"{name} {length}" for name, length in pairs if length != usual]
    return ", ".join([*unusual, f"all others {usual}"])


def stamps_of(*configs: Pooled) -> tuple[str, ...]:
    """What must be said beside numbers made from these."""
    return tuple(dict.fromkeys(stamp for config in configs for stamp in config.stamps))


def conditions(spec: RunSpec) -> dict[str, str]:
    """All that two runs must have in common to be compared, as text by name."""
    return {
        name: text
        for name, text in description(spec).items()
        if name.partition(".")[0] in _CONDITIONS
    }


def description(spec: RunSpec) -> dict[str, str]:
    """Everything but the seed as text by dotted name, ``{"learner.params.inner_lr": "0.01"}``."""
    values = spec.model_dump(mode="json", exclude={"seed"})
    parts = [_flat(value, name=name) for name, value in values.items()]
    return {name: text for part in parts for name, text in part.items()}


def mismatch(first: Pooled, second: Pooled, *, evaluation: str | None = None) -> str:
    """Why two configurations cannot be compared, as ``queries 5 or 15``; "" where they can."""
    here, there = conditions(first.spec), conditions(second.spec)
    for config, facts in ((first, here), (second, there)):
        facts["evaluation"] = str(config.runs[0].record.evaluations.get(evaluation or ""))
    # A suite may give its learners training of different length; a user who sets it may not.
    if _length_was_set(first) or _length_was_set(second):
        here |= _flat(first.spec.training.model_dump(), name="training")
        there |= _flat(second.spec.training.model_dump(), name="training")
    return difference_in_words(here, there)


def comparable_conditions(config: Pooled) -> dict[str, str]:
    """Its conditions, and the length of training where a user set it."""
    length = _flat(config.spec.training.model_dump(), name="training")
    return conditions(config.spec) | (length if _length_was_set(config) else {})


def comparable_groups(configs: Sequence[Pooled]) -> list[list[int]]:
    """Positions of configurations in groups: within a group, any two can be compared.

    A group has equal conditions. A length of training that a user set stands apart from any other
    length.

    >>> comparable_groups([])
    []
    """
    groups: dict[tuple[tuple[str, str], ...], list[int]] = defaultdict(list)
    for position, config in enumerate(configs):
        groups[tuple(conditions(config.spec).items())].append(position)
    return sorted(part for group in groups.values() for part in _of_one_length(configs, group))


def _of_one_length(configs: Sequence[Pooled], group: Sequence[int]) -> list[list[int]]:
    """A group of equal conditions in parts, by the length of training where a user set it."""
    usual = [i for i in group if not _length_was_set(configs[i])]
    lengths = {configs[i].spec.training for i in usual}
    apart: dict[Training, list[int]] = defaultdict(list)
    for i in group:
        if i not in usual:
            length = configs[i].spec.training
            (usual if lengths == {length} else apart[length]).append(i)
    return [sorted(part) for part in (usual, *apart.values()) if part]


def difference_in_words(first: Mapping[str, str], second: Mapping[str, str]) -> str:
    """Where two descriptions differ, the first three places; "" where they do not."""
    names = dict.fromkeys([*first, *second])
    said = [
        f"{name.partition('.')[2] or name} {first.get(name, 'absent')} or "
        f"{second.get(name, 'absent')}"
        for name in names
        if first.get(name) != second.get(name)
    ]
    more = f" and {len(said) - 3} more" if len(said) > 3 else ""
    return ", ".join(said[:3]) + more


def shared_scores(left: Pooled, right: Pooled) -> Shared:
    """Both sides on the episodes that they share; none is left of a source that shares none."""
    here, there = shared_positions([left.key, right.key])
    source = left.source[here]
    masks = {name: source == name for name in sources_of(left.spec)}
    mine, theirs = scaled(left)[:, here], scaled(right)[:, there]
    return Shared(
        left={name: mine[:, mask] for name, mask in masks.items()},
        right={name: theirs[:, mask] for name, mask in masks.items()},
        keys={name: left.key[here][mask] for name, mask in masks.items()},
        n_left_out=max(len(left.key), len(right.key)) - len(here),
    )


def own_scores(config: Pooled) -> Blocks:
    """Scores ``[seeds, episodes]`` of one configuration by source, as they are printed."""
    scores = scaled(config)
    return {name: scores[:, config.source == name] for name in sources_of(config.spec)}


def scaled(config: Pooled) -> NDArray[np.float64]:
    """Scores ``[seeds, episodes]``, accuracy in percent."""
    return config.scores * SCALES[config.spec.metric]


def _length_was_set(config: Pooled) -> bool:
    return bool(config.changes.get("budget"))


def in_words(value: Any) -> str:
    """A value of a parameter: a list or mapping on one line, as ``--set`` takes it.

    >>> in_words({"cell": [[0, 2, "skip"]]}), in_words(0.01), in_words(None)
    ('{cell: [[0, 2, skip]]}', '0.01', 'None')
    """
    return flow(value) if isinstance(value, list | dict) else str(value)


def _flat(value: Any, *, name: str) -> dict[str, str]:
    """A nested value as text by dotted name; the value of a parameter stays whole."""
    if name.rpartition(".")[0].endswith(".params") or not isinstance(value, list | dict):
        return {name: in_words(value)}
    if isinstance(value, list):
        value = {str(i): item for i, item in enumerate(value)}
    return {
        k: v for key, item in value.items() for k, v in _flat(item, name=f"{name}.{key}").items()
    }
