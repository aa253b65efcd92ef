"""Write `docs/reference` from the code: `python docs/generate_reference.py [--check]`.

With `--check` nothing is written; pages that differ from the code are named and the exit code is 1.
Only what metabench itself brings is described, whatever other plugins are installed.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from reference_claims import claims_page
from reference_papers import papers_page
from reference_suites import suite_page
from reference_text import (
    aliases,
    attributes,
    definition,
    deviation_table,
    fields,
    option_rows,
    prose,
    table,
    words,
)

import metabench
import metabench.conformance
import metabench.data
import metabench.nn
from metabench import errors
from metabench.cli import app
from metabench.cli.parameters import parameter_rows, parameters
from metabench.papers.claims import load_claims
from metabench.papers.reference_files import load_reference
from metabench.planning import evaluation, runspec, suite
from metabench.planning.overrides import EXECUTOR, OF_ONE, SCOPES
from metabench.planning.tuned import Tuned
from metabench.plugin import hookspecs, source_deviation, specs
from metabench.plugin.catalog import Catalog, Kind, load_catalog
from metabench.plugin.contracts.metric import MetricFacts
from metabench.reports import entries
from metabench.results import schema as records
from metabench.results import tunings
from metabench.running.figure_data import EPISODES, MOST_FITS, MOST_STEPS, POINTS
from metabench.running.loops import EMBEDDED

REFERENCE = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Written by docs/generate_reference.py; change the code, not this page. -->"
SPECS = (
    specs.DatasetSpec,
    specs.LearnerSpec,
    specs.SearchSpaceSpec,
    specs.NasStrategySpec,
    specs.MetricSpec,
    specs.ExecutorSpec,
    specs.TrackerSpec,
    specs.RunEvent,
    source_deviation.SourceDeviation,
)
DOORS = (metabench, metabench.nn, metabench.data, metabench.conformance)
"""The modules whose ``__all__`` is what a plugin may import."""
RECORDS: Mapping[type[BaseModel], str] = {
    records.RunRecord: "The content of `run.json`.",
    runspec.RunSpec: "The field `spec`. Its digest is the `run_id`.",
    runspec.SourceChoice: "One entry of `spec.sources`.",
    runspec.Choice: "`spec.learner`, `spec.space` and `spec.strategy`.",
    runspec.EpisodeProtocol: "The field `spec.protocol`.",
    runspec.Training: "The field `spec.training`.",
    MetricFacts: "One entry of `metrics`: how scores of a metric are printed and compared.",
    records.Provenance: "The field `provenance`. It is recorded and is not part of the identity.",
    records.EpisodeRecord: "One line of `episodes.jsonl`. A field that is null is left out.",
    evaluation.Evaluation: "One entry of `evaluations`: how the suite defined it.",
    evaluation.QueryGrid: "The field `grid` of an evaluation.",
    Tuned: "The field `provenance.tuned`, and `tuned` in the plan file of chosen values.",
    tunings.TuningRecord: "The content of `tuning.json` in the folder of a tuning.",
    tunings.StudyRecord: "One entry of `studies` of a tuning.",
    tunings.Trial: "One entry of `trials` of a study.",
    entries.Entry: "The file of a leaderboard's entry, in YAML.",
    entries.Claim: "One entry of `claims`.",
}
FIELD_HEADER = ("field", "values", "default", "meaning")
FILES = (
    ("`run.json`", "The record of the run, replaced as a whole whenever its status changes."),
    ("`episodes.jsonl`", "One line per meta-test episode. No clock values."),
    (
        "`evaluations/NAME.jsonl`",
        "As `episodes.jsonl`, for an additional evaluation that the suite names. "
        "Equal `key`, equal task and support; the queries are others.",
    ),
    ("`metrics.jsonl`", "The training curve: `step` and the mean of each scalar since the last."),
    (
        "`genotypes.jsonl`",
        "Of learners that search: the architecture of each meta-test episode, by its `index`. Of "
        "learners that may predict with another one, `own` is the one that the task decoded to.",
    ),
    (
        "`embeddings.jsonl`",
        f"Of learners that embed tasks: the embeddings of the first {EMBEDDED:,} meta-test "
        "episodes, four digits each.",
    ),
    (
        "`fits.jsonl`",
        f"In regression: support set, function and prediction at {POINTS} points, of {EPISODES} "
        f"meta-test episodes of each source and {MOST_FITS} at most, five digits each.",
    ),
    (
        "`mixtures.jsonl`",
        "Of learners that can show it: the weights of all operations as they adapt to meta-test "
        f"episode 0, at {MOST_STEPS + 1} steps at most, three decimals each.",
    ),
    (
        "`timings.jsonl`",
        "Wall time: `phase`, `count` of steps or episodes since the line before, `seconds`, of "
        "these the `cpu_seconds` of the process, and a digest of the `machine`. "
        "Written while the run goes on, about as often as checkpoints.",
    ),
    (
        "`trackers/NAME.json`",
        "What a tracker has of the run: its key there, and the last meta-step that it was sent.",
    ),
    (
        "`checkpoints/weights.safetensors`",
        "The weights that are tested, of a finished training, without the state of optimizers.",
    ),
    (
        "`checkpoints/last.safetensors`",
        "The state of a training that goes on, from which a run resumes. A finished one has none.",
    ),
    (
        "`checkpoints/best.safetensors`",
        "The best weights on meta-validation so far, of a training that goes on, if these are "
        "chosen.",
    ),
    (
        "`evaluations/meta-val.jsonl`",
        "Below `trials/` of a tuning: one line per meta-validation episode that judges a trial.",
    ),
    (
        "`.plans/*.json`",
        "In the results folder, while a command of several runs is at work: the runs that it "
        "makes. It stays where some of them never began.",
    ),
)


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or compare them."""
    pages = {name: f"{NOTE}\n\n{text.strip()}\n" for name, text in make_pages().items()}
    stale = [name for name, text in pages.items() if _read(REFERENCE / name) != text]
    stale += sorted(path.name for path in REFERENCE.glob("*.md") if path.name not in pages)
    if "--check" in arguments:
        for name in stale:
            sys.stdout.write(f"stale: docs/reference/{name}\n")
        return 1 if stale else 0
    REFERENCE.mkdir(exist_ok=True)
    for name in stale:
        if name in pages:
            (REFERENCE / name).write_text(pages[name], encoding="utf-8")
        else:
            (REFERENCE / name).unlink()
    return 0


def make_pages() -> dict[str, str]:
    """Every page by file name."""
    catalog = load_catalog()
    kinds: dict[Kind, str] = {
        "learner": "Learners",
        "dataset": "Datasets",
        "space": "Networks",
        "strategy": "NAS strategies",
        "metric": "Metrics",
        "executor": "Executors",
        "tracker": "Trackers",
    }
    files = {"space": "spaces.md", "strategy": "strategies.md"}
    plugin_pages = {
        files.get(kind, f"{kind}s.md"): _plugins(catalog, kind, title)
        for kind, title in kinds.items()
    }
    claims = [load_claims(file) for file in _own(catalog, "claims").values()]
    references = [load_reference(file) for file in _own(catalog, "reference").values()]
    pages = {
        "claims.md": claims_page(claims, catalog),
        "cli.md": _cli(),
        "contracts.md": _contracts(),
        "errors.md": _errors(),
        "public-names.md": _public_names(),
        "helpers.md": _helpers(),
        "python.md": _python(),
        "papers.md": papers_page(references),
        "hooks.md": _hooks(),
        "records.md": _records(),
        "suites.md": "\n\n".join(["# Suites", *_suites(catalog)]),
        **plugin_pages,
    }
    titles = {name: text.lstrip("# ").partition("\n")[0] for name, text in sorted(pages.items())}
    links = [f"- [{title}]({name})" for name, title in titles.items()]
    return {**pages, "README.md": "\n".join(["# Reference", "", *links])}


def _cli() -> str:
    blocks = ["# Command line", "## metabench", *_command(app.registered_callback)]
    groups = [(group.name, group.typer_instance or app) for group in app.registered_groups]
    for group, commands in [("", app), *groups]:
        for info in commands.registered_commands:
            blocks.append(f"## metabench {f'{group} ' if group else ''}{info.name}")
            blocks += _command(info)
    scopes = ", ".join(f"`{scope}`" for scope in SCOPES)
    one = ", ".join(f"`{scope}[NAME]`" for scope in OF_ONE)
    blocks += ["## Scopes of `--set`", f"{scopes}. For example `--set learner.inner_lr=0.01`."]
    blocks.append(
        f"{one} apply to what has the name, in a command with several, and win over the plain "
        "scope; a budget names a learner. For example `--set 'learner[maml].inner_lr=0.01'`; the "
        "quotes keep a shell from reading the brackets."
    )
    blocks.append(
        f"`{EXECUTOR}.NAME` is a parameter of `--executor`, see [executors](executors.md). It says "
        "how runs are made, and is no part of a plan file or of the identity of a run."
    )
    blocks.append(
        "`tracker[NAME]` is the scope of a tracker that `--tracker` names, and `tracker` that of "
        "all of them, see [trackers](trackers.md). It is no part of a plan file or of the identity "
        "of a run either. For example `--set 'tracker[csv].folder=for-excel'`."
    )
    variables = (
        ("`METABENCH_DATA`", "Folder of the packed datasets. By default the user's data folder."),
        (
            "`METABENCH_CACHE`",
            "Folder of what reports and prices keep; `off`: nothing is kept. By default the user's "
            "cache folder.",
        ),
        ("`METABENCH_STRICT_PLUGINS`", "`1`: a broken plugin stops the program (exit code 4)."),
        ("`NO_COLOR`, `CI`", "Plain text instead of colors, and lines instead of progress bars."),
    )
    return "\n\n".join(
        [*blocks, "## Environment variables", table(["variable", "meaning"], variables)]
    )


def _command(info: Any) -> list[str]:
    header = ["argument or option", "values", "default", "meaning"]
    rows = option_rows(info.callback)
    return [prose(info.callback), table(header, rows)] if rows else [prose(info.callback)]


def _hooks() -> str:
    blocks = [
        "# Hooks",
        "A plugin is a module with functions that are marked with `@metabench.hookimpl`. A package "
        "names the module in the entry-point group `metabench`. A single file is given with "
        "`--plugin FILE`.",
        f"The plugin API has version {specs.API_VERSION}. A module may state the version that it "
        f"was written for: `METABENCH_API = {specs.API_VERSION}`. A plugin with any error is "
        "refused as a whole and named by `metabench plugins list`.",
    ]
    for name, hook in vars(hookspecs).items():
        if name.startswith("metabench_"):
            blocks += [f"## {name}", f"```python\n{definition(hook)}\n```", prose(hook)]
    blocks.append("# Descriptions that hooks return")
    for spec in SPECS:
        rows = attributes(spec)
        blocks += [f"## {spec.__name__}", prose(spec), table(["field", "type", "meaning"], rows)]
    return "\n\n".join(blocks)


def _contracts() -> str:
    blocks = [
        "# Contracts",
        "What the objects that plugins make must do, and what they are given. `isinstance` works "
        "on every protocol, so an optional capability can be asked for.",
    ]
    for door, contract in _public(inspect.isclass):
        if (
            _is_of_scripts(contract)
            or contract in SPECS
            or issubclass(contract, errors.MetabenchError)
        ):
            continue
        blocks += [f"## {contract.__name__}", _import(door, contract.__name__), prose(contract)]
        if rows := attributes(contract):
            blocks.append(table(["field", "type", "meaning"], rows))
        for name, method in vars(contract).items():
            function = method.fget if isinstance(method, property) else method
            if getattr(contract, "_is_protocol", False) and _is_public_method(name, function):
                code = definition(function, attribute=isinstance(method, property))
                blocks += [f"```python\n{code}\n```", prose(function)]
    header = ["name", "import from", "stands for", "meaning"]
    return "\n\n".join([*blocks, "## Type aliases and constants", table(header, _aliases())])


def _helpers() -> str:
    blocks = ["# Helpers", "Functions that plugins may build on."]
    for door, function in _public(inspect.isfunction):
        if _is_of_scripts(function):
            continue
        title = f"## {door.__name__}"
        if title not in blocks:
            blocks.append(title)
        blocks += [f"### {function.__name__}", _import(door, function.__name__)]
        blocks += [f"```python\n{definition(function)}\n```", prose(function)]
    return "\n\n".join(blocks)


def _python() -> str:
    blocks = [
        "# Python",
        "What the commands do, as functions for scripts and notebooks. [Use metabench from "
        "Python](../how-to/use-from-python.md) has examples.",
    ]
    for door, function in _public(inspect.isfunction):
        if _is_of_scripts(function):
            blocks += [f"## {function.__name__}", _import(door, function.__name__)]
            blocks += [f"```python\n{definition(function)}\n```", prose(function)]
    for door, view in _public(inspect.isclass):
        if _is_of_scripts(view):
            blocks += [f"## {view.__name__}", _import(door, view.__name__), prose(view)]
            blocks.append(table(["field", "type", "meaning"], attributes(view)))
            for name, method in vars(view).items():
                if inspect.isfunction(method) and not name.startswith("_"):
                    blocks += [f"```python\n{definition(method)}\n```", prose(method)]
    return "\n\n".join(blocks)


def _is_of_scripts(value: Any) -> bool:
    return value.__module__.startswith("metabench.api.")


def _public_names() -> str:
    rows = []
    others = {row[0].strip("`") for row in _aliases()}
    for door in DOORS:
        for name in door.__all__:
            page = _page_of(getattr(door, name))
            anchor = "" if page in ("errors.md", "hooks.md") else name.lower()
            if name in others:
                anchor = "type-aliases-and-constants"
            link = f"[{page.removesuffix('.md')}]({page}{f'#{anchor}' if anchor else ''})"
            rows.append([f"`{name}`", f"`{door.__name__}`", link])
    return "\n\n".join(
        [
            "# Public names",
            "All that a script or a plugin may import, and from where. Every other module may move "
            "or change in any release. [The public interface](../explanation/public-api.md) says "
            "what else is promised.",
            table(["name", "import from", "described in"], rows),
        ]
    )


def _page_of(value: Any) -> str:
    if (inspect.isclass(value) or inspect.isfunction(value)) and _is_of_scripts(value):
        return "python.md"
    if value is hookspecs.hookimpl or (inspect.isclass(value) and value in SPECS):
        return "hooks.md"
    if inspect.isclass(value) and issubclass(value, errors.MetabenchError):
        return "errors.md"
    return "helpers.md" if inspect.isfunction(value) else "contracts.md"


def _public(wanted: Callable[[Any], bool]) -> Iterator[tuple[ModuleType, Any]]:
    """What the doors offer of one kind, in the order of its sources."""
    for door in DOORS:
        found = [getattr(door, name) for name in door.__all__]
        chosen = {thing.__name__: thing for thing in found if wanted(thing)}
        yield from ((door, thing) for thing in sorted(chosen.values(), key=_place))


def _place(thing: Any) -> tuple[str, int]:
    return thing.__module__, inspect.getsourcelines(thing)[1]


def _aliases() -> list[list[str]]:
    """Name, door, value and meaning of what is neither a class nor a function."""
    written = {
        name: row
        for module in list(sys.modules.values())
        if (module.__name__ or "").startswith("metabench.") and getattr(module, "__file__", None)
        for name, *row in ((row[0].strip("`"), *row) for row in aliases(module))
    }
    return [
        [f"`{name}`", f"`{door.__name__}`", *written[name][1:]]
        for door in DOORS
        for name in door.__all__
        if name in written and not inspect.isclass(getattr(door, name))
    ]


def _import(door: ModuleType, name: str) -> str:
    return f"`from {door.__name__} import {name}`"


def _is_public_method(name: str, value: object) -> bool:
    return callable(value) and (name == "__call__" or not name.startswith("_"))


def _records() -> str:
    blocks = [
        "# Records",
        "A run writes to `OUT/SUITE@SETTING/LEARNER/RUN_ID/`:",
        table(["file", "content"], FILES),
        f"The present number of the format is {records.SCHEMA}.",
    ]
    for model, about in RECORDS.items():
        blocks += [f"## {model.__name__}", about, table(FIELD_HEADER, fields(model))]
    return "\n\n".join(blocks)


def _errors() -> str:
    rows = [["0", "Done. A run that another process is making is no failure."]]
    codes: dict[int, list[str]] = {}
    kinds: list[type[errors.MetabenchError]] = errors.MetabenchError.__subclasses__()
    kinds.sort(key=lambda kind: kind.__name__)
    kinds.insert(0, errors.MetabenchError)
    for kind in kinds:
        sentence = prose(kind).partition("\n")[0]
        codes.setdefault(kind.exit_code, []).append(f"`{kind.__name__}`: {sentence}")
    meaning = {
        1: "Some runs failed; the others are done. `metabench status`: a run failed, was "
        "interrupted, or cannot be read. `metabench merge`: something was left out. `metabench "
        "leaderboard`: an entry does not hold. `metabench tune`: nothing could be chosen.",
        2: "The request is wrong: an unknown name, or a value out of bounds.",
        3: "Data is missing, damaged or too small, or there is no run to show. `metabench merge`: "
        "copies of a run disagree.",
        4: "A plugin is broken.",
    }
    rows += [
        [str(code), f"{meaning[code]} {' '.join(found)}"] for code, found in sorted(codes.items())
    ]
    stopped = (
        "Stopped by Ctrl-C, SIGTERM or SIGHUP, or a run by SIGUSR1 or `--time-limit`. The state of "
        "a run is saved, and the command to resume is printed."
    )
    rows.append(["130", stopped])
    return "\n\n".join(
        [
            "# Exit codes and errors",
            "An expected error is one sentence and a hint on stderr, without a traceback.",
            table(["exit code", "meaning"], rows),
        ]
    )


def _plugins(catalog: Catalog, kind: Kind, title: str) -> str:
    blocks = [f"# {title}"]
    found = _own(catalog, kind)
    for name, spec in found.items():
        facts = {
            "version": spec.version,
            "reference": spec.reference,
            "task kinds": getattr(spec, "kinds", ()),
            **getattr(spec, "described", {}),
            "searches": getattr(spec, "searches", None),
            "searched": getattr(spec, "searched", None),
            "licence": getattr(spec, "licence", ""),
            "citation": getattr(spec, "citation", ""),
            "preset": getattr(spec, "preset", {}),
        }
        lines = [f"- {key}: {words(v)}" for key, v in facts.items() if v not in ("", None, (), {})]
        blocks += [f"## {name}", spec.summary, "\n".join(lines)]
        if rows := parameter_rows(parameters(spec)):
            code = [[f"`{row[0]}`", f"`{row[1]}`", *row[2:]] for row in rows]
            blocks.append(table(["parameter", "default", "values", "meaning"], code))
        blocks += deviation_table(getattr(spec, "deviations", ()))
    return "\n\n".join([*blocks, *([] if found else ["metabench itself brings none yet."])])


def _suites(catalog: Catalog) -> Iterator[str]:
    for file in _own(catalog, "suite").values():
        yield from suite_page(suite.load_suite(file))


def _own(catalog: Catalog, kind: Kind) -> dict[str, Any]:
    """What metabench itself provides of one kind, sorted by name."""
    named = sorted(catalog.named(kind).items())
    return {n: t for n, t in named if catalog.origin(kind, n).distribution == "metabench"}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
