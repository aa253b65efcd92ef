"""Packs: the prepared images of a dataset as one array, with an index that describes them.

``<data root>/<dataset>/<preparation>/`` holds ``images.npy`` (uint8 ``[n, height, width,
channels]``, or float32 ``[n, features]`` for vectors, sorted by class, memory-mapped) and
``index.json``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from metabench.data.archive import Archive, Preparation, folder_name
from metabench.data.locations import data_root
from metabench.data.plain_files import MAX_ROWS, open_plain, read_plain, require_plain
from metabench.errors import DataError
from metabench.values import Frozen, digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = 1
"""It rises when a reader of older packs would misread newer ones."""

IMAGES = "images.npy"
INDEX = "index.json"


class PackedClass(Frozen):
    """A class of a pack, with the images ``start:stop``."""

    name: str = Field(description="Unique name, `part/.../class`.")
    group: str = Field(description="The group of the class, such as an alphabet; may be empty.")
    start: int = Field(ge=0, description="Index of its first image.")
    stop: int = Field(ge=0, description="Index after its last image.")


class SharedImage(Frozen):
    """A picture that is in two classes."""

    classes: tuple[str, str] = Field(description="The names of both.")
    images: tuple[str, str] = Field(description="The file in each.")


class PackIndex(Frozen):
    """The content of a pack and its origin."""

    schema_number: int = Field(description="Version of this format.")
    dataset: str = Field(description="Name of the dataset.")
    preparation: Preparation | None = Field(
        description="How the images were prepared; null for vectors."
    )
    shape: tuple[int, int, int, int] | tuple[int, int] = Field(
        description="Number of images, height, width and channels; or number of vectors and of "
        "their features."
    )
    images_sha256: str = Field(description="SHA-256 of `images.npy`.")
    originals_sha256: str = Field(
        description="Digest of the packed image files, equal for archives and folders."
    )
    archives_sha256: dict[str, str] = Field(description="SHA-256 of each archive that was read.")
    classes: tuple[PackedClass, ...] = Field(description="The classes, sorted by name.")
    licence: str = Field(description="License of the data.")
    citation: str = Field(description="What to cite.")
    splits: dict[str, dict[str, tuple[str, ...]]] = Field(
        default_factory=dict,
        description="For each splitting scheme of the files, the classes of each split.",
    )
    stamps: tuple[str, ...] = Field(
        default=(), description="Stamps of every result on these images, such as `subset`."
    )
    notes: tuple[str, ...] = Field(default=(), description="Remarks about the files.")
    shared: tuple[SharedImage, ...] = Field(
        default=(),
        description="Of a user's own images: one for each two classes that have a picture in "
        "common.",
    )
    created_by: str = Field(description="Version of metabench that made the pack.")

    @property
    def digest(self) -> str:
        """Digest of pixels, classes and preparation, whether the files were fetched or imported."""
        fields = {"dataset", "preparation", "shape", "images_sha256", "classes"}
        # Only where there are any, so that packs from before these fields keep their digests.
        fields |= {name for name in ("splits", "stamps") if getattr(self, name)}
        content = self.model_dump(mode="json", include=fields)
        if self.preparation is not None and self.preparation.crop == "none":
            del content["preparation"]["crop"]
        return digest(content)

    @property
    def examples(self) -> str:
        """What its examples are, in words."""
        return "vectors" if len(self.shape) == 2 else "images"


class SealedIndex(Frozen):
    """An index as it is written, with its own digest, so that edits are noticed."""

    digest: str
    index: PackIndex


class PackError(DataError):
    """A pack is missing or damaged; the hint depends on how its dataset is published.

    Args:
        message: as for every error.
        hint: made from the others if empty.
        name: of the dataset.
        preparation: the preparation of its images; None if unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        name: str = "",
        preparation: Preparation | None = None,
    ) -> None:
        super().__init__(message, hint=hint or (how_to_get(name, preparation) if name else ""))
        self.name = name
        self.preparation = preparation

    def with_commands_of(self, archive: Archive, dataset: str = "") -> PackError:
        """The same error, with the commands that work for this archive.

        Args:
            archive: how the dataset is published.
            dataset: its name, where several have one pack.
        """
        owner, slash, own_name = (self.name or archive.name).partition("/")
        name = f"{dataset or owner}{slash}{own_name}"
        hint = how_to_get(name, self.preparation, archive)
        return PackError(self.message, hint=hint, name=self.name, preparation=self.preparation)


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack on disk.

    Attributes:
        folder: its folder.
        index: its content and origin.
        kept: after an import, whether an equal pack already existed.
    """

    folder: Path
    index: PackIndex
    kept: bool = False

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class."""
        return tuple(entry.name for entry in self.index.classes)

    def images(self) -> NDArray[Any]:
        """The images, uint8 ``[n, height, width, channels]``, or float32 vectors ``[n, features]``.

        They are memory-mapped; a write stays in memory.

        Raises:
            PackError: the file is missing, truncated, or not the array of the index.
        """
        import numpy as np

        path = self.folder / IMAGES
        try:
            require_plain(path)
            images = np.load(path, mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged(f"{path} is missing or truncated") from error
        dtype = np.uint8 if len(self.index.shape) == 4 else np.dtype("<f4")
        if images.dtype != dtype or images.shape != self.index.shape:
            raise self._damaged(f"{path} is not the array that {INDEX} describes")
        mapped: NDArray[Any] = images
        return mapped

    def offsets(self) -> NDArray[np.int64]:
        """``[classes + 1]``; class ``c`` owns images ``offsets[c]:offsets[c + 1]``."""
        import numpy as np

        return np.array([0, *(entry.stop for entry in self.index.classes)], dtype=np.int64)

    def _damaged(self, sentence: str) -> PackError:
        return PackError(
            f"{sentence}.", name=self.index.dataset, preparation=self.index.preparation
        )


def open_pack(name: str, preparation: Preparation | None, *, root: Path | None = None) -> Pack:
    """Open the pack of a dataset.

    Args:
        name: name of the dataset.
        preparation: what must have been done to its images; None for vectors.
        root: the data root; the user's own by default.

    Raises:
        PackError: there is no such pack, or it is damaged; the hint says how to get it.
    """
    folder = (root or data_root()) / name / folder_name(preparation)
    if not (folder / INDEX).is_file():
        done = "imported"
        if preparation is not None:
            side = preparation.size
            done = f"prepared at {side}x{side} pixels ({preparation.resize})"
        raise PackError(
            f"{name} has not been {done}: {folder} does not exist.",
            name=name,
            preparation=preparation,
        )
    pack = read_pack(folder, name=name)
    pack.images()
    return pack


def read_pack(folder: Path, *, name: str = "") -> Pack:
    """Read the index of a pack.

    Args:
        folder: of the pack.
        name: of the dataset, for the hint where the index is damaged.

    Raises:
        PackError: it is damaged, edited, or written by a newer version.
    """
    path = folder / INDEX
    try:
        sealed = SealedIndex.model_validate_json(read_plain(path, MAX_ROWS))
    except (OSError, ValidationError) as error:
        raise PackError(f"{path} is not the index of a pack.", name=name) from error
    if sealed.index.schema_number != SCHEMA:
        raise PackError(
            f"{path} has format {sealed.index.schema_number}; this version reads {SCHEMA}.",
            name=name,
        )
    if sealed.index.digest != sealed.digest:
        raise PackError(f"{path} was changed after it was written.", name=name)
    return Pack(folder=folder, index=sealed.index)


def list_packs(name: str, *, root: Path | None = None) -> list[Path]:
    """The folders of the packs of a dataset, damaged and named ones included."""
    home = (root or data_root()) / name
    patterns = (f"[!.]*/{INDEX}", f"[!.]*/[!.]*/{INDEX}")
    return sorted(index.parent for pattern in patterns for index in home.glob(pattern))


def verify_pack(pack: Pack, *, report: Callable[[str, int, int], None] | None = None) -> None:
    """Compute the digest of the images again and compare it with the index.

    Raises:
        PackError: they differ.
    """
    pack.images()
    path = pack.folder / IMAGES
    total, done, hasher = path.stat().st_size, 0, hashlib.sha256()
    with open_plain(path) as source:
        while chunk := source.read(2**22):
            hasher.update(chunk)
            done += len(chunk)
            if report:
                report(f"verify {pack.index.dataset}", done, total)
    if hasher.hexdigest() != pack.index.images_sha256:
        raise pack._damaged(f"{path} does not have the digest that {INDEX} gives")


def how_to_get(name: str, preparation: Preparation | None, archive: Archive | None = None) -> str:
    """The commands that get a pack, for a hint.

    Args:
        name: of the dataset; ``DATASET/NAME`` for images that were given a name.
        preparation: how the images must be prepared; None for the dataset's own preparation.
        archive: how the dataset is published, if that is known.

    >>> how_to_get("image-folder/mine", None)
    'Run `metabench data import image-folder PATH --name mine`.'
    """
    dataset, _, own_name = name.partition("/")
    options = f" --name {own_name or 'NAME'}" if own_name or (archive and archive.named) else ""
    can_fetch = not options and (archive is None or bool(archive.files))
    if preparation is not None:
        options += f" --size {preparation.size} --resize {preparation.resize}"
        options += f" --crop {preparation.crop}"
    importing = f"`metabench data import {dataset} PATH{options}`"
    if can_fetch:
        fetching = f"`metabench data fetch {dataset}{options}`"
        return f"Run {fetching}, or, if you have the files, {importing}."
    layout = f"; PATH is {archive.layout}" if archive else ""
    return f"Run {importing}{layout}."
