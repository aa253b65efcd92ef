"""How far the runs of a folder are, as plain values for JSON and for data frames."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from metabench.results.overview import Overview
from metabench.results.run_state import RunState


def status_values(overview: Overview) -> dict[str, Any]:
    """An overview as a mapping that JSON can hold; times are in seconds."""
    left = overview.time_left
    return {
        "folder": str(overview.root),
        "at": _moment(overview.at),
        "counts": overview.counts,
        "share": round(overview.share, 4),
        "seconds_left": _rounded(left.seconds),
        "runs_of_unknown_time": left.n_unknown,
        "runs": [run_values(overview, run) for run in overview.runs],
        "problems": list(overview.problems),
    }


def run_values(overview: Overview, run: RunState) -> dict[str, Any]:
    """A run as a flat mapping."""
    return {
        "suite": run.suite,
        "setting": run.setting,
        "budget": run.budget,
        "learner": run.learner,
        "seed": run.seed,
        "run_id": run.run_id,
        "state": run.state,
        "awaited": run.awaited,
        "phase": run.phase,
        "share": round(run.share, 4),
        "meta_steps": run.steps,
        "all_meta_steps": run.meta_steps,
        "episodes": run.episodes,
        "all_episodes": run.n_episodes,
        "per_second": overview.speed(run, run.phase) if run.phase else None,
        "seconds_left": _rounded(overview.seconds_left(run)),
        "loss": run.loss,
        "val_score": run.val_score,
        "unit": run.metric.unit if run.metric else None,
        "skipped": run.curve.skipped,
        "error": run.error,
        "written": _moment(run.written) if run.written else None,
        "folder": str(run.folder),
        "command": run.command,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
