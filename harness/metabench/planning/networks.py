"""From a choice of the suite or the user to a network or a strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from metabench.errors import PluginError
from metabench.planning.runspec import Choice, RunSpec
from metabench.plugin.blame import guarded
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.contracts.space import SearchSpace, StatefulSpace
from metabench.plugin.contracts.strategy import Strategy
from metabench.plugin.specs import Spec, resolve
from metabench.sampling.seeding import generator

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

Made = TypeVar("Made")

NETWORK = ("init_weights", "forward", "choices", "child")
STRATEGY = ("init_arch", "mixture", "discretize")


def build_space(choice: Choice, task: TaskShape, catalog: Catalog) -> SearchSpace:
    """Build the network of a choice."""
    spec = catalog.space(choice.name)
    params = _params(spec, choice)
    made: SearchSpace = built(
        f"Network {choice}", lambda: resolve(spec.factory)(params, task), methods=NETWORK
    )
    return made


def built(what: str, make: Callable[[], Made], *, methods: Sequence[str] = ()) -> Made:
    """Call what a plugin gives to build something.

    Args:
        what: is built, as the beginning of a sentence.
        make: builds it.
        methods: that it must have.

    Raises:
        MetabenchError: what the plugin raises of these.
        PluginError: for anything else that it raises, with its line, and where a method is missing.
    """
    made = guarded(f"{what} cannot be built", make, hint="Check its parameters.")
    missing = [name for name in methods if not callable(getattr(made, name, None))]
    if missing:
        raise PluginError(
            f"{what} cannot be used: it is a {type(made).__name__}, which has no method "
            f"{', '.join(missing)}.",
            hint="See the reference of the contracts.",
        )
    return made


def describe_network(spec: RunSpec, catalog: Catalog) -> str:
    """A run's network in words: its name, and the parameters that are not the defaults."""
    choice = spec.space
    if choice is None:
        return "own network" if catalog.learner(spec.learner.name).trains else "none"
    fields = catalog.space(choice.name).params_model().model_fields
    changed = {k: v for k, v in choice.params.items() if v != fields[k].default}
    return str(choice.model_copy(update={"params": changed}))


def count_weights(space: SearchSpace) -> int:
    """Number of weights of a fixed network."""
    weights = space.init_weights(rng=generator("count"))
    return sum(weight.numel() for weight in weights.values())


def uses_batch_statistics(space: SearchSpace | None) -> bool:
    """Whether a network uses batch statistics; a learner's own network is assumed to."""
    return space is None or space.batch_statistics


def uses_running_statistics(space: SearchSpace | None) -> bool:
    """Whether a network normalizes by averages from meta-training."""
    if not isinstance(space, StatefulSpace) or space.batch_statistics:
        return False
    return bool(space.init_state())


def build_strategy(choice: Choice, catalog: Catalog) -> Strategy:
    """Build the strategy of a choice."""
    spec = catalog.strategy(choice.name)
    params = _params(spec, choice)
    made: Strategy = built(
        f"Strategy {choice}", lambda: resolve(spec.factory)(params), methods=STRATEGY
    )
    return made


def _params(spec: Spec, choice: Choice) -> Any:
    return choice.validated(spec.params_model())
