"""What a user of ``metabench data`` means: an archive, its name, and how images are prepared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from metabench.errors import UsageError, unknown

if TYPE_CHECKING:
    from metabench.data import Archive, Preparation
    from metabench.plugin.specs import DatasetSpec


def packable() -> dict[str, DatasetSpec]:
    """The datasets that come as files to fetch or to import, by name."""
    from metabench.cli.context import catalog

    return {name: spec for name, spec in catalog().datasets.items() if spec.archive is not None}


def archive_of(name: str) -> Archive:
    """How a dataset is published.

    Raises:
        UsageError: there is no such dataset, or nothing of it to fetch or import.
    """
    from metabench.cli.context import catalog
    from metabench.plugin.specs import resolve

    spec = catalog().dataset(name)
    if spec.archive is None:
        what = "is generated" if spec.kind == "functions" else "brings or finds its files itself"
        raise UsageError(
            f"{name} {what}; there is nothing to fetch, import or verify.",
            hint=f"What it is: metabench show {name}",
        )
    archive: Archive = resolve(spec.archive)
    return archive


def under_name(archive: Archive, own_name: str | None, path: Path) -> Archive:
    """The archive under the name that the user gave it, where it can have one."""
    import dataclasses
    import re

    if not archive.named:
        if own_name is not None:
            raise UsageError(f"{archive.name} has its name; --name is for images of your own.")
        return archive
    chosen = own_name or path.resolve().name.partition(".")[0]
    if not re.fullmatch(r"[\w-]+", chosen):
        raise UsageError(
            f"{chosen!r} cannot be a name: use letters, digits, - and _.", hint="See --name."
        )
    return dataclasses.replace(archive, name=f"{archive.name}/{chosen}")


def preparation_of(
    archive: Archive,
    preset: str | None,
    *,
    size: int | None,
    resize: str | None,
    crop: str | None,
) -> Preparation:
    """The preset of that name, or the archive's own preparation, with what the user chose."""
    from metabench.data import Preparation, ResizeFilter
    from metabench.data.archive import Crop

    for what, value, known in (
        ("resize filter", resize, get_args(ResizeFilter)),
        ("crop", crop, get_args(Crop)),
        (f"preset of {archive.name}", preset, archive.presets),
    ):
        if value is not None and value not in known:
            raise unknown(what, value, known)
    base = archive.presets[preset] if preset else archive.preparation
    chosen = {"size": size, "resize": resize, "crop": crop}
    given = {key: value for key, value in chosen.items() if value is not None}
    return Preparation.model_validate({**base.model_dump(), **given})
