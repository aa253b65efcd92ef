"""Print the conditions of every row of the committed tables, and check what captions call equal.

    python benchmarks/conditions.py [FOLDER ...]

The conditions are read from ``run.json``, and not by the code that writes captions. The exit code
is 1 if a caption says that rows agree in something and a record says otherwise.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metabench.reports.build import build_report
from metabench.results.reading import read_runs

RESULTS = Path(__file__).parents[1] / "results"
EQUAL = re.compile(r"Training conditions of all trained rows: (.*?)\.(?= [A-Z]|$)")
STEPS = re.compile(r"inner steps at test: (\d+)")
LENGTHS = "Training lengths differ"
SIZES = re.compile(r"The numbers of weights differ by up to ([\d.]+) times")
WIDEST = 1.5
"""A ratio of weights up to which captions say nothing."""


def main(folders: list[Path]) -> int:
    """Check folders of results; return the number of false statements."""
    problems = [problem for folder in folders for problem in check(folder)]
    for problem in problems:
        print(f"FALSE: {problem}")
    print(f"{len(folders)} folders, {len(problems)} false statements.")
    return len(problems)


def check(folder: Path) -> Iterator[str]:
    """Print the rows of each table of a folder; yield what its caption says and records do not."""
    results = read_runs(folder)
    records = {run.record.run_id: _facts(run.folder) for run in results.runs}
    for table in build_report(results).tables:
        where = f"{folder.name}, {table.suite}@{table.setting}"
        if table.evaluation:
            continue  # the same runs
        print(f"\n{where}")
        rows = [[records[run] for run in row.runs] for row in table.rows]
        for row, facts in zip(table.rows, rows, strict=True):
            shown = {name: " / ".join(_distinct(f[name] for f in facts)) for name in facts[0]}
            weights = "" if row.n_params is None else f"{row.n_params:,}"
            print(f"  {row.learner} {row.variant}: weights {weights}; {_line(shown)}")
        for said in _equal(table.caption):
            yield from _compare(where, said, [f for facts in rows for f in facts])
        sizes = [row.n_params for row in table.rows if row.n_params]
        ratio = max(sizes) / min(sizes) if sizes else 1.0
        named = SIZES.search(table.caption)
        if (ratio > WIDEST) != bool(named):
            yield f"{where}: weights differ {ratio:.2f} times, and the caption is silent or says so"
        if named and abs(float(named[1]) - ratio) > 0.05:
            yield f"{where}: weights differ {ratio:.2f} times, the caption says {named[1]}"
        lengths = {facts["training episodes"] for row in rows for facts in row}
        if (len(lengths) > 1) != (LENGTHS in table.caption):
            yield f"{where}: training episodes are {sorted(lengths)}; the caption does not fit"


def _facts(folder: Path) -> dict[str, str]:
    """What one run was, in words."""
    record: dict[str, Any] = json.loads((folder / "run.json").read_text())
    spec = record["spec"]
    training, stated = spec["training"], record.get("conditions") or {}
    facts = {
        "inner steps at test": str(record.get("steps_at_test")),
        "training episodes": _drawn(training, record.get("phases", ())),
    }
    if training["meta_steps"]:
        names = ("inner_optimizer", "outer_optimizer", "outer_schedule")
        for name in (*names, "gradient_bounds", "regularization"):
            facts[name.replace("_", " ")] = stated.get(name, "")
        shots = (record.get("train_shots"), record.get("train_queries"))
        of = "points" if spec["task"] == "regression" else "examples per class"
        facts[f"support + query {of}"] = f"{shots[0]} + {shots[1]}"
    return facts


def _drawn(training: dict[str, Any], phases: Sequence[dict[str, Any]]) -> str:
    """Episodes of meta-training, and labelled examples where a phase draws them."""
    if not phases:
        return f"{training['meta_steps'] * training['meta_batch']:,}"
    episodes, examples = (
        sum(phase["meta_steps"] * phase[kind] for phase in phases) for kind in ("tasks", "examples")
    )
    return f"{episodes:,} and {examples:,} labelled examples"


def _equal(caption: str) -> Iterator[tuple[str, str]]:
    """The facts in which a caption says that its rows agree."""
    if found := STEPS.search(caption):
        yield "inner steps at test", found[1]
    if found := EQUAL.search(caption):
        for part in found[1].split("; "):
            name, _, value = part.partition(": ")
            yield name, value


def _compare(where: str, said: tuple[str, str], facts: list[dict[str, str]]) -> Iterator[str]:
    name, value = said
    found: dict[str, int] = defaultdict(int)
    for row in facts:
        found[row.get(name, value)] += 1
    if list(found) != [value]:
        yield f"{where}: the caption says {name} {value}, the records {dict(found)}"


def _line(facts: dict[str, str]) -> str:
    return "; ".join(f"{name} {value}" for name, value in facts.items() if value)


def _distinct(values: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(values))


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]]
    sys.exit(bool(main(given or sorted(path for path in RESULTS.iterdir() if path.is_dir()))))
