"""W1: second-order MAML on toy regression, beside the package ``higher``.

An MLP 1-50-50-50-50-1 with affine batch-statistics norm after each hidden layer, 10 support and 10
query points, 5 inner steps of 0.001 on all weights, 25 tasks.
"""

from __future__ import annotations

import torch
from race import MetaGradients, has_higher, parse, race
from torch import Tensor, nn

from metabench.inner_steps import inner_loop, share
from metabench.plugin.contracts.architecture import Params
from metabench.plugin.contracts.episode import TaskShape
from metabench_plugins.spaces.mlp import Mlp, MlpParams

STEPS, LR, POINTS = 5, 0.001, 10


def ours(weights: Params, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor) -> MetaGradients:
    """Meta-gradients of metabench."""
    space = Mlp(MlpParams(norm="batch"), TaskShape("regression", (1,), 1))
    leaves = {name: weight.clone().requires_grad_() for name, weight in weights.items()}

    def step() -> list[Tensor]:
        end = inner_loop(
            lambda w: (space.forward(w, {}, x) - y).square().mean((1, 2)),
            share(leaves, len(x)),
            steps=STEPS,
            lr=LR,
            order="second",
        )
        loss = (space.forward(end, {}, query_x) - query_y).square().mean()
        return list(
            torch.autograd.grad(
                loss, list(leaves.values()), allow_unused=True, materialize_grads=True
            )
        )

    return step


def with_higher(
    weights: Params, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor
) -> MetaGradients:
    """Meta-gradients of ``higher``, one task at a time."""
    import higher

    network = nn.Sequential()
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        inputs, outputs = weights[f"{layer}.weight"].shape
        network.append(nn.Linear(inputs, outputs))
        network.append(nn.BatchNorm1d(outputs, track_running_stats=False))
        network.append(nn.ReLU())
    network.append(nn.Linear(50, 1))
    network.to(weights["head.weight"].dtype)
    with torch.no_grad():
        for parameter, weight in zip(network.parameters(), weights.values(), strict=True):
            parameter.copy_(weight.T if weight.dim() == 2 else weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=LR)

    def step() -> list[Tensor]:
        network.zero_grad()
        for task in range(len(x)):
            with higher.innerloop_ctx(network, optimizer, copy_initial_weights=False) as (
                adapted,
                inner,
            ):
                for _ in range(STEPS):
                    inner.step((adapted(x[task]) - y[task]).square().mean())
                loss = (adapted(query_x[task]) - query_y[task]).square().mean() / len(x)
                loss.backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        return [g.T if g.dim() == 2 else g for g in gradients if g is not None]

    return step


def main() -> None:
    """Race."""
    options = parse(__doc__ or "", tasks=25)
    rng = torch.Generator().manual_seed(0)
    space = Mlp(MlpParams(norm="batch"), TaskShape("regression", (1,), 1))
    weights = space.init_weights(rng=rng)
    data = [torch.randn(options.tasks, POINTS, 1, generator=rng) for _ in range(4)]
    with_peer = has_higher()

    def peers(dtype: torch.dtype) -> dict[str, MetaGradients]:
        cast = {name: weight.to(dtype) for name, weight in weights.items()}
        tensors = [tensor.to(dtype) for tensor in data]
        made = {"metabench": ours(cast, *tensors)}
        return made | {"higher": with_higher(cast, *tensors)} if with_peer else made

    race(peers, options)


if __name__ == "__main__":
    main()
