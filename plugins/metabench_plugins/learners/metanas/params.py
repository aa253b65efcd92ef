"""The parameters of MetaNAS."""

from __future__ import annotations

from pydantic import Field

from metabench_plugins.learners.metanas.joint_inner_loop import (
    JointParams,
)


class MetanasParams(JointParams):
    """Parameters of MetaNAS: those of Reptile for the weights, and the architecture's own."""

    inner_steps: int = Field(default=5, ge=1, le=1000, description="Inner steps in meta-training.")
    inner_batch: int = Field(
        default=20, ge=1, le=10_000, description="Examples per inner step in meta-training."
    )
    test_steps: int = Field(
        default=50, ge=0, le=10_000, description="Steps on the weights alone, at meta-test."
    )
    test_steps_arch: int = Field(
        default=50, ge=0, le=10_000, description="Steps on weights and logits before, at meta-test."
    )
    meta_lr_end: float = Field(default=1.0, ge=0, le=10, description="eps at its end.")
    arch_meta_lr: float = Field(default=0.6, ge=0, le=10, description="eps of the logits.")
    arch_decay: float = Field(
        default=0.001, ge=0, le=1, description="Weight decay of the logits in the outer loop."
    )
    warm_up: float = Field(
        default=0.5, ge=0, le=1, description="First part of meta-training that leaves the logits."
    )
    drop_path: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Rate of DropPath in meta-training, where the network can drop edges.",
    )
    threshold: float = Field(
        default=0.01, ge=0, lt=1, description="Weights up to this count as 0 in meta-training."
    )
    threshold_at_test: float = Field(
        default=0.05, ge=0, lt=1, description="Weights up to this count as 0 at meta-test."
    )
    prune_every: int | None = Field(
        default=2500,
        ge=1,
        description="Outer updates between prunings for good of operations below the threshold at "
        "the lowest temperature, where the strategy has one; null for none.",
    )
