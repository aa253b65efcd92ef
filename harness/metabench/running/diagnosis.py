"""What an installation has and what it lacks, for ``metabench doctor``."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from metabench.plugin.specs import resolve
from metabench.text import counted

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

REQUIRED = ("metabench", "torch", "numpy", "pandas", "pydantic", "pluggy", "typer", "rich")
OPTIONAL = {
    "matplotlib": "plots",
    "scipy": "stats",
    "optuna": "tune",
    "ray": "ray",
    "submitit": "slurm",
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "wandb": "wandb",
    "timm": "networks",
}
"""The extra that brings each optional package."""


def diagnose(catalog: Catalog) -> dict[str, dict[str, str]]:
    """Collect facts by topic."""
    import torch

    from metabench.data import data_root
    from metabench.planning.suite_defaults import all_doubts
    from metabench.running.provenance import version_of

    gpus = range(torch.cuda.device_count())
    return {
        "packages": {
            "python": platform.python_version(),
            **{name: version_of(name) or "missing" for name in REQUIRED},
        },
        "optional packages": {
            name: version_of(name) or f'missing; pip install "metabench[{extra}]"'
            for name, extra in OPTIONAL.items()
        },
        "devices": {
            "cpu": counted(os.cpu_count() or 1, "logical CPU"),
            **{f"cuda:{i}": torch.cuda.get_device_name(i) for i in gpus},
        },
        "data": {"root": str(data_root())},
        "optional datasets": {
            name: resolve(spec.state)()
            for name, spec in catalog.named("dataset").items()
            if spec.state is not None
        },
        "plugins": {
            info.name: f"{info.distribution} {info.version}".strip()
            for info in catalog.plugins
            if info.status == "ok"
        },
        "values for suites that are not used": all_doubts(catalog),
        "broken plugins": {
            info.name: info.error for info in catalog.plugins if info.status == "error"
        },
    }
