"""Four domains of small real images, a substitute for Multi-datasets.

Birds is a source of Multi-datasets too, here with other classes; Textures (Brodatz), Aircraft and
Flowers replace DTD, FGVC-Aircraft and FGVCx Fungi. Every result is stamped ``substitute``.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from metabench import DataError, DatasetSpec, Stamp
from metabench.data import Archive, Contents, ImageClass, Preparation
from metabench_plugins.datasets.parts.domains import SIZE, DomainParams, look_alike, open_domain
from metabench_plugins.datasets.parts.packed import each_once

if TYPE_CHECKING:
    from metabench import ClassData
    from metabench.data import Originals

Domain = Literal["birds", "textures", "aircraft", "flowers"]

LICENCE = "several, non-commercial research"
CITATION = (
    "C. Wah et al. (2011). The Caltech-UCSD Birds-200-2011 dataset. CNS-TR-2011-001. - "
    "P. Brodatz (1966). Textures: a photographic album for artists and designers. Dover. - "
    "M.-E. Nilsback, A. Zisserman (2008). Automated flower classification over a large number of "
    "classes. ICVGIP."
)

_SPLITS = "splits.json"
_MEMBER = re.compile(
    r"(?:^|/)(?P<name>(?P<domain>birds|textures|aircraft|flowers)/[^/]+)/\d{4}\.jpg$"
)


def scan(originals: Originals) -> Contents:
    """Find the classes of all domains, and read how they are split.

    Raises:
        DataError: ``splits.json`` is missing, or splits other classes than there are.
    """
    images: dict[str, list[str]] = {}
    domains: dict[str, str] = {}
    for file in originals.names:
        if found := _MEMBER.search(file):
            images.setdefault(found["name"], []).append(file)
            domains[found["name"]] = found["domain"]
    splits = _read_splits(originals)
    listed = [name for names in splits.values() for name in names]
    if len(listed) != len(set(listed)):
        raise DataError(f"{_SPLITS} in {originals.path} has a class in two splits.")
    if differing := set(listed) ^ set(images):
        raise DataError(
            f"{_SPLITS} in {originals.path} and the images there differ in {len(differing)} "
            f"classes, {min(differing)} among them.",
            hint=f"PATH must be {ARCHIVE.layout}.",
        )
    return Contents(
        [
            ImageClass(name=name, group=domains[name], images=tuple(each_once(files)))
            for name, files in images.items()
        ],
        splits={"published": splits},
        stamps=(Stamp.SUBSTITUTE,),
    )


def _read_splits(originals: Originals) -> dict[str, tuple[str, ...]]:
    files = [name for name in originals.names if name.rpartition("/")[2] == _SPLITS]
    if len(files) != 1:
        raise DataError(
            f"{originals.path} holds {len(files) or 'no'} {_SPLITS}; exactly one is needed.",
            hint=f"PATH must be {ARCHIVE.layout}.",
        )
    try:
        lists: dict[str, Any] = json.loads(originals.read(files[0]))
        return {
            f"meta-{split}": tuple(
                f"{domain}/{name}" for domain in sorted(lists) for name in lists[domain][split]
            )
            for split in ("train", "val", "test")
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{files[0]} in {originals.path} is not a list of train, val and test classes by "
            "domain."
        ) from error


ARCHIVE = Archive(
    name="four-domains",
    files=(),
    layout=(
        "a folder with birds.zip, textures.zip, aircraft.zip, flowers.zip and splits.json, or "
        "with splits.json and the folders birds, textures, aircraft and flowers"
    ),
    archives=("birds.zip", "textures.zip", "aircraft.zip", "flowers.zip"),
    scan=scan,
    parts={"birds": 100, "textures": 112, "aircraft": 46, "flowers": 89},
    per_class=None,
    mode="RGB",
    preparation=Preparation(size=SIZE, resize="lanczos"),
    licence=LICENCE,
    citation=CITATION,
)


class FourDomainsParams(DomainParams):
    """Which domain, and how its images are prepared."""

    domain: Domain = Field(default="birds", description="One of the four domains.")


def load(params: FourDomainsParams) -> ClassData:
    """Load the packed images of one domain.

    Raises:
        DataError: they have not been prepared so, or are damaged.
    """
    return open_domain(ARCHIVE.name, params.preparation(), domain=params.domain)


_LOOK_ALIKES: dict[Domain, tuple[int, int, int]] = {
    "birds": (24, 8, 10),
    "textures": (28, 8, 12),
    "aircraft": (16, 6, 8),
    "flowers": (20, 7, 9),
}
"""Classes of each look-alike: as unequal as those of the real domains, but fewer."""


def synthesize(params: FourDomainsParams) -> ClassData:
    """Generate a look-alike of one domain: drawings, fewer classes."""
    seed = 1 + list(_LOOK_ALIKES).index(params.domain)
    return look_alike(_LOOK_ALIKES[params.domain], size=params.size, seed=seed)


SPEC = DatasetSpec(
    name=ARCHIVE.name,
    version=1,
    summary="Small real images of birds, textures, aircraft and flowers; a substitute "
    "for Multi-datasets.",
    params="metabench_plugins.datasets.four_domains:FourDomainsParams",
    reference="substitute for the data of Yao et al., ICML 2019",
    kind="classes",
    factory="metabench_plugins.datasets.four_domains:load",
    synthetic="metabench_plugins.datasets.four_domains:synthesize",
    archive="metabench_plugins.datasets.four_domains:ARCHIVE",
    licence=LICENCE,
    citation=CITATION,
)
