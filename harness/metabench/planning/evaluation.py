"""Further evaluations of a suite: the same episodes as the headline evaluation, with other queries.

They use the trained weights after meta-test and do not change the headline numbers, so the id of a
run does not depend on them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from metabench.sampling.grid import QueryGrid
from metabench.values import Frozen, Name

EvaluationName = Name
"""The name of a file, ``evaluations/<name>.jsonl``, and of a phase of a run."""


class Evaluation(Frozen):
    """A further evaluation of the adapted learners, on other queries than the headline's.

    The task, the support points and the key of each episode are those of the headline evaluation.
    """

    summary: str = Field(default="", description="One line that describes the evaluation.")
    grid: QueryGrid = Field(description="The query inputs of every episode.")
    normalization: Literal["transductive", "inductive"] = Field(
        default="inductive",
        description="As in the protocol. With `inductive`, batch norm uses the statistics of the "
        "support set and a single query point, since the points of a grid are not a sample.",
    )
