"""Aircraft of Multi-datasets: FGVC-Aircraft, cropped to bounding boxes (Maji et al. 2013)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench import DatasetSpec
from metabench.data import Archive, Contents, Preparation, RemoteFile
from metabench_plugins.datasets.parts.domains import SIZE, BoxedParams, look_alike, open_domain
from metabench_plugins.datasets.parts.multidataset import (
    REFERENCE,
    RELEASED_ARCHIVES,
    Classes,
    Domain,
    numbers,
    read_tables,
)

if TYPE_CHECKING:
    from metabench import ClassData
    from metabench.data import Box, Originals

LICENCE = "non-commercial research"
CITATION = (
    "S. Maji, J. Kannala, E. Rahtu, M. Blaschko, A. Vedaldi (2013). Fine-grained visual "
    "classification of aircraft. arXiv:1306.5151."
)
DOMAIN = Domain("aircraft", "FGVC_Aircraft", (64, 16, 20))
_LISTS = ("images_variant_train.txt", "images_variant_val.txt", "images_variant_test.txt")


def scan(originals: Originals) -> Contents:
    """Find the variants, all official splits merged, with the box of each aircraft.

    Raises:
        DataError: a list is missing or damaged.
    """
    if released := DOMAIN.scan_released(originals):
        return released
    columns = {**dict.fromkeys(_LISTS, 2), "images_box.txt": 5}
    home, tables = read_tables(originals, columns, layout=ARCHIVE.layout)
    there = set(originals.names)
    classes: Classes = {}
    for number, variant in sorted(row for name in _LISTS for row in tables[name]):
        if (file := f"{home}images/{number}.jpg") in there:
            classes.setdefault(variant.replace("/", "_"), []).append(file)
    boxes: dict[str, Box] = {}
    for row in tables["images_box.txt"]:
        left, top, right, bottom = numbers(row, what=f"images_box.txt in {originals.path}")
        # The top-left pixel is (1, 1), and the last row and column are inside.
        boxes[f"{home}images/{row[0]}.jpg"] = (left - 1, top - 1, right, bottom)
    return DOMAIN.rebuilt(classes, boxes)


ARCHIVE = Archive(
    name=DOMAIN.name,
    # Size and digest as TensorFlow Datasets publishes them.
    files=(
        RemoteFile(
            name="fgvc-aircraft-2013b.tar.gz",
            urls=(
                "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/"
                "fgvc-aircraft-2013b.tar.gz",
            ),
            digest="sha256:d5f68b1b81d6d7831eb9d5c5517074176b5dfbce6bcb43dc14ed1c66a87b8d75",
            size=2_770_575_360,
        ),
    ),
    layout=(
        "fgvc-aircraft-2013b.tar.gz, a folder that contains it or its content, or "
        "the release of HSML with FGVC_Aircraft/train, val and test"
    ),
    scan=scan,
    parts={DOMAIN.name: sum(DOMAIN.sizes)},
    per_class=100,
    mode="RGB",
    preparation=Preparation(size=SIZE, resize="lanczos", crop="box"),
    licence=LICENCE,
    citation=CITATION,
    archives=RELEASED_ARCHIVES,
    presets={"whole": Preparation(size=SIZE, resize="lanczos", crop="none")},
)


def load(params: BoxedParams) -> ClassData:
    """Load the packed images.

    Raises:
        DataError: they have not been prepared so, or are damaged.
    """
    return open_domain(DOMAIN.name, params.preparation())


def synthesize(params: BoxedParams) -> ClassData:
    """Generate a look-alike: drawings, fewer classes."""
    return look_alike((24, 8, 10), size=params.size, seed=3)


SPEC = DatasetSpec(
    name=DOMAIN.name,
    version=1,
    summary="FGVC-Aircraft: 100 aircraft variants, 100 images each, cropped to bounding "
    "boxes; part of Multi-datasets.",
    params="metabench_plugins.datasets.parts.domains:BoxedParams",
    reference=REFERENCE,
    kind="classes",
    factory="metabench_plugins.datasets.aircraft:load",
    synthetic="metabench_plugins.datasets.aircraft:synthesize",
    archive="metabench_plugins.datasets.aircraft:ARCHIVE",
    licence=LICENCE,
    citation=CITATION,
)
