"""Writing a pack: images are read, resized and streamed, so memory does not grow."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from metabench.data.archive import Archive, ImageClass, Preparation, Report
from metabench.data.originals import Originals
from metabench.data.pack import IMAGES, INDEX, SCHEMA, Pack, PackedClass, PackIndex, SealedIndex
from metabench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage


def write_pack(
    archive: Archive,
    originals: Originals,
    classes: Sequence[ImageClass],
    *,
    preparation: Preparation,
    folder: Path,
    report: Report | None = None,
) -> Pack:
    """Write ``images.npy`` and ``index.json`` into an empty folder.

    Args:
        archive: what the originals are.
        originals: where the images are read from.
        classes: what is packed, in this order.
        preparation: what is done to each image.
        folder: where to write.
        report: told how many images are packed.

    Raises:
        DataError: an image cannot be read.
        OSError: the folder cannot be written.
    """
    content = hashlib.sha256()
    entries = tuple(_entries(classes))
    shape = (entries[-1].stop, preparation.size, preparation.size, archive.channels)
    # Plain sequential writing, not a memory map: a full disk is then an OSError, not a SIGBUS.
    with (folder / IMAGES).open("wb") as sink:
        sink.write(_array_header(shape))
        for found, entry in zip(classes, entries, strict=True):
            for name in found.images:
                data = originals.read(name)
                content.update(f"{found.name}/{Path(name).name}\n".encode())
                content.update(hashlib.sha256(data).digest())
                image = _decode(data, f"{name} in {originals.path}", archive.mode)
                sink.write(_resize(image, preparation))
            if report:
                report(f"pack {archive.name}", entry.stop, shape[0])
        _flush(sink)
    with (folder / IMAGES).open("rb") as source:
        images_sha256 = hashlib.file_digest(source, "sha256").hexdigest()
    index = PackIndex(
        schema_number=SCHEMA,
        dataset=archive.name,
        preparation=preparation,
        shape=shape,
        images_sha256=images_sha256,
        originals_sha256=content.hexdigest(),
        archives_sha256=originals.digests(),
        classes=entries,
        licence=archive.licence,
        citation=archive.citation,
        created_by=version("metabench"),
    )
    with (folder / INDEX).open("wb") as sink:
        sink.write(SealedIndex(digest=index.digest, index=index).model_dump_json(indent=1).encode())
        _flush(sink)
    return Pack(folder=folder, index=index)


def _entries(classes: Sequence[ImageClass]) -> Iterator[PackedClass]:
    start = 0
    for found in classes:
        stop = start + len(found.images)
        yield PackedClass(name=found.name, group=found.group, start=start, stop=stop)
        start = stop


def _array_header(shape: tuple[int, ...]) -> bytes:
    from numpy.lib import format as npy

    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _decode(data: bytes, what: str, mode: str) -> PillowImage:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow only warns of the smaller decompression bombs.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                return image.convert(mode)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{what} claims more pixels than any image of a dataset.") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"{what} is not an image that can be read.", hint="Download the archive again."
        ) from error


def _resize(image: PillowImage, preparation: Preparation) -> bytes:
    """Resize a grey or colour image; a 1-bit one would silently be resized without a filter."""
    from PIL import Image

    size = (preparation.size, preparation.size)
    return image.resize(size, Image.Resampling[preparation.resize.upper()]).tobytes()


def _flush(sink: BinaryIO) -> None:
    sink.flush()
    os.fsync(sink.fileno())
