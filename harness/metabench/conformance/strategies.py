"""Checks of a NAS strategy, on a searched network that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from metabench.conformance.base import Check, Skip, require
from metabench.conformance.descriptions import default_params
from metabench.conformance.purity import assert_on, fake_accelerator
from metabench.conformance.samples import close, generator, same, untouched_randomness
from metabench.conformance.spaces import TASKS
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.architecture import INPUTS, NEEDED
from metabench.plugin.contracts.space import SearchSpace
from metabench.plugin.contracts.strategy import AnnealedStrategy, Strategy
from metabench.plugin.specs import NasStrategySpec, resolve
from metabench.text import counted


def strategy_checks(spec: NasStrategySpec, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of a strategy."""
    bodies: dict[str, Callable[[Strategy, SearchSpace], None]] = {
        "logits have one row per edge": _logits,
        "a mixture has the shape of the logits": _mixture,
        "logits of each task give a mixture for each task": _owned,
        "it draws nothing at meta-test": _at_test,
        "the genotype is made of the network's choices": _genotype,
        "the temperature never rises and stays above 0": _temperature,
        "it computes on the device of its logits": _device,
    }
    for name, body in bodies.items():
        yield Check(name, partial(_on_any_space, body, spec, catalog))


def _on_any_space(
    body: Callable[[Strategy, SearchSpace], None],
    spec: NasStrategySpec,
    catalog: Callable[[], Catalog],
) -> None:
    body(_strategy(spec), _searched_space(catalog()))


def _strategy(spec: NasStrategySpec) -> Strategy:
    strategy: Strategy = resolve(spec.factory)(default_params(spec))
    return strategy


def _searched_space(catalog: Catalog) -> SearchSpace:
    for spec in catalog.search_spaces.values():
        if spec.searched:
            space: SearchSpace = resolve(spec.factory)(default_params(spec), TASKS[spec.kinds[0]])
            return space
    raise Skip("no searched network is installed.")


def _logits(strategy: Strategy, space: SearchSpace) -> None:
    with untouched_randomness():
        first, second = (strategy.init_arch(space, rng=generator()) for _ in range(2))
    require(same(first, second), "the same generator gives different logits.")
    found = {key: tuple(logits.shape) for key, logits in first.items()}
    wanted: dict[str, tuple[int, ...]] = {}
    for cell, c in space.choices().items():
        wanted[cell] = (len(c.edges), len(c.primitives))
        if c.input_pairs and cell + INPUTS in found:
            wanted[cell + INPUTS] = (sum(map(len, c.pairs().values())),)
    require(found == wanted, f"logits have shapes {found}; they must be {wanted}.")


def _mixture(strategy: Strategy, space: SearchSpace) -> None:
    arch = strategy.init_arch(space, rng=generator())
    for sharpness in (0.0, 0.5, 1.0):
        mixture = strategy.mixture(space, arch, sharpness=sharpness, rng=generator())
        cells = [key for key in mixture if not key.endswith(INPUTS)]
        require(
            cells == list(space.choices()),
            f"the mixture has cells {cells}; it must have {list(space.choices())}.",
        )
        for cell, weights in mixture.items():
            require(
                weights.dim() == arch[cell].dim() + 1 and weights.shape[1:] == arch[cell].shape,
                f"the mixture of cell {cell!r} has shape {tuple(weights.shape)}; "
                f"it must be [tasks or 1, edges, operations].",
            )
            require(
                bool(weights.isfinite().all()),
                f"the mixture of cell {cell!r} is not finite at sharpness {sharpness}.",
            )


def _owned(strategy: Strategy, space: SearchSpace) -> None:
    arch = strategy.init_arch(space, rng=generator())
    for n_tasks in (1, 3):
        owned = {key: logits.repeat(n_tasks, *[1] * logits.dim()) for key, logits in arch.items()}
        mixture = strategy.mixture(space, owned, sharpness=0.5, rng=generator())
        for key, weights in mixture.items():
            require(
                len(weights) in (1, n_tasks) and weights.shape[1:] == arch[key].shape,
                f"the mixture of {counted(n_tasks, 'task')} has shape {tuple(weights.shape)} for "
                f"{key!r}; it must be [tasks or 1, edges, operations].",
            )
        if n_tasks == 1:
            shared = strategy.mixture(space, arch, sharpness=0.5, rng=generator())
            require(
                all(close(weights, mixture[key]) for key, weights in shared.items()),
                "logits [1, edges, operations] give a different mixture than [edges, operations].",
            )


def _at_test(strategy: Strategy, space: SearchSpace) -> None:
    arch = strategy.init_arch(space, rng=generator())
    with untouched_randomness():
        first, second = (strategy.mixture(space, arch, sharpness=1.0, rng=None) for _ in range(2))
    require(same(first, second), "without a generator, the same logits give different mixtures.")


def _device(strategy: Strategy, space: SearchSpace) -> None:
    arch = strategy.init_arch(space, rng=generator())
    expected = strategy.mixture(space, arch, sharpness=0.5, rng=generator())
    with fake_accelerator() as device:
        there = {key: logits.to(device) for key, logits in arch.items()}
        mixture = strategy.mixture(space, there, sharpness=0.5, rng=generator())
        assert_on(device, {k: w for k, w in mixture.items() if not k.endswith(NEEDED)})
        genotype = strategy.discretize(space, there)
        found = {key: weights.cpu() for key, weights in mixture.items()}
    require(
        all(close(weights, found[key]) for key, weights in expected.items()),
        "the mixture on an accelerator differs from that on the CPU.",
    )
    require(
        genotype == strategy.discretize(space, arch),
        "the genotype on an accelerator differs from that on the CPU.",
    )


def _genotype(strategy: Strategy, space: SearchSpace) -> None:
    arch = strategy.init_arch(space, rng=generator())
    genotype, again = (strategy.discretize(space, arch) for _ in range(2))
    require(genotype == again, "the same logits give a different genotype the second time.")
    choices = space.choices()
    for cell, edges in genotype.cells:
        require(cell in choices, f"the genotype has a cell {cell!r} that the network lacks.")
        for edge in edges:
            require(
                edge.primitive in choices[cell].primitives,
                f"the genotype has a primitive {edge.primitive!r} that cell {cell!r} lacks.",
            )
    space.child(genotype)


def _temperature(strategy: Strategy, space: SearchSpace) -> None:
    if not isinstance(strategy, AnnealedStrategy):
        raise Skip("this strategy has no temperature, which is optional.")
    found = [strategy.temperature(sharpness) for sharpness in (0.0, 0.5, 1.0)]
    require(all(t > 0 for t in found), f"temperatures are {found}; each must be above 0.")
    require(
        found == sorted(found, reverse=True),
        f"temperatures at sharpness 0, 0.5 and 1 are {found}; they must not rise.",
    )
