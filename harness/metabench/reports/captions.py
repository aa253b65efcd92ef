"""What a table shows, in words: metric, formula, unit of n, protocol, and what sets rows apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import compress
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabench.planning.runspec import EpisodeProtocol, RunSpec
from metabench.plugin.contracts.metric import MetricFacts
from metabench.reports.row_names import names_of
from metabench.results.configurations import Configuration
from metabench.results.metrics import AVERAGE
from metabench.stats import FORMULAS, has_students_t
from metabench.text import capitalized

IntervalKind = Literal["auto", "field", "seeds", "bootstrap"]
"""How half-widths are asked for; :func:`interval_of` says which a row then has."""

SINGLE = "§"
"""Marks a row whose interval is over episodes in a table with intervals over seeds."""

_ONE_SEED = "Each row is a single run; its interval does not cover other seeds."
_NO_SCIPY = (
    'Intervals over seeds need scipy, which is not installed (pip install "metabench[stats]"), so '
    "these do not cover other seeds."
)
_OVER_SEEDS = "Scores of several seeds are averaged per episode before the interval is computed."
_AVERAGED = f"The {AVERAGE} is the plain mean of the sources' means"
_ROOT_SUM = f"{_AVERAGED}; its half-width is sqrt(sum of squared half-widths)/(number of sources)."
_OF_SEEDS = f"{FORMULAS['seeds']}, where n counts seeds"
_OF_EPISODES = f"{FORMULAS['field']}, where n counts episodes"
_OF_RUNS = f"{_AVERAGED}, computed for each run."
_FORMULAS: dict[IntervalKind, str] = {
    "field": _OF_EPISODES,
    "bootstrap": f"{FORMULAS['bootstrap']}, where n counts episodes",
    "seeds": _OF_SEEDS,
}
_NO_INTERVAL = "A row with one seed, or without training, has no interval."


_TESTED = {
    "last": "those of the last meta-step",
    "meta-val": "those with the best meta-validation score",
}


def facts_of(
    configs: Sequence[Configuration], *, interval: IntervalKind, columns: Collection[str]
) -> list[str]:
    """What a table shows whose rows are ``configs``, in their order, in sentences.

    Args:
        configs: of the rows.
        interval: what is asked for.
        columns: of scores on meta-test that are shown; may be empty.
    """
    metric = configs[0].metric
    said, *others = (
        scores_notes(configs, metric=metric, interval=interval, averages=AVERAGE in columns)
        if columns
        else [f"{metric.words}."]
    )
    notes = [capitalized(said), *others, headline_note(configs)]
    return [*filter(None, notes), *protocol_notes(configs), *budget_notes(configs)]


def headline_note(configs: Sequence[Configuration]) -> str:
    """That a metric is not the headline's, and which one is; "" where it is the headline's."""
    names = _distinct(run.headline for config in configs for run in config.runs if run.headline)
    if not names:
        return ""
    return f"It scores the predictions of the headline, whose metric is {' or '.join(names)}."


def scores_notes(
    configs: Sequence[Configuration],
    *,
    metric: MetricFacts,
    interval: IntervalKind,
    averages: bool,
) -> list[str]:
    """What the numbers are, and what their interval is; the first begins with a small letter.

    Args:
        configs: of the rows.
        metric: of the numbers.
        interval: what is asked for.
        averages: whether averages over sources are shown.
    """
    kinds = {interval_of(config, interval) for config in configs} or {"field"}
    mixed = len(kinds) > 1
    single = [len(config.runs) == 1 or config.seedless for config in configs]
    kind: IntervalKind = "seeds" if mixed else min(kinds)
    notes = [f"{metric.words} on the query sets of meta-test episodes: {_FORMULAS[kind]}."]
    averages = averages and any(len(config.spec.sources) > 1 for config in configs)
    if averages:
        notes.append(_OF_RUNS if kind == "seeds" else _ROOT_SUM)
    if mixed:
        over_episodes = [one for one in configs if interval_of(one, interval) == "field"]
        notes.append(_apart(over_episodes, averages=averages))
    elif "seeds" not in kinds:
        notes += [_ONE_SEED if all(single) else _OVER_SEEDS] if single else []
    elif any(single):
        notes.append(_NO_INTERVAL)
    if interval == "auto" and not all(single) and not has_students_t():
        notes.append(_NO_SCIPY)
    return notes


def _apart(configs: Sequence[Configuration], *, averages: bool) -> str:
    """What the marked rows of a table with intervals over seeds are, and what their interval is."""
    equal = any(len(config.runs) > 1 for config in configs)
    summed = "sqrt(sum of squared half-widths)/(number of sources)"
    return (
        f"Rows marked {SINGLE} are single runs{', or runs with equal scores' if equal else ''}: "
        f"their interval is {_OF_EPISODES}, and does not cover other seeds"
        f"{f'; that of the {AVERAGE} is {summed}' if averages else ''}."
    )


def interval_of(config: Configuration, asked: IntervalKind) -> IntervalKind:
    """The interval of a row: of ``auto``, over seeds if there are several, else over episodes.

    Runs with equal scores, as of a predictor without training, count as one. Without scipy, which
    Student's t needs, all are over episodes; the caption says so.
    """
    if asked != "auto":
        return asked
    differ = bool((config.scores != config.scores[0]).any())
    return "seeds" if differ and has_students_t() else "field"


def protocol_notes(configs: Sequence[Configuration]) -> list[str]:
    """How configurations were tested, and which of them can be paired, in sentences."""
    notes = (
        f"Episodes per source: {_either(f'{n:,}' for n in episodes_per_source(configs))}.",
        _protocol(configs),
        _normalization(configs),
        _pairing(configs),
    )
    return [note for note in notes if note]


def budget_notes(configs: Sequence[Configuration]) -> list[str]:
    """Budgets and stamps of configurations, in sentences."""
    notes = (_budgets([config.spec for config in configs]) if configs else "", _stamps(configs))
    return [note for note in notes if note]


def episodes_per_source(configs: Sequence[Configuration]) -> list[int]:
    """The numbers of meta-test episodes that configurations have of a source, each once."""
    return sorted({n for config in configs for n in Counter(config.source.tolist()).values()})


def _protocol(configs: Sequence[Configuration]) -> str:
    specs = [config.spec for config in configs]

    def said(name: str) -> str:
        return _either(getattr(spec.protocol, name) for spec in specs)

    if specs[0].task == "regression":
        shape = f"Support points: {said('shots')}, query points: {said('queries')}"
    elif said("steps_at_test") == "0":
        # Ordinary classification has no shots: nothing is adapted to the support set.
        shape = (
            f"{said('ways')} classes, support images per class: {said('shots')}, query images per "
            f"class: {said('queries')}"
        )
    else:
        shape = f"{said('ways')}-way {said('shots')}-shot, queries per class: {said('queries')}"
    weights = _either(_tested(spec) for spec in specs)
    steps = _distinct(config.steps_at_test for config in configs)
    if len(steps) == 1:
        shape = f"{shape}, inner steps at test: {steps[0]}"
    return f"{shape}. Tested weights: {weights}."


def _tested(spec: RunSpec) -> str:
    """Which weights a run tests."""
    if spec.weights is not None and not spec.weights.training:
        return "those of a file from elsewhere"
    if (together := spec.training.ensemble) is not None:
        return f"the {together} with the best meta-validation scores, together"
    return _TESTED[spec.protocol.selection]


def _normalization(configs: Sequence[Configuration]) -> str:
    """The protocol's, and whose predictions it concerns: a learner or network need not use it."""
    modes = _distinct(config.spec.protocol.normalization for config in configs)
    using = [config for config in configs if config.runs[0].record.transductive]
    running = [c for c in configs if c.runs[0].record.normalization == "running"]
    averages = "averages from meta-training"
    if len(running) == len(configs):
        return f"Normalization: running; predictions use {averages}."
    said = _of_query_sets(modes, using, configs)
    if running:
        who = _names(running, configs)
        return f"{said} Predictions of {who} use running statistics, {averages}."
    return said


def _of_query_sets(
    modes: list[str], using: Sequence[Configuration], configs: Sequence[Configuration]
) -> str:
    """Whose predictions use the query set, where a protocol allows it."""
    statistics = "the statistics of the query set"
    if len(using) == len(configs):
        return f"Normalization: transductive; predictions use {statistics}."
    if modes == ["inductive"]:
        return f"Normalization: inductive; no prediction uses {statistics}."
    allows = "The protocol allows transductive normalization"
    if len(modes) > 1:
        allows = "The protocol of some rows allows transductive normalization"
    if using:
        return f"{allows}, but only predictions of {_names(using, configs)} use {statistics}."
    return f"{allows}, but no prediction here uses {statistics}."


def _names(some: Sequence[Configuration], configs: Sequence[Configuration]) -> str:
    """The learners of some rows, told apart where another row has the same learner."""
    own = {c.config_id for c in some}
    rest = {c.spec.learner.name for c in configs if c.config_id not in own}
    return ", ".join(
        _distinct(
            name if c.spec.learner.name in rest else c.spec.learner.name
            for c, name in zip(configs, _row_names(configs), strict=True)
            if c.config_id in own
        )
    )


def _pairing(configs: Sequence[Configuration]) -> str:
    if len(configs) == 1:
        return ""
    differences = _differences([config.spec for config in configs])
    if differences:
        return (
            f"Rows differ in protocol or data ({'; '.join(differences)}). Only rows that agree in "
            "these are compared."
        )
    first = configs[0].key
    if not all(_same_episodes(first, config.key) for config in configs[1:]):
        return (
            "Not all rows are tested on the same episodes. Two rows are compared on the episodes "
            "that they share."
        )
    return "All rows are tested on the same episodes, so their differences are paired."


def _same_episodes(first: NDArray[np.object_], second: NDArray[np.object_]) -> bool:
    return np.array_equal(first, second) or sorted(first) == sorted(second)


def _differences(specs: Sequence[RunSpec]) -> list[str]:
    """What the rows should have in common but do not, as ``queries 5 or 15``."""
    shared: dict[str, list[Any]] = {
        name.replace("_", " "): [getattr(spec.protocol, name) for spec in specs]
        for name in EpisodeProtocol.model_fields
    }
    shared["suite version"] = [spec.suite_version for spec in specs]
    shared["data"] = [spec.data for spec in specs]
    parameters = [_source_parameters(spec) for spec in specs]
    names = {name: None for own in parameters for name in own}
    shared |= {name: [own.get(name, "") for own in parameters] for name in names}
    differences = {name: values for name, values in shared.items() if len(set(values)) > 1}
    if not differences.keys() & names.keys():
        differences["data fingerprint"] = [spec.data_fingerprint for spec in specs]
    return [
        f"{name} {_either(values)}" for name, values in differences.items() if len(set(values)) > 1
    ]


def _source_parameters(spec: RunSpec) -> dict[str, str]:
    """Each parameter of the sources with its values, one where all sources have the same."""
    values: dict[str, dict[str, None]] = {}
    for source in spec.sources:
        for name, value in source.params.items():
            values.setdefault(name, {})[str(value)] = None
    return {name: ", ".join(of_sources) for name, of_sources in values.items()}


def _budgets(specs: Sequence[RunSpec]) -> str:
    budgets = _distinct(spec.budget for spec in specs)
    if len(budgets) == 1:
        return f"Budget: {budgets[0]}."
    return (
        f"Rows differ in budget ({', '.join(budgets)}). Only rows with the same budget are "
        "compared."
    )


def _stamps(configs: Sequence[Configuration]) -> str:
    stamps = _distinct(
        stamp for config in configs for run in config.runs for stamp in run.record.stamps
    )
    if not stamps:
        return ""
    return (
        f"Stamps: {', '.join(stamps)}. Stamped rows are not comparable with the numbers that "
        "papers print."
    )


def _either(values: Iterable[object]) -> str:
    return " or ".join(_distinct(str(value) for value in values))


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


UNEQUAL_SIZES = 1.5
"""From this ratio of weights on, a difference in score may be one of size."""

_MANY = 3
"""From this number on, learners with the same training length are not named one by one."""


def seedless_note(configs: Sequence[Configuration]) -> str:
    """Which configurations of several have no seeds, and what follows; "" where all have."""
    names = _distinct(config.spec.learner.name for config in configs if config.seedless)
    if not names:
        return ""
    trained = "is not trained: its" if len(names) == 1 else "are not trained: their"
    return (
        f"{' and '.join(names)} {trained} seeds change nothing, and one run says all that others "
        "would."
    )


def inequality_notes(configs: Sequence[Configuration]) -> list[str]:
    """In what configurations differ that a comparison should hold equal, in sentences."""
    steps = _by_row(configs, [c.steps_at_test for c in configs])
    notes = (
        _training_note(configs),
        f"Inner steps at test differ: {steps}." if steps else "",
        *_condition_notes(configs),
        _sizes_note(configs),
        _skipped_note(configs),
    )
    return [note for note in notes if note]


def unequal(configs: Sequence[Configuration]) -> list[str]:
    """In what configurations differ, in a few words each; the captions say how."""
    if len(configs) < 2:
        return []
    steps = _by_row(configs, [c.steps_at_test for c in configs])
    conditions = [note for note in _condition_notes(configs) if not note.startswith(_EQUAL)]
    same_episodes = all(_same_episodes(configs[0].key, config.key) for config in configs)
    training = {
        "training length": bool(_training_note(configs)),
        "training conditions": bool(conditions),
        "skipped meta-steps": len({_skipped_share(config) for config in configs}) > 1,
    }
    several = sum(training.values()) > 1
    facts = {
        "protocol or data": bool(_differences([config.spec for config in configs])),
        "test episodes": not same_episodes,
        **({"training": True} if several else training),
        "test steps": bool(steps),
        "weights": bool(_sizes_note(configs)),
    }
    return [words for words, differ in facts.items() if differ]


def unequal_sides(configs: Sequence[Configuration]) -> list[str]:
    """As :func:`unequal`, with normalization, which the signs of a table tell of its rows."""
    statistics = {config.runs[0].record.query_statistics for config in configs}
    return [*unequal(configs), *(["normalization"] if len(statistics) > 1 else [])]


def normalization_notes(configs: Sequence[Configuration]) -> list[str]:
    """Whose predictions alone use which statistics, in sentences; none where all use the same."""
    records = [config.runs[0].record for config in configs]
    used = {
        "the statistics of the query set": [record.transductive for record in records],
        "running statistics, averages from meta-training": [
            record.normalization == "running" for record in records
        ],
    }
    return [
        f"Only predictions of {_names(list(compress(configs, own)), configs)} use {statistics}."
        for statistics, own in used.items()
        if any(own) and not all(own)
    ]


_EQUAL = "Training conditions of "


def _condition_notes(configs: Sequence[Configuration]) -> list[str]:
    """The training conditions: equal ones together, and per learner those in which rows differ."""
    trained = [config for config in configs if config.spec.training.meta_steps]
    stated = [config for config in trained if config.training_conditions]
    silent = [config for config in trained if not config.training_conditions]
    rows = _names(stated, trained) if silent else "all trained rows"
    equal, differing = [], []
    for name in dict.fromkeys(name for config in stated for name in config.training_conditions):
        values = [config.training_conditions.get(name, "not stated") for config in stated]
        if said := _by_row(stated, values):
            differing.append(f"{name} ({said})")
        else:
            equal.append(f"{name}: {values[0]}")
    notes = []
    if equal:
        notes.append(f"{_EQUAL}{rows}: {'; '.join(equal)}.")
    if differing:
        notes.append(f"Training conditions that differ: {'; '.join(differing)}.")
    if silent and stated:
        notes.append(f"Training conditions not recorded: {_names(silent, trained)}.")
    return notes


def _skipped_note(configs: Sequence[Configuration]) -> str:
    """How many meta-steps the learners skipped, over all seeds, if any did."""
    said = []
    for config, name in zip(configs, _row_names(configs), strict=True):
        if skipped := config.skipped_steps:
            said.append(f"{name} {skipped:,} of {_counted_steps(config):,}")
    if not said:
        return ""
    return f"Meta-steps skipped because of a runaway gradient: {', '.join(dict.fromkeys(said))}."


def _skipped_share(config: Configuration) -> float:
    """The share of the meta-steps that were skipped, over all seeds that count them."""
    total = _counted_steps(config)
    return (config.skipped_steps or 0) / total if total else 0.0


def _counted_steps(config: Configuration) -> int:
    """The meta-steps of the runs whose records say how many of them were skipped."""
    counting = sum(run.record.skipped_steps is not None for run in config.runs)
    return counting * config.spec.training.meta_steps


def _sizes_note(configs: Sequence[Configuration]) -> str:
    """The sizes of the networks, if they are too unequal for a comparison of the learners."""
    known = [config for config in configs if config.n_params]
    sizes = [config.n_params or 0 for config in known]
    if not sizes or max(sizes) <= UNEQUAL_SIZES * min(sizes):
        return ""
    said = _by_row(known, [f"{size:,}" for size in sizes])
    return f"The numbers of weights differ by up to {max(sizes) / min(sizes):.1f} times: {said}."


def _training_note(configs: Sequence[Configuration]) -> str:
    """The training lengths in a sentence, if learners with the same budget differ in them."""
    by_budget: dict[str, list[Configuration]] = defaultdict(list)
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
    return f"Training lengths differ (meta-steps x episodes per step): {'; '.join(texts)}."


def _lengths(configs: Sequence[Configuration]) -> str:
    return _by_row(configs, [config.training_length for config in configs])


def _row_names(configs: Sequence[Configuration]) -> list[str]:
    """Each row in as few words as tell it apart: the learner, unless it has several rows."""
    learners = [config.spec.learner.name for config in configs]
    n_rows = Counter(learners)
    if len(n_rows) == len(learners):
        return learners
    names = names_of(configs)
    for facts in (
        [f" on {config.runs[0].record.backend}" for config in configs],
        [f" at budget {config.spec.budget}" for config in configs],
    ):
        names = _with_each(names, facts, learners)
    return [
        learner if n_rows[learner] == 1 else name
        for learner, name in zip(learners, names, strict=True)
    ]


def _with_each(names: Sequence[str], facts: Sequence[str], learners: Sequence[str]) -> list[str]:
    """Names, those of which rows differ in a fact with that fact.

    The name of a learner alone could mean all of its rows, so these must agree in the fact.
    """
    of_name = Counter(name for name, _ in set(zip(names, facts, strict=True)))
    of_learner = Counter(learner for learner, _ in set(zip(learners, facts, strict=True)))
    return [
        f"{name}{fact}" if max(of_name[name], of_learner[name]) > 1 else name
        for name, fact in zip(names, facts, strict=True)
    ]


def _by_row(configs: Sequence[Configuration], values: Sequence[str]) -> str:
    """What each row has, the usual value of many rows last; "" where all are equal.

    Rows of one learner with one value are named by the learner.
    """
    if len(set(values)) < 2:
        return ""
    learners = [config.spec.learner.name for config in configs]
    differing = Counter(learner for learner, _ in set(zip(learners, values, strict=True)))
    names = _row_names(configs) if max(differing.values()) > 1 else learners
    pairs = dict.fromkeys(
        (name if differing[learner] > 1 else learner, value)
        for learner, name, value in zip(learners, names, values, strict=True)
    )
    counts = Counter(value for _, value in pairs)
    usual, n = counts.most_common(1)[0]
    if n < _MANY:
        return ", ".join(f"{name} {value}" for name, value in pairs)
    unusual = [f"{name} {value}" for name, value in pairs if value != usual]
    return ", ".join([*unusual, f"all others {usual}"])
