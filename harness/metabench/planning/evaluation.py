"""Evaluations that a suite names beside its headline one: the same episodes, asked elsewhere.

They are made from the trained weights after meta-test and change no headline number, so they are
no part of a run's identity.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from metabench.sampling.grid import QueryGrid
from metabench.values import Frozen, Name

EvaluationName = Name
"""Names a file, ``evaluations/<name>.jsonl``, and a phase of a run."""


class Evaluation(Frozen):
    """What is asked of an adapted learner instead of the headline's queries.

    Task and support points of each episode are those of the headline, and so is its key.
    """

    summary: str = Field(default="", description="One line for people.")
    grid: QueryGrid = Field(description="The query inputs of every episode.")
    normalization: Literal["transductive", "inductive"] = Field(
        default="inductive",
        description="As in the protocol: where inductive, a batch norm takes the statistics of the "
        "support set and the one query point. A grid is no sample: its own mean nothing.",
    )
