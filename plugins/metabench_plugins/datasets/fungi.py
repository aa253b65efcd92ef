"""Fungi of Multi-datasets: FGVCx Fungi 2018, from the Danish Svampe Atlas."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from metabench import DatasetSpec
from metabench.data import Archive, Contents, Preparation
from metabench_plugins.datasets.parts.domains import SIZE, DomainParams, look_alike, open_domain
from metabench_plugins.datasets.parts.multidataset import (
    REFERENCE,
    RELEASED_ARCHIVES,
    Classes,
    Domain,
    draw_split,
)
from metabench_plugins.datasets.parts.packed import each_once

if TYPE_CHECKING:
    from metabench import ClassData
    from metabench.data import Originals

LICENCE = "FGVCx competition terms (non-commercial research)"
CITATION = (
    "B. Schroeder, Y. Cui (2018). FGVCx fungi classification challenge 2018. "
    "github.com/visipedia/fgvcx_fungi_comp."
)
DOMAIN = Domain("fungi", "FGVCx_Fungi", (64, 16, 20))
PER_CLASS = 150
SEED = 2
_MEMBER = re.compile(r"(?:^|/)images/(?P<name>[^/]+)/[^/.][^/]*\.(?:jpe?g|png)$", re.IGNORECASE)


def scan(originals: Originals) -> Contents:
    """Draw classes among those with enough images, and images of each."""
    if released := DOMAIN.scan_released(originals):
        return released
    classes: Classes = {}
    for file in originals.names:
        if found := _MEMBER.search(file):
            classes.setdefault(found["name"], []).append(file)
    each = {name: each_once(files) for name, files in classes.items()}
    eligible = {name: _draw(name, files) for name, files in each.items() if _many(files)}
    splits = draw_split(eligible, DOMAIN.sizes, seed=SEED)
    return DOMAIN.contents(eligible, splits, scheme="rebuilt")


def _many(files: list[str]) -> bool:
    return len(files) >= PER_CLASS


def _draw(name: str, files: list[str]) -> list[str]:
    """Draw images by their own names, so that it does not matter where they lie."""
    by_name = sorted(files, key=lambda file: file.rpartition("/")[2])
    return sorted(random.Random(f"{SEED}/{name}").sample(by_name, PER_CLASS))


ARCHIVE = Archive(
    name=DOMAIN.name,
    files=(),
    layout=(
        "the images of the FGVCx Fungi 2018 competition (images/<class>/, as a folder or an "
        "archive), or the release of HSML with FGVCx_Fungi/train, val and test"
    ),
    scan=scan,
    parts={DOMAIN.name: sum(DOMAIN.sizes)},
    per_class=PER_CLASS,
    mode="RGB",
    preparation=Preparation(size=SIZE, resize="lanczos"),
    licence=LICENCE,
    citation=CITATION,
    archives=(*RELEASED_ARCHIVES, "fungi*.tgz", "fungi*.tar.gz", "fungi*.tar", "fungi*.zip"),
)


def load(params: DomainParams) -> ClassData:
    """Load the packed images.

    Raises:
        DataError: they have not been prepared so, or are damaged.
    """
    return open_domain(DOMAIN.name, params.preparation())


def synthesize(params: DomainParams) -> ClassData:
    """Generate a look-alike: drawings, fewer classes."""
    return look_alike((28, 8, 12), size=params.size, seed=4)


SPEC = DatasetSpec(
    name=DOMAIN.name,
    version=1,
    summary="FGVCx Fungi 2018: 100 fungus species, 150 images each; part of Multi-datasets.",
    params="metabench_plugins.datasets.parts.domains:DomainParams",
    reference=REFERENCE,
    kind="classes",
    factory="metabench_plugins.datasets.fungi:load",
    synthetic="metabench_plugins.datasets.fungi:synthesize",
    archive="metabench_plugins.datasets.fungi:ARCHIVE",
    licence=LICENCE,
    citation=CITATION,
)
