"""The page that shows runs while they go on, and what it asks its server for.

The page holds nothing: its script asks for :func:`live_values` every few seconds and draws them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any

from metabench.plugin.contracts.learner import QUERY_LOSS
from metabench.render.figures.palette import Style, learner_style, learner_styles
from metabench.render.page_policy import page_policy
from metabench.render.status_text import counts_text, left_text, place_text, run_texts
from metabench.results.overview import Overview
from metabench.results.run_state import RunState
from metabench.results.state import STATES
from metabench.text import plain

MOST_CURVES = 100
"""Runs whose curves are drawn in one suite and setting; those at work come first."""
MOST_POINTS = 200
"""Points of a curve that are sent."""
_DIGITS = 4


@cache
def live_page() -> str:
    """The page as HTML, which is the same for every folder."""
    style, script = _static("live.css"), _static("live.js")
    policy = page_policy(style, script, asks_its_server=True)
    text = _static("live.html")
    for name, value in {"POLICY": policy, "STYLE": style, "SCRIPT": script}.items():
        text = text.replace(f"@{name}@", value)
    return text


def live_values(overview: Overview, *, since: int = 0) -> dict[str, Any]:
    """What the page shows, as a mapping that JSON can hold; numbers in tables are texts.

    Args:
        overview: what to show.
        since: the ``now`` of an earlier answer; curves that have not changed since are left out.
    """
    runs = sorted(overview.runs, key=lambda run: (run.kind[:3], STATES.index(run.state)))
    groups, changed = [], {0}
    for _, group in groupby(runs, key=lambda run: run.kind[:3]):
        members = list(group)
        drawn = members[:MOST_CURVES]
        alike = Counter((run.learner, run.seed) for run in members)
        style = _styles(drawn)
        times = {run.folder: _changed(run) for run in drawn}
        changed |= set(times.values())
        entries = []
        for run in members:
            look = style.get((run.learner, run.config)) or learner_style(run.learner)
            entry = {
                **run_texts(overview, run),
                "learner": _name(run, alone=alike[run.learner, run.seed] == 1),
                "key": f"{run.folder.relative_to(overview.root)}/{run.run_id}",
                "part": run.share,
                "color": look.color,
                "dash": " ".join(f"{2 * length:g}" for length in look.dash),
                "error": plain(run.error),
                "command": plain(run.command) if run.state in ("failed", "interrupted") else "",
            }
            if run.folder in times and times[run.folder] >= since and run.curve.scalars:
                entry["curves"] = _curves(run)
            entries.append(entry)
        groups.append(
            {
                "place": place_text(members[0]),
                "meta_steps": max(run.meta_steps for run in members),
                "loss": _loss_in_words(drawn),
                "val": next((run.metric.words for run in members if run.metric), ""),
                "runs": entries,
            }
        )
    return {
        "title": plain(overview.root.resolve().name),
        "counts": counts_text(overview),
        "left": left_text(overview),
        "share": overview.share,
        "under_way": overview.under_way,
        "now": str(max(changed)),
        "groups": groups,
        "problems": [plain(problem) for problem in overview.problems],
    }


def _styles(runs: Iterable[RunState]) -> dict[tuple[str, str], Style]:
    """How each configuration is drawn: as in figures, those of a learner share its color.

    It does not depend on the order of the runs, which changes while they go on.
    """
    configs = sorted({(run.learner, run.config) for run in runs})
    styles = learner_styles({" ".join(config): config[0] for config in configs})
    return dict(zip(configs, styles.values(), strict=True))


def _name(run: RunState, *, alone: bool) -> str:
    """The learner; where a seed of it has several runs, with the beginning of the run's id."""
    return plain(run.learner if alone else f"{run.learner} {run.run_id[:6]}")


def _loss_in_words(runs: Sequence[RunState]) -> str:
    """What the losses are: learners that log no query loss show their own, which is another."""
    own = {run.learner for run in runs if run.curve.loss and QUERY_LOSS not in run.curve.scalars}
    if not own:
        return "Query loss of meta-training"
    if all(run.learner in own for run in runs if run.curve.loss):
        return "Training loss, each learner's own"
    return plain(f"Query loss of meta-training, but of {', '.join(sorted(own))} its own loss")


def _curves(run: RunState) -> dict[str, list[tuple[int, float]]]:
    scale = run.metric.scale if run.metric else 1.0
    score = [(step, scale * value) for step, value in run.curve.score]
    return {"loss": _thinned(run.curve.loss), "val": _thinned(score)}


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Few points in few digits, the last one among them."""
    every = -(-len(points) // MOST_POINTS) or 1
    kept: Iterable[tuple[int, float]] = reversed(points[::-1][::every])
    return [(step, float(f"{value:.{_DIGITS}g}")) for step, value in kept]


def _changed(run: RunState) -> int:
    """When the curve of a run was last written, in nanoseconds since 1970."""
    try:
        return (run.folder / "metrics.jsonl").stat().st_mtime_ns
    except OSError:
        return 0


def _static(name: str) -> str:
    return (files(__name__) / "templates" / name).read_text(encoding="utf-8")
