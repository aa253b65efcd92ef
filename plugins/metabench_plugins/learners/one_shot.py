"""Architecture search on one task, without meta-learning (DARTS, Liu et al., ICLR 2019).

In every step the architecture descends the loss on one half of the training images, with the term
that the strategy adds if it adds one, and the weights of the supernet descend the loss on the other
half. With soft pruning the mixture of operations is annealed over the search (MetaNAS, Elsken et
al., CVPR 2020, appendix A.1). The trained supernet is then tested as it is, and reduced to the
decoded architecture without retraining, in two readings:

- ``pruned``: each kept operation counts once, as in the network that DARTS builds from a genotype;
- ``pruned-soft``: it keeps its weight and that of its pair of inputs, as in the released code.

Batch norm has no running statistics here: those of the network that predicts are always computed
anew. They are those of the batch of test images, and in three further predictions, whose names
end in ``train-statistics``, those of the last training images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor

from metabench import (
    INPUTS,
    Adapted,
    Arch,
    Frozen,
    Genotype,
    Labelled,
    LearnerContext,
    Mixture,
    Params,
    Predictor,
    RegularizedStrategy,
    TaskBatch,
    TrainingOnly,
    nn,
    share,
)
from metabench_plugins.learners.parts.augmentation import crop_and_flip
from metabench_plugins.learners.parts.gradient_learner import leaves
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam
from metabench_plugins.learners.parts.outer_sgd import OuterSgd
from metabench_plugins.learners.parts.schedules import cos
from metabench_plugins.strategies.parts.darts_unrolled import architecture_gradient
from metabench_plugins.strategies.parts.decoding import harden, one_hot, place

TRAIN_STATISTICS = "train-statistics"


class OneShotParams(Frozen):
    """Parameters of the search; the defaults are those of DARTS."""

    lr: float = Field(
        default=0.025,
        gt=0,
        le=10,
        description="Initial learning rate of SGD; it falls along a cosine to lr_min.",
    )
    lr_min: float = Field(default=0.001, ge=0, le=10, description="Final learning rate of SGD.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of SGD.")
    weight_decay: float = Field(
        default=3e-4, ge=0, le=1, description="Weight decay of the network's weights."
    )
    max_norm: float | None = Field(
        default=5.0,
        gt=0,
        description="Bound on the norm of the gradient of the network's weights; null for none.",
    )
    arch_lr: float = Field(
        default=3e-4, gt=0, le=1, description="Learning rate of Adam for the architecture logits."
    )
    arch_decay: float = Field(
        default=1e-3, ge=0, le=1, description="Weight decay of the architecture logits."
    )
    order: Literal["second", "first"] = Field(
        default="first",
        description="second: the architecture gradient differentiates through one virtual SGD "
        "step of the weights (second-order DARTS); first: it does not.",
    )
    anneal: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="First fraction of the search, over which the mixture sharpens. Then it stays "
        "as sharp as it is.",
    )
    statistics: int = Field(
        default=300,
        ge=0,
        le=100_000,
        description="Training images, the last ones seen, whose statistics normalize test images "
        "in the predictions named train-statistics; 0 for none of these.",
    )
    crop: int = Field(
        default=4,
        ge=0,
        le=64,
        description="Largest random shift of training images in pixels; 0 for none.",
    )
    flip: bool = Field(
        default=True, description="Whether each training image is mirrored with probability 1/2."
    )


class OneShot:
    """The learner. Its only task is that of the suite: support trains weights, queries the logits.

    Args:
        context: what the harness gives.
    """

    def __init__(self, context: LearnerContext) -> None:
        assert context.space is not None
        assert context.strategy is not None
        self._context = context
        self._space, self._strategy = context.space, context.strategy
        self.params: OneShotParams = context.params
        p, device = self.params, context.device
        self._weights = leaves(self._space.init_weights(rng=context.rng), device)
        self._arch: Arch = leaves(self._strategy.init_arch(self._space, rng=context.rng), device)
        weights = Group(self._weights, p.lr, max_norm=p.max_norm, decay=p.weight_decay)
        self._sgd = OuterSgd([weights], momentum=p.momentum, nesterov=False)
        self._seen = torch.empty(0, *context.task.inputs, device=device)
        self._adam: OuterAdam | None = None
        if self._arch:
            self._adam = OuterAdam([Group(self._arch, p.arch_lr, beta1=0.5, decay=p.arch_decay)])

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """One step of the architecture, then one of the weights."""
        p = self.params
        sharpness = min(1.0, progress / p.anneal)
        self._keep_images(tasks.support.x)
        support, query = (
            Labelled(crop_and_flip(part.x, shift=p.crop, flip=p.flip, rng=rng), part.y)
            for part in (tasks.support, tasks.query)
        )
        lr = p.lr_min + (p.lr - p.lr_min) * (1 + cos(math.pi * progress)) / 2
        # Both losses of a step see the same draw of a strategy that draws.
        seed = int(torch.randint(2**31, (), generator=rng))

        def loss(weights: Params, arch: Arch, data: Labelled) -> Tensor:
            again = torch.Generator().manual_seed(seed)
            mixture = self._strategy.mixture(self._space, arch, sharpness=sharpness, rng=again)
            logits = self._space.forward(_as_one_task(weights), mixture, _join(data.x))
            return F.cross_entropy(logits[0], data.y.flatten())

        if self._adam is not None:
            gradient = architecture_gradient(
                lambda w, a: loss(w, a, support),
                lambda w, a: loss(w, a, query) + self._loss_term(a, sharpness),
                self._weights,
                self._arch,
                xi=lr if p.order == "second" else 0.0,
                drift=self._momentum_and_decay() if p.order == "second" else None,
            )
            self._adam.apply([gradient[cell] for cell in self._arch])
        frozen = {cell: logits.detach() for cell, logits in self._arch.items()}
        train_loss = loss(self._weights, frozen, support)
        self._sgd.step(train_loss, rate=lr / p.lr)
        return {"loss": train_loss.detach()}

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Predict by the supernet as it is, and by the decoded architecture inside it."""
        n_tasks = len(support.y)
        mixture = self._strategy.mixture(self._space, self._arch, sharpness=1.0, rng=None)
        genotype = self._strategy.discretize(self._space, self._arch)
        pruned = {
            "pruned": self._pruned(genotype, {}),
            "pruned-soft": self._pruned(genotype, mixture),
        }
        variants = {name: self._predictor(kept, n_tasks) for name, kept in pruned.items()}
        if len(self._seen):
            variants[TRAIN_STATISTICS] = self._calibrated(mixture)
            for name, kept in pruned.items():
                variants[f"{name}-{TRAIN_STATISTICS}"] = self._calibrated(kept)
        return Adapted(
            predict=self._predictor(mixture, n_tasks),
            genotypes=[genotype] * n_tasks,
            variants=variants,
        )

    def _loss_term(self, arch: Arch, sharpness: float) -> Tensor | float:
        """What the strategy adds to the loss that the architecture descends."""
        if not isinstance(self._strategy, RegularizedStrategy):
            return 0.0
        return self._strategy.loss_term(self._space, arch, sharpness=sharpness).sum()

    def _pruned(self, genotype: Genotype, mixture: Mixture) -> Mixture:
        """Weights of the operations of a genotype: 1, or those that they have in a mixture."""
        choices = self._space.choices()
        (like, *_) = self._arch.values()
        kept = one_hot(genotype, choices)
        if not mixture:
            return place(kept, like)
        here = {key: weights.detach().cpu() for key, weights in mixture.items()}
        chosen = harden(here, choices)
        soft = {cell: here[cell] * kept[cell] for cell in choices}
        soft |= {key: here[key] * chosen[key] for key in here if key.endswith(INPUTS)}
        return place(soft, like)

    def _keep_images(self, x: Tensor) -> None:
        """Keep the last training images, as they are without shifts and reflections."""
        if self.params.statistics:
            seen = torch.cat([self._seen, x.flatten(0, 1).detach()])
            self._seen = seen[-self.params.statistics :]

    def state_dict(self) -> dict[str, Any]:
        """Weights, logits, the last images, and what both optimizers remember."""
        return {
            "weights": dict(self._weights),
            "arch": dict(self._arch),
            "seen": self._seen,
            "sgd": TrainingOnly(self._sgd.moments()),
            "adam": TrainingOnly({} if self._adam is None else self._adam.moments()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore; rates come from the parameters."""
        with torch.no_grad():
            for own, name in ((self._weights, "weights"), (self._arch, "arch")):
                for key, tensor in own.items():
                    tensor.copy_(state[name][key])
        self._seen = state["seen"]
        for optimizer, name in ((self._sgd, "sgd"), (self._adam, "adam")):
            if optimizer is not None and name in state:
                optimizer.load_moments(state[name])

    def _momentum_and_decay(self) -> Params:
        """What SGD adds to a gradient: momentum and weight decay."""
        p = self.params
        moments = self._sgd.moments()
        drift = {}
        for index, (name, weight) in enumerate(self._weights.items()):
            drift[name] = p.weight_decay * weight.detach()
            buffer = moments.get(index, {}).get("momentum_buffer")
            if buffer is not None:
                drift[name] = drift[name].add(buffer, alpha=p.momentum)
        return drift

    def _calibrated(self, mixture: Mixture) -> Predictor:
        """Normalize test images by the statistics that the training images have in this network."""
        n = len(self._seen)

        def predict(x: Tensor) -> Tensor:
            # All tasks share the weights and the training images: they are one task.
            weights = _as_one_task({name: w.detach() for name, w in self._weights.items()})
            with nn.statistics_of_first(n):
                outputs = self._space.forward(
                    weights, mixture, torch.cat([self._seen.to(x)[None], _join(x)], dim=1)
                )
            return outputs[0, n:].view(*x.shape[:2], -1)

        return predict

    def _predictor(self, mixture: Mixture, n_tasks: int) -> Predictor:
        weights = share({name: w.detach() for name, w in self._weights.items()}, n_tasks)
        return lambda x: self._space.forward(weights, mixture, x)


def _as_one_task(weights: Params) -> Params:
    return {name: weight[None] for name, weight in weights.items()}


def _join(x: Tensor) -> Tensor:
    """Make the examples of all tasks those of one: ``[tasks, n, ...] -> [1, tasks n, ...]``."""
    return x.flatten(0, 1)[None]
