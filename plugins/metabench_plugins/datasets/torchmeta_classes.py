"""Class datasets of torchmeta as sources, with their classes and splits, all images in memory."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from metabench import DataError, DatasetSpec, Frozen, MetabenchError, digest
from metabench_plugins.datasets.parts.torchmeta_bridge import named_class

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from metabench import ClassData

_PARTS = ("train", "val", "test")


class TorchmetaClassesParams(Frozen):
    """Which dataset, where its files are, and how its images are prepared."""

    dataset: str = Field(
        default="MiniImagenet",
        description="A class of torchmeta.datasets (Omniglot, MiniImagenet, CIFARFS, ...), or "
        "module:Class for another class dataset, of torchmeta or of an installed plugin.",
    )
    root: str | None = Field(
        default=None,
        description="Folder with torchmeta's files; null is the folder torchmeta in metabench's "
        "data folder.",
    )
    size: int = Field(
        default=84, ge=8, le=512, description="Height and width of the images in pixels."
    )
    resize: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = Field(
        default="bilinear",
        description="Filter for resizing the images; torchvision's default is bilinear.",
    )
    channels: Literal[1, 3] = Field(
        default=3, description="Channels of the images: 1 for gray, 3 for color."
    )
    options: dict[str, bool | int | float | str] = Field(
        default={}, description="Further arguments for the class, such as download."
    )


def load(params: TorchmetaClassesParams) -> ClassData:
    """Read every image of meta-train, meta-val and meta-test.

    Raises:
        UsageError: torchmeta is not usable, or it has no such dataset.
        DataError: the files are not there, or the examples are not images.
    """
    import numpy as np

    from metabench import ClassData

    with ExitStack() as stack:
        found: list[tuple[str, Any]] = []
        splits = {}
        for part in _PARTS:
            dataset = _open(params, part)
            if hasattr(dataset, "close"):
                stack.enter_context(closing(dataset))
            own = [(part, dataset[c]) for c in range(dataset.num_classes)] if dataset else []
            splits[f"meta-{part}"] = np.arange(len(found), len(found) + len(own), dtype=np.int64)
            found += own
        sizes = [len(examples) for _, examples in found]
        offsets = np.cumsum([0, *sizes], dtype=np.int64)
        images = np.empty((offsets[-1], params.size, params.size, params.channels), dtype=np.uint8)
        names = []
        for (part, examples), first in zip(found, offsets[:-1], strict=True):
            for i in range(len(examples)):
                picture, target = examples[i]
                images[first + i] = _pixels(picture, params)
            names.append(f"{part}/{_label(target)}")
    if len(set(names)) < len(names):
        raise DataError(f"{params.dataset} gives two classes of one split the same name.")
    return ClassData(
        images=images,
        offsets=offsets,
        class_names=tuple(names),
        splits=splits,
        fingerprint=_fingerprint(images, sizes, names),
        rotations=dict.fromkeys(splits, "none"),
    )


def _open(params: TorchmetaClassesParams, part: str) -> Any:
    """The class dataset of one split; None where there is no meta-val."""
    kind = named_class(params.dataset, "datasets")
    options: dict[str, Any] = dict(params.options)
    accepted = inspect.signature(kind).parameters
    if "root" in accepted:
        options["root"] = params.root or _root()
    if "num_classes_per_task" in accepted:
        # A set of tasks over classes; only the classes are wanted.
        options["num_classes_per_task"] = 1
    try:
        opened = kind(meta_split=part, **options)
    except MetabenchError:
        raise
    except Exception as error:
        # Torchmeta raises whatever its readers do; ValueError is its word for "no such split".
        if part == "val" and isinstance(error, ValueError):
            return None
        raise DataError(
            f"torchmeta cannot open {params.dataset} (meta-{part}): {str(error).rstrip('.')}.",
            hint=f"Put its files under {options.get('root', 'its root')}, or let torchmeta "
            "download them with options: {download: true}.",
        ) from error
    return getattr(opened, "dataset", opened)


def _root() -> str:
    from metabench.data import data_root

    return str(data_root() / "torchmeta")


def _label(target: Any) -> str:
    """A class's name: torchmeta pairs it with the augmentation that made it, here None."""
    return str(target[0] if isinstance(target, tuple) else target)


def _pixels(picture: Any, params: TorchmetaClassesParams) -> NDArray[np.uint8]:
    """One image as ``[size, size, channels]``."""
    import numpy as np
    from PIL import Image

    image = picture if isinstance(picture, Image.Image) else _image(picture, params.dataset)
    image = image.convert("L" if params.channels == 1 else "RGB")
    if image.size != (params.size, params.size):
        image = image.resize((params.size, params.size), Image.Resampling[params.resize.upper()])
    return np.asarray(image, dtype=np.uint8).reshape(params.size, params.size, params.channels)


def _image(array: Any, dataset: str) -> Image.Image:
    """An image from a tensor, channels first in [0, 1], or from an array of bytes."""
    import numpy as np
    import torch
    from PIL import Image

    pixels = np.asarray(array)
    if isinstance(array, torch.Tensor) and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    shaped = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if shaped and pixels.dtype.kind == "f" and pixels.min() >= 0 and pixels.max() <= 1:
        pixels = np.rint(255 * pixels).astype(np.uint8)
    if not shaped or pixels.dtype != np.uint8:
        raise DataError(
            f"The examples of {dataset} are not images: {pixels.dtype} {pixels.shape}.",
            hint="Choose a dataset of images.",
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _fingerprint(images: NDArray[np.uint8], sizes: Sequence[int], names: Sequence[str]) -> str:
    pixels = hashlib.sha256(images.data).hexdigest()
    return digest({"images": pixels, "sizes": [*sizes], "classes": [*names]})


def synthesize(params: TorchmetaClassesParams) -> ClassData:
    """Generate classes of strokes instead."""
    from metabench_plugins.datasets.parts.synthetic import synthetic_classes

    n_classes = {"meta-train": 20, "meta-val": 8, "meta-test": 10}
    shape = (params.size, params.size, params.channels)
    return synthetic_classes(n_classes, 24, shape=shape, seed=5)


SPEC = DatasetSpec(
    name="torchmeta-classes",
    version=1,
    summary="Image datasets of torchmeta with torchmeta's splits; needs the package torchmeta.",
    params="metabench_plugins.datasets.torchmeta_classes:TorchmetaClassesParams",
    kind="classes",
    factory="metabench_plugins.datasets.torchmeta_classes:load",
    synthetic="metabench_plugins.datasets.torchmeta_classes:synthesize",
    state="metabench_plugins.datasets.parts.torchmeta_bridge:state",
    reference="Deleu et al. 2019",
    licence="the dataset's",
)
