"""Checks of a NAS strategy, on a searched network that is installed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from metabench.conformance.base import Check, CheckFailed, Skip, refuse, require
from metabench.conformance.descriptions import default_params
from metabench.conformance.purity import assert_on, fake_accelerator
from metabench.conformance.samples import close, generator, same, untouched_randomness
from metabench.conformance.spaces import TASKS
from metabench.errors import UsageError
from metabench.planning.architectures import (
    flaw_of_genotype,
    flaw_of_logits,
    flaw_of_mixture,
    is_own,
)
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.architecture import NEEDED, Arch, Mixture
from metabench.plugin.contracts.space import SearchSpace
from metabench.plugin.contracts.strategy import (
    AnnealedStrategy,
    RegularizedStrategy,
    Strategy,
)
from metabench.plugin.specs import NasStrategySpec, resolve
from metabench.running.engines.states import copied
from metabench.text import counted

LEAD = 5.0
"""By how much the logits of one operation are raised, so that a strategy prefers it."""


def strategy_checks(spec: NasStrategySpec, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of a strategy."""
    bodies: dict[str, Callable[[Strategy, SearchSpace], None]] = {
        "logits have one row per edge": _logits,
        "a mixture has the shape of the logits": _mixture,
        "all randomness comes from the generator": _only_generator,
        "logits of each task give a mixture for each task": _owned,
        "its mixture has a second derivative": _second_derivative,
        "it draws nothing at meta-test": _at_test,
        "the genotype is made of the network's choices": _genotype,
        "the temperature never rises and stays above 0": _temperature,
        "a loss term is one number per task, of the task's own logits": _loss_term,
        "it computes on the device of its logits": _device,
    }
    for name, body in bodies.items():
        run = _on_every_space if body is _genotype else _on_any_space
        yield Check(name, partial(run, body, spec, catalog))


def _on_any_space(
    body: Callable[[Strategy, SearchSpace], None],
    spec: NasStrategySpec,
    catalog: Callable[[], Catalog],
) -> None:
    for _, space in _searched_spaces(catalog()):
        body(_strategy(spec), space)
        return
    raise Skip("no searched network is installed.")


def _on_every_space(
    body: Callable[[Strategy, SearchSpace], None],
    spec: NasStrategySpec,
    catalog: Callable[[], Catalog],
) -> None:
    """Run a check on every network that the strategy takes: they offer different choices."""
    strategy, n_taken = _strategy(spec), 0
    for name, space in _searched_spaces(catalog()):
        try:
            strategy.init_arch(space, rng=generator())
        except UsageError:  # it says that it does not fit this network
            continue
        n_taken += 1
        try:
            body(strategy, space)
        except CheckFailed as failure:
            raise CheckFailed(f"on network {name}: {failure}") from failure
    if not n_taken:
        raise Skip("no searched network is installed that it takes.")


def _strategy(spec: NasStrategySpec) -> Strategy:
    strategy: Strategy = resolve(spec.factory)(default_params(spec))
    return strategy


def _searched_spaces(catalog: Catalog) -> Iterator[tuple[str, SearchSpace]]:
    for spec in catalog.search_spaces.values():
        if spec.searched:
            yield spec.name, resolve(spec.factory)(default_params(spec), TASKS[spec.kinds[0]])


def _logits(strategy: Strategy, space: SearchSpace) -> None:
    with untouched_randomness():
        first, second = (strategy.init_arch(space, rng=generator()) for _ in range(2))
    refuse(flaw_of_logits(first, space.choices()))
    require(same(first, second), "the same generator gives different logits.")
    _used(strategy, space, first, [key for key in first if is_own(key, space.choices())])


def _used(strategy: Strategy, space: SearchSpace, arch: Arch, own: Sequence[str]) -> None:
    """Require that logits of the strategy's own change the mixture or the loss term."""
    leaves = {key: logits.clone().requires_grad_() for key, logits in arch.items()}
    mixture = strategy.mixture(space, leaves, sharpness=0.5, rng=generator())
    total = sum(
        (
            (weights * torch.rand(weights.shape, generator=generator())).sum()
            for weights in _weights_of(mixture).values()
        ),
        torch.zeros(()),
    )
    if isinstance(strategy, RegularizedStrategy):
        total = total + strategy.loss_term(space, leaves, sharpness=0.5).sum()
    for key in own:
        (slope,) = torch.autograd.grad(total, [leaves[key]], retain_graph=True, allow_unused=True)
        require(
            slope is not None and bool(slope.any()),
            f"the logits {key!r} change neither the mixture nor a loss term.",
        )


def _mixture(strategy: Strategy, space: SearchSpace) -> None:
    arch = strategy.init_arch(space, rng=generator())
    before = copied(arch)
    for sharpness in (0.0, 0.5, 1.0):
        mixture = strategy.mixture(space, arch, sharpness=sharpness, rng=generator())
        refuse(flaw_of_mixture(mixture, space.choices()))
        for cell, weights in _weights_of(mixture).items():
            require(
                bool(weights.isfinite().all()),
                f"the mixture of cell {cell!r} is not finite at sharpness {sharpness}.",
            )
    require(same(before, arch), "mixture changes the logits.")


def _only_generator(strategy: Strategy, space: SearchSpace) -> None:
    arch = strategy.init_arch(space, rng=generator())
    with untouched_randomness():
        first, second = (
            strategy.mixture(space, arch, sharpness=0.5, rng=generator()) for _ in range(2)
        )
        strategy.discretize(space, arch)
    require(same(first, second), "the same generator gives different mixtures.")


def _second_derivative(strategy: Strategy, space: SearchSpace) -> None:
    """Compare how the gradient changes with finite differences, where it changes."""
    arch = strategy.init_arch(space, rng=generator())
    rng = generator(1)
    at = {key: v + 0.1 * torch.randn(v.shape, generator=rng) for key, v in arch.items()}
    ahead = {key: torch.randn(v.shape, generator=rng).double() for key, v in arch.items()}

    def slope(step: float) -> tuple[Arch, dict[str, Tensor]]:
        leaves = {k: (v.double() + step * ahead[k]).requires_grad_() for k, v in at.items()}
        mixture = strategy.mixture(space, leaves, sharpness=0.5, rng=generator())
        total = torch.zeros((), dtype=torch.float64)
        noise = generator(2)
        for weights in _weights_of(mixture).values():
            total = total + (weights * torch.randn(weights.shape, generator=noise)).sum()
        if not total.requires_grad:
            return leaves, {}
        found = torch.autograd.grad(total, [*leaves.values()], create_graph=True, allow_unused=True)
        return leaves, {k: g for k, g in zip(leaves, found, strict=True) if g is not None}

    leaves, slopes = slope(0.0)
    (_, after), (_, earlier) = slope(STEP), slope(-STEP)
    wanted = sum(
        (((after[k] - earlier[k]).detach() * ahead[k]).sum() / (2 * STEP) for k in slopes),
        torch.zeros((), dtype=torch.float64),
    )
    product = sum(((g * ahead[k]).sum() for k, g in slopes.items()), torch.zeros(()))
    found = torch.zeros(())
    if product.requires_grad:
        second = torch.autograd.grad(product, [*leaves.values()], allow_unused=True)
        pairs = zip(second, ahead.values(), strict=True)
        found = sum(((g * v).sum() for g, v in pairs if g is not None), torch.zeros(()))
    require(
        math.isclose(float(found), float(wanted), rel_tol=1e-3, abs_tol=1e-6),
        f"the second derivative of the mixture along the logits is {float(found):.4g}, and finite "
        f"differences say {float(wanted):.4g}. Learners of second order differentiate through it.",
    )


STEP = 1e-4
"""Of finite differences."""


def _weights_of(mixture: Mixture) -> Mixture:
    """A mixture without its marks of what is needed."""
    return {key: weights for key, weights in mixture.items() if not key.endswith(NEEDED)}


def _owned(strategy: Strategy, space: SearchSpace) -> None:
    arch = strategy.init_arch(space, rng=generator())
    for n_tasks in (1, 3):
        owned = {key: logits.repeat(n_tasks, *[1] * logits.dim()) for key, logits in arch.items()}
        mixture = strategy.mixture(space, owned, sharpness=0.5, rng=generator())
        for key, weights in _weights_of(mixture).items():
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
    _apart(strategy, space, arch)


def _apart(strategy: Strategy, space: SearchSpace, arch: Arch) -> None:
    """Require that the mixture of a task stays if the logits of another change."""
    noise = generator(3)
    first = {key: v + torch.randn(3, *v.shape, generator=noise) for key, v in arch.items()}
    other = {key: logits.clone() for key, logits in first.items()}
    for logits in other.values():
        logits[1] += torch.randn(logits[1].shape, generator=noise)
    before, after = (
        strategy.mixture(space, owned, sharpness=0.5, rng=generator()) for owned in (first, other)
    )
    for key, weights in _weights_of(before).items():
        rows = [0, 2] if len(weights) == 3 else [0]
        require(
            close(weights[rows], after[key][rows]),
            f"the mixture of one task depends on the logits of another, for {key!r}.",
        )


def _at_test(strategy: Strategy, space: SearchSpace) -> None:
    arch = strategy.init_arch(space, rng=generator())
    with untouched_randomness():
        first, second = (strategy.mixture(space, arch, sharpness=1.0, rng=None) for _ in range(2))
    require(same(first, second), "without a generator, the same logits give different mixtures.")


def _loss_term(strategy: Strategy, space: SearchSpace) -> None:
    if not isinstance(strategy, RegularizedStrategy):
        raise Skip("this strategy adds nothing to the loss, which is optional.")
    arch = strategy.init_arch(space, rng=generator())
    with untouched_randomness():
        shared = strategy.loss_term(space, arch, sharpness=0.5)
    require(
        tuple(shared.shape) == (1,) and bool(shared.isfinite().all()),
        f"the loss term of shared logits is {shared.detach()}; it must be one finite number, [1].",
    )
    noise = generator()
    owned = {
        key: (logits + torch.randn(3, *logits.shape, generator=noise)).requires_grad_()
        for key, logits in arch.items()
    }
    terms = strategy.loss_term(space, owned, sharpness=0.5)
    require(
        tuple(terms.shape) == (3,),
        f"the loss term of 3 tasks has shape {tuple(terms.shape)}; it must be [tasks].",
    )
    slopes = torch.autograd.grad(terms[0], list(owned.values()), allow_unused=True)
    found = [slope for slope in slopes if slope is not None]
    require(
        any(bool(slope[0].any()) for slope in found), "the loss term does not depend on the logits."
    )
    require(
        not any(bool(slope[1:].any()) for slope in found),
        "the loss term of one task depends on the logits of another.",
    )
    alone = {key: logits[:1] for key, logits in owned.items()}
    require(
        close(strategy.loss_term(space, alone, sharpness=0.5), terms[:1]),
        "the loss term of a task changes with the tasks beside it.",
    )


def _device(strategy: Strategy, space: SearchSpace) -> None:
    arch = strategy.init_arch(space, rng=generator())
    expected = strategy.mixture(space, arch, sharpness=0.5, rng=generator())
    with fake_accelerator() as device:
        there = {key: logits.to(device) for key, logits in arch.items()}
        mixture = strategy.mixture(space, there, sharpness=0.5, rng=generator())
        assert_on(device, _weights_of(mixture))
        if isinstance(strategy, RegularizedStrategy):
            assert_on(device, strategy.loss_term(space, there, sharpness=0.5))
        genotype = strategy.discretize(space, there)
        found = {key: weights.cpu() for key, weights in mixture.items()}
    require(
        all(close(weights, found[key]) for key, weights in _weights_of(expected).items()),
        "the mixture on an accelerator differs from that on the CPU.",
    )
    require(
        genotype == strategy.discretize(space, arch),
        "the genotype on an accelerator differs from that on the CPU.",
    )


def _genotype(strategy: Strategy, space: SearchSpace) -> None:
    """Discretize the first logits, and some that prefer each operation in turn."""
    choices, drawn = space.choices(), strategy.init_arch(space, rng=generator())
    n_operations = max(len(found.primitives) for found in choices.values())
    for preferred in (None, *range(n_operations)):
        arch = copied(drawn)
        if preferred is not None:
            for cell in choices:
                arch[cell][:, preferred : preferred + 1] += LEAD
        before = copied(arch)
        genotype, again = (strategy.discretize(space, arch) for _ in range(2))
        refuse(flaw_of_genotype(genotype, choices))
        require(genotype == again, "the same logits give a different genotype the second time.")
        require(same(before, arch), "discretize changes the logits.")
        try:
            space.child(genotype)
        except UsageError as error:
            raise CheckFailed(f"the network refuses the genotype: {error.in_full}") from error


def _temperature(strategy: Strategy, space: SearchSpace) -> None:
    if not isinstance(strategy, AnnealedStrategy):
        raise Skip("this strategy has no temperature, which is optional.")
    found = [strategy.temperature(sharpness) for sharpness in (0.0, 0.5, 1.0)]
    require(all(t > 0 for t in found), f"temperatures are {found}; each must be above 0.")
    require(
        found == sorted(found, reverse=True),
        f"temperatures at sharpness 0, 0.5 and 1 are {found}; they must not rise.",
    )
