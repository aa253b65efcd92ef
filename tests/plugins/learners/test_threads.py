"""Gradients on several threads, in a process of its own, because a wrong kernel ends it."""

import os
import subprocess
import sys

POINTWISE = """
import torch
from metabench.nn import layers as tasknn

rng = torch.Generator().manual_seed(0)
for channels, size in [(2, 28), (8, 28), (15, 28), (15, 84), (16, 28)]:
    x = torch.randn(1, 5, channels, size, size, generator=rng, dtype=torch.float64)
    weight = torch.randn(1, 4, channels, 1, 1, generator=rng, dtype=torch.float64)

    def gradients(dtype):
        inputs = [t.to(dtype).requires_grad_() for t in (x, weight)]
        y = tasknn.conv2d(*inputs, stride=2)
        return torch.autograd.grad(y.square().sum(), inputs)

    exact = gradients(torch.float64)
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        for found, expected in zip(gradients(torch.float32), exact, strict=True):
            torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)
"""
SUPERNET = """
import torch
from metabench.plugin.contracts.episode import TaskShape
from metabench_plugins.spaces.metanas import MetaNasParams, metanas

network = metanas(MetaNasParams(channels=2, cells=3), TaskShape("classification", (1, 28, 28), 5))
rng = torch.Generator().manual_seed(0)
weights = {n: w[None] for n, w in network.init_weights(rng=rng).items()}
x = torch.rand(1, 5, 1, 28, 28, generator=rng)
mixture = {
    key: torch.full((1, len(c.edges), len(c.primitives)), 1 / len(c.primitives))
    for key, c in network.choices().items()
}

def gradients(dtype):
    inputs = {n: w.to(dtype).requires_grad_() for n, w in weights.items()}
    shares = {key: share.to(dtype) for key, share in mixture.items()}
    loss = network.forward(inputs, shares, x.to(dtype))[0].log_softmax(-1).diagonal().sum()
    found = torch.autograd.grad(loss, list(inputs.values()))
    return torch.cat([g.flatten() for g in found]).double()

exact = gradients(torch.float64)
for threads in (1, 2, 2):
    torch.set_num_threads(threads)
    error = (gradients(torch.float32) - exact).norm() / exact.norm()
    assert error < 1e-3, (threads, error)
"""


def run(program: str) -> None:
    command = [sys.executable, "-c", program]
    # Threads that sleep, not spin, while they wait: on a busy machine that takes far less time.
    env = os.environ | {"OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, capture_output=True, check=False, text=True, env=env)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"


def test_narrow_pointwise_convolutions_with_stride() -> None:
    run(POINTWISE)


def test_the_supernet_of_metanas() -> None:
    run(SUPERNET)
