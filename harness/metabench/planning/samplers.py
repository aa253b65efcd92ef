"""What proposes the values of the next trials of a study: a grid, random draws, or Optuna's TPE.

Each is a function of the study, the sampler's seed and the trials so far, so that a tuning that was
stopped goes on as if it had not been.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from metabench.errors import UsageError
from metabench.planning.ranges import Range
from metabench.planning.tuning import MAX_TRIALS, Parameter, SamplerName, Study
from metabench.sampling.seeding import derive_key, uniform, words
from metabench.values import canonical_json

Values = Mapping[str, Any]
"""A value by path of a parameter."""

START = 5
"""Random trials before TPE begins to learn from them."""
TRIES = 200
"""Proposals in a row that were tried already, after which a sampler has no more."""


@dataclass(frozen=True, slots=True)
class Told:
    """A trial that was proposed.

    Attributes:
        values: that it tries.
        score: on meta-validation; None where it failed or is not known yet.
    """

    values: Values
    score: float | None


@dataclass(frozen=True, slots=True)
class Sampler:
    """Proposes the values of the trials of one study.

    Attributes:
        name: which of the samplers.
        study: what is tuned.
        seed: of the draws.
        smaller_is_better: the direction of the score.
    """

    name: SamplerName
    study: Study
    seed: int
    smaller_is_better: bool

    def check(self) -> None:
        """Refuse a study that the sampler cannot serve, before anything runs.

        Raises:
            UsageError: a range without an end of values under a grid, too large a grid, or TPE
                without Optuna.
        """
        if self.name == "tpe":
            _optuna()
        if self.name == "grid":
            for one in self.study.parameters:
                _listed(one)
            n = self.study.size
            if n is not None and n > MAX_TRIALS:
                raise UsageError(
                    f"The grid of {self.study.name} has {n:,} trials, more than {MAX_TRIALS:,}.",
                    hint="Use --sampler random --trials N.",
                )

    def propose(self, told: Sequence[Told], n: int) -> list[dict[str, Any]]:
        """The values of up to ``n`` further trials; fewer where all have been tried.

        Args:
            told: all trials so far, in their order.
            n: how many are wanted.
        """
        if not self.study.parameters:
            return [] if told else [{}]
        if self.name == "tpe":
            return self._of_tpe(told, n)
        tried, in_a_row = {canonical_json(dict(one.values)) for one in told}, 0
        found: list[dict[str, Any]] = []
        for values in self._grid() if self.name == "grid" else self._draws():
            if len(found) == n or in_a_row > TRIES * len(tried):
                break
            key = canonical_json(values)
            in_a_row = in_a_row + 1 if key in tried else 0
            if not in_a_row:
                tried.add(key)
                found.append(values)
        return found

    def _grid(self) -> Iterator[dict[str, Any]]:
        """All combinations; the last parameter changes fastest."""
        parameters = self.study.parameters
        for values in product(*map(_listed, parameters)):
            yield {one.path: value for one, value in zip(parameters, values, strict=True)}

    def _draws(self) -> Iterator[dict[str, Any]]:
        """Independent draws without an end."""
        key = derive_key("tune", self.study.name, self.seed)
        for i in range(TRIES * MAX_TRIALS):
            shares = uniform(words(key, np.array([i]), len(self.study.parameters)))[0]
            yield {
                one.path: _at(one, float(share))
                for one, share in zip(self.study.parameters, shares, strict=True)
            }

    def _of_tpe(self, told: Sequence[Told], n: int) -> list[dict[str, Any]]:
        optuna = _optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        kinds = {one.path: _distribution(one, optuna) for one in self.study.parameters}
        seed = derive_key("tune", self.study.name, self.seed, len(told)) % 2**32
        with warnings.catch_warnings():
            # Optuna before 5 warns of constant_liar, which may change there.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=START, constant_liar=True
            )
        search = optuna.create_study(
            direction="minimize" if self.smaller_is_better else "maximize", sampler=sampler
        )
        by_path = {one.path: one for one in self.study.parameters}
        for one in told:
            params = {path: _to_optuna(by_path[path], value) for path, value in one.values.items()}
            state = optuna.trial.TrialState.FAIL if one.score is None else None
            search.add_trial(
                optuna.trial.create_trial(
                    params=params,
                    distributions=kinds,
                    value=one.score,
                    state=state or optuna.trial.TrialState.COMPLETE,
                )
            )
        tried = {canonical_json(dict(one.values)) for one in told}
        found: list[dict[str, Any]] = []
        for _ in range(n + TRIES):
            if len(found) == n:
                break
            asked = search.ask(kinds)
            values = {path: _from_optuna(by_path[path], asked.params[path]) for path in kinds}
            if (key := canonical_json(values)) not in tried:
                tried.add(key)
                found.append(values)
        return found


def _listed(parameter: Parameter) -> Sequence[Any]:
    values = parameter.listed
    if values is None:
        raise UsageError(
            f"A grid needs values, but {parameter.path} has the range {parameter}.",
            hint=f"List values (--set {parameter.path}=A,B), or use --sampler random or tpe.",
        )
    return values


def _at(parameter: Parameter, share: float) -> Any:
    """The value of a parameter at a share in [0, 1) of all its values."""
    if isinstance(parameter.values, Range):
        return parameter.values.at(share)
    return parameter.values[int(share * len(parameter.values))]


def _distribution(parameter: Parameter, optuna: Any) -> Any:
    """How Optuna sees a parameter; of listed values it sees their numbers."""
    kinds, bounds = optuna.distributions, parameter.values
    if not isinstance(bounds, Range):
        return kinds.CategoricalDistribution(range(len(bounds)))
    kind = kinds.IntDistribution if bounds.whole else kinds.FloatDistribution
    return kind(bounds.low, bounds.high, log=bounds.log)


def _to_optuna(parameter: Parameter, value: Any) -> Any:
    return value if isinstance(parameter.values, Range) else parameter.values.index(value)


def _from_optuna(parameter: Parameter, value: Any) -> Any:
    values = parameter.values
    return values.rounded(value) if isinstance(values, Range) else values[value]


def optuna_version() -> str:
    """The version of Optuna."""
    return str(_optuna().__version__)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UsageError(
            "The sampler tpe needs the package optuna, which is not installed.",
            hint='Install it with: pip install "metabench[tune]", or use --sampler random.',
        ) from None
    return optuna
