"""Which of the runs of a folder are wanted: by learner, suite, setting, budget and seed.

Runs are selected before anything is made of them, so that tables, pages and figures show the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from metabench.errors import UsageError, unknown
from metabench.results.reading import FinishedRun, Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is wanted of each; an empty one takes anything.

    Attributes:
        learners: names of learners.
        suites: names of suites.
        settings: names of settings.
        budgets: names of budgets.
        seeds: numbers.
    """

    learners: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return any(wanted for _, wanted in self._wanted())

    def __str__(self) -> str:
        """What is wanted, in words.

        >>> str(Selection(learners=("maml", "reptile"), seeds=(0,)))
        'learner maml or reptile, seed 0'
        """
        return ", ".join(f"{kind} {' or '.join(names)}" for kind, names in self._wanted() if names)

    def keeps(self, run: FinishedRun) -> bool:
        """Whether a run is wanted."""
        found = _facts(run)
        return all(not names or found[kind] in names for kind, names in self._wanted())

    def _wanted(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield "learner", self.learners
        yield "suite", self.suites
        yield "setting", self.settings
        yield "budget", self.budgets
        yield "seed", tuple(map(str, self.seeds))


ALL = Selection()
"""Leaves nothing out."""


def select(results: Results, selection: Selection) -> Results:
    """The results with the wanted runs alone; what is wrong with the folder stays.

    Raises:
        UsageError: for a name that no run has, or when no run has all that is wanted.
    """
    if not selection or not results.runs:
        return results
    facts = [_facts(run) for run in results.runs]
    for kind, names in selection._wanted():
        known = {own[kind] for own in facts}
        for name in names:
            if name not in known:
                raise unknown(kind, name, known, of="the finished runs here")
    runs = tuple(run for run in results.runs if selection.keeps(run))
    if not runs:
        raise UsageError(
            f"No finished run here has {selection}.", hint=f"There is {_there_is(results.runs)}."
        )
    return replace(results, runs=runs)


def absent(runs: Sequence[FinishedRun], selection: Selection) -> Iterator[str]:
    """Each wanted name that none of the selected runs has, in a sentence."""
    facts = [_facts(run) for run in runs]
    for kind, names in selection._wanted():
        found = {own[kind] for own in facts}
        rest = ", ".join(
            f"{other} {' or '.join(wanted)}"
            for other, wanted in selection._wanted()
            if wanted and other != kind
        )
        for name in names:
            if name not in found:
                place = f" with {rest}" if rest else ""
                yield f"{kind.capitalize()} {name} has no run here{place}."


def _facts(run: FinishedRun) -> dict[str, str]:
    spec = run.record.spec
    return {
        "learner": spec.learner.name,
        "suite": spec.suite,
        "setting": spec.setting,
        "budget": spec.budget,
        "seed": str(spec.seed),
    }


def _there_is(runs: Sequence[FinishedRun]) -> str:
    """The suites and settings of runs, each with its learners, budgets and seeds."""
    places: dict[str, list[dict[str, str]]] = {}
    for run in runs:
        own = _facts(run)
        places.setdefault(f"{own['suite']} @ {own['setting']}", []).append(own)
    return "; ".join(f"{place} ({_listed(group)})" for place, group in places.items())


def _listed(group: Sequence[Mapping[str, str]]) -> str:
    return "; ".join(
        f"{kind} {', '.join(dict.fromkeys(own[kind] for own in group))}"
        for kind in ("learner", "budget", "seed")
    )
