"""What a pickle may contain in addition to plain values: numpy arrays, and strings on disk."""

from __future__ import annotations

import codecs
import io
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, TypeGuard

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")
MAX_DIMENSIONS = 8
MAX_RECODED = 4
"""Large strings of one pickle that are copied to a temporary file; a data set has one or two."""
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that are read when needed.

    Attributes:
        file: the file that contains them.
        start: the position of the first byte.
        length: the number of bytes.
    """

    file: BinaryIO
    start: int
    length: int

    def read(self, offset: int, n: int) -> bytes:
        """``n`` bytes from ``offset``."""
        self.file.seek(self.start + offset)
        return self.file.read(n)


class Text(Blob):
    """The same, to be understood as UTF-8."""


@dataclass(slots=True)
class PickledDtype:
    """The type of numbers: ``code`` such as ``u1``, and the order of their bytes."""

    code: str
    order: str = "|"

    def set_state(self, _version: object, order: object, *_rest: object) -> None:
        """Take what numpy pickles of a simple type: the order of its bytes."""
        if order not in ("<", ">", "|", "="):
            raise ValueError("an array has an unknown byte order")
        self.order = str(order)

    def __str__(self) -> str:
        """As numpy writes it, such as ``<f4``."""
        return self.order + self.code


@dataclass(slots=True)
class PickledArray:
    """An array of numbers that is read row by row.

    Attributes:
        dtype: the type of its numbers.
        shape: rows first.
        data: its numbers, in C order.
    """

    dtype: PickledDtype = field(default_factory=lambda: PickledDtype("u1"))
    shape: tuple[int, ...] = (0,)
    data: Blob = field(default_factory=lambda: _blob(b""))

    def set_state(
        self, _version: object, shape: object, dtype: object, fortran: object, data: object
    ) -> None:
        """Take what numpy pickles of an array."""
        sizes = shape if isinstance(shape, tuple) else (shape,)
        if not isinstance(dtype, PickledDtype) or fortran or not sizes:
            raise TypeError("an array does not consist of plain numbers in C order")
        if len(sizes) > MAX_DIMENSIONS or not all(_is_size(n) for n in sizes):
            raise ValueError("an array has an impossible shape")
        blob = _blob(data)
        if math.prod(sizes) * int(dtype.code[1:]) != blob.length:
            raise ValueError("the length of an array does not match its shape")
        self.dtype, self.shape, self.data = dtype, sizes, blob

    def __len__(self) -> int:
        """How many rows there are."""
        return self.shape[0]

    def rows(self, start: int, stop: int) -> NDArray[np.generic]:
        """Rows ``start:stop``, ``[stop - start, *shape[1:]]``; IndexError where there are none."""
        import numpy as np

        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"an array has no row {stop - 1}")
        length = math.prod(self.shape[1:]) * int(self.dtype.code[1:])
        data = self.data.read(start * length, (stop - start) * length)
        return np.frombuffer(data, dtype=str(self.dtype)).reshape(stop - start, *self.shape[1:])


@dataclass(frozen=True, slots=True)
class Constructor:
    """Replaces a function that a pickle may call by one of our own."""

    make: Callable[..., Any]


def has_state(value: object) -> TypeGuard[PickledArray | PickledDtype]:
    """Whether a pickle may set the state of this."""
    return isinstance(value, PickledArray | PickledDtype)


def constructors(scratch: Callable[[], BinaryIO]) -> Mapping[str, Constructor]:
    """All that a pickle may name, by ``module.name``.

    Args:
        scratch: opens an empty temporary file, for large strings that must be recoded.
    """

    left = iter(range(MAX_RECODED))

    def encode(text: object, encoding: object) -> bytes | Blob:
        # Python 3 writes bytes so for readers of protocol 2.
        if encoding not in ("latin1", "latin-1"):
            raise ValueError("a string has an unknown encoding")
        if isinstance(text, Text):
            if next(left, None) is None:
                raise ValueError("it recodes too many large strings")
            return _recoded(text, scratch())
        return _text(text).encode("latin-1")

    array = {
        f"numpy.{core}.{name}": Constructor(make)
        for core in ("core", "_core")
        for name, make in (
            ("multiarray._reconstruct", _empty_array),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _array),
        )
    }
    return array | {
        "numpy.ndarray": Constructor(_refuse),
        "numpy.dtype": Constructor(_dtype),
        "_codecs.encode": Constructor(encode),
        # How Python 3 writes b"" for readers of protocol 2.
        "__builtin__.bytes": Constructor(lambda: b""),
    }


def _dtype(code: object, *_flags: object) -> PickledDtype:
    if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
        raise TypeError("an array does not consist of plain numbers")
    return PickledDtype(code)


def _empty_array(*_: object) -> PickledArray:
    return PickledArray()


def _array(data: object, dtype: object, shape: object, order: object = "C") -> PickledArray:
    array = PickledArray()
    array.set_state(1, shape, dtype, order != "C", data)
    return array


def _scalar(dtype: object, data: object) -> int | float | bool:
    array = PickledArray()
    array.set_state(1, 1, dtype, False, data)
    value: int | float | bool = array.rows(0, 1)[0].item()
    return value


def _refuse(*_: object) -> None:
    raise TypeError("it creates an array in an unusual way")


def _is_size(n: object) -> bool:
    return isinstance(n, int) and 0 <= n < 2**40


def _blob(data: object) -> Blob:
    if isinstance(data, Blob):
        return data
    # Python 2 wrote the bytes of an array as a string.
    raw = data if isinstance(data, bytes) else _text(data).encode("latin-1")
    return Blob(io.BytesIO(raw), 0, len(raw))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a value that must be a string is not one")
    return value


def _recoded(text: Text, sink: BinaryIO) -> Blob:
    """The same text in Latin-1, one byte per character."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    length, resume = 0, text.file.tell()
    for offset in range(0, text.length, _CHUNK):
        chunk = text.read(offset, min(_CHUNK, text.length - offset))
        length += sink.write(decoder.decode(chunk).encode("latin-1"))
    decoder.decode(b"", final=True)
    sink.flush()
    # The rest of the pickle is read from the same file.
    text.file.seek(resume)
    return Blob(sink, 0, length)
