"""Plugin files as text, for tests that load plugins by ``--plugin``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MINE = """
from metabench import LearnerSpec, hookimpl


@hookimpl
def metabench_learners():
    yield LearnerSpec(
        name="mine",
        version=1,
        summary="MAML under another name.",
        params="metabench_plugins.learners.maml:MamlParams",
        factory="metabench_plugins.learners.maml:Maml",
        kinds=("regression",),
        suite_defaults=VALUES,
    )


VALUES = {values}
"""


def maml_named_mine(suite_defaults: Mapping[str, Any]) -> str:
    """A plugin with one learner, ``mine``, for regression, and its values for suites."""
    return _MINE.replace("{values}", repr(suite_defaults))
