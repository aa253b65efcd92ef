"""A picture of episodes as a learner sees them: one row per class, support left, query right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw

from metabench.plugin.contracts.episode import EpisodeShape, Labelled, TaskBatch
from metabench.sampling.sampler import EpisodeSampler
from metabench.sampling.sources import ClassSource

if TYPE_CHECKING:
    from metabench.plugin.contracts.data import ClassData

WAYS, SHOTS, QUERIES = 5, 5, 5
"""What an episode shows, where the source has so many."""
SMALL = 56
"""Images below this many pixels are shown at twice their size."""
MARGIN, TITLE = 2, 16
PAPER, INK = (255, 255, 255), (0, 0, 0)


def contact_sheet(sources: Sequence[tuple[str, ClassData]], *, split: str) -> Image.Image:
    """Draw one episode of each source, one below the other.

    Args:
        sources: names and data.
        split: which split the episodes are of.

    Raises:
        DataError: a source has no class in this split, or classes of one image.
    """
    blocks = [_block(name, data, split) for name, data in sources]
    width = max(block.width for block in blocks)
    sheet = Image.new("RGB", (width, sum(block.height for block in blocks)), PAPER)
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height
    return sheet


def _block(name: str, data: ClassData, split: str) -> Image.Image:
    source = ClassSource(name, data, device=torch.device("cpu"))
    shape = _shape(data, split)
    sampler = EpisodeSampler(
        [source], suite="contact sheet", split=split, seed=0, shape=shape, balanced=True
    )
    episode = sampler.batch(np.arange(1))
    cells = [_cells(part, shape.ways) for part in (episode.support, episode.query)]
    return _draw(_title(name, episode, shape, split), cells)


def _shape(data: ClassData, split: str) -> EpisodeShape:
    """The largest episode up to the usual one that every class of the split can serve."""
    ids = data.splits[split]
    per_class = min(np.diff(data.offsets)[ids], default=0)
    ways = max(1, min(WAYS, len(ids)))
    shots = max(1, min(SHOTS, per_class // 2))
    return EpisodeShape(ways, shots, max(1, min(QUERIES, per_class - shots)))


def _title(name: str, episode: TaskBatch, shape: EpisodeShape, split: str) -> str:
    return (
        f"{name}, {split}: {shape.ways} ways, {shape.shots} shots | {shape.queries} queries, "
        f"episode {episode.keys[0]}"
    )


def _cells(part: Labelled, ways: int) -> list[list[Image.Image]]:
    """The images of each class, in the order of the episode."""
    pixels = part.x[0].mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    labels = part.y[0].numpy()
    return [[_image(one) for one in pixels[labels == way]] for way in range(ways)]


def _image(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    scale = 2 if image.height < SMALL else 1
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def _draw(title: str, parts: Sequence[list[list[Image.Image]]]) -> Image.Image:
    first = parts[0][0][0]
    step_x, step_y = first.width + MARGIN, first.height + MARGIN
    gap = step_x // 4
    columns = [len(part[0]) for part in parts]
    width = max(
        sum(columns) * step_x + gap + MARGIN,
        round(ImageDraw.ImageDraw(first).textlength(title)) + 2 * MARGIN,
    )
    block = Image.new("RGB", (width, TITLE + len(parts[0]) * step_y + TITLE // 2), PAPER)
    ImageDraw.Draw(block).text((MARGIN, MARGIN), title, fill=INK)
    left = MARGIN
    for part, n in zip(parts, columns, strict=True):
        for row, images in enumerate(part):
            for column, image in enumerate(images):
                block.paste(image, (left + column * step_x, TITLE + row * step_y))
        left += n * step_x + gap
    return block
