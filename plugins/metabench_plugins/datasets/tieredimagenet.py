"""TieredImagenet: 608 classes of ImageNet in 34 superclasses (Ren et al. 2018).

The superclasses are split 20/6/8, so that classes of different splits are less alike than those of
MiniImagenet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from metabench import DatasetSpec, Frozen
from metabench.data import Archive, Preparation, ResizeFilter, open_pack
from metabench_plugins.datasets.parts.packed import ARCHIVES
from metabench_plugins.datasets.parts.tieredimagenet_files import scan

if TYPE_CHECKING:
    from metabench import ClassData

LICENCE = "ImageNet terms (non-commercial research)"
CITATION = (
    "M. Ren, E. Triantafillou, S. Ravi, J. Snell, K. Swersky, J. B. Tenenbaum, H. Larochelle, "
    "R. S. Zemel (2018). Meta-learning for semi-supervised few-shot classification. ICLR. Images: "
    "O. Russakovsky et al. (2015). ImageNet large scale visual recognition challenge. IJCV."
)

ARCHIVE = Archive(
    name="tieredimagenet",
    files=(),
    layout=(
        "a folder with the training images of ILSVRC 2012 in folders named by WordNet id, or with "
        "train/, val/ and test/ of such folders, or with train_images_png.pkl or "
        "train_images.npz, with train_labels.pkl, and with those of val and test"
    ),
    scan=scan,
    parts={"train": 351, "val": 97, "test": 160},
    per_class=None,
    mode="RGB",
    preparation=Preparation(size=84, resize="lanczos"),
    licence=LICENCE,
    citation=CITATION,
    archives=ARCHIVES,
)


class TieredImagenetParams(Frozen):
    """How TieredImagenet is shown."""

    size: int = Field(
        default=84, ge=8, le=512, description="Height and width of the images in pixels."
    )
    resize: ResizeFilter = Field(default="lanczos", description="Filter for resizing the images.")


def load(params: TieredImagenetParams) -> ClassData:
    """Load the packed images, split as by Ren et al.

    Raises:
        DataError: they have not been prepared so, or are damaged.
    """
    from metabench_plugins.datasets.parts.packed import parts_as_splits, upright_classes

    pack = open_pack(ARCHIVE.name, Preparation(size=params.size, resize=params.resize))
    return upright_classes(pack, parts_as_splits(pack.class_names))


def synthesize(params: TieredImagenetParams) -> ClassData:
    """Generate a look-alike: colored strokes, fewer classes, 40 images each."""
    from metabench_plugins.datasets.parts.synthetic import synthetic_classes

    n_classes = {"meta-train": 20, "meta-val": 8, "meta-test": 10}
    return synthetic_classes(n_classes, 40, shape=(params.size, params.size, 3), seed=4)


SPEC = DatasetSpec(
    name=ARCHIVE.name,
    version=2,
    summary="TieredImagenet: 608 classes of ImageNet, 779,165 images of 84x84 pixels, split "
    "351/97/160 by superclass.",
    params="metabench_plugins.datasets.tieredimagenet:TieredImagenetParams",
    reference="Ren et al. 2018",
    kind="classes",
    factory="metabench_plugins.datasets.tieredimagenet:load",
    synthetic="metabench_plugins.datasets.tieredimagenet:synthesize",
    archive="metabench_plugins.datasets.tieredimagenet:ARCHIVE",
    licence=LICENCE,
    citation=CITATION,
)
