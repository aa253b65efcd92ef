"""``metabench plugins``: list plugins, check them, and create one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench.cli.commands import App
from metabench.cli.formats import JsonOption, TextFormatOption, asks_for_json
from metabench.cli.screen import put, say
from metabench.cli.showing import WideOption, screen_of
from metabench.errors import PluginError, UsageError
from metabench.plugin.loading import kind_in_words
from metabench.render.columns import columns
from metabench.text import counted

if TYPE_CHECKING:
    from metabench.conformance import Check, FileKind, Outcome
    from metabench.plugin.catalog import Catalog, Kind, PluginInfo

FILES: tuple[FileKind, ...] = ("suite", "reference", "claims")
"""The kinds of things that are files."""

CHECKED: tuple[Kind, ...] = (
    "dataset",
    "space",
    "strategy",
    "learner",
    "metric",
    "executor",
    "tracker",
    *FILES,
)
"""The kinds that the conformance kit knows, in the order in which they are checked."""


class NewKind(StrEnum):
    """What a new plugin can provide."""

    learner = "learner"
    dataset = "dataset"
    network = "network"
    strategy = "strategy"
    metric = "metric"
    tracker = "tracker"
    suite = "suite"
    executor = "executor"


_AMONG: dict[NewKind, Kind] = {
    NewKind.learner: "learner",
    NewKind.dataset: "dataset",
    NewKind.network: "space",
    NewKind.strategy: "strategy",
    NewKind.metric: "metric",
    NewKind.tracker: "tracker",
    NewKind.suite: "suite",
    NewKind.executor: "executor",
}
"""The words of the catalog for them."""

plugins_app = App(
    help="List, check and create plugins.", no_args_is_help=True, rich_markup_mode=None
)


@plugins_app.command("list")
def list_plugins(
    wide: WideOption = False,
    format: TextFormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the installed plugins and what they provide, or why they cannot be used."""
    from metabench.cli.context import catalog

    plugins = catalog(with_broken_files=True).plugins
    if asks_for_json(format, as_json=as_json, wide=wide):
        put(json.dumps([_described(plugin) for plugin in plugins], indent=2))
        return
    rows = [
        [p.name, f"{p.distribution} {p.version}".strip(), p.status, _provided(p)] for p in plugins
    ]
    header = ["plugin", "from", "status", "provides"]
    put(columns(header, rows, screen_of(wide=wide).of_rows))


@plugins_app.command("check")
def check(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE]",
            help="What to check: a plugin, its package, a plugin file, or one thing that a plugin "
            "provides, such as a learner. By default, everything.",
        ),
    ] = None,
) -> None:
    """Run the conformance kit on what plugins provide; exit with 4 if a check fails."""
    from metabench.cli.context import catalog, plugin_files
    from metabench.plugin.catalog import load_catalog

    if target is not None and target.endswith(".py"):
        file = Path(target)
        found, target = load_catalog(dict.fromkeys([*plugin_files(), file])), str(file)
    else:
        found = catalog(with_broken_files=True)
    plugins, things = _targets(found, target)
    n_failed = sum(_check_plugin(plugin) for plugin in plugins)
    for kind, name in things:
        put(f"{kind_in_words(kind)} {name}")
        n_failed += _check_one(found, kind, name)
    if n_failed:
        raise PluginError(
            f"{counted(n_failed, 'check')} failed.",
            hint="To run the same checks in pytest, use metabench.conformance.checks.",
        )


@plugins_app.command("new")
def new(
    name: Annotated[
        str, typer.Argument(help="Name of what the plugin provides, such as my-learner.")
    ],
    kind: Annotated[NewKind, typer.Option(help="What the plugin provides.")] = NewKind.learner,
    directory: Annotated[
        Path, typer.Option("--dir", help="Create the folder metabench-NAME in this folder.")
    ] = Path(),
) -> None:
    """Create a plugin: an installable package with one working thing of a kind, and its tests."""
    from metabench.cli.context import catalog
    from metabench.plugin.template import render

    if name in catalog().named(_AMONG[kind]):
        raise UsageError(f"There is already a {kind} {name!r}.", hint="Choose another name.")
    folder = render(name, directory, kind=kind.value)
    put(folder)
    say(f"Next: pip install -e {shlex.quote(str(folder))} && metabench plugins check {name}")


def _described(plugin: PluginInfo) -> dict[str, Any]:
    named = {kind_in_words(kind): names for kind, names in plugin.provides.items()}
    root = None if plugin.root is None else str(plugin.root)
    return asdict(plugin) | {"provides": named, "root": root}


def _provided(plugin: PluginInfo) -> str:
    if plugin.error:
        return plugin.error
    counts = {kind: len(names) for kind, names in plugin.provides.items()}
    offer = [_counted(n, kind) for kind, n in counts.items()]
    return ", ".join([*offer, *(["listens to events"] if plugin.listens else [])]) or "nothing"


def _counted(n: int, kind: str) -> str:
    """``1 dataset``, ``2 strategies``; claims are counted by their files."""
    word = kind_in_words(kind)
    one, several = {
        "strategy": ("strategy", "strategies"),
        "claims": ("file of claims", "files of claims"),
    }.get(kind, (word, f"{word}s"))
    return counted(n, one, several)


def _targets(
    catalog: Catalog, target: str | None
) -> tuple[list[PluginInfo], list[tuple[Kind, str]]]:
    """The plugins and the things to check."""
    plugins = [
        plugin
        for plugin in catalog.plugins
        if target is None or target in (plugin.name, plugin.distribution)
    ]
    if plugins:
        things = [
            (kind, name)
            for plugin in plugins
            for kind in CHECKED
            for name in plugin.provides.get(kind, ())
        ]
        return plugins, things
    things = [(kind, name) for kind in CHECKED for name in catalog.named(kind) if name == target]
    if not things:
        raise catalog.unknown("plugin", str(target), _known(catalog))
    return [], things


def _known(catalog: Catalog) -> Iterator[str]:
    for plugin in catalog.plugins:
        yield from (plugin.name, plugin.distribution)
    for kind in CHECKED:
        yield from catalog.named(kind)


def _check_plugin(plugin: PluginInfo) -> int:
    """Print what is wrong with a plugin as a whole; return how many checks failed."""
    if plugin.status == "error":
        wrong = f"it loads: {plugin.error}"
    elif not plugin.provides and not plugin.listens:
        wrong = "it provides something: it provides nothing."
    else:
        if not plugin.provides:
            put(f"plugin {plugin.name}\n  ok       it listens to events")
        return 0
    put(f"plugin {plugin.name}\n  FAILED   {wrong}")
    return 1


def _check_one(catalog: Catalog, kind: Kind, name: str) -> int:
    """Print the outcome of every check of one thing; return how many failed."""
    from metabench import conformance

    n_failed = 0
    file: FileKind = next((one for one in FILES if one == kind), "suite")
    checks = conformance.checks(catalog.named(kind)[name], catalog=catalog, file=file)
    for names, outcome in _grouped_outcomes(checks):
        n_failed += outcome.status == "FAILED"
        what = names[0] if len(names) == 1 else counted(len(names), "check")
        reason = f": {outcome.reason}" if outcome.reason else ""
        put(f"  {outcome.status:<8} {what}{reason}")
    return n_failed


def _grouped_outcomes(checks: Iterable[Check]) -> Iterator[tuple[list[str], Outcome]]:
    """Run checks; those in a row that one reason keeps from running come as one."""
    from metabench.conformance import Outcome, run_check

    kept: list[str] = []
    why = Outcome("ok")
    for check in checks:
        outcome = run_check(check)
        if kept and outcome != why:
            yield kept, why
            kept = []
        if outcome.status == "skipped":
            kept, why = [*kept, str(check)], outcome
        else:
            yield [str(check)], outcome
    if kept:
        yield kept, why
