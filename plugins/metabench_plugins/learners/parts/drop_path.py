"""DropPath in meta-training, for networks that can drop operations (Larsson et al., ICLR 2017)."""

from __future__ import annotations

import torch

from metabench import DropPathSpace, Mixture, SearchSpace


def draw_masks(
    space: SearchSpace,
    n_tasks: int,
    n_examples: int,
    *,
    rate: float,
    rng: torch.Generator,
    device: torch.device,
) -> Mixture:
    """Draw what joins the mixture of one forward pass; nothing where the network drops none.

    Args:
        space: the network.
        n_tasks: how many tasks it is to see.
        n_examples: how many examples of each.
        rate: probability of dropping, in [0, 1).
        rng: a CPU generator.
        device: where the masks go.
    """
    if rate == 0 or not isinstance(space, DropPathSpace):
        return {}
    masks = space.drop_paths(n_tasks, n_examples, rate=rate, rng=rng)
    return {name: mask.to(device, non_blocking=True) for name, mask in masks.items()}
