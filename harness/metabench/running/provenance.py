"""How a run was made: device, versions, revision, and the command that repeats it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from metabench.planning.overrides import Changes
from metabench.planning.runspec import RunSpec
from metabench.planning.tuned import Tuned
from metabench.plugin.catalog import Catalog, Kind
from metabench.plugin.code import digest_of_code
from metabench.plugin.loading import kind_in_words
from metabench.results.schema import Provenance

_COMPUTES = (
    "data",
    "nn",
    "planning",
    "plugin",
    "running",
    "sampling",
    "inner_steps.py",
    "values.py",
)
"""The parts of the harness that decide numbers."""

_PACKAGES = ("metabench", "torch", "numpy", "pandas", "pillow")


def collect(
    *,
    command: str,
    changes: Changes,
    files: Mapping[str, str],
    device: torch.device,
    plan: str = "",
    tuned: Tuned | None = None,
    trial: int = 0,
    code: Mapping[str, str] | None = None,
) -> Provenance:
    """Describe this process, and what the user asked it to do.

    Args:
        command: repeats the run.
        changes: the values of the ``--set`` options of the command.
        files: paths of the files that parameters name, by SHA-256.
        device: on which the run is made.
        plan: digest of the plan file that asks for the run; empty for a command.
        tuned: how its values were chosen, of values from a tuning.
        trial: its number among the trials of a tuning; 0 for another run.
        code: what :func:`code_of` returns.
    """
    return Provenance(
        command=command,
        changes={scope: dict(values) for scope, values in changes.items()},
        files=dict(files) or None,
        plan=plan,
        tuned=tuned,
        trial=trial or None,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        device=describe(device),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages={name: version_of(name) for name in _PACKAGES},
        git=_git_revision(),
        code=dict(code or {}),
    )


def code_of(spec: RunSpec, catalog: Catalog) -> dict[str, str]:
    """The code that makes a run, in words: the harness's, and that of each plugin object.

    Of the harness, what computes counts, and not what prints.
    """
    used: list[tuple[Kind, str]] = [("learner", spec.learner.name), ("metric", spec.metric)]
    used += [("space", spec.space.name)] if spec.space else []
    used += [("strategy", spec.strategy.name)] if spec.strategy else []
    used += [("dataset", name) for name in dict.fromkeys(one.name for one in spec.sources)]
    harness = digest_of_code(Path(__file__).parents[1], _COMPUTES)
    return {
        "harness": f"metabench {version_of('metabench')} {harness}",
        **{f"{kind_in_words(kind)} {name}": catalog.code(kind, name) for kind, name in used},
    }


def describe(device: torch.device) -> str:
    """A device in words: ``cuda (NVIDIA H100)``, ``cpu``."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def peak_memory_mib(device: torch.device) -> float | None:
    """The most memory so far, of this process or of its tensors on a GPU; None if unknown."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    if (kib := _peak_in_status()) is not None:
        return round(kib / 2**10, 1)
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _peak_in_status() -> int | None:
    """The most memory of this process so far, in KiB, as Linux says it; None elsewhere.

    ``ru_maxrss`` counts the process that started this one, as large as it was then.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) if found else None


def version_of(package: str) -> str:
    """The version of an installed package; "" where it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@cache
def _git_revision() -> str:
    """Revision of the checkout this file lies in; '' for an installed package."""
    here = Path(__file__).resolve()
    root = here.parents[3]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    # A hook of git, or a command that git runs, is told of its own repository by such variables.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env={**own, "GIT_OPTIONAL_LOCKS": "0"},  # other commands of git need not wait
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
