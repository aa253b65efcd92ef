"""Images in ``.npz`` files, as rows of an array: each is packed as if it were a file."""

from __future__ import annotations

import math
import zipfile
from typing import TYPE_CHECKING, BinaryIO, cast

from metabench import DataError
from metabench.data import open_zip

if TYPE_CHECKING:
    from metabench.data import Originals

MAX_HEADER = 10_000
"""No sound header of an array is longer (bytes)."""
MAX_SIDE = 1024
"""No image of such a file is higher or wider (pixels)."""


def provide_rows(originals: Originals, name: str, array: str) -> list[str]:
    """Make each row of an array of color images a file of its own; nothing is read yet.

    The array may be larger than memory. It is read forward, row by row.

    Args:
        originals: where the file lies.
        name: the file.
        array: the name of the array in it, uint8 ``[n, height, width, 3]``, blue first: the
            authors' code fills it with what OpenCV decodes.

    Returns:
        The names of the images, in the order of the rows.

    Raises:
        DataError: there is no such array, or it is not as long as it says.
    """
    what = f"{array} of {name} in {originals.path}"
    with originals.explained(name):
        file = open_zip(originals.open(name), path=originals.path / name)
        if f"{array}.npy" not in file.namelist():
            raise DataError(f"{name} in {originals.path} has no array {array}.")
        member = file.getinfo(f"{array}.npy")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{what} is packed by a method that is not read.")
        stream = cast(BinaryIO, file.open(member))
        shape = _shape(stream, what)
        start = stream.tell()
    if start + math.prod(shape) != member.file_size:
        raise DataError(
            f"{what} has {member.file_size - start:,} bytes of images; its header says "
            f"{math.prod(shape):,}.",
            hint="Download it again.",
        )
    names = [f"{name}/{row:06d}.ppm" for row in range(shape[0])]
    for row, image in enumerate(names):
        read = _Row(stream, start, row, (shape[1], shape[2]))
        originals.provide(image, read, of=name, place=row)
    return names


def _shape(stream: BinaryIO, what: str) -> tuple[int, int, int, int]:
    """The shape of an array, from its header, which is read without running anything in it."""
    from numpy.lib import format as npy

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        read = readers[npy.read_magic(stream)]
        shape, fortran, dtype = read(stream, max_header_size=MAX_HEADER)
    # NumPy parses the header as Python, and raises whatever that stumbles over.
    except Exception as error:
        raise DataError(f"{what} is not an array of NumPy.", hint="Download it again.") from error
    sound = len(shape) == 4 and shape[3] == 3 and max(shape[1:3]) <= MAX_SIDE
    if str(dtype) != "uint8" or fortran or not sound:
        raise DataError(
            f"{what} is no array of color images: it is {dtype} {list(shape)}.",
            hint="Download it again.",
        )
    return cast("tuple[int, int, int, int]", shape)


class _Row:
    """Makes one row a portable pixmap, which Pillow reads back without loss."""

    __slots__ = ("_row", "_size", "_start", "_stream")

    def __init__(self, stream: BinaryIO, start: int, row: int, size: tuple[int, int]) -> None:
        self._stream = stream
        self._start = start
        self._row = row
        self._size = size

    def __call__(self) -> bytes:
        import numpy as np

        height, width = self._size
        n = 3 * height * width
        self._stream.seek(self._start + self._row * n)
        pixels = self._stream.read(n)
        if len(pixels) < n:
            raise EOFError("it ends early")
        red_first = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, 3)[:, ::-1]
        return f"P6 {width} {height} 255\n".encode() + red_first.tobytes()
