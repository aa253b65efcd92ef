"""From the arguments of ``metabench data`` to an archive, its name and a preparation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from metabench.errors import UsageError, unknown

if TYPE_CHECKING:
    from metabench.data import Archive, Preparation
    from metabench.plugin.specs import DatasetSpec


def packable() -> dict[str, DatasetSpec]:
    """The datasets whose files can be fetched or imported, by name."""
    from metabench.cli.context import catalog

    return {name: spec for name, spec in catalog().datasets.items() if spec.archive is not None}


def archive_of(name: str) -> Archive:
    """How a dataset is published.

    Raises:
        UsageError: the dataset does not exist, or has nothing to fetch or import.
    """
    from metabench.cli.context import catalog
    from metabench.plugin.specs import resolve

    spec = catalog().dataset(name)
    if spec.archive is None:
        what = "is generated" if spec.kind == "functions" else "manages its own files"
        raise UsageError(
            f"{name} {what}; there is nothing to fetch, import or verify.",
            hint=f"`metabench show {name}` describes it.",
        )
    archive: Archive = resolve(spec.archive)
    return archive


def packs_of(name: str) -> list[Path]:
    """The folders of the packs of a dataset: of its archive, and of files that are it alone."""
    from metabench.data import list_packs

    names = dict.fromkeys((archive_of(name).name, name))
    return sorted(folder for one in names for folder in list_packs(one))


def under_name(archive: Archive, own_name: str | None, path: Path) -> Archive:
    """The archive under the name that the user gave it, if it takes one."""
    import dataclasses
    import re

    if not archive.named:
        if own_name is not None:
            raise UsageError(
                f"--name does not apply to {archive.name}.",
                hint="--name is for files of your own, which are imported as image-folder or "
                "feature-folder.",
            )
        return archive
    chosen = own_name or path.resolve().name.partition(".")[0]
    if not re.fullmatch(r"[\w-]+", chosen):
        raise UsageError(
            f"{chosen!r} cannot be the name of the {archive.examples}.",
            hint="Choose a name of letters, digits, - and _ with --name.",
        )
    return dataclasses.replace(archive, name=f"{archive.name}/{chosen}")


def preparation_of(
    archive: Archive,
    preset: str | None,
    *,
    dataset: str,
    size: int | None,
    resize: str | None,
    crop: str | None,
) -> Preparation | None:
    """The named preset, or the archive's own preparation, with the user's options on top.

    Args:
        archive: how the dataset is published.
        preset: of the archive; None for its own preparation.
        dataset: its name.
        size: of the images; None for that of the preset.
        resize: the filter; None for that of the preset.
        crop: how images are cropped; None for as in the preset.

    Raises:
        UsageError: for unknown names, and what no suite could open.
    """
    from metabench.cli.context import catalog
    from metabench.data import Preparation, ResizeFilter
    from metabench.data.archive import Crop

    if preset is not None and preset not in archive.presets:
        raise unknown("preset", preset, archive.presets, of=archive.name)
    for what, value, known in (
        ("resize filter", resize, get_args(ResizeFilter)),
        ("crop", crop, get_args(Crop)),
    ):
        if value is not None and value not in known:
            raise unknown(what, value, known)
    base = archive.presets[preset] if preset else archive.preparation
    chosen = {"size": size, "resize": resize, "crop": crop}
    given = {key: value for key, value in chosen.items() if value is not None}
    if base is None:
        if given:
            raise UsageError(
                f"--{next(iter(given))} does not apply to {archive.name}, whose examples are "
                "vectors.",
                hint="Leave it out: vectors are packed as they are.",
            )
        return None
    if crop == "box" and "crop" not in catalog().dataset(dataset).params_model().model_fields:
        raise UsageError(
            f"--crop box does not apply to {dataset}, which knows no bounding boxes: no suite "
            "could open the pack.",
            hint="Leave it out: the whole images are packed.",
        )
    return Preparation.model_validate({**base.model_dump(), **given})
