"""Checks of a network, fixed or searched: a pure function with a task axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from metabench.conformance.base import Check, CheckFailed, Skip, require
from metabench.conformance.descriptions import default_params
from metabench.conformance.purity import assert_on, fake_accelerator
from metabench.conformance.samples import close, generator, same, untouched_randomness
from metabench.planning.architectures import flaw_of_genotype
from metabench.planning.networks import parts_of
from metabench.plugin.blame import described
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.architecture import INPUTS, Mixture, Params
from metabench.plugin.contracts.episode import TaskKind, TaskShape
from metabench.plugin.contracts.space import (
    CanonicalSpace,
    CountingSpace,
    IdleSpace,
    SearchSpace,
    StatefulSpace,
)
from metabench.plugin.contracts.strategy import Strategy
from metabench.plugin.specs import SearchSpaceSpec, resolve
from metabench.running.engines.states import copied
from metabench.text import counted

TASKS: dict[TaskKind, TaskShape] = {
    "classification": TaskShape("classification", (1, 28, 28), 3),
    "regression": TaskShape("regression", (1,), 1),
}
N_TASKS, N_EXAMPLES, N_GENOTYPES = 3, 4, 8


def space_checks(spec: SearchSpaceSpec, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of a network, for each task kind it serves."""
    for kind in spec.kinds:
        bench = Bench(spec, kind, catalog)
        for name, body in CHECKS.items():
            yield Check(f"{kind}: {name}", partial(body, bench))


@dataclass(frozen=True, slots=True)
class Bench:
    """Builds one network with default parameters, and what it is called with."""

    spec: SearchSpaceSpec
    kind: TaskKind
    catalog: Callable[[], Catalog]

    def build(self) -> SearchSpace:
        """The network."""
        space: SearchSpace = resolve(self.spec.factory)(default_params(self.spec), TASKS[self.kind])
        return space

    def fresh(self) -> SearchSpace:
        """As :meth:`build`, but skip the check if that fails: another check reports the failure."""
        try:
            space = self.build()
            parts_of(space, name=self.spec.name)
            return space
        except Exception as error:
            raise Skip(f"it cannot be built: {described(error)}") from error

    def weights(self, space: SearchSpace) -> Params:
        """Weights that every task owns, ``[tasks, *shape]``, away from zero, and any state."""
        shared = space.init_weights(rng=generator())
        rng = generator(1)
        weights = {
            name: weight + 0.1 * torch.randn(N_TASKS, *weight.shape, generator=rng)
            for name, weight in shared.items()
        }
        for name, one in _state(space).items():  # a variance must stay positive
            weights[name] = one + 0.1 * torch.rand(N_TASKS, *one.shape, generator=rng)
        return weights

    def inputs(self, *, seed: int = 2) -> Tensor:
        """Examples, ``[tasks, n, *inputs]``."""
        inputs = TASKS[self.kind].inputs
        return torch.randn(N_TASKS, N_EXAMPLES, *inputs, generator=generator(seed))

    def strategy(self) -> Strategy:
        """Any installed strategy."""
        specs = list(self.catalog().nas_strategies.values())
        if not specs:
            raise Skip("no strategy is installed.")
        strategy: Strategy = resolve(specs[0].factory)(default_params(specs[0]))
        return strategy


def _state(space: SearchSpace) -> Params:
    return space.init_state() if isinstance(space, StatefulSpace) else {}


def even_mixture(space: SearchSpace) -> Mixture:
    """The same weight for every primitive, and every input pair; ``{}`` for a fixed network."""
    mixture: Mixture = {}
    for cell, c in space.choices().items():
        mixture[cell] = torch.full((1, len(c.edges), len(c.primitives)), 1 / len(c.primitives))
        if c.input_pairs:
            per_node = [len(pairs) for pairs in c.pairs().values()]
            mixture[cell + INPUTS] = torch.cat([torch.full((1, n), 1 / n) for n in per_node], dim=1)
    return mixture


def _builds(bench: Bench) -> None:
    space = bench.build()
    methods = ("init_weights", "forward", "choices", "child")
    missing = [name for name in methods if not callable(getattr(space, name, None))]
    require(not missing, f"the network has no method {', '.join(missing)}.")
    parts_of(space, name=bench.spec.name)


def _choices(bench: Bench) -> None:
    choices = bench.fresh().choices()
    require(
        bool(choices) == bench.spec.searched,
        f"the description says searched={bench.spec.searched}, but choices() has "
        f"{counted(len(choices), 'cell type')}.",
    )
    for cell, found in choices.items():
        edges, names = found.edges, found.primitives
        require(
            len(set(edges)) == len(edges) > 0, f"cell {cell!r} has no edges, or has an edge twice."
        )
        require(
            len(set(names)) == len(names) > 0, f"cell {cell!r} has no primitives, or has one twice."
        )
        require(
            all(0 <= source < target for source, target in edges),
            f"an edge of cell {cell!r} does not go from a node to a later one.",
        )


def _initial_weights(bench: Bench) -> None:
    space = bench.fresh()
    with untouched_randomness():
        first, second = (space.init_weights(rng=generator()) for _ in range(2))
    require(same(first, second), "the same generator gives different initial weights.")
    for name, weight in first.items():
        require(
            weight.dtype == torch.float32 and weight.device.type == "cpu",
            f"weight {name!r} is {weight.dtype} on {weight.device}; it must be float32 on the CPU.",
        )
        require(bool(weight.isfinite().all()), f"weight {name!r} is not finite.")


def _forward(bench: Bench) -> None:
    space = bench.fresh()
    weights, x = bench.weights(space), bench.inputs()
    before = copied([weights, x])
    with untouched_randomness():
        first, second = (space.forward(weights, even_mixture(space), x) for _ in range(2))
    wanted = (N_TASKS, N_EXAMPLES, TASKS[bench.kind].outputs)
    require(
        isinstance(first, Tensor),
        f"forward returned a {type(first).__name__}; it must be a tensor.",
    )
    require(
        first.shape == wanted,
        f"forward returned shape {tuple(first.shape)}; it must be {wanted}, [tasks, n, outputs].",
    )
    require(bool(first.isfinite().all()), "forward returned a value that is not finite.")
    require(
        same(first, second), "forward returns different numbers the second time; it must be pure."
    )
    require(same(before, [weights, x]), "forward changed its weights or inputs.")


def _tasks_apart(bench: Bench) -> None:
    space = bench.fresh()
    weights, x = bench.weights(space), bench.inputs()
    out = space.forward(weights, even_mixture(space), x)
    other_weights = {name: _second_changed(weight) for name, weight in weights.items()}
    for what, found in (
        ("weights", space.forward(other_weights, even_mixture(space), x)),
        ("inputs", space.forward(weights, even_mixture(space), _second_changed(x))),
    ):
        require(not close(out[1], found[1]), f"the outputs of a task do not depend on its {what}.")
        require(
            close(out[[0, 2]], found[[0, 2]]),
            f"the outputs of one task depend on the {what} of another.",
        )


def _second_changed(tensor: Tensor) -> Tensor:
    changed = tensor.clone()
    changed[1] = tensor[1] * torch.linspace(1, 2, tensor[1].numel()).view_as(tensor[1]) + 0.5
    return changed


def _shared(bench: Bench) -> None:
    space, x = bench.fresh(), bench.inputs()
    shared = {name: weight[:1] for name, weight in bench.weights(space).items()}
    owned = {name: weight.repeat_interleave(N_TASKS, 0) for name, weight in shared.items()}
    require(
        close(
            space.forward(shared, even_mixture(space), x),
            space.forward(owned, even_mixture(space), x),
        ),
        "weights [1, *shape] give different outputs than the same weights repeated for each task.",
    )


def _gradients(bench: Bench) -> None:
    space = bench.fresh()
    weights, state = bench.weights(space), _state(space)
    own = {n: w.requires_grad_() for n, w in weights.items() if n not in state}
    mixture = {cell: m.requires_grad_() for cell, m in even_mixture(space).items()}
    leaves = own | {f"mixture of {cell}": m for cell, m in mixture.items()}
    out = space.forward(weights, mixture, bench.inputs())
    target = torch.randn(out.shape, generator=generator(3))
    gradients = torch.autograd.grad(
        ((out - target) ** 2).sum(), list(leaves.values()), create_graph=True, allow_unused=True
    )
    idle = set(space.idle()) if isinstance(space, IdleSpace) else set()
    lost = [
        name
        for name, gradient in zip(leaves, gradients, strict=True)
        if gradient is None and name not in idle
    ]
    require(not lost, f"no gradient reaches {', '.join(lost)}.")
    squares = torch.stack([(gradient**2).sum() for gradient in gradients if gradient is not None])
    second = torch.autograd.grad(squares.sum(), list(leaves.values()), allow_unused=True)
    finite = [bool(g.isfinite().all()) for g in (*gradients, *second) if g is not None]
    require(all(finite), "a first or second gradient is not finite.")


def _statistics(bench: Bench) -> None:
    space = bench.fresh()
    weights, x = bench.weights(space), bench.inputs()
    other = x.clone()
    other[:, 1:] = 3 * bench.inputs(seed=9)[:, 1:] + 2
    first, second = (space.forward(weights, even_mixture(space), i)[:, 0] for i in (x, other))
    depends = not close(first, second)
    require(
        depends == space.batch_statistics,
        f"batch_statistics is {space.batch_statistics}, but the output for an example "
        f"{'changes' if depends else 'does not change'} with the other examples.",
    )


def _child(bench: Bench) -> None:
    space = bench.fresh()
    if not space.choices():
        raise Skip("this network is fixed.")
    strategy = bench.strategy()
    genotype = strategy.discretize(space, strategy.init_arch(space, rng=generator()))
    child = space.child(genotype)
    require(not child.choices(), "the child of a genotype still has choices.")
    drawn = child.init_weights(rng=generator()) | _state(child)
    weights = {n: w[None] for n, w in drawn.items()}
    out = child.forward(weights, {}, bench.inputs())
    wanted = (N_TASKS, N_EXAMPLES, TASKS[bench.kind].outputs)
    require(
        out.shape == wanted, f"the child returned shape {tuple(out.shape)} instead of {wanted}."
    )


def _canonical(bench: Bench) -> None:
    space = bench.fresh()
    if not isinstance(space, CanonicalSpace):
        raise Skip("this network has no canonical, which is optional.")
    strategy, rng = bench.strategy(), generator()
    for _ in range(N_GENOTYPES):
        genotype = strategy.discretize(space, strategy.init_arch(space, rng=rng))
        found = space.canonical(genotype)
        if flaw := flaw_of_genotype(found, space.choices()):
            raise CheckFailed(f"canonical({genotype}) is wrong: {flaw}")
        require(
            space.canonical(found) == found,
            f"canonical({genotype}) is {found}, whose canonical genotype is another.",
        )
        sizes = [_n_weights(space.child(one)) for one in (genotype, found)]
        require(
            sizes[0] == sizes[1],
            f"the child of {genotype} has {sizes[0]} weights, that of its canonical genotype "
            f"{sizes[1]}.",
        )


def _n_weights(space: SearchSpace) -> int:
    return sum(weight.numel() for weight in space.init_weights(rng=generator()).values())


def _counts(bench: Bench) -> None:
    space = bench.fresh()
    if not isinstance(space, CountingSpace):
        raise Skip("this network has no n_weights, which is optional.")
    shared = space.init_weights(rng=generator())
    total = sum(weight.numel() for weight in shared.values())
    mixture = {name: torch.cat([m] * N_TASKS) for name, m in even_mixture(space).items()}
    found = space.n_weights(mixture)
    wanted = [total] * (N_TASKS if mixture else 1)
    require(found == wanted, f"n_weights of an even mixture is {found} instead of {wanted}.")


def _device(bench: Bench) -> None:
    space = bench.fresh()
    weights, x = bench.weights(space), bench.inputs()
    with fake_accelerator() as device:
        mixture = {cell: m.to(device) for cell, m in even_mixture(space).items()}
        moved = {name: weight.to(device) for name, weight in weights.items()}
        assert_on(device, space.forward(moved, mixture, x.to(device)))


CHECKS: dict[str, Callable[[Bench], None]] = {
    "it can be built with its default parameters": _builds,
    "choices() agrees with the description": _choices,
    "initial weights come from the generator": _initial_weights,
    "forward is pure, finite and has the right shape": _forward,
    "tasks do not affect each other": _tasks_apart,
    "shared weights give the same outputs as repeated ones": _shared,
    "gradients reach every weight; first and second ones are finite": _gradients,
    "batch_statistics agrees with the outputs": _statistics,
    "the child of a genotype is a fixed network": _child,
    "canonical genotypes are their own, and as large": _canonical,
    "n_weights counts all weights of an even mixture for each task": _counts,
    "it computes on the device of its inputs": _device,
}
