"""A grid of runs: learners x suites x settings x values x seeds, from a command or a plan file."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, field_validator

from metabench.data.plain_files import expanded
from metabench.durable import hint_of, replacing
from metabench.errors import UsageError, unknown
from metabench.planning.overrides import (
    Changes,
    Several,
    check_one_name_each,
    combinations,
    parse_changes,
    place_of,
    scope_in_words,
    several,
    swept_in,
)
from metabench.planning.plan import (
    MOST_NAMED,
    Loaded,
    PlannedRun,
    RunRequest,
    plan_all,
    suite_of,
)
from metabench.planning.runspec import Precision
from metabench.planning.source_data import DataKind
from metabench.planning.suite import Suite
from metabench.planning.tuned import Tuned
from metabench.planning.validation import validated
from metabench.planning.yaml_files import file_text, read_mapping
from metabench.plugin.contracts.file_param import FileParam, opened
from metabench.values import Frozen, digest

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

LAST_SEED = 2**31 - 1
"""The largest seed of a run."""

MAX_SEEDS = 1000
"""The most seeds of a grid."""

MAX_RUNS = 100_000
"""The most runs of a grid."""


class Grid(Frozen):
    """What a command or a plan file asks for."""

    learners: tuple[str, ...] = Field(min_length=1, description="Names of learners.")
    suites: tuple[str, ...] = Field(
        min_length=1, description="Names of suites, or paths of suite files."
    )
    settings: tuple[str, ...] = Field(
        default=(),
        description="Settings; each suite runs those that it has. By default each runs its first.",
    )
    budget: str = Field(default="lite", description="A budget that all suites have.")
    network: str | None = Field(
        default=None,
        description="The network of all learners, and after a colon its strategy. By default that "
        "of the suite, or the learner's own.",
    )
    networks: dict[str, str] = Field(
        default_factory=dict, description="The network by learner; it wins over `network`."
    )
    strategy: str | None = Field(default=None, description="The strategy of all that search.")
    strategies: dict[str, str] = Field(
        default_factory=dict, description="The strategy by learner; it wins over `strategy`."
    )
    seeds: tuple[int, ...] = Field(
        default=(0,), min_length=1, max_length=MAX_SEEDS, description="Seeds, also as `0..4`."
    )
    set: dict[str, Any] = Field(
        default_factory=dict, description="A value by parameter, such as `learner.inner_lr: 0.01`."
    )
    sweep: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="Several values by parameter; each combination makes runs of its own.",
    )
    data: DataKind = Field(default="real", description="`real`, or `synthetic` look-alikes.")
    limit: int | None = Field(
        default=None,
        ge=1,
        description="Meta-test episodes of a source, in place of the suite's number.",
    )
    metrics: tuple[str, ...] = Field(default=(), description="Further metrics.")
    precision: Precision = Field(default="float32", description="How layers multiply.")
    weights: str | None = Field(
        default=None, description="A file of weights that every training starts from."
    )
    tuned: Tuned | None = Field(
        default=None,
        description="How the values of `set` were chosen; `metabench tune` writes it.",
    )

    @field_validator("learners", "suites", "settings", "metrics", mode="before")
    @classmethod
    def _one_name(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("seeds", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        if isinstance(value, bool | float):
            raise ValueError("seeds are whole numbers, or text such as 0..4")
        try:
            return parse_seeds(str(value)) if isinstance(value, int | str) else value
        except UsageError as error:
            raise ValueError(error.hint) from error

    @field_validator("seeds")
    @classmethod
    def _in_bounds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= seed <= LAST_SEED for seed in seeds):
            raise ValueError(f"seeds go from 0 to {LAST_SEED}")
        return tuple(dict.fromkeys(seeds))

    @property
    def digest(self) -> str:
        """Of all that the grid says; two plan files with the same values have the same."""
        return digest(self.model_dump(mode="json", exclude=_unsaid(self)))

    def changes(self) -> Changes:
        """The values of :attr:`set` and :attr:`sweep`, by scope and name."""
        for name in self.set.keys() & self.sweep.keys():
            raise UsageError(
                f"The parameter {name} stands in set and in sweep.", hint="Leave it in one of them."
            )
        check_one_name_each((*self.set, *self.sweep))
        swept = {
            name: several(values, where=f"The sweep of {name}")
            for name, values in self.sweep.items()
        }
        found: dict[str, dict[str, Any]] = {}
        for path, value in {**self.set, **swept}.items():
            scope, name = place_of(path, said=path)
            found.setdefault(scope, {})[name] = value
        return found

    def plan(
        self,
        catalog: Catalog,
        suites: Mapping[str, Suite] | None = None,
        *,
        plugin_files: tuple[Path, ...] = (),
        of_file: bool = False,
        opened: dict[str, Loaded] | None = None,
        without_data: bool = False,
    ) -> list[PlannedRun]:
        """The runs of the grid, each once.

        Args:
            catalog: the plugins.
            suites: those of :meth:`suites_of`, if they are loaded already.
            plugin_files: plugins given by file.
            of_file: whether a plan file asks for them, whose digest their records then have.
            opened: as of :func:`~metabench.planning.plan.plan_all`.
            without_data: as of :func:`~metabench.planning.plan.plan_all`.

        Raises:
            UsageError: for unknown names, values out of bounds and what does not fit together.
            DataError: when data is missing, or too small for the episodes.
        """
        suites = self.suites_of(catalog) if suites is None else suites
        requests = self._requests(suites, plugin_files)
        runs = plan_all(requests, catalog, suites=suites, opened=opened, without_data=without_data)
        runs = [replace(run, tuned=self.tuned) for run in runs]
        return [replace(run, plan=self.digest) for run in runs] if of_file else runs

    def suites_of(self, catalog: Catalog) -> dict[str, Suite]:
        """The suites by the name or path that was given.

        Raises:
            UsageError: as :func:`~metabench.planning.plan.suite_of`, and for two of one name.
        """
        found: dict[str, Suite] = {}
        for given in self.suites:
            suite = suite_of(given, catalog)
            other = next((known for known, one in found.items() if one.name == suite.name), given)
            if other != given:
                raise UsageError(
                    f"{other} and {given} are both suite {suite.name}.",
                    hint="Name one of them, or make a command of each.",
                )
            found[given] = suite
        return found

    def _requests(
        self, suites: Mapping[str, Suite], plugin_files: tuple[Path, ...]
    ) -> list[RunRequest]:
        for word, table in (("network", self.networks), ("strategy", self.strategies)):
            for learner in table:
                if learner not in self.learners:
                    error = unknown("learner", learner, self.learners)
                    raise UsageError(
                        f"A {word} is given for {learner}, which is no learner of this command.",
                        hint=error.hint,
                    )
        changes = self.changes()
        self._check_size(changes)
        swept = tuple(swept_in(changes))
        settings = settings_by_suite(suites, self.settings)
        weights = None if self.weights is None else file_of_weights(self.weights)
        return [
            RunRequest(
                learners=(learner,),
                suite=suite,
                settings=settings[suite],
                budget=self.budget,
                space=self.networks.get(learner, self.network),
                strategy=self._strategy_of(learner),
                seeds=self.seeds,
                changes=values,
                data=self.data,
                limit=self.limit,
                metrics=self.metrics,
                precision=self.precision,
                plugin_files=plugin_files,
                swept=swept,
                weights=weights,
            )
            for suite in self.suites
            for learner in self.learners
            for values in combinations(changes)
        ]

    def _strategy_of(self, learner: str) -> str | None:
        """A learner's own network brings its own strategy, if it names one."""
        named = ":" in self.networks.get(learner, "")
        return self.strategies.get(learner, None if named else self.strategy)

    def _check_size(self, changes: Changes) -> None:
        """Refuse more runs than any laboratory makes, before they are listed."""
        values = [len(changes[scope][name].values) for scope, name in swept_in(changes)]
        n = len(self.learners) * len(self.suites) * max(1, len(self.settings)) * len(self.seeds)
        if n * prod(values) > MAX_RUNS:
            raise UsageError(
                f"These are up to {n * prod(values):,} runs, more than {MAX_RUNS:,}.",
                hint="Make several commands of fewer values, learners or seeds.",
            )


def _unsaid(grid: Grid) -> set[str]:
    """Fields that plans have got since others were recorded, where they say nothing."""
    return {name for name in ("tuned", "weights") if getattr(grid, name) is None}


def settings_by_suite(
    suites: Mapping[str, Suite], names: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """The settings that each suite runs: those of the names that it has, or its first.

    Args:
        suites: by the name or path that was given.
        names: of settings; may be empty.

    Raises:
        UsageError: for a name that no suite has, and a suite that has none of the names.
    """
    known = {name for suite in suites.values() for name in suite.settings}
    for name in names:
        if name not in known:
            of = ", ".join(suite.name for suite in suites.values())
            raise unknown("setting", name, known, of=f"suite {of}")
    found = {given: tuple(n for n in names if n in suites[given].settings) for given in suites}
    for given, own in found.items():
        if names and not own:
            raise UsageError(
                f"Suite {suites[given].name} has none of the settings {', '.join(names)}.",
                hint=f"Its settings: {', '.join(suites[given].settings)}.",
            )
    return found


def grid_of(
    *,
    learners: tuple[str, ...],
    suites: tuple[str, ...],
    network: Iterable[str] = (),
    strategy: Iterable[str] = (),
    sets: Iterable[str] = (),
    **others: Any,
) -> Grid:
    """The grid of a command.

    Args:
        learners: their names.
        suites: names or paths.
        network: words of ``--network``.
        strategy: words of ``--strategy``.
        sets: words of ``--set``.
        others: further fields of :class:`Grid`.

    Raises:
        UsageError: for words that cannot be read.
    """
    of_all, networks = by_learner(network, option="--network")
    strategy_of_all, strategies = by_learner(strategy, option="--strategy")
    one: dict[str, Any] = {}
    sweep: dict[str, list[Any]] = {}
    for scope, values in parse_changes(sets).items():
        for name, value in values.items():
            place = f"{scope_in_words(scope)}.{name}"
            if isinstance(value, Several):
                sweep[place] = [*value.values]
            else:
                one[place] = value
    fields = {
        "learners": learners,
        "suites": suites,
        "network": of_all,
        "networks": networks,
        "strategy": strategy_of_all,
        "strategies": strategies,
        "set": one,
        "sweep": sweep,
        **others,
    }
    return validated(Grid, fields, what="The command:")


G = TypeVar("G", bound=Grid)


def read_grid(file: Path) -> Grid:
    """Read a plan file that says what to run; raises as :func:`read_plan`."""
    return read_plan(file, Grid)


def read_plan(file: Path, model: type[G]) -> G:
    """Read a plan file.

    Args:
        file: the plan file.
        model: what it says: what to run, or what to tune.

    Raises:
        UsageError: when it is not there, not valid YAML, or does not describe a grid.
    """
    if file.is_dir():
        inside = ", ".join(
            shlex.quote(str(one)) for one in sorted(file.glob("*.yaml"))[:MOST_NAMED]
        )
        raise UsageError(
            f"{file} is a folder, not a plan file.",
            hint=f"Name a plan file. YAML files in it: {inside}."
            if inside
            else "Name a plan file.",
        )
    if not file.is_file():
        raise UsageError(
            f"There is no plan file {file}.",
            hint="Write one with metabench run ... --save-plan FILE.",
        )
    values = read_mapping(file, of="a plan")
    if {"name", "protocol"} <= values.keys():
        raise UsageError(
            f"{file} is a suite file, not a plan file.",
            hint=f"Run a learner on it: --learner maml --suite {shlex.quote(str(file))}.",
        )
    return validated(model, values, what=f"Plan file {file.name}:")


def write_grid(grid: Grid, file: Path) -> None:
    """Write a plan file, without what is left at its default.

    Raises:
        UsageError: when the file holds something else, or cannot be written.
    """
    if file.exists() and (not file.is_file() or read_plan(file, type(grid)) != grid):
        raise UsageError(
            f"{file} exists and is another plan.", hint="Give --save-plan another name."
        )
    try:
        with replacing(file.resolve()) as temporary:
            temporary.write_text(grid_text(grid), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"The plan {file} cannot be written: {error.strerror}.", hint=hint_of(error)
        ) from error


def grid_text(grid: Grid) -> str:
    """The text of a plan file, without what is left at its default."""
    values = grid.model_dump(mode="json", exclude_defaults=True)
    command = "run" if type(grid) is Grid else "tune"
    return f"# Run it with: metabench {command} PLAN\n{file_text(values)}"


def by_learner(texts: Iterable[str], *, option: str) -> tuple[str | None, dict[str, str]]:
    """Read ``NAME`` for all learners and ``LEARNER=NAME`` for one.

    >>> by_learner(["conv4", "mnas=tnas:darts"], option="--network")
    ('conv4', {'mnas': 'tnas:darts'})

    Raises:
        UsageError: when two names are given for the same.
    """
    common: str | None = None
    own: dict[str, str] = {}
    for text in texts:
        learner, equals, name = text.partition("=")
        before = own.get(learner) if equals else common
        if before is not None or not (name if equals else learner):
            raise UsageError(
                f"{option} takes one name, but gets {text!r} as well."
                if before is not None
                else f"{option} {text!r} names nothing.",
                hint=f"Give one for all learners, or one each: {option} maml=NAME,reptile=NAME.",
            )
        if equals:
            own[learner] = name
        else:
            common = text
    return common, own


def file_of_weights(path: str) -> FileParam:
    """The file that ``--weights`` names.

    Raises:
        UsageError: when it cannot be read.
    """
    try:
        return opened(path)
    except ValueError as error:
        hint = "Check the path."
        if expanded(path).is_dir():
            own = shlex.quote(path)
            hint = f"Weights of a run are exported: metabench export {own} --out FILE.safetensors"
        raise UsageError(f"--weights {path}: {error}.", hint=hint) from error


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read a list of seeds.

    >>> parse_seeds("0..2,7")
    (0, 1, 2, 7)

    Raises:
        UsageError: the text is not a list of seeds, or has a seed out of bounds or too many seeds.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dots, last = part.strip().partition("..")
        if not first.isdecimal() or (dots and not last.isdecimal()):
            raise UsageError(
                f"--seed {text!r} is not a list of seeds.", hint="Examples: 0, 0..4 or 0,2,5."
            )
        start, stop = _seed(first), _seed(last if dots else first)
        # Counted before the range is built: it may be longer than memory.
        if len(seeds) + stop - start >= MAX_SEEDS:
            raise UsageError(
                f"--seed {text!r} names more than {MAX_SEEDS} seeds.",
                hint=f"One command takes at most {MAX_SEEDS} seeds; use several commands.",
            )
        seeds += range(start, stop + 1)
    if not seeds:
        raise UsageError(
            f"--seed {text!r} names no seed.",
            hint="A range goes from the smaller to the larger seed: 0..4.",
        )
    return tuple(dict.fromkeys(seeds))


def _seed(digits: str) -> int:
    short = digits.lstrip("0") or "0"
    if len(short) > len(str(LAST_SEED)) or int(short) > LAST_SEED:
        named = digits if len(digits) <= 20 else f"{digits[:20]}..."
        raise UsageError(f"--seed {named} is too large.", hint=f"Seeds go from 0 to {LAST_SEED}.")
    return int(short)
