"""What a tuning is asked for, and its studies: one for each learner in each setting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from metabench.errors import DataError, UsageError
from metabench.planning.grid import Grid
from metabench.planning.overrides import (
    check_one_name_each,
    parts_of_scope,
    place_of,
    several,
    split_outside,
    written,
)
from metabench.planning.plan import Loaded, PlannedRun
from metabench.planning.ranges import Range, read_range
from metabench.planning.runspec import RunSpec
from metabench.planning.source_data import load_data
from metabench.planning.suite import Suite
from metabench.planning.validation import validated
from metabench.plugin.contracts.data import ClassData
from metabench.sampling.checks import check_classes
from metabench.values import digest

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

SamplerName = Literal["grid", "random", "tpe"]
DEFAULT_TRIALS = 20
"""Trials of a study whose values are drawn."""
MAX_TRIALS = 10_000
"""The most trials of a study."""
_JUDGES = ("data", "protocol")
"""The scopes that decide on which episodes a trial is judged."""


class TuningPlan(Grid):
    """What a command or a plan file asks to tune: a grid whose sweeps are trials."""

    ranges: dict[str, str] = Field(
        default_factory=dict,
        description="A range by parameter, such as `learner.inner_lr: 1e-3..1e-1:log`.",
    )
    sampler: SamplerName | None = Field(
        default=None,
        description="`grid`, `random` or `tpe`. By default `grid` where every value is listed, "
        "else `random`.",
    )
    trials: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TRIALS,
        description=f"Trials of each study; by default {DEFAULT_TRIALS}, or all of a grid.",
    )
    sampler_seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of the sampler.")

    @field_validator("ranges")
    @classmethod
    def _readable(cls, ranges: dict[str, str]) -> dict[str, str]:
        for name, text in ranges.items():
            try:
                found = read_range(text, of=name)
            except UsageError as error:
                raise ValueError(error.message) from error
            if found is None:
                raise ValueError(f"{text!r} is no range such as 0.001..0.1 or 1e-4..1e-1:log")
        return ranges

    @property
    def digest(self) -> str:
        """Of all that is asked for but the number of trials, to which more may be added."""
        unsaid = {"weights"} if self.weights is None else set[str]()  # older tunings have none
        return digest(self.model_dump(mode="json", exclude={"trials"} | unsaid))

    @property
    def picked_sampler(self) -> SamplerName:
        """The sampler, also where none is named."""
        if self.sampler is not None:
            return self.sampler
        return "random" if any(not read.whole for read in self._read().values()) else "grid"

    @property
    def most_trials(self) -> int:
        """The most trials of each study."""
        return self.trials or (MAX_TRIALS if self.picked_sampler == "grid" else DEFAULT_TRIALS)

    def parameters(self) -> dict[str, Parameter]:
        """What is tuned, by the path that a user gives it.

        Raises:
            UsageError: when there is nothing to tune, or what would change the judge, and for the
                seed of a sampler that draws nothing.
        """
        found = {
            name: Parameter(name, several(values, where=f"The sweep of {name}").values)
            for name, values in self.sweep.items()
        }
        found |= {name: Parameter(name, bounds) for name, bounds in self._read().items()}
        if not found:
            raise UsageError(
                "There is nothing to tune: no parameter has several values.",
                hint="Give values or a range: --set learner.inner_lr=0.001,0.01 or "
                "--set learner.inner_lr=1e-3..1e-1:log.",
            )
        if self.sampler_seed and self.picked_sampler == "grid":
            raise UsageError(
                f"The sampler's seed {self.sampler_seed} changes nothing: a grid draws no values.",
                hint="Leave out --sampler-seed, or choose --sampler random or tpe.",
            )
        check_one_name_each((*self.set, *found))
        for name in found:
            scope, _ = place_of(name, said=name)
            if scope in _JUDGES:
                raise UsageError(
                    f"{name} decides on which episodes values are judged, so it cannot be tuned.",
                    hint="Tune parameters of the learner, network, strategy or budget, and give "
                    f"one value of {name}.",
                )
            if name in self.set:
                raise UsageError(
                    f"The parameter {name} has one value and several.",
                    hint="Leave it in one of set, sweep and ranges.",
                )
            if name in self.sweep and name in self.ranges:
                raise UsageError(
                    f"The parameter {name} has values and a range.",
                    hint="Leave it in one of sweep and ranges.",
                )
        return found

    def _read(self) -> dict[str, Range]:
        read = {name: read_range(text, of=name) for name, text in self.ranges.items()}
        return {name: bounds for name, bounds in read.items() if bounds is not None}

    def base(self, **changes: Any) -> Grid:
        """The grid of runs without what is tuned.

        Args:
            changes: fields of the grid.
        """
        values = {name: getattr(self, name) for name in Grid.model_fields}
        return validated(Grid, {**values, "sweep": {}, **changes}, what="tune:")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that is tuned.

    Attributes:
        path: as a user gives it, such as ``learner.inner_lr``.
        values: those that are listed, or the range.
    """

    path: str
    values: tuple[Any, ...] | Range

    @property
    def listed(self) -> Sequence[Any] | None:
        """All values, where they can be counted; a range of whole numbers can."""
        if not isinstance(self.values, Range):
            return self.values
        bounds = self.values
        return range(int(bounds.low), int(bounds.high) + 1) if bounds.whole else None

    @property
    def count(self) -> int | None:
        """How many values there are, which may be more than a list can have; None as above."""
        if not isinstance(self.values, Range):
            return len(self.values)
        return int(self.values.high) - int(self.values.low) + 1 if self.values.whole else None

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that have to be valid so that all are."""
        if isinstance(self.values, Range):
            return (self.values.low, self.values.high)
        return self.values

    def __str__(self) -> str:
        """The values as ``--set`` takes them."""
        if isinstance(self.values, Range):
            return str(self.values)
        return ",".join(map(written, self.values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The tuning of one learner in one setting of a suite.

    Attributes:
        name: of the study, and of its files.
        base: the grid of its runs without the tuned parameters.
        parameters: those that apply to it; may be none.
        spec: one of its runs, with one value of each parameter.
    """

    name: str
    base: Grid
    parameters: tuple[Parameter, ...]
    spec: RunSpec

    @property
    def size(self) -> int | None:
        """How many combinations of values there are; None where they cannot be counted."""
        counts = [one.count for one in self.parameters]
        known = [count for count in counts if count is not None]
        return prod(known) if len(known) == len(counts) else None

    def grid(self, values: Mapping[str, Any]) -> Grid:
        """The grid of runs with some values, by path of a parameter."""
        return self.base.model_copy(update={"set": {**self.base.set, **values}})


@dataclass(slots=True)
class Planner:
    """Plans the runs of trials; what they share is loaded once.

    Attributes:
        catalog: the plugins.
        suites: by the name or path that was given.
        plugin_files: plugins given by file.
        opened: data that is loaded already.
    """

    catalog: Catalog
    suites: Mapping[str, Suite]
    plugin_files: tuple[Path, ...]
    opened: dict[str, Loaded]

    def runs(self, grid: Grid) -> list[PlannedRun]:
        """The runs of a grid; raises as :meth:`Grid.plan`."""
        suites = {name: self.suites[name] for name in grid.suites}
        return grid.plan(self.catalog, suites, plugin_files=self.plugin_files, opened=self.opened)

    def trial(self, study: Study, number: int, values: Mapping[str, Any]) -> list[PlannedRun]:
        """The runs of a trial, one for each seed, which end before meta-test."""
        found = self.runs(study.grid(values))
        return [replace(run, trial=number, told_by=(f"trial {number}",)) for run in found]


def studies_of(plan: TuningPlan, planner: Planner) -> list[Study]:
    """The studies of a plan; everything that they may try is checked.

    Raises:
        UsageError: as :meth:`Grid.plan`, and when nothing is tuned.
        DataError: as :meth:`Grid.plan`, and where there is no meta-validation to judge on.
    """
    parameters = plan.parameters()
    first: list[PlannedRun] = []
    for values in _each_once(parameters.values()):
        runs = planner.runs(plan.base(set={**plan.set, **values}, seeds=plan.seeds[:1]))
        first = first or runs
    places = {(run.spec.suite, run.spec.setting): run.spec for run in first}
    for spec in places.values():
        _require_validation(spec, planner.catalog)
    given = {suite.name: name for name, suite in planner.suites.items()}
    said = (*plan.set, *parameters)
    found = []
    for spec in (run.spec for run in first):
        suite = given[spec.suite]
        base = plan.base(
            learners=[spec.learner.name],
            suites=[suite],
            settings=[spec.setting],
            set={name: value for name, value in plan.set.items() if _applies(name, spec)},
            networks=_of_learner(plan.networks, spec),
            strategies=_of_learner(plan.strategies, spec),
        )
        found.append(
            Study(
                name=f"{spec.suite}@{spec.setting}@{spec.learner.name}",
                base=base,
                parameters=tuple(
                    one
                    for one in parameters.values()
                    if _applies(one.path, spec) and not _hidden(one.path, spec, said)
                ),
                spec=spec,
            )
        )
    return found


def _each_once(parameters: Iterable[Parameter]) -> Iterator[dict[str, Any]]:
    """Combinations in which every value that has to be valid stands at least once."""
    ends = {one.path: one.ends for one in parameters}
    for i in range(max(map(len, ends.values()))):
        yield {path: values[i % len(values)] for path, values in ends.items()}


def _require_validation(spec: RunSpec, catalog: Catalog) -> None:
    """Refuse a setting without meta-validation, on which alone values may be chosen.

    Raises:
        DataError: when a source has none, or too little.
    """
    for choice in spec.sources:
        data = load_data(choice, catalog, data=spec.data)
        if not isinstance(data, ClassData):
            continue  # functions are drawn anew for each split
        if not len(data.splits.get("meta-val", ())):
            raise DataError(
                f"Source {choice.source} of suite {spec.suite} has no classes in meta-val, and "
                "values are chosen on meta-validation alone.",
                hint="Choose a split with meta-val, such as with --set data.split=NAME, or another "
                "suite.",
            )
        check_classes(choice.source, data, "meta-val", spec.protocol.val_shape())


def _applies(path: str, spec: RunSpec) -> bool:
    """Whether a parameter is one of a run: all are but those of another learner or network."""
    scope, one = parts_of_scope(place_of(path, said=path)[0])
    choice = {"space": spec.space, "strategy": spec.strategy}.get(scope, spec.learner)
    return not one or (choice is not None and choice.name == one)


def _hidden(path: str, spec: RunSpec, said: Iterable[str]) -> bool:
    """Whether a parameter of all is given to this run by its own learner or network as well."""
    scope, name = place_of(path, said=path)
    others = (place_of(other, said=other) for other in said if _applies(other, spec))
    return any(
        its_name == name and parts_of_scope(its)[0] == scope != its for its, its_name in others
    )


def _of_learner(names: Mapping[str, str], spec: RunSpec) -> dict[str, str]:
    return {learner: name for learner, name in names.items() if learner == spec.learner.name}


def split_ranges(texts: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Take the ranges out of the words of ``--set``.

    >>> split_ranges(["learner.inner_lr=1e-3..1e-1:log", "learner.order=first"])
    ({'learner.inner_lr': '1e-3..1e-1:log'}, ['learner.order=first'])

    Raises:
        UsageError: when a range stands beside other values.
    """
    ranges: dict[str, str] = {}
    others = []
    for text in texts:
        path, _, value = text.partition("=")
        parts = split_outside(value)
        if not any(read_range(part, of=path) for part in parts):
            others.append(text)
            continue
        if len(parts) > 1 or path in ranges:
            raise UsageError(
                f"--set {text!r} has a range and other values.",
                hint=f"Give one range, or list the values: --set {path}=A,B.",
            )
        ranges[path] = value.strip()
    return ranges, others
