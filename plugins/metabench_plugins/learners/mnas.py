"""M-NAS: task-aware architectures and weights (Wang et al., AAAI 2020).

The task vector z of an auto-encoder drives two heads: a controller that gives architecture logits
``alpha = A(z)``, and gates that modulate the supernet's weights ``w_i = tau(z) * w``. Inner loop:
SGD on the weights, architecture fixed. Outer loop (equation 9): encoder, controller, gates and
weights all descend the query loss, plus ``penalty`` times the reconstruction error.

* ``mnas``: in the last ``hard_fraction`` of the search the decoded architecture runs inside the
  supernet, with straight-through gradients to the controller; it is tested as it is.
* ``mnas-shared``: free logits for all tasks; decoded once, then the child is trained anew, with
  encoder and new gates.
* ``mnas-nm``: no modulation.
* ``mnas-shared-m``, a row of Table 3 that the paper does not explain: read as ``mnas-shared``, with
  modulation; ``mnas-shared-nm`` is the same without.
* ``mnas-low-rank``: gates from a matrix of low rank, our own deviation for large networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from metabench import (
    INPUTS,
    Arch,
    Genotype,
    Labelled,
    LearnerContext,
    Mixture,
    Params,
    TaskBatch,
    is_norm,
    share,
)
from metabench_plugins.learners.parts.gates import Gates
from metabench_plugins.learners.parts.gradient_learner import GradientLearner, Start, leaves
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam
from metabench_plugins.learners.parts.seeded_modules import parameters, seeded
from metabench_plugins.learners.parts.task_encoder import EncoderParams, TaskEncoder
from metabench_plugins.strategies.parts.decoding import genotypes, harden, place, straight_through


class MnasParams(EncoderParams):
    """Parameters of M-NAS."""

    adapt_norm: bool = Field(
        default=True, description="Whether the inner loop adapts scale and shift of norm layers."
    )
    modulate: bool = Field(
        default=True,
        description="Whether gates that depend on the task multiply the initial weights.",
    )
    architecture: Literal["task", "shared"] = Field(
        default="task",
        description="task: the controller generates an architecture per task; shared: one is "
        "searched for all tasks and its network is trained anew.",
    )
    controller_lr: float = Field(
        default=1e-4,
        gt=0,
        le=1,
        description="Learning rate of Adam for the controller or the shared architecture logits.",
    )
    controller_hidden: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Hidden units of the controller, a perceptron with one hidden layer.",
    )
    path_dropout: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Initial probability of dropping an operation in the search; it falls "
        "linearly to 0.",
    )
    hard_fraction: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="With architecture=task: last fraction of meta-training, which runs the "
        "decoded architectures.",
    )
    search_fraction: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="With architecture=shared: fraction of meta-training that searches; the "
        "rest trains the decoded network.",
    )

    @property
    def gate_rank(self) -> int | None:
        """Rank of the gates' matrix; a full one, as in the paper."""
        return None


class LowRankParams(MnasParams):
    """Parameters of M-NAS with gates of low rank."""

    rank: int = Field(
        default=8,
        ge=1,
        le=4096,
        description="Rank of the matrix that maps the task embedding to the gates.",
    )

    @property
    def gate_rank(self) -> int | None:
        """The rank that is asked for."""
        return self.rank


class Controller(nn.Module):
    """A perceptron from task vectors to logits, close to even at first.

    Args:
        shapes: of the logits that the strategy reads, by cell.
        width: of the task vectors.
        hidden: units of the hidden layer.
    """

    def __init__(self, shapes: Mapping[str, torch.Size], *, width: int, hidden: int) -> None:
        super().__init__()
        self._shapes = shapes
        self.hidden = nn.Linear(width, hidden)
        self.output = nn.Linear(hidden, sum(shape.numel() for shape in shapes.values()))
        nn.init.normal_(self.output.weight, std=1e-3)
        nn.init.zeros_(self.output.bias)

    def forward(self, z: Tensor) -> Arch:
        """Map ``[tasks, d]`` to logits ``cell -> [tasks, *shape]``."""
        logits = self.output(torch.relu(self.hidden(z)))
        parts = logits.split([shape.numel() for shape in self._shapes.values()], dim=1)
        return {
            cell: part.view(-1, *shape)
            for (cell, shape), part in zip(self._shapes.items(), parts, strict=True)
        }


class Mnas(GradientLearner):
    """The learner; while ``mnas-shared`` retrains, its space is the child."""

    def __init__(self, context: LearnerContext) -> None:
        assert context.space is not None
        assert context.strategy is not None
        self._strategy = context.strategy
        self._supernet = context.space
        self._choices = context.space.choices()
        self._genotype: Genotype | None = None
        self._counts: dict[Genotype, int] = {}
        super().__init__(context)

    @property
    def searching(self) -> bool:
        """Whether ``mnas-shared`` has yet to turn to its child; M-NAS tests what it searches in."""
        return self.params.architecture == "shared" and self._genotype is None

    def groups(self, rng: torch.Generator) -> Sequence[Group]:
        """Weights, encoder and gates at the outer rate; the architecture at its own."""
        p, device = self.params, self.context.device
        example = self._strategy.init_arch(self._supernet, rng=torch.Generator())
        shapes = {cell: logits.shape for cell, logits in example.items()}
        with seeded(rng):
            self._encoder = TaskEncoder(p, self.context.task).to(device)
            self._controller = None
            if p.architecture == "task":
                self._controller = Controller(
                    shapes, width=self._encoder.width, hidden=p.controller_hidden
                ).to(device)
        self._arch: Arch = {}
        if p.architecture == "shared":
            arch = self._strategy.init_arch(self._supernet, rng=rng)
            self._arch = leaves(arch, device)
        logits = {f"arch.{cell}": weight for cell, weight in self._arch.items()}
        logits |= parameters(controller=self._controller)
        return [*self._weight_groups(rng), Group(logits, p.controller_lr)]

    def _weight_groups(self, rng: torch.Generator) -> list[Group]:
        """Draw weights of the present space and gates for them; the encoder is kept."""
        p, device = self.params, self.context.device
        weights = self.space.init_weights(rng=rng)
        self._gates = None
        if p.modulate:
            shapes = {name: weight.shape for name, weight in weights.items()}
            with seeded(rng):
                self._gates = Gates(shapes, width=self._encoder.width, rank=p.gate_rank).to(device)
        self._weights = leaves(weights, device)
        self._adapted = frozenset(n for n in weights if p.adapt_norm or not is_norm(n))
        parts = parameters(encoder=self._encoder, gates=self._gates)
        return [Group(self._weights | parts, p.outer_lr)]

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """One outer update; ``mnas-shared`` first turns to its child when the search is over."""
        p = self.params
        if self.searching and progress >= p.search_fraction:
            self._become(self._strategy.discretize(self._supernet, _detached(self._arch)), rng)
        return super().meta_step(tasks, progress=progress, rng=rng)

    def _become(self, genotype: Genotype, rng: torch.Generator) -> None:
        """Go on with the network of one genotype, its weights and gates drawn anew."""
        self._genotype = genotype
        self.space = self._supernet.child(genotype)
        self.outer = OuterAdam(self._weight_groups(rng), clip=self.params.clip)

    def begin(self, support: Labelled, *, rng: torch.Generator, progress: float | None) -> Start:
        """Embed the tasks, choose their architectures and gate the weights."""
        z, error = self._encoder(support)
        n_tasks = len(z)
        weights: Params = share(self._weights, n_tasks)
        if self._gates is not None:
            weights = self._gates(z, weights)
        mixture: Mixture = {}
        found: list[Genotype] | None = None
        if self._genotype is not None:
            found = [self._genotype] * n_tasks
        else:
            mixture, found = self._mix(z, rng=rng, progress=progress)
        return Start(
            weights=weights,
            adapted=self._adapted,
            mixture=mixture,
            penalty=self.params.penalty * error,
            embedding=z,
            genotypes=found,
            n_params=None if found is None else [self._count(genotype) for genotype in found],
        )

    def _mix(
        self, z: Tensor, *, rng: torch.Generator, progress: float | None
    ) -> tuple[Mixture, list[Genotype] | None]:
        """Weights of operations; relaxed in the search, decoded at its end and at meta-test.

        The sharpness of a strategy that anneals rises over the search.
        """
        p = self.params
        if self._controller is not None:
            arch: Arch = self._controller(z)
            search_end = 1.0
        else:
            arch = share(self._arch, len(z))
            search_end = p.search_fraction
        if progress is None:
            mixture = self._strategy.mixture(self._supernet, arch, sharpness=1.0, rng=None)
            hard = harden(mixture, self._choices)
            return place(hard, z), genotypes(hard, self._choices)
        searched = min(1.0, progress / search_end) if search_end else 1.0
        arch = drop_paths(arch, rate=p.path_dropout * (1.0 - searched), rng=rng)
        mixture = self._strategy.mixture(self._supernet, arch, sharpness=searched, rng=rng)
        if p.architecture == "task" and progress >= 1.0 - p.hard_fraction:
            return straight_through(mixture, harden(mixture, self._choices)), None
        return mixture, None

    def _count(self, genotype: Genotype) -> int:
        if genotype not in self._counts:
            weights = self._supernet.child(genotype).init_weights(rng=torch.Generator())
            self._counts[genotype] = sum(weight.numel() for weight in weights.values())
        return self._counts[genotype]

    def state_dict(self) -> dict[str, Any]:
        """Weights and moments, and the genotype once there is one."""
        genotype = None if self._genotype is None else self._genotype.to_json()
        return {**super().state_dict(), "genotype": genotype}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore; a state of the retraining turns the learner to its child first."""
        if state["genotype"] is not None:
            self._become(Genotype.from_json(state["genotype"]), torch.Generator())
        super().load_state_dict(state)


def drop_paths(arch: Arch, *, rate: float, rng: torch.Generator) -> Arch:
    """Drop operations per task and edge, each with probability ``rate``; one is always kept.

    Args:
        arch: logits ``[tasks, edges, operations]``; those of input pairs stay.
        rate: in [0, 1).
        rng: a CPU generator.
    """
    if rate <= 0:
        return arch
    dropped = {}
    for cell, logits in arch.items():
        if cell.endswith(INPUTS):
            dropped[cell] = logits
            continue
        draw = torch.rand(logits.shape, generator=rng).to(logits.device, non_blocking=True)
        # The largest draw of an edge always stays, so that no edge loses all operations.
        keep = (draw >= rate) | (draw == draw.amax(dim=-1, keepdim=True))
        dropped[cell] = logits.masked_fill(~keep, -torch.inf)
    return dropped


def _detached(arch: Arch) -> Arch:
    return {cell: logits.detach() for cell, logits in arch.items()}
