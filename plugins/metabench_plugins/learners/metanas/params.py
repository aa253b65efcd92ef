"""The parameters of MetaNAS."""

from __future__ import annotations

from pydantic import Field

from metabench_plugins.learners.metanas.joint_inner_loop import JointParams
from metabench_plugins.learners.parts.mini_batches import Sampling
from metabench_plugins.learners.reptile import ReptileParams


class MetanasParams(JointParams):
    """Parameters of MetaNAS: those of Reptile for the weights, and the architecture's own."""

    inner_steps: int = Field(
        default=5, ge=1, le=1000, description="Inner-loop steps per task in meta-training."
    )
    inner_batch: int = Field(
        default=20, ge=1, le=10_000, description="Examples per inner-loop step in meta-training."
    )
    sampling: Sampling = Field(
        default="replacement", description="Takes the same values as `sampling` of `reptile`."
    )
    test_steps: int = Field(
        default=50,
        ge=0,
        le=10_000,
        description="Second part of the inner loop at meta-test: steps on the weights alone.",
    )
    test_steps_arch: int = Field(
        default=50,
        ge=0,
        le=10_000,
        description="First part of the inner loop at meta-test: steps on weights and "
        "architecture logits.",
    )
    meta_lr_end: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="Outer step size eps at the end of meta-training; it changes linearly.",
    )
    arch_meta_lr: float = Field(
        default=0.6, ge=0, le=10, description="Outer step size eps of the architecture logits."
    )
    warm_up: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="First fraction of meta-training, in which the architecture logits stay fixed.",
    )
    drop_path: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Probability of DropPath in meta-training, on networks that can drop paths. "
        "The paper has it for scaled-up networks alone; the released code also searches with 0.2.",
    )
    threshold: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="Operations and input pairs whose weight is at most this are left out in "
        "meta-training.",
    )
    threshold_at_test: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Operations and input pairs whose weight is at most this are left out at "
        "meta-test.",
    )
    prune_every: int | None = Field(
        default=2500,
        ge=1,
        description="Meta-steps between permanent removals of the operations below threshold at "
        "the lowest temperature; null for never. A strategy without a temperature removes none.",
    )


def steps_at_test(params: ReptileParams | MetanasParams) -> int:
    """The steps with annealing, and those with a fixed mixture after them, at meta-test."""
    annealed = params.test_steps_arch if isinstance(params, MetanasParams) else 0
    return annealed + params.test_steps
