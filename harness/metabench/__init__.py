"""metabench: one protocol for gradient-based meta-learning and neural architecture search."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metabench.plugin.hookspecs import hookimpl
    from metabench.plugin.specs import (
        API_VERSION,
        DatasetSpec,
        ExecutorSpec,
        LearnerSpec,
        NasStrategySpec,
        RunEvent,
        SearchSpaceSpec,
    )
    from metabench.results.reading import load_results

_HOMES = {
    "hookimpl": "plugin.hookspecs",
    "load_results": "results.reading",
    "API_VERSION": "plugin.specs",
    "DatasetSpec": "plugin.specs",
    "ExecutorSpec": "plugin.specs",
    "LearnerSpec": "plugin.specs",
    "NasStrategySpec": "plugin.specs",
    "RunEvent": "plugin.specs",
    "SearchSpaceSpec": "plugin.specs",
}

__all__ = [
    "API_VERSION",
    "DatasetSpec",
    "ExecutorSpec",
    "LearnerSpec",
    "NasStrategySpec",
    "RunEvent",
    "SearchSpaceSpec",
    "hookimpl",
    "load_results",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import metabench`` costs nothing."""
    if name in _HOMES:
        return getattr(import_module(f"metabench.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'metabench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
