"""An episode of images as one small picture: a row for each class, support left, queries right."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from metabench.render.page.values import OpenedImages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from metabench.running.single_episodes import ImageEpisode

SIDE = 32
"""Pixels of an image."""
GAP, ROOM_BELOW = 4, 16
"""Pixels between images, and below each for the answers."""
MOST_CLASSES, MOST_SUPPORT, MOST_QUERIES = 20, 5, 5
"""What is shown of an episode."""
COLORS = 64
"""Of a whole picture, so that it is small."""


def sheet_of(episode: ImageEpisode, *, number: int) -> tuple[OpenedImages, list[int]]:
    """Draw what is shown of an episode.

    Args:
        episode: the episode.
        number: which episode of its source.

    Returns:
        The picture, and positions of the queries that it shows in all queries of the episode.
    """
    n_queries = episode.query.shape[1]
    support = episode.support[:MOST_CLASSES, :MOST_SUPPORT]
    query = episode.query[:MOST_CLASSES, :MOST_QUERIES]
    n_classes, n_support, n_query = len(query), support.shape[1], query.shape[1]
    step_x, step_y = SIDE + GAP, SIDE + ROOM_BELOW
    first_query = n_support * step_x + 2 * GAP
    width, height = first_query + n_query * step_x - GAP, n_classes * step_y
    sheet = Image.new("RGBA", (width, height))
    for row in range(n_classes):
        for column, pixels in enumerate(support[row]):
            sheet.paste(_thumbnail(pixels), (column * step_x, row * step_y))
        for column, pixels in enumerate(query[row]):
            sheet.paste(_thumbnail(pixels), (first_query + column * step_x, row * step_y))
    places = [(row, column) for row in range(n_classes) for column in range(n_query)]
    shown = OpenedImages(
        source=episode.source,
        number=number,
        classes=episode.classes[:n_classes],
        sheet=_png(sheet),
        width=width,
        height=height,
        n_support=n_support,
        n_query=n_query,
        left_out=_left_out(episode, n_classes, n_support, n_query),
        answers_at=tuple(
            (first_query + column * step_x + SIDE // 2, row * step_y + SIDE)
            for row, column in places
        ),
        labels=tuple(row for row, _ in places),
    )
    return shown, [row * n_queries + column for row, column in places]


def _thumbnail(pixels: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGBA")
    smaller = max(image.size) < SIDE
    how = Image.Resampling.NEAREST if smaller else Image.Resampling.BOX
    return image.resize((SIDE, SIDE), how)


def _png(sheet: Image.Image) -> bytes:
    file = io.BytesIO()
    few = sheet.quantize(COLORS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(file, "png", optimize=True)
    return file.getvalue()


def _left_out(episode: ImageEpisode, n_classes: int, n_support: int, n_query: int) -> str:
    """What of an episode is not shown, in words; "" where all is."""
    shown = [
        (n_classes, len(episode.query), "classes"),
        (n_support, episode.support.shape[1], "support images of a class"),
        (n_query, episode.query.shape[1], "query images of a class"),
    ]
    parts = [f"{n} of {whole} {what}" for n, whole, what in shown if n < whole]
    return f"Shown are {', '.join(parts)}." if parts else ""
