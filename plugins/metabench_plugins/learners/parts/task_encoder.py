"""The recurrent task auto-encoder of HSML and M-NAS (M-NAS equation 5).

A GRU reads the embedded samples (x_j, y_j) of the support set in episode order; the task vector is
the mean of its states. A second GRU reconstructs the samples, last one first; the reconstruction
error joins the outer loss.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from metabench import Labelled, TaskShape, UsageError
from metabench_plugins.learners.parts.gradient_learner import GradientParams

LABEL_CODE_WIDTHS = {"regression": 20, "classification": 64}
TASK_WIDTHS = {"regression": 40, "classification": 128}


class EncoderParams(GradientParams):
    """Parameters of a learner that embeds tasks."""

    embedding: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Width of the task embedding; null is 40 in regression and 128 in "
        "classification.",
    )
    penalty: float = Field(
        default=0.01,
        ge=0,
        le=100,
        description="Weight of the task encoder's reconstruction error in the outer loss.",
    )
    penalty_reduction: Literal["mean", "sum"] = Field(
        default="mean",
        description="Whether the squared reconstruction errors of a task are averaged or summed "
        "over samples and components.",
    )


class TaskEncoder(nn.Module):
    """Maps support sets to task vectors.

    Args:
        params: width of the task vector, and how errors are reduced.
        task: shapes of one sample.
    """

    def __init__(self, params: EncoderParams, task: TaskShape) -> None:
        super().__init__()
        self.width = width = params.embedding or TASK_WIDTHS[task.kind]
        self._task = task
        self._reduction = params.penalty_reduction
        self.embed: nn.Module
        if task.kind == "regression":
            sample = LABEL_CODE_WIDTHS["regression"]
            self.embed = nn.Linear(math.prod(task.inputs) + task.outputs, sample)
        else:
            self.embed = ImageEmbedding(task.inputs)
            sample = LABEL_CODE_WIDTHS["classification"] + task.outputs
        self.encoder = nn.GRU(sample, width, batch_first=True)
        self.decoder = nn.GRUCell(sample, width)
        self.output = nn.Linear(width, sample)
        nn.init.trunc_normal_(self.output.weight, std=1.0)
        nn.init.constant_(self.output.bias, 0.1)

    def forward(self, support: Labelled) -> tuple[Tensor, Tensor]:
        """Return task vectors ``[tasks, d]`` and the mean reconstruction error, a scalar."""
        samples = self._samples(support)  # [tasks, n, e]
        states, _ = self.encoder(samples)
        decoded = self._decode(states[:, -1], samples)
        errors = (samples - decoded).square()
        per_task = errors.mean((1, 2)) if self._reduction == "mean" else errors.sum((1, 2))
        return states.mean(dim=1), per_task.mean()

    def _samples(self, support: Labelled) -> Tensor:
        if self._task.kind == "regression":
            embedded: Tensor = self.embed(torch.cat([support.x.flatten(2), support.y], dim=-1))
            return embedded
        codes = F.one_hot(support.y, self._task.outputs).to(support.x.dtype)
        images: Tensor = self.embed(support.x.flatten(0, 1))
        return torch.cat([images.view(*support.y.shape, -1), codes], dim=-1)

    def _decode(self, state: Tensor, samples: Tensor) -> Tensor:
        """Decode from the last state; each output is the next input, and the order is reversed."""
        output = torch.zeros_like(samples[:, 0])
        outputs = []
        for _ in range(samples.shape[1]):
            state = self.decoder(output, state)
            output = self.output(state)
            outputs.append(output)
        return torch.stack(outputs[::-1], dim=1)


class ImageEmbedding(nn.Module):
    """Two convolutions with local response norm, then 384 and 64 units."""

    def __init__(self, inputs: tuple[int, ...]) -> None:
        super().__init__()
        if len(inputs) != 3:
            raise UsageError(
                f"This learner classifies images only; an example here has shape {list(inputs)}.",
                hint="Choose another learner, such as maml, anil or protonet.",
            )
        channels, height, width = inputs
        self.first = nn.Conv2d(channels, 32, 5, padding=2, bias=False)
        self.second = nn.Conv2d(32, 32, 5, padding=2, bias=False)
        features = 32 * _quarter(height) * _quarter(width)
        self.hidden = nn.Linear(features, 384)
        self.output = nn.Linear(384, LABEL_CODE_WIDTHS["classification"])
        for layer in (self.first, self.second, self.hidden, self.output):
            nn.init.trunc_normal_(layer.weight, std=0.04, a=-0.08, b=0.08)
        for linear in (self.hidden, self.output):
            nn.init.constant_(linear.bias, 0.1)

    def forward(self, images: Tensor) -> Tensor:
        """Map ``[images, channels, height, width]`` to ``[images, 64]``."""
        x = _pool(F.relu(self.first(images)))
        x = _normalize(x)
        x = _pool(_normalize(F.relu(self.second(x))))
        hidden = F.relu(self.hidden(x.flatten(1)))
        output: Tensor = self.output(hidden)
        return output


def _pool(x: Tensor) -> Tensor:
    """Max pool 3x3, stride 2, so that a size halves and rounds up."""
    return F.max_pool2d(x, 3, stride=2, padding=1)


def _normalize(x: Tensor) -> Tensor:
    return F.local_response_norm(x, size=9, alpha=0.001, beta=0.75, k=1.0)


def _quarter(size: int) -> int:
    return -(-size // 4)
