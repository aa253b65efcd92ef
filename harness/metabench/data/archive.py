"""How a dataset is published: its files, their layout, and how its images are prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from metabench.runspec import Frozen

if TYPE_CHECKING:
    from metabench.data.originals import Originals

ResizeFilter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""The resampling filters of Pillow."""

Report = Callable[[str, int, int], None]
"""Called as work proceeds, with what is being done, how much is done, and of how much."""


class Preparation(Frozen):
    """What is done to an image before it is packed; another preparation is another pack."""

    size: int = Field(ge=8, le=512, description="Height and width in pixels.")
    resize: ResizeFilter = Field(default="lanczos", description="Filter of the resizing.")

    def __str__(self) -> str:
        """The name of the pack's folder.

        >>> str(Preparation(size=28))
        '28-lanczos'
        """
        return f"{self.size}-{self.resize}"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: its file name.
        urls: where it is offered, tried in turn.
        digest: ``sha256:...`` of its content.
        size: its length in bytes.
    """

    name: str
    urls: tuple[str, ...]
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class ImageClass:
    """A class as it lies in the originals.

    Attributes:
        name: unique, ``part/.../class``; the first component is a part of the archive.
        group: what it belongs to, such as an alphabet; may be empty.
        images: names of its image files within the originals, in the order of packing.
    """

    name: str
    group: str
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A dataset as published: all that fetching and importing need to know.

    Attributes:
        name: name of the dataset, and of its folder under the data root.
        files: what is downloaded; a user may also have these files, or their content unpacked.
        layout: what a folder to import must hold, in words, for messages.
        scan: finds the classes among the originals' file names, whatever the layout.
        parts: how many classes each part holds.
        per_class: how many images each class holds.
        mode: ``L`` (grey, one channel) or ``RGB``.
        preparation: what is done to images unless the user asks otherwise.
        licence: short name of the licence.
        citation: what to cite.
    """

    name: str
    files: tuple[RemoteFile, ...]
    layout: str
    scan: Callable[[Originals], Sequence[ImageClass]]
    parts: Mapping[str, int]
    per_class: int
    mode: Literal["L", "RGB"]
    preparation: Preparation
    licence: str
    citation: str = field(default="")

    @property
    def channels(self) -> int:
        """Channels of a packed image."""
        return len(self.mode)
