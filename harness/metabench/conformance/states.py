"""Checks of a network with a state: what its two passes return, and what training leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from metabench.conformance.base import Check, Skip, require
from metabench.conformance.purity import assert_on, fake_accelerator
from metabench.conformance.samples import close, generator, same, untouched_randomness
from metabench.conformance.spaces import TASKS, Bench, even_mixture
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.architecture import Params
from metabench.plugin.contracts.space import StatefulSpace, Training
from metabench.plugin.specs import SearchSpaceSpec
from metabench.running.engines.states import copied

PROGRESS = 0.5


def state_checks(spec: SearchSpaceSpec, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of a network that has a state with its default parameters; else none."""
    for kind in spec.kinds:
        bench = Bench(spec, kind, catalog)
        try:
            stateful = isinstance(bench.fresh(), StatefulSpace)
        except Skip:
            return  # another check reports that it cannot be built
        if stateful:
            for name, body in CHECKS.items():
                yield Check(f"{kind}: {name}", partial(body, bench))


def _stateful(bench: Bench) -> StatefulSpace:
    space = bench.fresh()
    if not isinstance(space, StatefulSpace):
        raise Skip("this network has no state, which is optional.")
    return space


def _train(
    space: StatefulSpace, weights: Params, *inputs: Tensor, rng: torch.Generator | None = None
) -> tuple[Tensor, Params]:
    """Passes of one meta-step in training: the last outputs, and the state that is left."""
    training = Training(rng=rng or generator(4), progress=PROGRESS)
    for x in inputs:
        out = space.forward_training(weights, even_mixture(space), x, training=training)
    return out, training.state


def _shared(bench: Bench, space: StatefulSpace) -> Params:
    """Weights and state that all tasks share."""
    return {name: weight[:1] for name, weight in bench.weights(space).items()}


def _initial_state(bench: Bench) -> None:
    space = _stateful(bench)
    weights, state = space.init_weights(rng=generator()), space.init_state()
    both = sorted(weights.keys() & state.keys())
    require(not both, f"{', '.join(both)} is among the weights and in the state.")
    require(same(state, space.init_state()), "init_state returns another state the second time.")
    for name, one in state.items():
        require(
            one.dtype == torch.float32 and one.device.type == "cpu",
            f"state {name!r} is {one.dtype} on {one.device}; it must be float32 on the CPU.",
        )


def _pure(bench: Bench) -> None:
    space, x = _stateful(bench), bench.inputs()
    weights = bench.weights(space)
    before = copied([weights, x])
    with untouched_randomness():
        first, second = (_train(space, weights, x) for _ in range(2))
    wanted = (*x.shape[:2], TASKS[bench.kind].outputs)
    require(
        first[0].shape == wanted,
        f"forward_training returned shape {tuple(first[0].shape)}; it must be {wanted}, "
        "[tasks, n, outputs].",
    )
    require(
        bool(first[0].isfinite().all()), "forward_training returned a value that is not finite."
    )
    require(
        same(first, second),
        "forward_training returns other numbers the second time with the same generator.",
    )
    require(same(before, [weights, x]), "forward_training changed its weights or inputs.")


def _left_state(bench: Bench) -> None:
    space, x = _stateful(bench), bench.inputs()
    names = space.init_state().keys()
    for weights in (bench.weights(space), _shared(bench, space)):
        for one in weights.values():
            one.requires_grad_()
        _, state = _train(space, weights, x)
        require(
            state.keys() == names,
            f"forward_training left {sorted(state)} in training.state; init_state has "
            f"{sorted(names)}.",
        )
        for name, one in state.items():
            wanted = weights[name].shape
            require(
                one.shape == wanted,
                f"forward_training left {name!r} of shape {tuple(one.shape)}; it got "
                f"{tuple(wanted)}.",
            )
            require(not one.requires_grad, f"{name!r} in training.state still has its graph.")


def _used_state(bench: Bench) -> None:
    space, x = _stateful(bench), bench.inputs()
    if not space.init_state():
        raise Skip("its state is empty.")
    weights = bench.weights(space)
    _, state = _train(space, weights, 2 * x + 1)
    require(not same(state, {n: weights[n] for n in state}), "training leaves the state as it is.")
    mixture = even_mixture(space)
    require(
        not close(space.forward(weights, mixture, x), space.forward(weights | state, mixture, x)),
        "forward does not use the state.",
    )


def _passes(bench: Bench) -> None:
    space, first, second = _stateful(bench), bench.inputs(), bench.inputs(seed=9)
    if not space.init_state():
        raise Skip("its state is empty.")
    weights = bench.weights(space)
    _, together = _train(space, weights, first, second)
    rng = generator(4)
    _, earlier = _train(space, weights, first, rng=rng)
    _, apart = _train(space, weights | earlier, second, rng=rng)
    require(
        all(close(together[name], apart[name]) for name in apart),
        "a second pass with the same Training does not go on from the state that the first left.",
    )


def _one_update(bench: Bench) -> None:
    space, x = _stateful(bench), bench.inputs()
    if not space.init_state():
        raise Skip("its state is empty.")
    shared = _shared(bench, space)
    _, of_tasks = _train(space, shared, x)
    _, of_one = _train(space, shared, x.flatten(0, 1)[None])
    require(
        all(close(of_tasks[name], of_one[name]) for name in of_one),
        "with a shared state, the examples of all tasks do not count as one batch.",
    )


def _added(bench: Bench) -> None:
    space, x = _stateful(bench), bench.inputs()
    if space.batch_statistics:
        raise Skip("it normalizes by the statistics of its examples.")
    weights = bench.weights(space)
    weights |= _train(space, weights, x)[1]
    mixture = even_mixture(space)
    alone, among = (space.forward(weights, mixture, one)[:, :1] for one in (x[:, :1], x))
    require(close(alone, among), "the output for an example changes when others are added.")


def _gradients(bench: Bench) -> None:
    space = _stateful(bench)
    weights, names = bench.weights(space), sorted(space.init_weights(rng=generator()))
    leaves = [weights[name].requires_grad_() for name in names]
    out, _ = _train(space, weights, bench.inputs())
    gradients = torch.autograd.grad(
        out.square().sum(), leaves, create_graph=True, allow_unused=True
    )
    lost = [name for name, one in zip(names, gradients, strict=True) if one is None]
    require(not lost, f"in training, no gradient reaches {', '.join(lost)}.")
    squares = torch.stack([one.square().sum() for one in gradients if one is not None])
    second = torch.autograd.grad(squares.sum(), leaves, allow_unused=True)
    finite = [bool(one.isfinite().all()) for one in (*gradients, *second) if one is not None]
    require(all(finite), "in training, a first or second gradient is not finite.")


def _device(bench: Bench) -> None:
    space, x = _stateful(bench), bench.inputs()
    weights = _shared(bench, space)
    expected, expected_state = _train(space, weights, x)
    with fake_accelerator() as device:
        moved = {name: weight.to(device) for name, weight in weights.items()}
        out, state = _train(space, moved, x.to(device))
        assert_on(device, [out, state] if state else out)
        found, found_state = out.cpu(), {name: one.cpu() for name, one in state.items()}
    require(
        close(found, expected)
        and all(close(found_state[name], one) for name, one in expected_state.items()),
        "training on an accelerator differs from that on the CPU.",
    )


CHECKS: dict[str, Callable[[Bench], None]] = {
    "the state begins equal, on the CPU, and apart from the weights": _initial_state,
    "forward_training is pure, finite and has the right shape": _pure,
    "training leaves the whole state, without a graph": _left_state,
    "training changes the state, and forward uses it": _used_state,
    "a second pass goes on from the state of the first": _passes,
    "with a shared state, a batch of tasks is one update": _one_update,
    "an added example does not change the output for another": _added,
    "in training, gradients reach every weight": _gradients,
    "it trains on the device of its inputs": _device,
}
