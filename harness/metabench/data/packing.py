"""Writing a pack: images are read, resized and streamed, so memory does not grow."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from metabench.data.archive import Archive, Box, Contents, ImageClass, Preparation
from metabench.data.decoding import decode
from metabench.data.originals import Originals
from metabench.data.pack import (
    IMAGES,
    INDEX,
    SCHEMA,
    Pack,
    PackedClass,
    PackIndex,
    SealedIndex,
    SharedImage,
)
from metabench.data.plain_files import sha256_of
from metabench.data.progress import Progress
from metabench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage


def write_pack(
    archive: Archive,
    originals: Originals,
    contents: Contents,
    *,
    preparation: Preparation | None,
    folder: Path,
    report: Progress | None = None,
) -> Pack:
    """Write ``images.npy`` and ``index.json`` into an empty folder.

    Args:
        archive: what the originals are.
        originals: where the images are read from.
        contents: what is packed, sorted by class.
        preparation: what is done to each image; None for vectors, which stay as they are.
        folder: where to write.
        report: called with how many images are packed.

    Raises:
        DataError: an image cannot be read.
        OSError: the folder cannot be written.
    """
    classes = sorted(contents.classes, key=lambda found: found.name)
    entries = tuple(_entries(classes))
    n = entries[-1].stop
    shape: tuple[int, int] | tuple[int, int, int, int]
    if preparation is None:
        shape = (n, len(originals.read(classes[0].images[0])) // 4)
    else:
        shape = (n, preparation.size, preparation.size, archive.channels)
    packing = _Packing(archive, originals, preparation, report)
    # Plain writing, not a memory map: a full disk is then an OSError, not a SIGBUS.
    with (folder / IMAGES).open("wb") as sink:
        sink.write(_array_header(shape))
        written = packing.write_images(classes, sink)
        _flush(sink)
    index = PackIndex(
        schema_number=SCHEMA,
        dataset=archive.name,
        preparation=preparation,
        shape=shape,
        images_sha256=sha256_of(folder / IMAGES),
        originals_sha256=written.originals_sha256,
        archives_sha256=originals.digests(),
        classes=entries,
        licence=archive.licence,
        citation=archive.citation,
        splits={name: dict(split) for name, split in contents.splits.items()},
        stamps=contents.stamps,
        notes=(*contents.notes, *written.notes),
        shared=written.shared,
        created_by=version("metabench"),
    )
    with (folder / INDEX).open("wb") as sink:
        sink.write(SealedIndex(digest=index.digest, index=index).model_dump_json(indent=1).encode())
        _flush(sink)
    return Pack(folder=folder, index=index)


@dataclass(frozen=True, slots=True)
class _Packing:
    """What is the same for all images."""

    archive: Archive
    originals: Originals
    preparation: Preparation | None
    report: Progress | None

    def write_images(self, classes: Sequence[ImageClass], sink: BinaryIO) -> _Written:
        """Write every image to its place, and digest the files that they were read from.

        The files are read in their order on disk, since a tarball can only be read forward.
        """
        start = sink.tell()
        places = {name: i for i, name in enumerate(n for c in classes for n in c.images)}
        boxes = {n: box for c in classes for n, box in zip(c.images, c.boxes, strict=bool(c.boxes))}
        digests = [b""] * len(places)
        seen = [b""] * len(places)
        for done, name in enumerate(self.originals.in_stored_order(places), start=1):
            data = self.originals.read(name)
            digests[places[name]] = hashlib.sha256(data).digest()
            pixels = self._prepare(data, f"{name} in {self.originals.path}", boxes.get(name))
            seen[places[name]] = hashlib.sha256(pixels).digest()
            sink.seek(start + places[name] * len(pixels))
            sink.write(pixels)
            if self.report:
                self.report(f"pack {self.archive.name}", done, len(places))
        content = hashlib.sha256()
        for found in classes:
            for name in found.images:
                content.update(f"{found.name}/{Path(name).name}\n".encode())
                content.update(digests[places[name]])
        if not self.archive.named or self.preparation is None:
            return _Written(content.hexdigest())
        return _Written(content.hexdigest(), _shared(classes, digests), _all_equal(classes, seen))

    def _prepare(self, data: bytes, what: str, box: Box | None) -> bytes:
        if self.preparation is None:
            return data
        image = decode(data, what, self.archive.mode, own=self.archive.named)
        if self.preparation.crop == "box" and box is not None:
            image = image.crop(_clipped(box, image.size, what))
        return _resize(image, self.preparation)


@dataclass(frozen=True, slots=True)
class _Written:
    """What is known once all images are written.

    Attributes:
        originals_sha256: digest of their files.
        shared: see :class:`~metabench.data.pack.PackIndex`.
        notes: sentences for the user.
    """

    originals_sha256: str
    shared: tuple[SharedImage, ...] = ()
    notes: tuple[str, ...] = ()


def _shared(classes: Sequence[ImageClass], digests: Sequence[bytes]) -> tuple[SharedImage, ...]:
    """The first picture that each two classes have in common."""
    known: dict[bytes, dict[str, str]] = {}
    pairs: dict[tuple[str, str], SharedImage] = {}
    digest_of_next = iter(digests)
    for found in classes:
        for image in found.images:
            earlier = known.setdefault(next(digest_of_next), {})
            for other, its in earlier.items():
                pair = (other, found.name)
                if other != found.name and pair not in pairs:
                    pairs[pair] = SharedImage(classes=pair, images=(its, image))
            earlier.setdefault(found.name, image)
    return tuple(pairs.values())


def _all_equal(classes: Sequence[ImageClass], pixels: Sequence[bytes]) -> tuple[str, ...]:
    """A note on the classes all of whose images look the same once they are prepared."""
    start, alike = 0, []
    for found in classes:
        n = len(found.images)
        if n > 1 and len(set(pixels[start : start + n])) == 1:
            alike.append(found.name)
        start += n
    if not alike:
        return ()
    return (f"All images of {_some(alike)} have the same pixels.",)


def _some(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def _clipped(box: Box, size: tuple[int, int], what: str) -> Box:
    left, top, right, bottom = box
    width, height = size
    clipped = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        raise DataError(f"The box of {what} lies outside the image, which is {width}x{height}.")
    return clipped


def _entries(classes: Sequence[ImageClass]) -> Iterator[PackedClass]:
    start = 0
    for found in classes:
        stop = start + len(found.images)
        yield PackedClass(name=found.name, group=found.group, start=start, stop=stop)
        start = stop


def _array_header(shape: tuple[int, ...]) -> bytes:
    from numpy.lib import format as npy

    header = io.BytesIO()
    kind = "|u1" if len(shape) == 4 else "<f4"
    npy.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    return header.getvalue()


def _resize(image: PillowImage, preparation: Preparation) -> bytes:
    """Resize a gray or color image; a 1-bit one would silently be resized without a filter."""
    from PIL import Image

    size = (preparation.size, preparation.size)
    return image.resize(size, Image.Resampling[preparation.resize.upper()]).tobytes()


def _flush(sink: BinaryIO) -> None:
    sink.flush()
    os.fsync(sink.fileno())
