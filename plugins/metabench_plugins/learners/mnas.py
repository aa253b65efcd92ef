"""M-NAS: task-aware architectures and weights (Wang et al., AAAI 2020).

The task vector z of an auto-encoder drives two heads: a controller that gives architecture logits
``alpha = A(z)``, and gates that modulate the supernet's weights ``w_i = tau(z) * w``. Inner loop:
SGD on the weights, architecture fixed. Outer loop (equation 9): encoder, controller, gates and
weights all descend the query loss, plus ``penalty`` times the reconstruction error.

* ``mnas``: in the last ``hard_fraction`` of the search the decoded architecture runs inside the
  supernet, with straight-through gradients to the controller; it is tested as it is, or weights and
  gates are then trained anew under the architectures that the controller gives (``retrain``).
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
    Arch,
    Genotype,
    Labelled,
    LearnerContext,
    Mixture,
    Params,
    RegularizedStrategy,
    TaskBatch,
    is_norm,
    share,
)
from metabench_plugins.learners.parts.gates import Gates
from metabench_plugins.learners.parts.gradient_learner import GradientLearner, Start, leaves
from metabench_plugins.learners.parts.outer_adam import Group
from metabench_plugins.learners.parts.seeded_modules import parameters, seeded
from metabench_plugins.learners.parts.task_encoder import EncoderParams, TaskEncoder
from metabench_plugins.strategies.parts.decoding import genotypes, harden, place, straight_through

PhaseName = Literal["search", "tune", "retrain"]
"""The search; its end, if the controller alone is then tuned; and training with new weights."""


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
        description="With architecture=task: last fraction of the search, which runs the decoded "
        "architectures.",
    )
    tuned: Literal["all", "controller"] = Field(
        default="all",
        description="With architecture=task: what is trained while the decoded architectures run. "
        "all: as in the search; controller: the controller alone.",
    )
    retrain_fraction: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="With architecture=task: last fraction of meta-training, after the search. It "
        "fixes encoder and controller, and trains weights and gates anew under the decoded "
        "architectures. 0 tests the weights of the search.",
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
        self._phase: PhaseName = "search"
        self._genotype: Genotype | None = None
        self._counts: dict[Genotype, int] = {}
        super().__init__(context)

    @property
    def searching(self) -> bool:
        """Whether weights are still to be drawn anew; without that M-NAS tests those it has."""
        p = self.params
        retrains = p.architecture == "shared" or p.retrain_fraction > 0
        return retrains and self._phase != "retrain"

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
        return self._searched_groups(rng)

    def _searched_groups(self, rng: torch.Generator) -> Sequence[Group]:
        p = self.params
        return [self._draw_weights(rng), Group(self._logits, p.controller_lr, p.max_norm)]

    @property
    def _logits(self) -> Params:
        """What architectures are computed from: the controller, or free logits."""
        own = {f"arch.{cell}": weight for cell, weight in self._arch.items()}
        return own | parameters(controller=self._controller)

    def _draw_weights(self, rng: torch.Generator) -> Group:
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
        return Group(self._weights | parts, p.outer_lr, p.max_norm)

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """One outer update, in the phase whose turn it is."""
        phase = self._phase_at(progress)
        if phase != self._phase:
            if phase == "retrain" and self.params.architecture == "shared":
                self._genotype = self._strategy.discretize(self._supernet, _detached(self._arch))
            self._begin_phase(phase, rng)
        return super().meta_step(tasks, progress=progress, rng=rng)

    @property
    def _search_end(self) -> float:
        """The share of meta-training that searches."""
        p: MnasParams = self.params
        return p.search_fraction if p.architecture == "shared" else 1.0 - p.retrain_fraction

    def _decodes(self, progress: float) -> bool:
        """Whether the decoded architectures of tasks run, at the end of the search."""
        p: MnasParams = self.params
        return p.architecture == "task" and progress >= self._search_end * (1.0 - p.hard_fraction)

    def _phase_at(self, progress: float) -> PhaseName:
        if progress >= self._search_end:
            return "retrain"
        if self.params.tuned == "controller" and self._decodes(progress):
            return "tune"
        return "search"

    def _begin_phase(self, phase: PhaseName, rng: torch.Generator) -> None:
        """Begin a phase, with an optimizer of its own; what has rate 0 in it stays."""
        p = self.params
        self._phase = phase
        if phase == "search":
            self.space = self._supernet
            self.outer = self._adam(self._searched_groups(rng))
        elif phase == "tune":
            held = self._weights | parameters(encoder=self._encoder, gates=self._gates)
            self.outer = self._adam(
                [Group(held, 0.0), Group(self._logits, p.controller_lr, p.max_norm)]
            )
        elif self._genotype is not None:
            self.space = self._supernet.child(self._genotype)
            self.outer = self._adam([self._draw_weights(rng)])
        else:
            self._draw_weights(rng)
            fixed = self._logits | parameters(encoder=self._encoder)
            trained = self._weights | parameters(gates=self._gates)
            self.outer = self._adam([Group(trained, p.outer_lr, p.max_norm), Group(fixed, 0.0)])

    def begin(self, support: Labelled, *, rng: torch.Generator, progress: float | None) -> Start:
        """Embed the tasks, choose their architectures and gate the weights."""
        z, error = self._encoder(support)
        penalty = self.params.penalty * error
        if self._phase == "retrain" and self._genotype is None:
            z, penalty = z.detach(), None
        n_tasks = len(z)
        weights: Params = share(self._weights, n_tasks)
        if self._gates is not None:
            weights = self._gates(z, weights)
        mixture: Mixture = {}
        found: list[Genotype] | None = None
        if self._genotype is not None:
            found = [self._genotype] * n_tasks if progress is None else None
        else:
            arch = share(self._arch, n_tasks) if self._controller is None else self._controller(z)
            mixture, found = self._mixture(arch, rng=rng, progress=progress)
            if found is not None and len(found) == 1:  # a strategy may give one for all tasks
                found = found * n_tasks
            if progress is not None and penalty is not None:
                penalty = penalty + self._loss_term(arch, progress)
        return Start(
            weights=weights,
            adapted=self._adapted,
            mixture=mixture,
            penalty=penalty,
            embedding=z,
            genotypes=found,
            n_params=None if found is None else [self._count(genotype) for genotype in found],
        )

    def _mixture(
        self, arch: Arch, *, rng: torch.Generator, progress: float | None
    ) -> tuple[Mixture, list[Genotype] | None]:
        """Weights of operations; relaxed in the search, decoded at its end and at meta-test.

        The sharpness of a strategy that anneals rises over the search.
        """
        if progress is None or self._phase == "retrain":
            arch = _detached(arch)
            mixture = self._strategy.mixture(self._supernet, arch, sharpness=1.0, rng=None)
            hard, found = harden(mixture, self._choices), None
            if progress is None:
                hard = {key: weights.cpu() for key, weights in hard.items()}
                found = genotypes(hard, self._choices)
            (like, *_) = arch.values()
            return place(hard, like), found
        searched = self._searched(progress)
        rate = self.params.path_dropout * (1.0 - searched)
        arch = drop_paths(arch, rate=rate, rng=rng)
        mixture = self._strategy.mixture(self._supernet, arch, sharpness=searched, rng=rng)
        if self._decodes(progress):
            return straight_through(mixture, harden(mixture, self._choices)), None
        return mixture, None

    def _searched(self, progress: float) -> float:
        """The share of the search that is done."""
        return min(1.0, progress / self._search_end) if self._search_end else 1.0

    def _loss_term(self, arch: Arch, progress: float) -> Tensor | float:
        """What the strategy adds to the outer loss, on the logits before any are dropped."""
        strategy = self._strategy
        if not isinstance(strategy, RegularizedStrategy):
            return 0.0
        sharpness = self._searched(progress)
        return strategy.loss_term(self._supernet, arch, sharpness=sharpness).mean()

    def _count(self, genotype: Genotype) -> int:
        if genotype not in self._counts:
            weights = self._supernet.child(genotype).init_weights(rng=torch.Generator())
            self._counts[genotype] = sum(weight.numel() for weight in weights.values())
        return self._counts[genotype]

    def state_dict(self) -> dict[str, Any]:
        """Weights and moments, the phase, and the genotype once there is one."""
        genotype = None if self._genotype is None else self._genotype.to_json()
        return {**super().state_dict(), "phase": self._phase, "genotype": genotype}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore; the learner first enters the phase of the state."""
        known, before = state["genotype"], (self._phase, self._genotype)
        self._genotype = None if known is None else Genotype.from_json(known)
        if (state["phase"], self._genotype) != before:
            self._begin_phase(state["phase"], torch.Generator())
        super().load_state_dict(state)


def drop_paths(arch: Arch, *, rate: float, rng: torch.Generator) -> Arch:
    """Drop operations per task and edge, each with probability ``rate``; one is always kept.

    Args:
        arch: logits ``[tasks, edges, operations]``; those of input pairs, and other logits that a
            strategy has of its own, stay.
        rate: in [0, 1).
        rng: a CPU generator.
    """
    if rate <= 0:
        return arch
    dropped = {}
    for cell, logits in arch.items():
        if cell.rpartition(".")[0] in arch:
            dropped[cell] = logits
            continue
        draw = torch.rand(logits.shape, generator=rng).to(logits.device, non_blocking=True)
        # The largest draw of an edge always stays, so that no edge loses all operations.
        keep = (draw >= rate) | (draw == draw.amax(dim=-1, keepdim=True))
        dropped[cell] = logits.masked_fill(~keep, -torch.inf)
    return dropped


def _detached(arch: Arch) -> Arch:
    return {cell: logits.detach() for cell, logits in arch.items()}
