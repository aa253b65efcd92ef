"""Weights & Biases: a run of a project for each run, sent at once or later by ``wandb sync``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from metabench import CurvePoint, Frozen, RunEnd, RunFacts, UsageError, digest

EXIT_CODES = {"done": 0, "failed": 1, "interrupted": 255}
"""What Weights & Biases calls the ways to end: 255 is a run that was stopped."""


class WandbParams(Frozen):
    """Parameters of the tracker for Weights & Biases."""

    mode: Literal["online", "offline"] | None = Field(
        default=None,
        description="Send the runs, or write a folder that `wandb sync` sends later. null: "
        "WANDB_MODE, else online for who is logged in, and offline for others.",
    )
    project: str | None = Field(
        default=None, description="The project; null: WANDB_PROJECT, else metabench."
    )
    entity: str | None = Field(
        default=None, description="User or team; null: WANDB_ENTITY, else the user's own."
    )
    folder: str | None = Field(
        default=None,
        description="Folder in which the folder wandb is made; a relative one is below the current "
        "folder. null: WANDB_DIR, else the results folder.",
    )


class WandbTracker:
    """A client of Weights & Biases."""

    def __init__(self, params: WandbParams, out: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UsageError(
                "The tracker wandb needs the package wandb.",
                hint='pip install "metabench[wandb]"',
            ) from error
        self._wandb = wandb
        self._entity = params.entity or os.environ.get("WANDB_ENTITY")
        self._project = params.project or os.environ.get("WANDB_PROJECT") or "metabench"
        self._folder = Path(params.folder or os.environ.get("WANDB_DIR") or out)
        # Without a login Weights & Biases would ask for one on the terminal.
        self._mode = (
            params.mode or os.environ.get("WANDB_MODE") or ("online" if _logged_in() else "offline")
        )

    def open(self, run: RunFacts, *, key: str) -> WandbRun:
        """Begin or go on with a run; see :class:`metabench.Tracker`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # The same run in another results folder is another run there.
        identity = key.rpartition("/")[2] or digest([run.run_id, str(run.folder)])
        resumed = self.has(run, key=key)
        opened = self._wandb.init(
            id=identity,
            resume="allow",
            reinit="create_new",
            mode=self._mode,
            project=self._project,
            entity=self._entity,
            dir=str(self._folder),
            name=run.label,
            group=os.environ.get("WANDB_RUN_GROUP") or f"{run.suite}@{run.setting}",
            job_type=os.environ.get("WANDB_JOB_TYPE") or run.learner,
            tags=[run.suite, run.setting, run.learner, *run.stamps],
            config={
                **run.parameters,
                "run_id": run.run_id,
                "stamps": list(run.stamps),
                "made_with": dict(run.made_with),
            },
            settings=self._wandb.Settings(
                console="off",
                silent=True,
                x_disable_stats=True,
                x_save_requirements=False,
                disable_code=True,
                disable_git=True,
            ),
        )
        return WandbRun(opened, self._place(identity), resumed=resumed)

    def has(self, run: RunFacts, *, key: str) -> bool:
        """Whether a run is in this project; see :class:`metabench.LookingTracker`.

        What was sent to Weights & Biases is believed to be there.
        """
        identity = key.rpartition("/")[2]
        there = self._mode == "online" or any(self._folder.glob(f"wandb/offline-run-*-{identity}"))
        return key == self._place(identity) and there

    def _place(self, identity: str) -> str:
        """The key of a run, from its id there."""
        return f"{self._mode}/{self._entity or ''}/{self._project}/{identity}"


def _logged_in() -> bool:
    """Whether Weights & Biases finds a login by itself, as its documentation describes."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname
    try:
        return host in netrc(os.environ.get("NETRC")).hosts
    except (OSError, NetrcParseError):
        return False


class WandbRun:
    """A run of Weights & Biases; its mode, entity, project and id there are its key."""

    def __init__(self, run: Any, key: str, *, resumed: bool) -> None:
        self.key = key
        self.resumed = resumed
        self._run = run

    def log(self, points: Sequence[CurvePoint]) -> None:
        """Send points; see :class:`metabench.TrackedRun`."""
        for point in points:
            self._run.log(dict(point.values), step=point.step)

    def end(self, end: RunEnd) -> None:
        """Send the scores and the status; see :class:`metabench.TrackedRun`."""
        self._run.summary.update({**end.values, "status": end.status, "error": end.text})
        self._run.finish(exit_code=EXIT_CODES[end.status])
