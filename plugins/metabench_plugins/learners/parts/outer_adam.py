"""The outer optimizer of most learners: Adam on groups of named weights, and what others share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from metabench import Params, TrainingOnly
from metabench_plugins.learners.parts.runaway_guard import RunawayGuard
from metabench_plugins.learners.parts.updates import descend_adam


@dataclass(frozen=True, slots=True)
class Group:
    """Weights that share an outer learning rate.

    Attributes:
        weights: leaves that require gradients; updated in place.
        lr: their outer learning rate.
        max_norm: bound of the norm of the group's gradient; None for no bound.
        each: whether it bounds the norm of each weight's gradient by itself.
        beta1: decay of Adam's first moment.
        decay: factor of the weights that joins their gradient.
        clipped: whether the bound of the elements holds for their gradient.
    """

    weights: Params
    lr: float
    max_norm: float | None = None
    beta1: float = 0.9
    decay: float = 0.0
    clipped: bool = True
    each: bool = False


class OuterOptimizer(ABC):
    """An optimizer with a guard against runaway tasks and bounds of the gradient.

    A step reads nothing from the device, and what changes from step to step is a tensor on it, so
    that it can be captured and played again. Its tensors stay where they are once the first step
    has made them; restoring a state fills them.

    Args:
        groups: names must differ between groups.
        clip: bound of each gradient element of the groups that are clipped, ``[-clip, clip]``;
            None for no bound.
        skip_above: see :class:`RunawayGuard`.
    """

    key: ClassVar[str]
    """What its state is called in checkpoints."""

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        clip: float | None = None,
        skip_above: float | None = None,
    ) -> None:
        self.groups = tuple(groups)
        self.weights: Params = {}
        for group in groups:
            self.weights.update(group.weights)
        self._clip = clip
        self._moments: dict[str, dict[str, Tensor]] = {}
        (like, *_) = self.weights.values()
        self._guard = RunawayGuard(skip_above, like.device)

    @abstractmethod
    def begin(self, weight: Tensor) -> dict[str, Tensor]:
        """Make what is remembered of a weight, before its first step."""

    @abstractmethod
    def descend(
        self,
        group: Group,
        weights: list[Tensor],
        gradients: list[Tensor],
        moments: list[dict[str, Tensor]],
        *,
        lr: float | Tensor,
    ) -> None:
        """Make a step of the weights of a group that have a gradient, at least one, in place."""

    def step(self, loss: Tensor, *, rate: float | Tensor = 1.0) -> Tensor:
        """Descend the gradient of a scalar loss; a weight it does not use stays.

        Args:
            loss: a scalar with its graph.
            rate: see :meth:`apply`.

        Returns:
            Whether the guard skipped the step, as a scalar 0 or 1.
        """
        return self.apply(self.gradients(loss), rate=rate).to(loss.dtype)

    def gradients(self, loss: Tensor) -> Sequence[Tensor | None]:
        """Differentiate a scalar loss for :attr:`weights`; None for one that it does not use."""
        return torch.autograd.grad(loss, list(self.weights.values()), allow_unused=True)

    @torch.no_grad()
    def apply(self, gradients: Sequence[Tensor | None], *, rate: float | Tensor = 1.0) -> Tensor:
        """Descend gradients that are known.

        In a step that the guard skips, the gradient counts as 0: the weights move by what is left
        of the optimizer's moments, which decay.

        Args:
            gradients: of :attr:`weights`, in their order; None for a weight that stays.
            rate: factor of the learning rates, for a schedule; a scalar tensor in a step that is
                captured.

        Returns:
            Whether the guard skipped the step, as a boolean scalar.
        """
        found = {
            name: gradient
            for name, gradient in zip(self.weights, gradients, strict=True)
            if gradient is not None
        }
        named = [[name for name in group.weights if name in found] for group in self.groups]
        used = [(g, names) for g, names in zip(self.groups, named, strict=True) if names]
        # In one piece, a group needs one operation where each weight would need its own.
        flat = [torch.cat([found[name].flatten() for name in names]) for _, names in used]
        skipped = self._guard.skips(flat)
        for (group, names), whole in zip(used, flat, strict=True):
            weights = [self.weights[name] for name in names]
            pieces = torch.split_with_sizes(whole, [weight.numel() for weight in weights])
            own = [piece.view(w.shape) for piece, w in zip(pieces, weights, strict=True)]
            whole.masked_fill_(skipped, 0.0)
            if self._clip is not None and group.clipped:
                whole.clamp_(-self._clip, self._clip)
            if group.max_norm is not None:
                # Of each weight first, as PyTorch does it: it rounds less.
                norms = torch.stack(torch._foreach_norm(own))
                norm = norms if group.each else torch.linalg.vector_norm(norms)
                factor = (group.max_norm / (norm + 1e-6)).clamp(max=1.0)
                if group.each:
                    torch._foreach_mul_(own, list(factor.unbind()))
                else:
                    whole.mul_(factor)
            moments = [self._moments_of(name) for name in names]
            self.descend(group, weights, own, moments, lr=rate * group.lr)
        return skipped

    def _moments_of(self, name: str) -> dict[str, Tensor]:
        if name not in self._moments:
            self._moments[name] = self.begin(self.weights[name])
        return self._moments[name]

    def moments(self) -> dict[int, dict[str, Tensor]]:
        """What is remembered of each weight by its place, in the layout of `torch.optim`."""
        return {
            place: dict(self._moments[name])
            for place, name in enumerate(self.weights)
            if name in self._moments
        }

    @torch.no_grad()
    def load_moments(self, state: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Restore what :meth:`moments` gave; a weight that it lacks has made no step."""
        for place, name in enumerate(self.weights):
            known = state.get(place, {})
            if not known and name not in self._moments:
                continue
            for key, moment in self._moments_of(name).items():
                if key in known:
                    moment.copy_(known[key])
                else:
                    moment.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Weights, moments and step counts, and what the guard knows."""
        return {
            "weights": dict(self.weights),
            self.key: TrainingOnly(self.moments()),
            "guard": TrainingOnly(self._guard.state_dict()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave; rates and bounds come from the parameters."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state["weights"][name])
        if self.key in state:
            self.load_moments(state[self.key])
            self._guard.load_state_dict(state["guard"])


class OuterAdam(OuterOptimizer):
    """Adam (Kingma and Ba 2015)."""

    key = "adam"

    def begin(self, weight: Tensor) -> dict[str, Tensor]:
        """Make both moments and the count of steps, all 0."""
        return {
            "step": torch.zeros((), device=weight.device),
            "exp_avg": torch.zeros_like(weight),
            "exp_avg_sq": torch.zeros_like(weight),
        }

    def descend(
        self,
        group: Group,
        weights: list[Tensor],
        gradients: list[Tensor],
        moments: list[dict[str, Tensor]],
        *,
        lr: float | Tensor,
    ) -> None:
        """Make a step with the group's first decay and weight decay."""
        steps = [moment["step"] for moment in moments]
        torch._foreach_add_(steps, 1.0)
        descend_adam(
            weights,
            gradients,
            [moment["exp_avg"] for moment in moments],
            [moment["exp_avg_sq"] for moment in moments],
            steps,
            lr=lr,
            beta1=group.beta1,
            beta2=0.999,
            decay=group.decay,
        )
