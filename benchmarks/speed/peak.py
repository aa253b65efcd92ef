"""The peak of one thread: the best of a matrix product and a 3x3 convolution.

A matrix product alone would not do: `torch.mm` takes AVX2 on some processors where convolutions
take AVX-512.
"""

from __future__ import annotations

import torch
from race import Local, Rates
from torch.nn import functional

SIDE, MAPS, CHANNELS, MAP = 2048, 16, 64, 28


def peaks() -> dict[str, Local]:
    """Both; their tasks are floating-point operations."""
    a, b = torch.rand(2, SIDE, SIDE)
    x = torch.rand(MAPS, CHANNELS, MAP, MAP).to(memory_format=torch.channels_last)
    kernel = torch.rand(CHANNELS, CHANNELS, 3, 3).to(memory_format=torch.channels_last)

    def convolution() -> None:
        with torch.no_grad():
            functional.conv2d(x, kernel, padding=1)

    return {
        "matrix product": Local(lambda: a @ b, 2 * SIDE**3),
        "3x3 convolution": Local(convolution, 2 * 9 * CHANNELS**2 * MAPS * MAP**2),
    }


def best(rates: dict[str, Rates]) -> float:
    """The better of both, in floating-point operations per CPU second."""
    return max(rates[name].median for name in peaks())
