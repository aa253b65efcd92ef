"""W2a: second-order MAML on Omniglot-sized images, beside the package ``higher``.

Conv-4 with 64 filters, 28x28x1, 5-way 1-shot with 15 queries per class, 1 inner step of 0.4 on all
weights, 4 tasks.
"""

from __future__ import annotations

import torch
from race import MetaGradients, has_higher, parse, race
from torch import Tensor, nn
from torch.nn import functional

from metabench.inner_steps import inner_loop, share
from metabench.plugin.contracts.architecture import Params
from metabench.plugin.contracts.episode import TaskShape
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params

LR, WAYS, QUERIES = 0.4, 5, 15
TASK = TaskShape("classification", (1, 28, 28), WAYS)


def ours(weights: Params, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor) -> MetaGradients:
    """Meta-gradients of metabench."""
    space = Conv4(Conv4Params(), TASK)
    leaves = {name: weight.clone().requires_grad_() for name, weight in weights.items()}

    def losses(w: Params, images: Tensor, labels: Tensor) -> Tensor:
        logits = space.forward(w, {}, images).flatten(0, 1)
        entropies = functional.cross_entropy(logits, labels.flatten(), reduction="none")
        return entropies.view(labels.shape).mean(1)

    def step() -> list[Tensor]:
        end = inner_loop(
            lambda w: losses(w, x, y), share(leaves, len(x)), steps=1, lr=LR, order="second"
        )
        loss = losses(end, query_x, query_y).mean()
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
        filters, channels = weights[f"{layer}.weight"].shape[:2]
        network.append(nn.Conv2d(channels, filters, 3, padding=1))
        network.append(nn.BatchNorm2d(filters, track_running_stats=False))
        network.append(nn.ReLU())
        network.append(nn.MaxPool2d(2))
    network.append(nn.Flatten())
    network.append(nn.Linear(*weights["head.weight"].shape))
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
                inner.step(functional.cross_entropy(adapted(x[task]), y[task]))
                loss = functional.cross_entropy(adapted(query_x[task]), query_y[task]) / len(x)
                loss.backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        return [g.T if g.dim() == 2 else g for g in gradients if g is not None]

    return step


def main() -> None:
    """Race."""
    options = parse(__doc__ or "", tasks=4)
    rng = torch.Generator().manual_seed(0)
    weights = Conv4(Conv4Params(), TASK).init_weights(rng=rng)
    labels = torch.arange(WAYS).expand(options.tasks, WAYS)
    data = []
    for n in (1, QUERIES):
        y = labels.repeat(1, n)
        data += [torch.rand(options.tasks, y.shape[1], *TASK.inputs, generator=rng), y]
    with_peer = has_higher()

    def peers(dtype: torch.dtype) -> dict[str, MetaGradients]:
        cast = {name: weight.to(dtype) for name, weight in weights.items()}
        tensors = [t.to(dtype) if t.is_floating_point() else t for t in data]
        made = {"metabench": ours(cast, *tensors)}
        return made | {"higher": with_higher(cast, *tensors)} if with_peer else made

    race(peers, options)


if __name__ == "__main__":
    main()
