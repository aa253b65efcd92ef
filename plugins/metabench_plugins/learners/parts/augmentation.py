"""Random shifts and reflections of training images."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def crop_and_flip(x: Tensor, *, shift: int, flip: bool, rng: torch.Generator) -> Tensor:
    """Shift each image by up to ``shift`` pixels each way, zeros coming in, and mirror half.

    That is padding and random cropping, as usual for CIFAR-10 (He et al., CVPR 2016).

    Args:
        x: ``[tasks, n, channels, height, width]``.
        shift: at most this many pixels; 0 for none.
        flip: whether to mirror every image left to right with probability one half.
        rng: a CPU generator.
    """
    images = x.flatten(0, 1)
    n, channels, height, width = images.shape
    down, right = torch.randint(2 * shift + 1, (2, n), generator=rng).to(
        x.device, non_blocking=True
    )
    mirrored = torch.rand(n, generator=rng).to(x.device, non_blocking=True) < (0.5 if flip else 0.0)
    rows = torch.arange(height, device=x.device) + down[:, None]  # [n, height]
    columns = torch.arange(width, device=x.device).expand(n, width)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns) + right[:, None]
    padded = F.pad(images, (shift,) * 4)
    image = torch.arange(n, device=x.device)
    taken = padded[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return taken.permute(0, 3, 1, 2).view(*x.shape[:2], channels, height, width)
