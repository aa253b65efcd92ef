"""From a choice of the suite or the user to a network or a strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from metabench.errors import PluginError
from metabench.planning.runspec import Choice, RunSpec
from metabench.plugin.blame import guarded
from metabench.plugin.contracts.architecture import Params
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.contracts.space import SearchSpace, StatefulSpace
from metabench.plugin.contracts.strategy import Strategy
from metabench.plugin.fields import in_short
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


def parts_of(space: SearchSpace, *, name: str) -> Params:
    """The initial weights of a network whose parts are of the right types.

    Args:
        space: the network.
        name: its name.

    Raises:
        PluginError: when a part is not, or fails.
    """
    choices = guarded(f"choices of network {name} failed", space.choices)
    if not isinstance(choices, Mapping):
        raise refused_network(name, f"choices returned {in_short(choices)}; it must be a mapping.")
    uses = guarded(f"batch_statistics of network {name} failed", lambda: space.batch_statistics)
    if not isinstance(uses, bool):
        raise refused_network(
            name, f"batch_statistics is {in_short(uses)}; it must be True or False."
        )
    drawn = guarded(
        f"init_weights of network {name} failed",
        lambda: space.init_weights(rng=generator("parts")),
    )
    from torch import Tensor

    if not isinstance(drawn, dict) or not all(isinstance(one, Tensor) for one in drawn.values()):
        raise refused_network(
            name, f"init_weights returned {in_short(drawn)}; it must be a dict of tensors."
        )
    return drawn


def refused_network(name: str, said: str) -> PluginError:
    """A network breaks its contract; ``said`` is how."""
    return PluginError(
        f"Network {name} breaks its contract: {said}",
        hint=f"`metabench plugins check {name}` tells all that is wrong with it.",
    )


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
