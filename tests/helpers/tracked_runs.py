"""Runs for tests of trackers: one command in this process, and a made-up run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metabench import RunFacts, Runs, run


def short_run(out: Path, **changes: Any) -> Runs:
    """A run of 20 meta-steps and two seeds' worth of nothing else: one seed, four episodes."""
    values: dict[str, Any] = {
        "budget": "smoke",
        "changes": {
            "budget.meta_steps": 20,
            "budget.meta_batch": 2,
            "protocol.selection": "meta-val",
            "protocol.val_episodes": 2,
            "learner.inner_lr": 0.02,
        },
        "limit": 4,
        "out": out,
        "device": "cpu",
        "on_event": lambda event: None,
    }
    return run("maml", "toy-regression", **{**values, **changes})


RUN_ID = "0" * 16


def run_facts(out: Path, **changes: Any) -> RunFacts:
    """A run that is nowhere."""
    values: dict[str, Any] = {
        "run_id": RUN_ID,
        "label": "maml 5w1s seed 0",
        "suite": "omniglot",
        "setting": "5w1s",
        "budget": "lite",
        "learner": "maml",
        "seed": 0,
        "folder": out / "omniglot@5w1s" / "maml" / RUN_ID,
        "parameters": {"learner": "maml", "learner.inner_lr": 0.1, "protocol.val_shots": None},
        "stamps": ("lite", "synthetic"),
        "made_with": {"device": "cpu"},
    }
    return RunFacts(**{**values, **changes})
