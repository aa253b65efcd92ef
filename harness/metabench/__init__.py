"""metabench: one protocol for gradient-based meta-learning and neural architecture search.

Everything that a script or a plugin needs is importable from here, from ``metabench.nn``,
``metabench.data`` and ``metabench.conformance``. Nothing else is promised.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metabench.api.merging import Merged, merge
    from metabench.api.pricing import PriceView, price
    from metabench.api.reading import (
        ClaimsView,
        ComparisonView,
        ReportView,
        claims,
        compare,
        report,
    )
    from metabench.api.reproducing import Reproduced, reproduce
    from metabench.api.running import Runs, run
    from metabench.api.status import StatusView, status
    from metabench.api.tuning import Tuning, tune
    from metabench.api.weights import evaluate, export_weights
    from metabench.errors import (
        DataError,
        DivergedError,
        MetabenchError,
        PluginError,
        UsageError,
        unknown,
    )
    from metabench.inner_steps import (
        Order,
        TaskLoss,
        inner_loop,
        inner_path,
        is_norm,
        share,
        task_gradients,
    )
    from metabench.nn.losses import Reduction, query_scalars, task_losses
    from metabench.nn.scores import task_scores
    from metabench.nn.transduction import predictor
    from metabench.planning.yaml_files import read_yaml
    from metabench.plugin.catalog import load_catalog
    from metabench.plugin.contracts.architecture import (
        INPUTS,
        NEEDED,
        ZERO,
        Arch,
        CellChoices,
        Mixture,
        Params,
    )
    from metabench.plugin.contracts.conditions import TrainingConditions
    from metabench.plugin.contracts.data import ClassData, EvaluableFamily, FunctionFamily, Scaling
    from metabench.plugin.contracts.episode import (
        Adapted,
        ClassBatch,
        EpisodeShape,
        Labelled,
        Predictor,
        TaskBatch,
        TaskKind,
        TaskShape,
    )
    from metabench.plugin.contracts.file_param import FileParam
    from metabench.plugin.contracts.genotype import Edge, Genotype
    from metabench.plugin.contracts.learner import (
        QUERY_ACCURACY,
        QUERY_LOSS,
        SKIPPED,
        Learner,
        LearnerContext,
        PhasedLearner,
        TracingLearner,
        TrainingOnly,
    )
    from metabench.plugin.contracts.metric import Better, MetricFacts, Score
    from metabench.plugin.contracts.phase import Phase
    from metabench.plugin.contracts.place import PLACE
    from metabench.plugin.contracts.ranks import Ranks
    from metabench.plugin.contracts.space import (
        BatchingSpace,
        CanonicalSpace,
        CountingSpace,
        DropPathSpace,
        IdleSpace,
        LayeredSpace,
        SearchSpace,
        StatefulSpace,
        Training,
    )
    from metabench.plugin.contracts.stamp import Stamp
    from metabench.plugin.contracts.strategy import (
        AnnealedStrategy,
        Proposer,
        RegularizedStrategy,
        Strategy,
    )
    from metabench.plugin.contracts.tracker import (
        CurvePoint,
        LookingTracker,
        Parameter,
        RunEnd,
        RunFacts,
        RunScore,
        TrackedRun,
        Tracker,
    )
    from metabench.plugin.hookspecs import hookimpl
    from metabench.plugin.source_deviation import SourceDeviation
    from metabench.plugin.specs import (
        API_VERSION,
        TEST_FACTS,
        DatasetSpec,
        ExecutorSpec,
        LearnerSpec,
        MetricSpec,
        NasStrategySpec,
        RunEvent,
        SearchSpaceSpec,
        TrackerSpec,
    )
    from metabench.results.reading import load_results
    from metabench.running.executors import Executor, Job, JobOutcome, run_job
    from metabench.sampling.seeding import choose, normal, uniform
    from metabench.values import Frozen, canonical_json, digest

_HOMES = {
    "api.reading": (
        "ClaimsView",
        "ComparisonView",
        "ReportView",
        "claims",
        "compare",
        "report",
    ),
    "api.merging": ("Merged", "merge"),
    "api.pricing": ("PriceView", "price"),
    "api.reproducing": ("Reproduced", "reproduce"),
    "api.running": ("Runs", "run"),
    "api.status": ("StatusView", "status"),
    "api.tuning": ("Tuning", "tune"),
    "api.weights": ("evaluate", "export_weights"),
    "errors": (
        "DataError",
        "DivergedError",
        "MetabenchError",
        "PluginError",
        "UsageError",
        "unknown",
    ),
    "inner_steps": (
        "Order",
        "TaskLoss",
        "inner_loop",
        "inner_path",
        "is_norm",
        "share",
        "task_gradients",
    ),
    "nn.losses": (
        "Reduction",
        "query_scalars",
        "task_losses",
    ),
    "nn.scores": ("task_scores",),
    "nn.transduction": ("predictor",),
    "planning.yaml_files": ("read_yaml",),
    "plugin.catalog": ("load_catalog",),
    "plugin.contracts.architecture": (
        "INPUTS",
        "NEEDED",
        "ZERO",
        "Arch",
        "CellChoices",
        "Mixture",
        "Params",
    ),
    "plugin.contracts.conditions": ("TrainingConditions",),
    "plugin.contracts.data": (
        "ClassData",
        "EvaluableFamily",
        "FunctionFamily",
        "Scaling",
    ),
    "plugin.contracts.episode": (
        "Adapted",
        "ClassBatch",
        "EpisodeShape",
        "Labelled",
        "Predictor",
        "TaskBatch",
        "TaskKind",
        "TaskShape",
    ),
    "plugin.contracts.file_param": ("FileParam",),
    "plugin.contracts.genotype": (
        "Edge",
        "Genotype",
    ),
    "plugin.contracts.learner": (
        "QUERY_ACCURACY",
        "QUERY_LOSS",
        "SKIPPED",
        "Learner",
        "LearnerContext",
        "PhasedLearner",
        "TracingLearner",
        "TrainingOnly",
    ),
    "plugin.contracts.metric": ("Better", "MetricFacts", "Score"),
    "plugin.contracts.phase": ("Phase",),
    "plugin.contracts.place": ("PLACE",),
    "plugin.contracts.ranks": ("Ranks",),
    "plugin.contracts.space": (
        "BatchingSpace",
        "CanonicalSpace",
        "CountingSpace",
        "DropPathSpace",
        "IdleSpace",
        "LayeredSpace",
        "SearchSpace",
        "StatefulSpace",
        "Training",
    ),
    "plugin.contracts.stamp": ("Stamp",),
    "plugin.contracts.strategy": (
        "AnnealedStrategy",
        "Proposer",
        "RegularizedStrategy",
        "Strategy",
    ),
    "plugin.contracts.tracker": (
        "CurvePoint",
        "LookingTracker",
        "Parameter",
        "RunEnd",
        "RunFacts",
        "RunScore",
        "TrackedRun",
        "Tracker",
    ),
    "plugin.hookspecs": ("hookimpl",),
    "plugin.source_deviation": ("SourceDeviation",),
    "plugin.specs": (
        "API_VERSION",
        "TEST_FACTS",
        "DatasetSpec",
        "ExecutorSpec",
        "LearnerSpec",
        "MetricSpec",
        "NasStrategySpec",
        "RunEvent",
        "SearchSpaceSpec",
        "TrackerSpec",
    ),
    "results.reading": ("load_results",),
    "running.executors": (
        "Executor",
        "Job",
        "JobOutcome",
        "run_job",
    ),
    "sampling.seeding": (
        "choose",
        "normal",
        "uniform",
    ),
    "values": (
        "Frozen",
        "canonical_json",
        "digest",
    ),
}

__all__ = [
    "API_VERSION",
    "INPUTS",
    "NEEDED",
    "PLACE",
    "QUERY_ACCURACY",
    "QUERY_LOSS",
    "SKIPPED",
    "TEST_FACTS",
    "ZERO",
    "Adapted",
    "AnnealedStrategy",
    "Arch",
    "BatchingSpace",
    "Better",
    "CanonicalSpace",
    "CellChoices",
    "ClaimsView",
    "ClassBatch",
    "ClassData",
    "ComparisonView",
    "CountingSpace",
    "CurvePoint",
    "DataError",
    "DatasetSpec",
    "DivergedError",
    "DropPathSpace",
    "Edge",
    "EpisodeShape",
    "EvaluableFamily",
    "Executor",
    "ExecutorSpec",
    "FileParam",
    "Frozen",
    "FunctionFamily",
    "Genotype",
    "IdleSpace",
    "Job",
    "JobOutcome",
    "Labelled",
    "LayeredSpace",
    "Learner",
    "LearnerContext",
    "LearnerSpec",
    "LookingTracker",
    "Merged",
    "MetabenchError",
    "MetricFacts",
    "MetricSpec",
    "Mixture",
    "NasStrategySpec",
    "Order",
    "Parameter",
    "Params",
    "Phase",
    "PhasedLearner",
    "PluginError",
    "Predictor",
    "PriceView",
    "Proposer",
    "Ranks",
    "Reduction",
    "RegularizedStrategy",
    "ReportView",
    "Reproduced",
    "RunEnd",
    "RunEvent",
    "RunFacts",
    "RunScore",
    "Runs",
    "Scaling",
    "Score",
    "SearchSpace",
    "SearchSpaceSpec",
    "SourceDeviation",
    "Stamp",
    "StatefulSpace",
    "StatusView",
    "Strategy",
    "TaskBatch",
    "TaskKind",
    "TaskLoss",
    "TaskShape",
    "TracingLearner",
    "TrackedRun",
    "Tracker",
    "TrackerSpec",
    "Training",
    "TrainingConditions",
    "TrainingOnly",
    "Tuning",
    "UsageError",
    "canonical_json",
    "choose",
    "claims",
    "compare",
    "digest",
    "evaluate",
    "export_weights",
    "hookimpl",
    "inner_loop",
    "inner_path",
    "is_norm",
    "load_catalog",
    "load_results",
    "merge",
    "normal",
    "predictor",
    "price",
    "query_scalars",
    "read_yaml",
    "report",
    "reproduce",
    "run",
    "run_job",
    "share",
    "status",
    "task_gradients",
    "task_losses",
    "task_scores",
    "tune",
    "uniform",
    "unknown",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import metabench`` costs nothing."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"metabench.{module}"), name)
    raise AttributeError(f"module 'metabench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
