"""How long a meta-gradient of a lifted Conv-4 takes, as a ratio to the built-in one.

Both take turns in one process: ``python benchmarks/speed/lifted.py [--size 84] [--filters 32]``.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import torch
from torch import Tensor, nn

from metabench import LayeredSpace, Params, TaskShape, inner_loop, share
from metabench.nn import lift
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params

WAYS, SHOTS, STEPS = 5, 1, 2


def conv4(filters: int, size: int) -> nn.Module:
    """Conv-4 as one would write it in PyTorch."""
    parts: list[nn.Module] = []
    channels = 3
    for _ in range(4):
        parts += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters)]
        parts += [nn.MaxPool2d(2), nn.ReLU()]
        channels, size = filters, size // 2
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(filters * size * size, WAYS))


def seconds(space: LayeredSpace, weights: Params, x: Tensor) -> float:
    """Of one second-order meta-gradient."""

    def loss(w: Params) -> Tensor:
        return space.forward(w, {}, x).square().mean((1, 2))

    start = time.perf_counter()
    end = inner_loop(loss, share(weights, len(x)), steps=STEPS, lr=0.01, order="second")
    torch.autograd.grad(loss(end).mean(), list(weights.values()))
    return time.perf_counter() - start


def main() -> None:
    """Print the best time of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=84)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    task = TaskShape("classification", (3, options.size, options.size), WAYS)
    spaces = {
        "built-in": Conv4(Conv4Params(filters=options.filters), task),
        "lifted": lift(partial(conv4, options.filters, options.size), head="17"),
    }
    rng = torch.Generator().manual_seed(0)
    # As a batch of a dataset lies in memory; on a CPU learners take one image task at a time.
    x = torch.rand(1, WAYS * SHOTS, options.size, options.size, 3, generator=rng)
    x = x.permute(0, 1, 4, 2, 3)
    weights = {
        name: {n: w.requires_grad_() for n, w in space.init_weights(rng=rng).items()}
        for name, space in spaces.items()
    }
    best = dict.fromkeys(spaces, float("inf"))
    for _ in range(options.repeats + 1):
        for name, space in spaces.items():
            best[name] = min(best[name], seconds(space, weights[name], x))
    print({name: f"{1e3 * value:.1f} ms" for name, value in best.items()})
    print(f"lifted / built-in: {best['lifted'] / best['built-in']:.2f}")


if __name__ == "__main__":
    main()
