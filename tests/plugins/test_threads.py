"""Gradients on several threads, in a process of its own, because a wrong kernel ends it."""

import subprocess
import sys

POINTWISE = """
import torch
from metabench import tasknn

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
from metabench.episodes import TaskShape
from metabench_plugins.spaces.metanas import MetaNasParams, metanas

network = metanas(MetaNasParams(channels=2, cells=3), TaskShape("classification", (1, 28, 28), 5))
rng = torch.Generator().manual_seed(0)
mixture = {
    key: torch.rand(1, len(c.edges), len(c.primitives), generator=rng)
    for key, c in network.choices().items()
}
weights = {n: w[None] for n, w in network.init_weights(rng=rng).items()}
x = torch.rand(1, 5, 1, 28, 28, generator=rng)

def gradients():
    inputs = {n: w.detach().requires_grad_() for n, w in weights.items()}
    loss = network.forward(inputs, mixture, x)[0].log_softmax(-1).diagonal().sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(inputs.values()))])

torch.set_num_threads(1)
expected = gradients()
torch.set_num_threads(2)
for _ in range(3):
    assert (gradients() - expected).norm() < 1e-3 * expected.norm()
"""


def run(program: str) -> None:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"


def test_narrow_pointwise_convolutions_with_stride() -> None:
    run(POINTWISE)


def test_the_supernet_of_metanas() -> None:
    run(SUPERNET)
