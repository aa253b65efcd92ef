"""``metabench data show``: the content of a dataset or of a suite's sources, also as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench.cli.archives import packs_of
from metabench.cli.formats import JsonOption, TextFormatOption, asks_for_json
from metabench.cli.output import writing
from metabench.cli.run import Data
from metabench.cli.screen import put, say
from metabench.cli.showing import screen_width
from metabench.errors import DataError, UsageError
from metabench.render.columns import columns

if TYPE_CHECKING:
    from metabench.planning.runspec import SourceChoice
    from metabench.plugin.catalog import Catalog
    from metabench.plugin.contracts.data import ClassData
    from metabench.plugin.specs import DatasetSpec

SPLITS = ("meta-train", "meta-val", "meta-test")


def _complete_name(incomplete: str) -> list[str]:
    from metabench.cli.context import catalog

    known = catalog()
    return sorted(n for n in {*known.datasets, *known.suites} if n.startswith(incomplete))


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Name of a dataset or a suite, or the path of a suite file.",
            autocompletion=_complete_name,
        ),
    ],
    data: Annotated[
        Data, typer.Option(help="Show the real files, or the generated look-alike.")
    ] = Data.REAL,
    grid: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw one episode of each source to this file."),
    ] = None,
    format: TextFormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show counts, splits, license and fingerprints of a dataset, or of a suite's sources."""
    from metabench.cli.context import catalog

    known = catalog()
    choices = _choices(name, known)
    sources = [(choice, _class_data(choice, known, data)) for choice in choices]
    datasets = [known.dataset(n) for n in dict.fromkeys(choice.name for choice in choices)]
    if grid is not None:
        _write_grid([(choice.source, found) for choice, found in sources], grid)
    shown = {
        "name": name,
        "data": data.value,
        "datasets": [_describe_dataset(spec, data) for spec in datasets],
        "sources": [_describe_source(choice, found) for choice, found in sources],
    }
    put(json.dumps(shown, indent=2) if asks_for_json(format, as_json=as_json) else _in_words(shown))
    if grid is not None:
        say(f"One episode of each source is drawn in {grid}.")


def _choices(name: str, known: Catalog) -> tuple[SourceChoice, ...]:
    """The sources of the suite of that name, or the dataset with its default parameters."""
    from metabench.planning.plan import source_choices, suite_file
    from metabench.planning.runspec import SourceChoice
    from metabench.planning.suite import load_suite
    from metabench.planning.validation import validated

    if name in known.suites or (name not in known.datasets and name.endswith((".yaml", ".yml"))):
        return source_choices(load_suite(suite_file(name, known)), {}, known)
    spec = known.dataset(name)
    params = validated(spec.params_model(), {}, what="data").model_dump(mode="json")
    return (SourceChoice(source=name, name=name, version=spec.version, params=params),)


def _class_data(choice: SourceChoice, known: Catalog, data: Data) -> ClassData:
    from metabench.planning.source_data import load_data
    from metabench.plugin.contracts.data import ClassData

    found = load_data(choice, known, data=data.value)
    if not isinstance(found, ClassData):
        raise UsageError(
            f"Source {choice.source} generates functions, so it has no classes to show.",
            hint=f"Its parameters are {choice}.",
        )
    return found


def _describe_dataset(spec: DatasetSpec, data: Data) -> dict[str, Any]:
    from metabench.plugin.specs import resolve

    archive = resolve(spec.archive) if spec.archive else None
    folders = packs_of(spec.name) if archive and data is Data.REAL else ()
    return {
        "name": spec.name,
        "summary": spec.summary,
        "licence": spec.licence,
        "citation": spec.citation,
        "presets": {
            preset: preparation.model_dump()
            for preset, preparation in (archive.presets if archive else {}).items()
        },
        "packs": [_describe_pack(folder) for folder in folders],
    }


def _describe_pack(folder: Path) -> dict[str, Any]:
    """A pack; one that is damaged need not be that of the source which is shown."""
    from metabench.data.pack import read_pack

    try:
        index = read_pack(folder).index
    except DataError as error:
        return {"folder": str(folder), "error": error.message}
    return {
        "folder": str(folder),
        "error": "",
        "digest": index.digest,
        "preparation": index.model_dump()["preparation"],
        "stamps": list(index.stamps),
        "notes": list(index.notes),
        "originals_sha256": index.originals_sha256,
        "archives_sha256": index.archives_sha256,
    }


def _describe_source(choice: SourceChoice, data: ClassData) -> dict[str, Any]:
    import numpy as np

    sizes = np.diff(data.offsets)
    return {
        "source": choice.source,
        "dataset": choice.name,
        "params": choice.params | choice.places,
        "fingerprint": data.fingerprint,
        "stamps": list(data.stamps),
        "notes": list(data.notes),
        "classes": {
            split: [data.class_names[c] for c in data.splits.get(split, ())] for split in SPLITS
        },
        "image": list(data.images.shape[1:]),
        "n_images": int(sizes.sum()),
        "images_per_class": [int(sizes.min()), int(sizes.max())],
        "n_classes": {split: len(data.splits.get(split, ())) for split in SPLITS},
        "rotations": dict(data.rotations),
    }


def _in_words(shown: dict[str, Any]) -> str:
    lines = []
    for dataset in shown["datasets"]:
        lines += [f"{dataset['name']}: {dataset['summary']}", f"license  {dataset['licence']}"]
        lines += [f"cite     {dataset['citation']}"] if dataset["citation"] else []
        for preset, preparation in dataset["presets"].items():
            lines += [f"preset   {preset}: {_preparation_in_words(preparation)}"]
        for pack in dataset["packs"]:
            if pack["error"]:
                lines += [f"damaged  {pack['error']}"]
                continue
            done = _preparation_in_words(pack["preparation"])
            lines += [f"packed   {done}: {pack['folder']}, digest {pack['digest']}"]
            lines += [f"note     {note}" for note in pack["notes"]]
        lines += [""]
    header = ["source", "classes train/val/test", "images", "per class", "size", "fingerprint"]
    rows = [
        [
            source["source"],
            "/".join(str(n) for n in source["n_classes"].values()),
            str(source["n_images"]),
            "-".join(str(n) for n in dict.fromkeys(source["images_per_class"])),
            "x".join(str(n) for n in source["image"]),
            source["fingerprint"],
            ", ".join(source["stamps"]),
        ]
        for source in shown["sources"]
    ]
    lines += [columns([*header, "stamps"], rows, screen_width())]
    for source in shown["sources"]:
        for split, names in source["classes"].items():
            lines += [f"{source['source']} {split}: {_few(names)}"] if names else []
        lines += [f"{source['source']} note: {note}" for note in source["notes"]]
    return "\n".join(lines)


def _few(names: list[str], most: int = 10) -> str:
    """The first names, and how many there are beyond them; ``--json`` has all."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more (--json lists all)" if more > 0 else "")


def _preparation_in_words(done: dict[str, Any] | None) -> str:
    if done is None:
        return "vectors"
    cut = "" if done["crop"] == "none" else f", cropped to the {done['crop']}"
    return f"{done['size']}x{done['size']}, {done['resize']}{cut}"


def _write_grid(sources: list[tuple[str, ClassData]], path: Path) -> None:
    from metabench.render.figures.contact_sheet import contact_sheet

    if path.suffix.lower() != ".png":
        raise UsageError(
            f"--grid {path} does not end in .png.", hint="Name a file that ends in .png."
        )
    vectors = [source for source, data in sources if data.images.ndim == 2]
    if vectors:
        raise UsageError(
            f"Source {vectors[0]} holds vectors, which cannot be drawn.", hint="Leave out --grid."
        )
    sheet = contact_sheet(sources, split="meta-test")
    with writing(path) as place:
        sheet.save(place, "png")
