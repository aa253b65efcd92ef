"""Checks of a NAS strategy, on a searched network that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from metabench.catalog import Catalog
from metabench.conformance.base import Check, Skip, require
from metabench.conformance.descriptions import default_params
from metabench.conformance.samples import generator, same, untouched_randomness
from metabench.conformance.spaces import TASKS
from metabench.protocols import SearchSpace, Strategy
from metabench.specs import NasStrategySpec, resolve


def strategy_checks(spec: NasStrategySpec, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of a strategy."""
    bodies: dict[str, Callable[[Strategy, SearchSpace], None]] = {
        "logits have one row per edge": _logits,
        "a mixture has the shape of the logits": _mixture,
        "the genotype is made of the network's choices": _genotype,
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
    require(same(first, second), "the same generator gives other logits.")
    found = {cell: tuple(logits.shape) for cell, logits in first.items()}
    wanted = {cell: (len(c.edges), len(c.primitives)) for cell, c in space.choices().items()}
    require(found == wanted, f"logits have shapes {found}; {wanted} is [edges, operations].")


def _mixture(strategy: Strategy, space: SearchSpace) -> None:
    arch = strategy.init_arch(space, rng=generator())
    for sharpness in (0.0, 0.5, 1.0):
        mixture = strategy.mixture(space, arch, sharpness=sharpness, rng=generator())
        require(mixture.keys() == arch.keys(), f"a mixture for {sorted(mixture)} alone.")
        for cell, weights in mixture.items():
            require(
                weights.dim() == 3 and weights.shape[1:] == arch[cell].shape,
                f"the mixture of cell {cell!r} has shape {tuple(weights.shape)}; "
                f"[tasks or 1, edges, operations] is wanted.",
            )
            require(
                bool(weights.isfinite().all()),
                f"the mixture of cell {cell!r} is not finite at sharpness {sharpness}.",
            )


def _genotype(strategy: Strategy, space: SearchSpace) -> None:
    arch = strategy.init_arch(space, rng=generator())
    genotype, again = (strategy.discretize(space, arch) for _ in range(2))
    require(genotype == again, "the same logits give another genotype the second time.")
    choices = space.choices()
    for cell, edges in genotype.cells:
        require(cell in choices, f"the genotype has a cell {cell!r} that the network lacks.")
        for edge in edges:
            require(
                edge.primitive in choices[cell].primitives,
                f"the genotype has a primitive {edge.primitive!r} that cell {cell!r} lacks.",
            )
    space.child(genotype)
