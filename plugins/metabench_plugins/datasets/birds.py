"""Birds of Multi-datasets: CUB-200-2011, cropped to bounding boxes (Wah et al. 2011)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench import DatasetSpec
from metabench.data import Archive, Contents, Preparation, RemoteFile
from metabench_plugins.datasets.parts.domains import (
    SIZE,
    BoxedParams,
    look_alike,
    open_domain,
)
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
    "C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie (2011). The Caltech-UCSD "
    "Birds-200-2011 dataset. Technical report CNS-TR-2011-001, California Institute of Technology."
)
DOMAIN = Domain("birds", "CUB_Bird", (64, 16, 20))
_TABLES = {"images.txt": 2, "image_class_labels.txt": 2, "classes.txt": 2, "bounding_boxes.txt": 5}


def scan(originals: Originals) -> Contents:
    """Find the classes that are drawn, with the box of each bird.

    Raises:
        DataError: a list is missing or damaged.
    """
    if released := DOMAIN.scan_released(originals):
        return released
    home, tables = read_tables(originals, _TABLES, layout=ARCHIVE.layout)
    names = dict(tables["classes.txt"])
    labels = dict(tables["image_class_labels.txt"])
    files = {number: f"{home}images/{path}" for number, path in tables["images.txt"]}
    there = set(originals.names)
    classes: Classes = {}
    for number, file in files.items():
        if file in there:
            classes.setdefault(names.get(labels.get(number, ""), ""), []).append(file)
    boxes: dict[str, Box] = {}
    for row in tables["bounding_boxes.txt"]:
        left, top, width, height = numbers(row, what=f"bounding_boxes.txt in {originals.path}")
        boxes[files.get(row[0], "")] = (left, top, left + width, top + height)
    return DOMAIN.rebuilt(classes, boxes)


ARCHIVE = Archive(
    name=DOMAIN.name,
    # Size and digest as TensorFlow Datasets publishes them.
    files=(
        RemoteFile(
            name="CUB_200_2011.tgz",
            urls=("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",),
            digest="sha256:0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
            size=1_150_585_339,
        ),
    ),
    layout=(
        "CUB_200_2011.tgz, a folder that contains it or its content, or the release "
        "of HSML with CUB_Bird/train, val and test"
    ),
    scan=scan,
    parts={DOMAIN.name: sum(DOMAIN.sizes)},
    per_class=60,
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
    return look_alike((24, 8, 10), size=params.size, seed=1)


SPEC = DatasetSpec(
    name=DOMAIN.name,
    version=1,
    summary="CUB-200-2011: 100 bird species, 60 images each, cropped to bounding boxes; "
    "part of Multi-datasets.",
    params="metabench_plugins.datasets.parts.domains:BoxedParams",
    reference=REFERENCE,
    kind="classes",
    factory="metabench_plugins.datasets.birds:load",
    synthetic="metabench_plugins.datasets.birds:synthesize",
    archive="metabench_plugins.datasets.birds:ARCHIVE",
    licence=LICENCE,
    citation=CITATION,
)
