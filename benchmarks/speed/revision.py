"""The names of metabench that are timed here, wherever the revision that is timed keeps them.

``all.py --against`` times another revision by the same code, so this is the one place that knows
where names have moved.
"""

from __future__ import annotations

from typing import Any

try:
    from metabench.errors import DataError, UsageError
    from metabench.inner_steps import inner_loop, share
    from metabench.planning.plan import RunRequest, plan
    from metabench.planning.suite import load_suite
    from metabench.plugin.catalog import Catalog, load_catalog
    from metabench.plugin.contracts.architecture import INPUTS, Mixture, Params
    from metabench.plugin.contracts.data import ClassData
    from metabench.plugin.contracts.episode import EpisodeShape, TaskShape
    from metabench.running.build import build
    from metabench.running.devices import reuse_freed_memory
    from metabench.sampling.sampler import EpisodeSampler
    from metabench.sampling.seeding import generator
    from metabench.sampling.sources import open_source
    from metabench_plugins.datasets.parts.torchmeta_bridge import torchmeta_bridge
    from metabench_plugins.spaces.parts import supernet
    from metabench_plugins.spaces.parts.published_cells import REDUCTION

    UNBOUNDED: dict[str, Any] = {"inner_clip": None, "max_norm": None, "skip_above": None}
    """Parameters of a learner without bounds on its gradients, so that revisions do the same."""
except ImportError:  # revisions before the packages of release 0.1.0
    from metabench.building import build
    from metabench.catalog import Catalog, load_catalog
    from metabench.episodes import EpisodeShape, TaskShape
    from metabench.functional import inner_loop, share
    from metabench.memory import reuse_freed_memory
    from metabench.protocols import INPUTS, ClassData, Mixture, Params
    from metabench.sampler import EpisodeSampler
    from metabench.seeding import generator
    from metabench.sources import open_source
    from metabench.suite import load_suite
    from metabench_plugins.datasets.torchmeta_bridge import torchmeta_bridge
    from metabench_plugins.spaces.published import REDUCTION

    UNBOUNDED = {}

    from metabench.errors import DataError, UsageError
    from metabench.planning import RunRequest, plan
    from metabench_plugins.spaces import supernet

try:
    from metabench.running.engines import open_engine
except ImportError:  # revisions without engines
    open_engine = None

try:
    from metabench.running.engines.adapter import ProgramAdapter
    from metabench.running.engines.programs import by_inductor
except ImportError:  # revisions that adapt by the learner alone
    ProgramAdapter = by_inductor = None

__all__ = [
    "INPUTS",
    "REDUCTION",
    "UNBOUNDED",
    "Catalog",
    "ClassData",
    "DataError",
    "EpisodeSampler",
    "EpisodeShape",
    "Mixture",
    "Params",
    "ProgramAdapter",
    "RunRequest",
    "TaskShape",
    "UsageError",
    "build",
    "by_inductor",
    "generator",
    "inner_loop",
    "load_catalog",
    "load_suite",
    "open_engine",
    "open_source",
    "plan",
    "reuse_freed_memory",
    "share",
    "supernet",
    "torchmeta_bridge",
]
