"""The contracts that plugins implement: learner, network, strategy, data."""

from metabench.plugin.contracts.architecture import (
    INPUTS,
    NEEDED,
    Arch,
    CellChoices,
    Mixture,
    Params,
)
from metabench.plugin.contracts.data import ClassData, EvaluableFamily, FunctionFamily
from metabench.plugin.contracts.episode import Adapted, TaskShape
from metabench.plugin.contracts.learner import (
    Learner,
    LearnerContext,
    PhasedLearner,
    TracingLearner,
)
from metabench.plugin.contracts.space import (
    BatchingSpace,
    CountingSpace,
    DropPathSpace,
    LayeredSpace,
    SearchSpace,
)
from metabench.plugin.contracts.strategy import AnnealedStrategy, Proposer, Strategy

__all__ = [
    "INPUTS",
    "NEEDED",
    "Adapted",
    "AnnealedStrategy",
    "Arch",
    "BatchingSpace",
    "CellChoices",
    "ClassData",
    "CountingSpace",
    "DropPathSpace",
    "EvaluableFamily",
    "FunctionFamily",
    "LayeredSpace",
    "Learner",
    "LearnerContext",
    "Mixture",
    "Params",
    "PhasedLearner",
    "Proposer",
    "SearchSpace",
    "Strategy",
    "TaskShape",
    "TracingLearner",
]
