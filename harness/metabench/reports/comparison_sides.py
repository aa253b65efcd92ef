"""Finds what a user wants to compare (folders, runs or learners) and makes comparable pairs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metabench.errors import DataError, UsageError, unknown
from metabench.reports.build import row_labels
from metabench.results.comparability import conditions, difference_in_words
from metabench.results.configurations import Configuration, configurations
from metabench.results.evaluations import HEADLINE, evaluated_configurations
from metabench.results.folders import is_a_file
from metabench.results.further_metrics import through_metric
from metabench.results.labels import NETWORK, description, short_name, telling
from metabench.results.reading import FinishedRun, Results, read_runs
from metabench.text import plain

Pairs = list[tuple[Configuration, Configuration]]
_SHORTEST_ID = 4
_MOST_PROBLEMS = 5
_VARIANT = re.compile(r"(?P<learner>[^()]+?)\s*\((?P<facts>.*)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What narrows a choice down; None takes anything.

    Attributes:
        suite: the runs' suite.
        setting: their setting.
        budget: their budget.
        evaluation: which of their evaluations is compared.
        metric: which of their metrics is compared.
    """

    suite: str | None = None
    setting: str | None = None
    budget: str | None = None
    evaluation: str | None = None
    metric: str | None = None

    def keeps(self, run: FinishedRun) -> bool:
        """Whether a run is asked for."""
        spec = run.record.spec
        asked = ((self.suite, spec.suite), (self.setting, spec.setting), (self.budget, spec.budget))
        has = self.evaluation in (None, HEADLINE, *run.evaluations)
        return has and all(want in (None, found) for want, found in asked)


@dataclass(frozen=True, slots=True)
class Sides:
    """Comparable pairs, what has no counterpart, and problems of the folders."""

    pairs: Pairs
    alone: tuple[str, ...]
    problems: tuple[str, ...]


def find_sides(first: str, second: str, *, folder: Path, wanted: Wanted) -> Sides:
    """Find what ``first`` and ``second`` name, and pair what ran under equal conditions.

    Each is a folder of results or of one run; or, in ``folder``, the beginning of a run id, or the
    name of a learner. A learner with several configurations is named with the parameters that
    differ: ``maml(order=first)``. Two folders are compared learner by learner; else only what ran
    on a suite, setting and budget that both sides have is compared.

    Raises:
        UsageError: for an unknown name, where a choice is left, or where both sides are the same
            runs.
        DataError: when a side has no finished run.
    """
    if wanted.metric is not None and wanted.evaluation not in (None, HEADLINE):
        raise UsageError(
            "Further metrics score the predictions of the headline, so --metric and --evaluation "
            "exclude each other.",
            hint="Leave one of them out.",
        )
    names = (first, second)
    both_folders = all(Path(name).is_dir() for name in names)
    read: dict[Path, Results] = {}
    chosen: list[Sequence[FinishedRun]] = [
        _runs(name, folder=folder, wanted=wanted, read=read) for name in names
    ]
    problems = [problem for results in read.values() for problem in results.problems]
    if wanted.metric is not None:
        seen = [through_metric(Results(tuple(runs), (), ()), wanted.metric) for runs in chosen]
        problems += dict.fromkeys(problem for side in seen for problem in side.problems)
        chosen = [side.runs for side in seen]
    _check_differ(names, *chosen)
    sides = [evaluated_configurations(runs, evaluation=wanted.evaluation) for runs in chosen]
    elsewhere: list[str] = []
    if not both_folders:
        sides, elsewhere = _where_both_ran(sides)
    if len(sides[0]) == len(sides[1]) == 1:
        _check_differ(names, *(side[0].runs for side in sides))
        return Sides([(sides[0][0], sides[1][0])], tuple(elsewhere), tuple(problems))
    left, right = (_by_conditions(side, by_learner=both_folders) for side in sides)
    pairs = [
        (_only(left[key], by_learner=both_folders), _only(right[key], by_learner=both_folders))
        for key in left
        if key in right
    ]
    if not pairs:
        here, there = (dict(next(iter(side))) for side in (left, right))
        raise UsageError(
            f"{first} and {second} have no runs under the same conditions: "
            f"{difference_in_words(here, there)}.",
            hint="Compare runs with the same suite, setting, budget, data and protocol.",
        )
    _check_differ(names, *([run for pair in pairs for run in pair[i].runs] for i in (0, 1)))
    alone = elsewhere + [
        config.label
        for mine, theirs in ((left, right), (right, left))
        for key, group in mine.items()
        if key not in theirs
        for config in group
    ]
    return Sides(pairs, tuple(dict.fromkeys(alone)), tuple(problems))


def _check_differ(
    names: tuple[str, str], left: Sequence[FinishedRun], right: Sequence[FinishedRun]
) -> None:
    """Refuse to compare runs with themselves."""
    here, there = ({run.folder.resolve() for run in side} for side in (left, right))
    if here == there:
        raise UsageError(
            f"{names[0]} and {names[1]} are the same runs.", hint="Name two different sides."
        )


def _where_both_ran(
    sides: Sequence[list[Configuration]],
) -> tuple[list[list[Configuration]], list[str]]:
    """What ran where the other side did as well, and the labels of the rest.

    All of it where there is no such place, so that it can be said in what the sides differ.
    """
    places = [{_place(config) for config in side} for side in sides]
    shared = places[0] & places[1]
    if not shared:
        return list(sides), []
    kept = [[config for config in side if _place(config) in shared] for side in sides]
    left_out = [config for side in sides for config in side if _place(config) not in shared]
    return kept, list(dict.fromkeys(config.label for config in left_out))


def _place(config: Configuration) -> tuple[str, str, str]:
    return config.spec.suite, config.spec.setting, config.spec.budget


def _runs(
    name: str, *, folder: Path, wanted: Wanted, read: dict[Path, Results]
) -> list[FinishedRun]:
    path = Path(name)
    place = path if path.is_dir() else folder
    if path.is_file() and not folder.is_dir():
        raise is_a_file(path)
    if place not in read:
        read[place] = read_runs(place)
    results = read[place]
    runs = [run for run in results.runs if wanted.keeps(run)]
    if not runs:
        raise DataError(
            f"No finished run below {place} matches.",
            hint=_with_problems(
                "Check the folder, --suite, --setting, --budget and --evaluation.", results
            ),
        )
    chosen = runs if path.is_dir() else _named(name, runs)
    if not chosen:
        if path.is_file():
            raise is_a_file(path)
        learner = name.partition("(")[0].strip()
        known = {run.record.spec.learner.name for run in runs}
        if learner in known:
            raise UsageError(
                f"No run of {learner} in {place} matches {name}.",
                hint="Write parameters as the table does: LEARNER(NAME=VALUE, ...).",
            )
        error = unknown(f"folder, run or learner in {place}", name, known)
        raise UsageError(error.message, hint=_with_problems(error.hint, results))
    return chosen


def _with_problems(hint: str, results: Results) -> str:
    """A hint, and problems of the folder that may be the reason."""
    told = list(results.problems[:_MOST_PROBLEMS])
    if (more := len(results.problems) - len(told)) > 0:
        told.append(f"and {more} more.")
    return "\n".join([hint, *map(plain, told)])


def _named(name: str, runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """The runs of an id, of a row as its table names it, or of a learner with some parameters."""
    if len(name) >= _SHORTEST_ID and (one := [r for r in runs if r.record.run_id.startswith(name)]):
        return one
    found = _VARIANT.fullmatch(name)
    learner = found["learner"] if found else name
    facts = (
        [part.partition("=") for part in _split(found["facts"]) if part.strip()] if found else []
    )
    runs = [run for run in runs if run.record.spec.learner.name == learner]
    labels = row_labels(configurations(runs))
    wanted = _without_spaces(name)
    as_in_table = [run for run in runs if _without_spaces(labels[run.config_id]) == wanted]
    # A row of that very name goes before others that it could be compared with, and before no more.
    known = {_conditions(run) for run in as_in_table}
    return as_in_table + [
        run
        for run in runs
        if _conditions(run) not in known
        and all(_has(description(run.record.spec), k.strip(), v.strip()) for k, _, v in facts)
    ]


def _conditions(run: FinishedRun) -> tuple[tuple[str, str], ...]:
    return tuple(conditions(run.record.spec).items())


def _without_spaces(label: str) -> str:
    return label.replace(" ", "")


def _split(text: str) -> list[str]:
    """What commas separate, but for those inside brackets.

    >>> _split("order=first, cell=[0, 2]")
    ['order=first', ' cell=[0, 2]']
    """
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _has(facts: Mapping[str, str], name: str, value: str) -> bool:
    """Whether something of that name has that value.

    ``network`` and ``space`` both mean ``space.name``.
    """
    scope, dot, rest = name.partition(".")
    name = f"space{dot}{rest}" if scope == NETWORK else name
    return any(
        text == value
        for full, text in facts.items()
        if f".{full}".endswith((f".{name}", f".{name}.name"))
    )


def _named_apart(config: Configuration, other: Configuration) -> str:
    """A name for a configuration that does not name the other: ``maml(order=first)``."""
    mine, theirs = description(config.spec), description(other.spec)
    said = {short_name(name): mine[name] for name in telling([mine, theirs]) if name in mine}
    facts = ", ".join(f"{name}={text}" for name, text in said.items())
    return f"{config.spec.learner.name}({facts})" if facts else ""


def _by_conditions(
    configs: Iterable[Configuration], *, by_learner: bool
) -> dict[tuple[tuple[str, str], ...], list[Configuration]]:
    """What can be compared with the same, by what that has in common."""
    found: dict[tuple[tuple[str, str], ...], list[Configuration]] = {}
    for config in configs:
        facts = conditions(config.spec)
        if by_learner:
            facts |= {"learner": config.spec.learner.name}
        found.setdefault(tuple(facts.items()), []).append(config)
    return found


def _only(group: Sequence[Configuration], *, by_learner: bool) -> Configuration:
    """The one of a side that can be compared with what the other side has.

    Raises:
        UsageError: when there are several.
    """
    if len(group) == 1:
        return group[0]
    twin, config = group[:2]
    learners = list(dict.fromkeys(one.spec.learner.name for one in group))
    if len(learners) > 1:
        suite, setting, budget = _place(config)
        raise UsageError(
            f"Several learners ran on {suite}@{setting}, budget {budget}: {', '.join(learners)}.",
            hint="Name the folder of one run.",
        )
    facts_differ = difference_in_words(description(twin.spec), description(config.spec))
    different = facts_differ or "the evaluation has several definitions"
    named = sorted(filter(None, (_named_apart(twin, config), _named_apart(config, twin))))
    one = "" if by_learner else "".join(f"'{name}' or " for name in named)
    raise UsageError(
        f"{config.label} has several configurations ({different}).",
        hint=f"Name {one}the folder{'' if by_learner else ' or the id'} of one run.",
    )
