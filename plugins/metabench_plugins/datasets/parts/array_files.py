"""Reading ``.npy`` files of others row by row: nothing is unpickled, and no claim is believed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from metabench import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_FEATURES = 65_536
"""No example has more numbers."""
MAX_ROWS = 10_000_000
"""No file has more examples."""


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """An array on disk, whose header was compared with the length of the file.

    Attributes:
        source: the open file.
        what: its name, for messages.
        shape: of the array.
        dtype: of its elements.
        start: where its elements begin, in bytes.
    """

    source: BinaryIO
    what: str
    shape: tuple[int, ...]
    dtype: np.dtype
    start: int

    def row(self, index: int) -> bytes:
        """One row as little-endian float32.

        Raises:
            DataError: it holds NaN, infinity or a number beyond float32.
        """
        import numpy as np

        with np.errstate(over="ignore"):
            row = self._read(index, 1).astype("<f4")
        if not np.isfinite(row).all():
            raise DataError(
                f"Row {index} of {self.what} holds NaN, infinity or a number beyond float32.",
                hint="Replace such numbers, or remove the row and its label.",
            )
        return row.tobytes()

    def all(self) -> NDArray[np.generic]:
        """The whole array, for one that is small."""
        return self._read(0, self.shape[0]).reshape(self.shape)

    def _read(self, first: int, n: int) -> NDArray[np.generic]:
        import numpy as np

        width = self.dtype.itemsize
        for size in self.shape[1:]:
            width *= size
        self.source.seek(self.start + first * width)
        return np.frombuffer(self.source.read(n * width), dtype=self.dtype)


def open_array(source: BinaryIO, what: str) -> ArrayFile:
    """Read the header of a ``.npy`` file.

    Raises:
        DataError: it is no such file, holds Python objects, is in Fortran order, or is shorter or
            longer than its header says.
    """
    from numpy.lib import format as npy

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    source.seek(0)
    try:
        shape, fortran, dtype = readers[npy.read_magic(source)](source)
    # NumPy parses the header as Python, and raises whatever that stumbles over.
    except Exception as error:
        raise DataError(
            f"{what} is not an array of NumPy.", hint="Write it with numpy.save."
        ) from error
    if dtype.hasobject or dtype.fields:
        raise DataError(
            f"{what} holds {dtype}, not numbers or text.",
            hint="Files with Python objects are not read, because reading them may run code.",
        )
    if fortran and len(shape) > 1:
        raise DataError(
            f"{what} is stored column by column.",
            hint="Save numpy.ascontiguousarray(array) instead.",
        )
    start = source.tell()
    found = source.seek(0, os.SEEK_END) - start
    expected = dtype.itemsize
    for size in shape:
        expected *= size
    if found != expected:
        raise DataError(
            f"{what} has {found:,} bytes of numbers; its header says {expected:,}.",
            hint="Copy or save it again.",
        )
    return ArrayFile(source, what, tuple(shape), dtype, start)
