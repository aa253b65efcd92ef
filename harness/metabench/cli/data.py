"""``metabench data``: get datasets, prepare them once, and verify them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench.cli.archives import archive_of, packable, packs_of, preparation_of, under_name
from metabench.cli.commands import App
from metabench.cli.data_clean import clean
from metabench.cli.data_show import show
from metabench.cli.formats import JsonOption, TextFormatOption, asks_for_json
from metabench.cli.screen import put, say
from metabench.cli.showing import screen_width
from metabench.errors import DataError
from metabench.render.columns import columns

if TYPE_CHECKING:
    from metabench.data import Archive, Pack
    from metabench.data.progress import Progress
    from metabench.plugin.specs import DatasetSpec

data_app = App(
    help="List, fetch, import, verify, show and clean datasets.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
data_app.command("show")(show)
data_app.command("clean")(clean)


def _complete_name(incomplete: str) -> list[str]:
    return [name for name in packable() if name.startswith(incomplete)]


NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name of the dataset; see `metabench data list`.",
        autocompletion=_complete_name,
    ),
]
VerifiedArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="Name of the dataset to verify. By default, all datasets are verified.",
        autocompletion=_complete_name,
    ),
]
LocatedArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="Name of the dataset. By default, the folder of all datasets is printed.",
        autocompletion=_complete_name,
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        min=8,
        max=512,
        help="Height and width of the packed images in pixels. [default: the preset's, or the "
        "dataset's own]",
    ),
]
ResizeOption = Annotated[
    str | None,
    typer.Option(
        help="The filter for resizing: nearest, box, bilinear, hamming, bicubic or lanczos. "
        "[default: the preset's, or the dataset's own]"
    ),
]
CropOption = Annotated[
    str | None,
    typer.Option(
        help="How images are cropped before resizing: none, or box (to the bounding box of the "
        "object, where the dataset has one). [default: the preset's, or the dataset's own]"
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        help="Prepare the images by this preset of the dataset; see `metabench data show`. "
        "--size, --resize and --crop override it."
    ),
]


@data_app.command("list")
def list_datasets(format: TextFormatOption = None, as_json: JsonOption = False) -> None:
    """List all datasets with their license, and their packs: folder and number of images."""
    from metabench.cli.context import catalog

    datasets = [_describe(spec) for _, spec in sorted(catalog().datasets.items())]
    if asks_for_json(format, as_json=as_json):
        put(json.dumps(datasets, indent=2))
        return
    rows = []
    for dataset in datasets:
        start = [dataset["name"], dataset["licence"]]
        if dataset["generated"] or dataset["own_files"]:
            state = "generated" if dataset["generated"] else "manages its own files"
            rows.append([*start, state, "", "", ""])
        elif not dataset["packs"]:
            rows.append([*start, "absent", "", "", ""])
        for pack in dataset["packs"]:
            state = pack["error"] or "packed"
            size = [str(pack.get(key, "")) for key in ("n_classes", "n_images")]
            rows.append([*start, state, *size, pack["folder"]])
    header = ["dataset", "license", "state", "classes", "images", "folder"]
    put(columns(header, rows, screen_width()))


@data_app.command("fetch")
def fetch(
    name: NameArgument,
    size: SizeOption = None,
    resize: ResizeOption = None,
    crop: CropOption = None,
    preset: PresetOption = None,
) -> None:
    """Download the official files of a dataset and pack them."""
    from metabench.data import fetch_archive

    archive = archive_of(name)
    preparation = preparation_of(archive, preset, dataset=name, size=size, resize=resize, crop=crop)
    with _progress() as report:
        pack = fetch_archive(archive, preparation=preparation, report=report)
    _say_packed(pack)


@data_app.command("import")
def import_(
    name: NameArgument,
    path: Annotated[
        Path,
        typer.Argument(
            help="A folder with the published files, packed or unpacked, or one archive file."
        ),
    ],
    size: SizeOption = None,
    resize: ResizeOption = None,
    crop: CropOption = None,
    preset: PresetOption = None,
    own_name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="For image-folder and feature-folder: a name for the examples. [default: the name "
            "of PATH]",
        ),
    ] = None,
    follow_links: Annotated[
        bool,
        typer.Option(
            "--follow-links",
            help="Follow links that lead out of PATH, such as class folders that are links. Use it "
            "only for a folder that you trust.",
        ),
    ] = False,
) -> None:
    """Pack a dataset from files that you already have."""
    from metabench.data import import_archive

    archive = under_name(archive_of(name), own_name, path)
    preparation = preparation_of(archive, preset, dataset=name, size=size, resize=resize, crop=crop)
    with _progress() as report:
        pack = import_archive(
            archive, path, preparation=preparation, report=report, follow_links=follow_links
        )
    _say_packed(pack)


@data_app.command("verify")
def verify(name: VerifiedArgument = None) -> None:
    """Check that the images of each pack still have the digest that its index records."""
    from metabench.data import data_root
    from metabench.data.pack import PackError, read_pack, verify_pack

    errors: list[PackError] = []
    folders = _folders(name)
    if not folders:
        say(f"Nothing is packed in {data_root()}.")
        return
    with _progress() as report:
        for folder, archive in folders.items():
            try:
                verify_pack(read_pack(folder, name=_pack_name(folder, archive)), report=report)
                put(f"ok       {folder}")
            except PackError as error:
                put(f"damaged  {folder}")
                errors.append(error.with_commands_of(archive))
    if errors:
        hints = dict.fromkeys(error.hint for error in errors)
        raise DataError(" ".join(error.message for error in errors), hint="\n".join(hints))


@data_app.command("path")
def path_(name: LocatedArgument = None) -> None:
    """Print the folders of a dataset's packs, or the folder of all datasets."""
    from metabench.data import data_root

    for folder in [data_root()] if name is None else _folders(name):
        put(folder)


def _folders(name: str | None) -> dict[Path, Archive]:
    """The folders of the packs of one dataset, which must have one, or of all datasets."""
    from metabench.data.pack import how_to_get

    names = sorted(packable()) if name is None else [name]
    found = {folder: archive_of(known) for known in names for folder in packs_of(known)}
    if name is not None and not found:
        archive = archive_of(name)
        raise DataError(
            f"{name} is not packed on this machine.", hint=how_to_get(archive.name, None, archive)
        )
    return found


def _pack_name(folder: Path, archive: Archive) -> str:
    """The name of the pack's dataset; images that were given a name are one folder deeper."""
    home = folder.parent.name
    return f"{archive.name}/{home}" if archive.named else home


def _describe(spec: DatasetSpec) -> dict[str, Any]:
    # Several datasets may use one archive.
    folders = packs_of(spec.name) if spec.archive else []
    return {
        "name": spec.name,
        "summary": spec.summary,
        "licence": spec.licence,
        "citation": spec.citation,
        "generated": spec.archive is None and spec.kind == "functions",
        "own_files": spec.archive is None and spec.kind == "classes",
        "packs": [_describe_pack(folder) for folder in folders],
    }


def _describe_pack(folder: Path) -> dict[str, Any]:
    from metabench.data.pack import read_pack

    try:
        pack = read_pack(folder)
    except DataError as error:
        return {"folder": str(folder), "error": error.message}
    return {
        "folder": str(folder),
        "error": "",
        "n_classes": len(pack.index.classes),
        "n_images": pack.index.shape[0],
        "preparation": pack.index.model_dump()["preparation"],
        "digest": pack.index.digest,
    }


def _say_packed(pack: Pack) -> None:
    index = pack.index
    say(
        f"{index.dataset}: {index.shape[0]} {index.examples} of {len(index.classes)} classes, "
        f"digest {index.digest}, license {index.licence}"
    )
    if pack.kept:
        say(f"The same {index.examples} are already packed there; nothing was changed.")
    if index.stamps:
        say(f"Results on these {index.examples} are stamped {', '.join(index.stamps)}.")
    for note in index.notes:
        say(note)
    put(pack.folder)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A progress bar on stderr for each piece of work; nothing if stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import Progress, TaskID

    console = Console(stderr=True)
    lines: dict[str, TaskID] = {}
    with Progress(console=console, disable=not console.is_terminal) as progress:

        def report(what: str, done: int, total: int) -> None:
            if what not in lines:
                lines[what] = progress.add_task(what, total=total)
            progress.update(lines[what], completed=done)

        yield report
