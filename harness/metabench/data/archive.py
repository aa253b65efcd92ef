"""How a dataset is published: its files, their layout, and how its images are prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from metabench.values import Frozen

if TYPE_CHECKING:
    from metabench.data.originals import Originals

ResizeFilter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""The resampling filters of Pillow."""

Crop = Literal["none", "box"]
"""How an image is cropped first: not at all, or to the bounding box of its object."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of an image, in pixels; right and bottom are excluded."""


class Preparation(Frozen):
    """How images are prepared before they are packed; each preparation gives its own pack."""

    size: int = Field(ge=8, le=512, description="Height and width in pixels.")
    resize: ResizeFilter = Field(default="lanczos", description="Filter for resizing.")
    crop: Crop = Field(
        default="none",
        description="`box` crops to the bounding box of the object before resizing, where the "
        "archive has one.",
    )

    def __str__(self) -> str:
        """The name of the pack's folder, see :func:`folder_name`.

        >>> str(Preparation(size=28)), str(Preparation(size=84, crop="box"))
        ('28-lanczos', '84-lanczos-box')
        """
        name = f"{self.size}-{self.resize}"
        return name if self.crop == "none" else f"{name}-{self.crop}"


def folder_name(preparation: Preparation | None) -> str:
    """The name of a pack's folder; vectors are packed as they are, without a preparation.

    >>> folder_name(Preparation(size=28)), folder_name(None)
    ('28-lanczos', 'vectors')
    """
    return "vectors" if preparation is None else str(preparation)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: its file name.
        urls: addresses to download it from, tried in turn.
        digest: ``sha256:...`` of its content.
        size: its length in bytes.
    """

    name: str
    urls: tuple[str, ...]
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class ImageClass:
    """A class of images in the originals.

    Attributes:
        name: unique, ``part/.../class``; the first component is a part of the archive.
        group: the group that it belongs to, such as an alphabet; may be empty.
        images: names of its image files within the originals, in the order of packing.
        boxes: the bounding box of the object of each image; empty if the archive has none.
    """

    name: str
    group: str
    images: tuple[str, ...]
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """What was found in the originals.

    Attributes:
        classes: the classes, in any order.
        splits: classes of each split of each scheme that comes with the files, such as
            ``{"ravi": {"meta-train": ("n01532829", ...), ...}}``.
        stamps: the stamps of every result on this data, such as ``subset``.
        notes: sentences for the user, such as how many listed files are missing.
        archive: what the files turn out to be, where that is not what was asked for, such as one of
            the benchmarks that are made of a dataset. They are checked and packed as such.
    """

    classes: Sequence[ImageClass]
    splits: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    stamps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    archive: Archive | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A dataset as published: what fetching and importing need to know.

    Attributes:
        name: name of the dataset, and of its folder under the data root.
        files: what is downloaded; a user may also have these files, or their content unpacked.
        layout: what a folder to import must contain, in words, for messages.
        scan: finds the classes among the file names of the originals.
        parts: how many classes each part has; empty if any number is allowed.
        per_class: how many images each class has; None if classes differ and ``scan`` checks them.
        mode: ``L`` (gray, one channel), ``RGB``, or ``vectors``: then ``scan`` provides a file of
            little-endian float32 for each vector, all of the same length.
        preparation: how images are prepared unless the user asks for something else; None for
            vectors.
        presets: other preparations by name, such as that of a paper's script.
        licence: short name of the license.
        citation: what to cite.
        archives: names or patterns, such as ``*.zip``, of further archives that are read if the
            user's folder has them.
        named: whether each import has its own name, for images that are not one dataset. Such
            images come from any camera or program: they are turned upright, laid on white where
            they are transparent, and brought to 8 bits; see :func:`metabench.data.decoding.decode`.
    """

    name: str
    files: tuple[RemoteFile, ...]
    layout: str
    scan: Callable[[Originals], Contents]
    parts: Mapping[str, int]
    per_class: int | None
    mode: Literal["L", "RGB", "vectors"]
    preparation: Preparation | None
    licence: str
    citation: str = ""
    archives: tuple[str, ...] = ()
    named: bool = False
    presets: Mapping[str, Preparation] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Channels of a packed image."""
        return len(self.mode)

    @property
    def examples(self) -> str:
        """What its examples are, in words."""
        return "vectors" if self.mode == "vectors" else "images"
