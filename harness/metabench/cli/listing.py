"""``metabench list`` and ``metabench show``: what can be chosen, and what each choice is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench.cli.formats import JsonOption, TextFormatOption, asks_for_json
from metabench.cli.screen import put
from metabench.cli.showing import WideOption, screen_of
from metabench.errors import MetabenchError, UsageError, unknown
from metabench.plugin.loading import kind_in_words
from metabench.plugin.source_deviation import DEVIATIONS, SourceDeviation
from metabench.plugin.specs import DatasetSpec, LearnerSpec, MetricSpec
from metabench.render.columns import columns, telling_columns
from metabench.render.layout import wrap
from metabench.text import as_in_yaml, plain

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from metabench.plugin.catalog import Catalog, Kind
    from metabench.plugin.specs import Spec

KINDS: dict[str, Kind] = {
    "learners": "learner",
    "suites": "suite",
    "datasets": "dataset",
    "networks": "space",
    "strategies": "strategy",
    "metrics": "metric",
    "executors": "executor",
    "trackers": "tracker",
    "references": "reference",
}
"""The words of the command line, and those of the catalog."""

_SHOWN = {
    "licence": "license",
    "space": "network",
}
"""What fields of a spec or a suite file are called where people read them."""

_GIVEN = {
    "learners": ("learner", "parameters"),
    "spaces": ("network", "parameters"),
    "backends": ("learner", "network and strategy"),
}
"""The tables of what a suite file gives single learners and networks, by field."""

_ABSENT: tuple[Any, ...] = (None, "", {}, [])
"""Values that say nothing, whose lines are left out."""

_FORMER = {"space": "networks", "spaces": "networks"}
"""Words that mean the same and are no longer shown."""


def _complete_kind(incomplete: str) -> list[str]:
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def _complete_name(incomplete: str) -> list[str]:
    from metabench.plugin.catalog import load_catalog

    catalog = load_catalog()
    names = {name for kind in KINDS.values() for name in _named(catalog, kind)}
    return sorted(name for name in names if name.startswith(incomplete))


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help=f"What to list: {', '.join(KINDS)}. By default, everything.",
            autocompletion=_complete_kind,
        ),
    ] = None,
    wide: WideOption = False,
    format: TextFormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what can be chosen: learners, suites, datasets, networks, strategies, metrics, ..."""
    from metabench.cli.context import catalog

    found = catalog()
    wanted = list(KINDS) if kind is None else [_plural(kind)]
    listed = {name: _entries(found, KINDS[name]) for name in wanted}
    if asks_for_json(format, as_json=as_json, wide=wide):
        put(json.dumps(listed, indent=2))
        return
    width = screen_of(wide=wide).of_rows
    blocks = [
        f"{name}\n{_table(entries, width)}" if kind is None else _table(entries, width)
        for name, entries in listed.items()
        if entries or kind is not None
    ]
    put("\n\n".join(blocks))


def show(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a learner, suite, dataset, network, strategy, metric, executor or "
            "tracker, the key of a paper's table, or the file of a suite or of such a table.",
            autocompletion=_complete_name,
        ),
    ],
    wide: WideOption = False,
    format: TextFormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Describe what `metabench list` names, such as a learner, a suite or a paper's table.

    Print its parameters with their defaults and bounds; for a suite, its settings and budgets; for
    a paper's table, its numbers and the protocol of each row. A name that several kinds share is
    described once for each.
    """
    from metabench.cli.context import catalog

    found = catalog()
    if name.endswith((".yaml", ".yml")):
        things = [_of_file(Path(name))]
    else:
        things = [(k, _named(found, k)[name]) for k in KINDS.values() if name in _named(found, k)]
    if not things:
        known = {known for kind in KINDS.values() for known in _named(found, kind)}
        raise found.unknown("name", name, known)
    if asks_for_json(format, as_json=as_json, wide=wide):
        details = [_details(found, kind, name, thing) for kind, thing in things]
        put(json.dumps(details, indent=2, default=str))
    else:
        width = screen_of(wide=wide).of_rows
        put("\n\n".join(page_of(found, kind, name, thing, width) for kind, thing in things))


def _named(catalog: Catalog, kind: Kind) -> Mapping[str, Any]:
    """Everything of one kind by the name that a user gives it: of references, the key."""
    if kind != "reference":
        return catalog.named(kind)
    from metabench.papers.reference_files import readable_references

    return readable_references(catalog)


def _of_file(file: Path) -> tuple[Kind, Any]:
    """The suite or the paper's table that a file describes."""
    from metabench.papers.reference_files import load_reference
    from metabench.planning.yaml_files import read_mapping

    if not file.is_file():
        raise UsageError(
            f"There is no file {file}.",
            hint="metabench show describes the file of a suite or of a paper's table, and what "
            "metabench list names.",
        )
    values = read_mapping(file, of="a suite or a paper's table")
    if "claims" in values:
        raise UsageError(
            f"{file} is a file of claims, which metabench show does not describe.",
            hint="metabench claims judges them.",
        )
    return ("reference", load_reference(file)) if "citation" in values else ("suite", file)


def _plural(kind: str) -> str:
    kind = _FORMER.get(kind, kind)
    for plural, singular in KINDS.items():
        if kind in (plural, kind_in_words(singular)):
            return plural
    raise unknown("kind", kind, KINDS)


def _entries(catalog: Catalog, kind: Kind) -> list[dict[str, Any]]:
    entries = []
    for name, thing in sorted(_named(catalog, kind).items()):
        facts = _facts(kind, thing)
        origin = catalog.origin(kind, name.replace("/", "-"))
        entries.append({"name": name, **facts, "plugin": origin.name, "from": origin.distribution})
    return entries


def _facts(kind: Kind, thing: Any) -> dict[str, Any]:
    if kind == "suite":
        return _suite_facts(thing)
    if kind == "reference":
        return {"version": "", "summary": f"{thing.title} ({thing.citation.published})"}
    return _spec_facts(thing)


def _spec_facts(spec: Spec) -> dict[str, Any]:
    facts: dict[str, Any] = {"version": spec.version, "summary": spec.summary}
    for attribute in ("kinds", "searches", "searched", "licence"):
        value = getattr(spec, attribute, None)
        if value is not None:
            facts[attribute] = list(value) if isinstance(value, tuple) else value
    if isinstance(spec, DatasetSpec):
        facts["holds"] = spec.kind
    if isinstance(spec, MetricSpec):
        facts |= spec.described
    return facts


def _suite_facts(file: Traversable) -> dict[str, Any]:
    from metabench.planning.suite import load_suite

    try:
        suite = load_suite(file)
    except MetabenchError as error:  # one broken file must not hide the others
        return {"summary": f"cannot be read: {error.message}"}
    return {
        "version": suite.version,
        "summary": suite.summary,
        "task": suite.task,
        "settings": list(suite.settings),
        "budgets": list(suite.budgets),
    }


def _table(entries: list[dict[str, Any]], width: int | None) -> str:
    if not entries:
        return "none"
    header = ["name", "version", "from", "summary"]
    rows = [[str(entry.get(key, "")) for key in header] for entry in entries]
    return telling_columns(header, rows, width, but=("name", "summary"))


def _details(catalog: Catalog, kind: Kind, name: str, thing: Any) -> dict[str, Any]:
    about = {"kind": kind_in_words(kind), "name": name, **_origin(catalog, kind, name)}
    if kind == "reference":
        from metabench.papers.described import described

        return about | described(thing)
    if kind == "suite":
        from metabench.cli.suite_values import values_of_plugins
        from metabench.planning.suite import load_suite

        suite = load_suite(thing)
        values = suite.model_dump(mode="json")
        ordered = dict(sorted(values.items(), key=lambda item: isinstance(item[1], dict)))
        brought = values_of_plugins(suite, catalog)
        return about | ordered | ({"values of plugins": brought} if brought else {})
    from metabench.cli.parameters import parameters

    more = {key: getattr(thing, key, "") for key in ("reference", "citation")}
    facts = _spec_facts(thing) | {key: value for key, value in more.items() if value}
    if getattr(thing, "suite_defaults", None) is not None:
        from metabench.cli.suite_values import values_for_suites

        facts["values for suites"] = values_for_suites(thing, catalog)
    if isinstance(thing, LearnerSpec):
        facts["deviations"] = [one.model_dump(mode="json") for one in thing.deviations]
    return about | facts | {"parameters": parameters(thing)}


def _origin(catalog: Catalog, kind: Kind, name: str) -> dict[str, str]:
    if name.endswith((".yaml", ".yml")):
        return {"from": name}
    origin = catalog.origin(kind, name.replace("/", "-"))
    return {"plugin": origin.name, "from": f"{origin.distribution} {origin.version}".strip()}


def page_of(catalog: Catalog, kind: Kind, name: str, thing: Any, width: int | None) -> str:
    """What ``metabench show`` prints of one thing, within the columns of a terminal."""
    if kind == "reference":
        from metabench.cli.references import reference_page

        return reference_page(thing, width)
    return _tables(_details(catalog, kind, name, thing), width)


def _tables(detail: dict[str, Any], width: int | None) -> str:
    from metabench.cli.parameters import parameter_table

    brought = ("values for suites", "values of plugins")
    given = [key for key in _GIVEN if isinstance(detail.get(key), dict)]
    tables = ("parameters", "settings", "budgets", "evaluations", "sources", "deviations")
    head = columns(
        [str(detail["kind"]), str(detail["name"])],
        [
            [_SHOWN.get(key, key), _words(value)]
            for key, value in detail.items()
            if key not in ("kind", "name", *tables, *brought, *given) and value not in _ABSENT
        ],
        width,
    )
    blocks = [head]
    if detail.get("parameters"):
        blocks.append(parameter_table(detail["parameters"], width))
    if "sources" in detail:
        rows = [[s["name"], s["dataset"], _words(s["params"])] for s in detail["sources"]]
        blocks.append(columns(["source", "dataset", "parameters"], rows, width))
    for key in given:
        if detail[key]:
            told = _present if key == "backends" else dict
            rows = [[name, _words(told(values))] for name, values in detail[key].items()]
            blocks.append(columns(_GIVEN[key], rows, width))
    layers = {"settings": "setting", "budgets": "budget", "evaluations": "evaluation"}
    for key, title in layers.items():
        if detail.get(key):
            rows = [[name, *_layer(layer)] for name, layer in detail[key].items()]
            blocks.append(columns([title, "summary", "values"], rows, width))
    for key in brought:
        if detail.get(key):
            header = list(detail[key][0])
            rows = [[_words(row[name]) for name in header] for row in detail[key]]
            blocks.append(f"{key}:\n{columns(header, rows, width)}")
    if detail.get("deviations"):
        found = (SourceDeviation.model_validate(one) for one in detail["deviations"])
        said = [plain(f"- {one.described}") for one in found]
        lines = [line for text in said for line in wrap(text, width, indent="  ")]
        blocks.append("\n".join([f"{DEVIATIONS}:", *lines]))
    return "\n\n".join(blocks)


def _layer(layer: dict[str, Any]) -> tuple[str, str]:
    said = {key: value for key, value in layer.items() if key != "summary"}
    return layer["summary"], _words(_present(said))


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in _ABSENT}


def _words(value: Any) -> str:
    """A value on one line, ``ways=5 shots=1``, in the words of a suite file."""
    if isinstance(value, dict):
        return " ".join(
            f"{key}({_words(item)})" if isinstance(item, dict) else f"{key}={_words(item)}"
            for key, item in ((_SHOWN.get(key, key), item) for key, item in value.items())
        )
    if isinstance(value, list | tuple):
        return ", ".join(_words(item) for item in value)
    return as_in_yaml(value)
