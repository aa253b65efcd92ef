"""From the bytes of an image file to its pixels: few formats, bounded, and by named rules."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from metabench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
"""No other format is tried: some, such as EPS, start another program."""
DECODING = 3
"""It rises when the same files give other pixels or classes, so that they are packed anew."""
MAX_SIDE = 32_768
"""No image of a dataset is higher or wider (pixels)."""
MAX_PIXELS = 2**26
"""No image of a dataset has more pixels."""


def decode(data: bytes, what: str, mode: str, *, own: bool = False) -> PillowImage:
    """Decode an image.

    The images of a published dataset are converted to ``mode`` and nothing else, as the code of the
    papers does. A user's own are first brought into the form in which they are looked at:

    - They are turned as their EXIF orientation says.
    - What is transparent is laid on white.
    - Gray of more than 8 bits (16-bit or 32-bit integers, or floats) is scaled so that the least
      value of the image is 0 and its greatest is 255. Where all values are equal, all are 0.

    Args:
        data: the content of the file.
        what: its name, for messages.
        mode: ``L`` or ``RGB``.
        own: whether it is one of a user's own images.

    Raises:
        DataError: it is not an image of these formats, is damaged, or is too large.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow only warns of the smaller decompression bombs, and of much else that is sound.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(image.size, what)
                return (_as_seen(image) if own else image).convert(mode)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{what} claims more pixels than any image of a dataset.") from error
    # Decoders of damaged files raise whatever they stumble over.
    except Exception as error:
        raise DataError(
            f"{what} is not an image that can be read.",
            hint=f"Copy or download it again. The formats that are read are {', '.join(FORMATS)}.",
        ) from error


def _check_size(size: tuple[int, int], what: str) -> None:
    width, height = size
    if max(size) > MAX_SIDE or width * height > MAX_PIXELS:
        raise DataError(
            f"{what} claims {width:,}x{height:,} pixels, more than any image of a dataset.",
            hint=f"At most {MAX_PIXELS:,} pixels and {MAX_SIDE:,} on a side are read.",
        )


def _as_seen(image: PillowImage) -> PillowImage:
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        return _stretched(image)
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    return image


def _stretched(image: PillowImage) -> PillowImage:
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinity")
    least, greatest = values.min(), values.max()
    scale = 255 / (greatest - least) if greatest > least else 0.0
    return Image.fromarray(np.rint((values - least) * scale).astype(np.uint8))
