"""Checks of what a network can do besides, where it says that it can: layers, idle weights, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from metabench.conformance.base import Check, Skip, require
from metabench.conformance.samples import close, generator, same
from metabench.conformance.spaces import N_EXAMPLES, N_TASKS, TASKS, Bench, even_mixture
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.space import (
    BatchingSpace,
    DropPathSpace,
    IdleSpace,
    LayeredSpace,
    SearchSpace,
)
from metabench.plugin.specs import SearchSpaceSpec


def capability_checks(spec: SearchSpaceSpec, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of what a network with its default parameters says that it can do."""
    for kind in spec.kinds:
        bench = Bench(spec, kind, catalog)
        try:
            space = bench.fresh()
        except Skip:
            return  # another check reports that it cannot be built
        for capability, name, body in CHECKS:
            # Only fixed networks have layers that take extra weights.
            if isinstance(space, capability) and not (spec.searched and capability is LayeredSpace):
                yield Check(f"{kind}: {name}", partial(body, bench))


def _layered(bench: Bench) -> tuple[LayeredSpace, dict[str, int]]:
    space = bench.fresh()
    assert isinstance(space, LayeredSpace)
    return space, dict(space.layers())


def _listed(bench: Bench) -> None:
    space, layers = _layered(bench)
    shapes = {name: weight.shape for name, weight in space.init_weights(rng=generator()).items()}
    require(layers, "layers() is empty.")
    for layer, units in layers.items():
        weight = f"{layer}.weight"
        require(
            weight in shapes,
            f"layers() names {layer!r}, but init_weights has no {weight!r}.",
        )
        shape = tuple(shapes[weight])
        found = shape[0] if len(shape) == 4 else shape[-1]
        require(
            len(shape) in (2, 4) and found == units,
            f"layers() says that {layer!r} has {units} units, but {weight!r} has shape {shape}; it "
            "must be [inputs, units] or [units, channels, height, width].",
        )
    last, outputs = [*layers][-1], TASKS[bench.kind].outputs
    require(
        layers[last] == outputs and len(shapes[f"{last}.weight"]) == 2,
        f"the last layer {last!r} must be linear, with {outputs} units, one for each output.",
    )


def _features(bench: Bench) -> None:
    space, layers = _layered(bench)
    weights, x = bench.weights(space), bench.inputs()
    *_, last = layers
    body = {name: one for name, one in weights.items() if not name.startswith(f"{last}.")}
    features = space.forward(body, {}, x)
    head = weights[f"{last}.weight"]
    wanted = (N_TASKS, N_EXAMPLES, head.shape[1])
    require(
        features.shape == wanted,
        f"without the weights of {last!r}, forward returned shape {tuple(features.shape)}; it must "
        f"return the inputs of that layer, {wanted}.",
    )
    outputs = features @ head
    if f"{last}.bias" in weights:
        outputs = outputs + weights[f"{last}.bias"].unsqueeze(1)
    require(
        close(outputs, space.forward(weights, {}, x)),
        f"what forward returns without the weights of {last!r} is not what that layer gets.",
    )


def _transforms(bench: Bench) -> None:
    space, layers = _layered(bench)
    for layer, units in layers.items():
        even = torch.eye(units).expand(N_TASKS, -1, -1)
        noise = torch.randn(N_TASKS, units, units, generator=generator(6))
        _used(bench, space, even, noise, f"{layer}.transform")


def _films(bench: Bench) -> None:
    space, layers = _layered(bench)
    *hidden, _ = layers
    for layer in hidden:
        none = torch.zeros(N_TASKS, layers[layer])
        noise = torch.randn(none.shape, generator=generator(6))
        scale, shift = f"{layer}.film.scale", f"{layer}.film.shift"
        _used(bench, space, none, noise, scale, beside={shift: none})
        _used(bench, space, none, noise, shift, beside={scale: none})


def _used(
    bench: Bench,
    space: SearchSpace,
    none: Tensor,
    some: Tensor,
    name: str,
    beside: Mapping[str, Tensor] = MappingProxyType({}),
) -> None:
    """Require that an extra weight does nothing where it is neutral, and else something.

    Args:
        bench: makes the inputs.
        space: the network.
        none: the neutral weight.
        some: another one.
        name: of the weight.
        beside: what has to be there as well.
    """
    weights, x = bench.weights(space), bench.inputs()
    plain = space.forward(weights, {}, x)
    require(
        close(plain, space.forward({**weights, **beside, name: none}, {}, x)),
        f"forward changes with {name!r}, though it is neutral.",
    )
    require(
        not torch.equal(plain, space.forward({**weights, **beside, name: some}, {}, x)),
        f"forward does not use {name!r}.",
    )


def _idle(bench: Bench) -> None:
    space = bench.fresh()
    assert isinstance(space, IdleSpace)
    weights, x, mixture = bench.weights(space), bench.inputs(), even_mixture(space)
    idle = list(space.idle())
    strange = [name for name in idle if name not in weights]
    require(not strange, f"idle() names {', '.join(strange)}, which init_weights lacks.")
    moved = weights | {name: weights[name] + 1 for name in idle}
    require(
        close(space.forward(weights, mixture, x), space.forward(moved, mixture, x)),
        "the weights of idle() change the outputs.",
    )


def _drop_paths(bench: Bench) -> None:
    space = bench.fresh()
    assert isinstance(space, DropPathSpace)
    weights, x, mixture = bench.weights(space), bench.inputs(), even_mixture(space)

    def drawn(rate: float) -> Any:
        return space.drop_paths(N_TASKS, N_EXAMPLES, rate=rate, rng=generator())

    require(same(drawn(0.5), drawn(0.5)), "the same generator draws different masks.")
    plain = space.forward(weights, mixture, x)
    require(
        close(plain, space.forward(weights, mixture | drawn(0.0), x)),
        "at a rate of 0, masks change the outputs.",
    )
    if drawn(0.5):
        require(
            not close(plain, space.forward(weights, mixture | drawn(0.5), x)),
            "at a rate of 0.5, masks do not change the outputs.",
        )


def _batching(bench: Bench) -> None:
    space = bench.fresh()
    assert isinstance(space, BatchingSpace)
    for n_examples in (1, 1000):
        found = space.tasks_at_once(n_examples)
        require(
            isinstance(found, int) and not isinstance(found, bool | Tensor) and found >= 1,
            f"tasks_at_once({n_examples}) returned {found!r}; it must be an integer of at least 1.",
        )


CHECKS: tuple[tuple[Any, str, Callable[[Bench], None]], ...] = (
    (LayeredSpace, "layers() names layers with their units, and the head at last", _listed),
    (LayeredSpace, "without its last layer it returns that layer's inputs", _features),
    (LayeredSpace, "it uses the transforms of all layers", _transforms),
    (LayeredSpace, "it uses the scales and shifts of hidden layers", _films),
    (IdleSpace, "idle weights do nothing", _idle),
    (DropPathSpace, "dropped paths are drawn by the generator, and used", _drop_paths),
    (BatchingSpace, "it says how many tasks it computes at once", _batching),
)
