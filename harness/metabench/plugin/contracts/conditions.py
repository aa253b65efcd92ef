"""Under which conditions a learner trains: what a comparison of learners should hold equal."""

from __future__ import annotations

from pydantic import Field

from metabench.values import Frozen


class TrainingConditions(Frozen):
    """Facts about a learner's training, in words; an empty one is not stated.

    Two learners are under the same condition where the words are equal, so use those of the
    built-in learners where they fit: ``SGD``, ``Adam``, ``none``.
    """

    inner_optimizer: str = Field(default="", description="The optimizer of the inner loop.")
    outer_optimizer: str = Field(default="", description="The optimizer of the outer loop.")
    outer_schedule: str = Field(
        default="", description="How the outer step size changes over meta-training."
    )
    gradient_bounds: str = Field(
        default="", description="How inner and outer gradients are bounded or skipped."
    )
    regularization: str = Field(
        default="", description="Weight decay, dropout and the like, in meta-training."
    )
