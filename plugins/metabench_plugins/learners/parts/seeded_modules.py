"""PyTorch modules whose initial weights come from a learner's own generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from metabench import Params


@contextmanager
def seeded(rng: torch.Generator) -> Iterator[None]:
    """Let modules draw their initial weights from ``rng``; the global generator is left alone.

    >>> with seeded(torch.Generator().manual_seed(0)):
    ...     reader = torch.nn.Linear(2, 3)
    """
    seed = int(torch.randint(2**62, (), generator=rng))
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which reseeds the generators of all devices as well.
        torch.default_generator.manual_seed(seed)
        yield


def parameters(**modules: nn.Module | None) -> Params:
    """Name the weights of modules, ``<module>.<weight>``; a part that is None has none."""
    return {
        f"{part}.{name}": weight
        for part, module in modules.items()
        if module is not None
        for name, weight in module.named_parameters()
    }
