"""MiniImagenet: 100 classes of ImageNet, 600 images each (Vinyals et al. 2016).

The classes are split 64/16/20 as by Ravi and Larochelle (2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from metabench import DatasetSpec, Frozen
from metabench.data import Archive, Preparation, ResizeFilter, open_pack
from metabench_plugins.datasets.parts.miniimagenet_files import LAYOUT, scan
from metabench_plugins.datasets.parts.packed import ARCHIVES

if TYPE_CHECKING:
    from metabench import ClassData

LICENCE = "ImageNet terms (non-commercial research)"
CITATION = (
    "O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu, D. Wierstra (2016). Matching networks "
    "for one shot learning. NeurIPS. Split: S. Ravi, H. Larochelle (2017). Optimization as a model "
    "for few-shot learning. ICLR."
)

ARCHIVE = Archive(
    name="miniimagenet",
    files=(),
    layout=LAYOUT,
    scan=scan,
    parts={"train": 64, "val": 16, "test": 20},
    per_class=None,
    mode="RGB",
    preparation=Preparation(size=84, resize="lanczos"),
    licence=LICENCE,
    citation=CITATION,
    archives=ARCHIVES,
)


class MiniImagenetParams(Frozen):
    """How MiniImagenet is shown."""

    size: int = Field(
        default=84, ge=8, le=512, description="Height and width of the images in pixels."
    )
    resize: ResizeFilter = Field(default="lanczos", description="Filter for resizing the images.")


def load(params: MiniImagenetParams) -> ClassData:
    """Load the packed images, split as by Ravi and Larochelle.

    Raises:
        DataError: they have not been prepared so, or are damaged.
    """
    from metabench_plugins.datasets.parts.packed import parts_as_splits, upright_classes

    pack = open_pack(ARCHIVE.name, Preparation(size=params.size, resize=params.resize))
    return upright_classes(pack, parts_as_splits(pack.class_names))


def synthesize(params: MiniImagenetParams) -> ClassData:
    """Generate a look-alike: colored strokes, fewer classes, 40 images each."""
    from metabench_plugins.datasets.parts.synthetic import synthetic_classes

    n_classes = {"meta-train": 20, "meta-val": 8, "meta-test": 10}
    return synthetic_classes(n_classes, 40, shape=(params.size, params.size, 3), seed=1)


SPEC = DatasetSpec(
    name=ARCHIVE.name,
    version=1,
    summary="MiniImagenet: 100 classes of ImageNet, 600 images of 84x84 pixels each, "
    "split 64/16/20.",
    params="metabench_plugins.datasets.miniimagenet:MiniImagenetParams",
    reference="Vinyals et al. 2016; Ravi and Larochelle 2017",
    kind="classes",
    factory="metabench_plugins.datasets.miniimagenet:load",
    synthetic="metabench_plugins.datasets.miniimagenet:synthesize",
    archive="metabench_plugins.datasets.miniimagenet:ARCHIVE",
    licence=LICENCE,
    citation=CITATION,
)
