"""Random changes of training images: shifts, reflections, enlarged parts, colors.

Everything is drawn per image from the generator of the meta-step, and computed for all images at
once where they are.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor

from metabench import ClassBatch, Frozen, Labelled, TaskShape, UsageError

SHAPES = math.log(4 / 3)
"""Bound on the logarithm of the width over the height of an enlarged part."""
LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue weigh in gray (ITU-R BT.601)."""

Part = TypeVar("Part", Labelled, ClassBatch)


class Augmentation(Frozen):
    """What is done to each training image at random, in this order."""

    enlarged: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="A random part of the image is enlarged to all of it. The area of the part is "
        "uniform between this share of the image and all of it; null for none.",
    )
    crop: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Largest shift in pixels each way, zeros coming in; 0 for none.",
    )
    flip: bool = Field(
        default=False, description="Whether images are mirrored with probability 1/2."
    )
    jitter: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Brightness, contrast and saturation are multiplied by numbers between 1 minus "
        "this and 1 plus this; 0 for none.",
    )

    def __call__(self, x: Tensor, *, rng: torch.Generator) -> Tensor:
        """Change images ``[tasks, n, channels, height, width]``, whose values are in [0, 1]."""
        if self.enlarged is not None:
            x = enlarge_parts(x, least=self.enlarged, rng=rng)
        if self.crop or self.flip:
            x = crop_and_flip(x, shift=self.crop, flip=self.flip, rng=rng)
        return jitter_colors(x, strength=self.jitter, rng=rng) if self.jitter else x

    def __str__(self) -> str:
        """The changes in words, as records say them."""
        said = {
            f"parts from {self.enlarged or 0:g} of the image on enlarged": self.enlarged,
            f"shifts up to {self.crop} pixels": self.crop,
            "images mirrored": self.flip,
            f"color jitter {self.jitter:g}": self.jitter,
        }
        return ", ".join(words for words, on in said.items() if on) or "none"


class AugmentedParams(Frozen):
    """Parameters of a learner that may change its training images at random."""

    augmentation: Augmentation | None = Field(
        default=None,
        description="What is done to training images at random: a mapping of `enlarged` (least "
        "share of the area of a part that is enlarged), `crop` (largest shift in pixels), `flip` "
        "(mirroring) and `jitter` (of brightness, contrast and saturation). Null for nothing.",
    )

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the augmentation out where there is none, so that runs keep their ids."""
        written: dict[str, Any] = handler(self)
        if self.augmentation is None:
            del written["augmentation"]
        return written


def check_images(augmentation: Augmentation | None, task: TaskShape) -> None:
    """Refuse to change what are no images.

    Raises:
        UsageError: the inputs are vectors.
    """
    if augmentation is not None and len(task.inputs) != 3:
        raise UsageError(
            f"An augmentation changes images, not inputs of shape {list(task.inputs)}.",
            hint="Leave learner.augmentation out.",
        )


def augmented(part: Part, augmentation: Augmentation | None, *, rng: torch.Generator) -> Part:
    """Examples with changed images; as they are where there is no augmentation.

    Args:
        part: support or query sets, or labelled examples.
        augmentation: what to do; None draws nothing.
        rng: a CPU generator.
    """
    return part if augmentation is None else replace(part, x=augmentation(part.x, rng=rng))


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


def enlarge_parts(x: Tensor, *, least: float, rng: torch.Generator) -> Tensor:
    """Enlarge a random rectangle of each image to the whole image, by linear interpolation.

    The area is uniform between ``least`` and 1 of the image's, the logarithm of width over height
    uniform in +-log(4/3), the place uniform (Szegedy et al., CVPR 2015). A side that would be
    longer than the image's is as long as it.

    Args:
        x: ``[tasks, n, channels, height, width]``.
        least: share of the area, in (0, 1].
        rng: a CPU generator.
    """
    height, width = x.shape[-2:]
    drawn = torch.rand(4, *x.shape[:2], generator=rng, dtype=x.dtype)
    drawn = drawn.to(x.device, non_blocking=True)
    area = (least + (1 - least) * drawn[0]) * (height * width)
    shape = ((2 * drawn[1] - 1) * SHAPES).exp()
    tall = _whole((area / shape).sqrt(), most=height)
    wide = _whole((area * shape).sqrt(), most=width)
    top = (drawn[2] * (height - tall + 1)).floor()
    left = (drawn[3] * (width - wide + 1)).floor()
    rows = _interpolation(top, tall, height)
    columns = _interpolation(left, wide, width)
    return rows.unsqueeze(2) @ x @ columns.unsqueeze(2).mT


def _whole(length: Tensor, *, most: int) -> Tensor:
    return length.round().clamp(1, most)


def _interpolation(first: Tensor, length: Tensor, size: int) -> Tensor:
    """What each old pixel weighs in each new one on an axis, ``[tasks, n, size, size]``.

    The center of new pixel i lies at ``first + (i + 1/2) length / size - 1/2``, or at the next
    pixel of the part where that is outside. A pixel weighs ``max(0, 1 - distance)``.

    Args:
        first: the first pixel of the part, ``[tasks, n]``.
        length: how many pixels it has, ``[tasks, n]``.
        size: how many there are on the axis.
    """
    pixels = torch.arange(size, device=first.device, dtype=first.dtype)
    within = (pixels + 0.5) * length.unsqueeze(2) / size - 0.5
    last = (length - 1).unsqueeze(2)
    centers = first.unsqueeze(2) + torch.minimum(within.clamp_min(0), last)
    return (1 - (centers.unsqueeze(3) - pixels).abs()).clamp_min(0)


def jitter_colors(x: Tensor, *, strength: float, rng: torch.Generator) -> Tensor:
    """Multiply brightness, contrast and saturation of each image by numbers near 1.

    With the gray value g of a pixel, and its mean m over the image,

        y = b (m + c (g - m) + c s (x - g)),    b, c, s uniform in [1 - strength, 1 + strength],

    clamped to [0, 1]. The order of the three makes no difference but for clamping, so none is
    drawn.

    Args:
        x: ``[tasks, n, channels, height, width]``, in [0, 1].
        strength: in [0, 1].
        rng: a CPU generator.
    """
    drawn = torch.rand(3, *x.shape[:2], 1, 1, 1, generator=rng, dtype=x.dtype)
    factors = 1 + strength * (2 * drawn - 1)
    brightness, contrast, saturation = factors.to(x.device, non_blocking=True)
    gray = _gray(x)
    mean = gray.mean(dim=(3, 4), keepdim=True)
    changed = mean + contrast * (gray - mean + saturation * (x - gray))
    return torch.clamp(brightness * changed, 0, 1)


def _gray(x: Tensor) -> Tensor:
    """The gray values, ``[tasks, n, 1, height, width]``: weighed means of the channels."""
    if x.shape[2] != len(LUMA):
        return x.mean(dim=2, keepdim=True)
    red, green, blue = (LUMA[i] * x[:, :, i : i + 1] for i in range(3))
    return red + green + blue
