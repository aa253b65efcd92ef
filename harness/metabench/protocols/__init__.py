"""The contracts that plugins implement: learner, search space, strategy, data."""

from metabench.episodes import Adapted, TaskShape
from metabench.protocols.architecture import INPUTS, NEEDED, Arch, CellChoices, Mixture, Params
from metabench.protocols.data import ClassData, EvaluableFamily, FunctionFamily
from metabench.protocols.learner import Learner, LearnerContext, PhasedLearner, TracingLearner
from metabench.protocols.space import BatchingSpace, DropPathSpace, LayeredSpace, SearchSpace
from metabench.protocols.strategy import Proposer, Strategy

__all__ = [
    "INPUTS",
    "NEEDED",
    "Adapted",
    "Arch",
    "BatchingSpace",
    "CellChoices",
    "ClassData",
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
