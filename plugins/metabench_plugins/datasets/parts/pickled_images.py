"""Images in pickles, as rows of an array or encoded: each is packed as if it were a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from metabench import DataError
from metabench.data import PickledArray

if TYPE_CHECKING:
    from metabench.data import Originals


def provide_images(
    originals: Originals, name: str, array: object, shape: tuple[int, int]
) -> list[str]:
    """Make each row of an array of color images a file of its own; nothing is read yet.

    Args:
        originals: where the pickle lies.
        name: the pickle.
        array: uint8 ``[n, height, width, 3]``, or ``[n, 3 * height * width]`` with one plane for
            each color.
        shape: height and width.

    Returns:
        The names of the images, in the order of the rows.

    Raises:
        DataError: it is no such array.
    """
    height, width = shape
    known = {(height, width, 3), (3 * height * width,)}
    if (
        not isinstance(array, PickledArray)
        or str(array.dtype)[1:] != "u1"
        or array.shape[1:] not in known
    ):
        raise DataError(
            f"{name} in {originals.path} holds no images of {height}x{width} pixels.",
            hint="Download it again.",
        )
    names = [f"{name}/{row:06d}.ppm" for row in range(len(array))]
    for row, image in enumerate(names):
        originals.provide(image, _Row(array, row, shape), of=name, place=row)
    return names


def images_by_number(images: list[str], numbers: object, what: str) -> dict[int, list[str]]:
    """The images of each class, by the number of the class.

    Args:
        images: their names, in the order of the rows.
        numbers: a pickled list of the class of each row.
        what: the pickle, for messages.

    Raises:
        DataError: there are not as many numbers as images.
    """
    classes = whole_numbers(numbers, what)
    if len(classes) != len(images):
        raise DataError(
            f"{what} holds {len(images):,} images, but has {len(classes):,} labels.",
            hint="Download it again.",
        )
    found: dict[int, list[str]] = {}
    for image, number in zip(images, classes, strict=True):
        found.setdefault(number, []).append(image)
    return found


def texts(values: Iterable[object]) -> list[str]:
    """Pickled text; that of Python 2 may be ``bytes``."""
    return [text.decode("latin-1") if isinstance(text, bytes) else str(text) for text in values]


def provide_encoded(originals: Originals, name: str, images: object) -> list[str]:
    """Make each encoded image of a list a file of its own; nothing is decoded yet.

    Args:
        originals: where the pickle lies.
        name: the pickle.
        images: list of uint8 ``[n]`` or ``[n, 1]``, each the bytes of an image file.

    Returns:
        The names of the images, in the order of the list.

    Raises:
        DataError: it is no such list.
    """
    if not isinstance(images, list) or not all(map(_is_encoded, images)):
        raise DataError(
            f"{name} in {originals.path} is not a list of encoded images.",
            hint="Download it again.",
        )
    names = [f"{name}/{place:06d}.png" for place in range(len(images))]
    for place, (image, encoded) in enumerate(zip(names, images, strict=True)):
        originals.provide(image, _Encoded(encoded), of=name, place=place)
    return names


def _is_encoded(image: object) -> bool:
    return (
        isinstance(image, PickledArray)
        and str(image.dtype)[1:] == "u1"
        and image.shape[1:] in ((), (1,))
    )


class _Encoded:
    """The bytes of an image file."""

    __slots__ = ("_array",)

    def __init__(self, array: PickledArray) -> None:
        self._array = array

    def __call__(self) -> bytes:
        return self._array.rows(0, len(self._array)).tobytes()


class _Row:
    """Makes one row a portable pixmap, which Pillow reads back without loss."""

    def __init__(self, array: PickledArray, row: int, shape: tuple[int, int]) -> None:
        self._array = array
        self._row = row
        self._shape = shape

    def __call__(self) -> bytes:
        pixels = self._array.rows(self._row, self._row + 1)
        height, width = self._shape
        if len(self._array.shape) == 2:
            pixels = pixels.reshape(3, height, width).transpose(1, 2, 0)
        return f"P6 {width} {height} 255\n".encode() + pixels.tobytes()


def field(pickled: object, name: str, what: str) -> Any:
    """A field of a pickled dictionary; files of Python 2 have keys that are ``bytes``.

    Raises:
        DataError: there is none.
    """
    if isinstance(pickled, Mapping):
        for key in (name, name.encode()):
            if key in pickled:
                return pickled[key]
    raise DataError(f"{what} has no {name}.", hint="Download it again.")


def whole_numbers(values: object, what: str) -> list[int]:
    """A pickled list or array of whole numbers.

    Raises:
        DataError: it is something else.
    """
    if isinstance(values, PickledArray) and len(values.shape) == 1:
        values = values.rows(0, len(values)).tolist()
    if not isinstance(values, list) or not all(isinstance(value, int) for value in values):
        raise DataError(
            f"{what} has no list of whole numbers where one is expected.",
            hint="Download it again.",
        )
    return values
