"""Textures of Multi-datasets: Describable Textures (Cimpoi et al. 2014)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from metabench import DatasetSpec
from metabench.data import Archive, Contents, Preparation, RemoteFile
from metabench_plugins.datasets.parts.domains import SIZE, DomainParams, look_alike, open_domain
from metabench_plugins.datasets.parts.multidataset import (
    REFERENCE,
    RELEASED_ARCHIVES,
    Classes,
    Domain,
)

if TYPE_CHECKING:
    from metabench import ClassData
    from metabench.data import Originals

LICENCE = "research"
CITATION = (
    "M. Cimpoi, S. Maji, I. Kokkinos, S. Mohamed, A. Vedaldi (2014). Describing textures in the "
    "wild. CVPR."
)
DOMAIN = Domain("textures", "DTD_Texture", (30, 7, 10))
_MEMBER = re.compile(r"(?:^|/)images/(?P<name>[a-z-]+)/[^/.][^/]*\.jpg$")


def scan(originals: Originals) -> Contents:
    """Find the 47 kinds of texture."""
    if released := DOMAIN.scan_released(originals):
        return released
    classes: Classes = {}
    for file in originals.names:
        if found := _MEMBER.search(file):
            classes.setdefault(found["name"], []).append(file)
    return DOMAIN.rebuilt(classes)


ARCHIVE = Archive(
    name=DOMAIN.name,
    # Size and digest as TensorFlow Datasets publishes them.
    files=(
        RemoteFile(
            name="dtd-r1.0.1.tar.gz",
            urls=("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
            digest="sha256:e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
            size=625_239_812,
        ),
    ),
    layout=(
        "dtd-r1.0.1.tar.gz, a folder that contains it or its content, or the "
        "release of HSML with DTD_Texture/train, val and test"
    ),
    scan=scan,
    parts={DOMAIN.name: sum(DOMAIN.sizes)},
    per_class=120,
    mode="RGB",
    preparation=Preparation(size=SIZE, resize="lanczos"),
    licence=LICENCE,
    citation=CITATION,
    archives=RELEASED_ARCHIVES,
)


def load(params: DomainParams) -> ClassData:
    """Load the packed images.

    Raises:
        DataError: they have not been prepared so, or are damaged.
    """
    return open_domain(DOMAIN.name, params.preparation())


def synthesize(params: DomainParams) -> ClassData:
    """Generate a look-alike: drawings, fewer classes."""
    return look_alike((18, 6, 8), size=params.size, seed=2)


SPEC = DatasetSpec(
    name=DOMAIN.name,
    version=1,
    summary="DTD: 47 texture classes, 120 images each; part of Multi-datasets.",
    params="metabench_plugins.datasets.parts.domains:DomainParams",
    reference=REFERENCE,
    kind="classes",
    factory="metabench_plugins.datasets.textures:load",
    synthetic="metabench_plugins.datasets.textures:synthesize",
    archive="metabench_plugins.datasets.textures:ARCHIVE",
    licence=LICENCE,
    citation=CITATION,
)
