"""MUMOMAML, later MMAML (Vuorio et al., 2018 and NeurIPS 2019).

An encoder (the reader) maps the support set to a task embedding, and one linear layer per hidden
layer maps that to a scale and a shift of each unit, ``h <- h (1 + scale) + shift`` (FiLM). MAML's
inner loop does not change scale and shift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor, nn

from metabench import Labelled, Params, TaskShape, UsageError
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.parts.gradient_learner import Start, leaves
from metabench_plugins.learners.parts.layer_weights import layered
from metabench_plugins.learners.parts.outer_adam import Group
from metabench_plugins.learners.parts.seeded_modules import parameters, seeded
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params

INIT_STD = 0.01


class MumoMamlParams(MamlParams):
    """Parameters of MUMOMAML."""

    inner_clip: float | None = Field(
        default=10.0,
        gt=0,
        description="Bound on each element of the inner-loop gradient; null for none.",
    )
    max_norm: float | None = Field(
        default=2.0,
        gt=0,
        description="Bound on the norm of the outer gradient, for the network and for the "
        "encoder with its FiLM layers separately; null for none.",
    )


class MumoMaml(Maml):
    """MAML on a network whose units a reader of the support set modulates."""

    def groups(self, rng: torch.Generator) -> Sequence[Group]:
        """Two groups: the start weights, which the space draws, and reader and FiLM."""
        p, task, device = self.params, self.context.task, self.context.device
        *hidden, _ = layered(self.space, "mumomaml").layers().items()
        self._hidden = dict(hidden)
        (network,) = super().groups(rng)
        if task.kind == "regression":
            self._reader: SequenceReader | ImageReader = SequenceReader(task, device, rng=rng)
        else:
            self._reader = ImageReader(task, device, rng=rng)
        n_vectors = 2 * sum(self._hidden.values())
        maps = {
            "weight": torch.empty(self._reader.width, n_vectors).normal_(
                0, INIT_STD, generator=rng
            ),
            "bias": torch.zeros(n_vectors),
        }
        self._film = leaves(maps, device, prefix="film.")
        return [
            Group(network.weights, p.outer_lr, p.max_norm),
            Group(self._reader.weights | self._film, p.outer_lr, p.max_norm),
        ]

    def begin(self, support: Labelled, *, rng: torch.Generator, progress: float | None) -> Start:
        """MAML's start, and a scale and a shift per hidden layer."""
        start = super().begin(support, rng=rng, progress=progress)
        vector = self._reader(support)
        film = torch.addmm(self._film["film.bias"], vector, self._film["film.weight"])
        parts = torch.split(film, [n for n in self._hidden.values() for _ in range(2)], dim=1)
        names = [f"{layer}.film.{part}" for layer in self._hidden for part in ("scale", "shift")]
        modulation = dict(zip(names, parts, strict=True))
        return replace(start, weights=start.weights | modulation, embedding=vector)


class SequenceReader:
    """A bidirectional LSTM of two layers over (x, y).

    Args:
        task: shape of one sample.
        device: where the weights live.
        rng: draws the initial weights, PyTorch's own.
    """

    width = 80

    def __init__(self, task: TaskShape, device: torch.device, *, rng: torch.Generator) -> None:
        with seeded(rng):
            self._lstm = nn.LSTM(
                math.prod(task.inputs) + task.outputs,
                self.width // 2,
                num_layers=2,
                batch_first=True,
                bidirectional=True,
            ).to(device)
        self.weights: Params = parameters(reader=self._lstm)

    def __call__(self, support: Labelled) -> Tensor:
        """Return the last forward and the first backward state, ``[tasks, 80]``."""
        _, (states, _) = self._lstm(torch.cat([support.x.flatten(2), support.y], dim=-1))
        return torch.cat([states[-2], states[-1]], dim=-1)


class ImageReader:
    """Four convolutions, the mean over space, a linear layer and ReLU; labels are not read.

    Batch statistics are those of one task's support set. Parameters as of :class:`SequenceReader`.
    """

    width = 128

    def __init__(self, task: TaskShape, device: torch.device, *, rng: torch.Generator) -> None:
        if len(task.inputs) != 3:
            raise UsageError(
                f"Learner mumomaml classifies images only; an example here has shape {task.inputs}."
            )
        self._network = Conv4(
            Conv4Params(filters=32, pool="stride", head="mean"),
            TaskShape(task.kind, task.inputs, self.width),
        )
        self.weights = leaves(self._network.init_weights(rng=rng), device, prefix="reader.")

    def __call__(self, support: Labelled) -> Tensor:
        """Return the mean over the examples, ``[tasks, 128]``."""
        weights = {name.removeprefix("reader."): w[None] for name, w in self.weights.items()}
        return torch.relu(self._network.forward(weights, {}, support.x)).mean(dim=1)
