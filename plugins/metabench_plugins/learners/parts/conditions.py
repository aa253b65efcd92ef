"""The training conditions of the built-in learners, in the words that tables compare."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metabench import TrainingConditions
from metabench_plugins.learners.parts.augmentation import Augmentation

if TYPE_CHECKING:
    from metabench_plugins.learners.finetuned_classifier import FinetunedParams
    from metabench_plugins.learners.leo import LeoParams
    from metabench_plugins.learners.linear_heads import MetaOptNetParams
    from metabench_plugins.learners.maml_plus import MamlPlusParams
    from metabench_plugins.learners.meta_sgd import MetaSgdParams
    from metabench_plugins.learners.metric import MetricParams
    from metabench_plugins.learners.one_shot import OneShotParams
    from metabench_plugins.learners.parts.gradient_learner import GradientParams
    from metabench_plugins.learners.reptile import ReptileParams
    from metabench_plugins.learners.tadam import TadamParams
    from metabench_plugins.learners.tnas_plus import TnasPlusParams

CONSTANT = "constant"
_LEARNED_RATES = "SGD with learned rates"
_SKIPPING = "meta-steps above {:g} times the median norm are skipped"


def with_outer_adam(params: GradientParams) -> TrainingConditions:
    """Of a learner with SGD in the inner loop and Adam in the outer one."""
    decay = getattr(params, "outer_decay", 1.0)
    return TrainingConditions(
        inner_optimizer=_LEARNED_RATES if getattr(params, "learn_rates", False) else "SGD",
        outer_optimizer="Adam",
        outer_schedule=CONSTANT if decay == 1 else f"times {decay:g} per hundredth of training",
        gradient_bounds=_bounds(params),
        regularization=_regularization(
            arch_decay=getattr(params, "arch_decay", 0.0),
            path_dropout=getattr(params, "path_dropout", 0.0),
        ),
    )


def of_meta_sgd(params: MetaSgdParams) -> TrainingConditions:
    """Of Meta-SGD."""
    return with_outer_adam(params).model_copy(update={"inner_optimizer": _LEARNED_RATES})


def of_maml_plus(params: MamlPlusParams | TnasPlusParams) -> TrainingConditions:
    """Of MAML++ and what trains networks by it."""
    end, stated = params.outer_lr_end, with_outer_adam(params)
    if end is None or math.isclose(end, params.outer_lr):
        return stated
    return stated.model_copy(update={"outer_schedule": f"cosine, {params.outer_lr:g} to {end:g}"})


def of_reptile(params: ReptileParams) -> TrainingConditions:
    """Of Reptile and the learners that are built on it."""
    given = params.model_dump()
    adam = params.inner_optimizer == "adam"
    return TrainingConditions(
        inner_optimizer="Adam with beta1 = 0" if adam else "SGD",
        outer_optimizer="mean of the tasks' weights",
        outer_schedule=_schedule(params),
        gradient_bounds="none",
        regularization=_regularization(
            decay=given.get("weight_decay", 0.0),
            arch_decay=given.get("arch_decay", 0.0),
            drop_path=given.get("drop_path", 0.0),
        ),
    )


def of_metric(params: MetricParams) -> TrainingConditions:
    """Of a learner without an inner loop that compares embeddings."""
    share = params.halve_every
    return TrainingConditions(
        inner_optimizer="none",
        outer_optimizer="Adam",
        outer_schedule=CONSTANT if share == 1 else f"halved after each {share:g} of training",
        gradient_bounds=_said({_SKIPPING: params.skip_above}),
        regularization=_said({}, params.augmentation),
    )


def of_finetuned(params: FinetunedParams) -> TrainingConditions:
    """Of ordinary training on the meta-train classes."""
    return TrainingConditions(
        inner_optimizer="none",
        outer_optimizer="Adam",
        outer_schedule=CONSTANT,
        gradient_bounds=_said({_SKIPPING: params.skip_above}),
        regularization=_said({}, params.augmentation),
    )


def of_leo(params: LeoParams) -> TrainingConditions:
    """Of LEO, after its network is trained."""
    bounds = {
        "outer elements at most {:g}": params.clip,
        "outer norm of each tensor at most {:g}": params.max_norm,
        _SKIPPING: params.skip_above,
    }
    penalties = {
        "weight decay {:g}": params.l2_penalty or None,
        "dropout of features {:g}": params.dropout or None,
        "KL {:g}": params.kl_weight or None,
        "distance of codes {:g}": params.encoder_penalty or None,
        "orthogonality {:g}": params.orthogonality_penalty or None,
    }
    return TrainingConditions(
        inner_optimizer=_LEARNED_RATES,
        outer_optimizer="Adam",
        outer_schedule=CONSTANT,
        gradient_bounds=_said(bounds),
        regularization=_said(penalties, params.augmentation),
    )


def of_metaoptnet(params: MetaOptNetParams) -> TrainingConditions:
    """Of an embedding that SGD trains through the solution of a convex problem."""
    drops = [f"times {factor:g} from {share:.3g}" for share, factor in params.rate_drops]
    momentum = f" with Nesterov momentum {params.momentum:g}" if params.momentum else ""
    return TrainingConditions(
        inner_optimizer="none",
        outer_optimizer=f"SGD{momentum}",
        outer_schedule=f"{', '.join(drops)} of training" if drops else CONSTANT,
        gradient_bounds=_said({_SKIPPING: params.skip_above}),
        regularization=_regularization(
            decay=params.weight_decay,
            smoothing=params.label_smoothing,
            augmentation=params.augmentation,
        ),
    )


def of_tadam(params: TadamParams) -> TrainingConditions:
    """Of TADAM."""
    drops = [f"times {factor:g} from {share:.3g}" for share, factor in params.rate_drops]
    bounds = {
        "outer norm of each tensor at most {:g}": params.max_norm,
        _SKIPPING: params.skip_above,
    }
    penalties = {
        "weight decay {:g}": params.weight_decay or None,
        "weight decay of the conditioning {:g}": params.factor_penalty or None,
    }
    return TrainingConditions(
        inner_optimizer="none",
        outer_optimizer=f"SGD with momentum {params.momentum:g}",
        outer_schedule=f"{', '.join(drops)} of training" if drops else CONSTANT,
        gradient_bounds=_said(bounds),
        regularization=_said(penalties, params.augmentation),
    )


def of_one_shot(params: OneShotParams) -> TrainingConditions:
    """Of the search on a single task, which has no inner loop."""
    bound = "none" if params.max_norm is None else f"norm at most {params.max_norm:g}"
    return TrainingConditions(
        inner_optimizer="none",
        outer_optimizer=f"SGD with momentum {params.momentum:g}",
        outer_schedule=f"cosine, {params.lr:g} to {params.lr_min:g}",
        gradient_bounds=bound,
        regularization=_regularization(
            decay=params.weight_decay,
            arch_decay=params.arch_decay,
            augmentation=Augmentation(crop=params.crop, flip=params.flip),
        ),
    )


def _schedule(params: ReptileParams) -> str:
    first, last = params.meta_lr, params.meta_lr_end
    if math.isclose(first, last):
        return f"{CONSTANT}, {first:g}"
    return f"{params.schedule}, {first:g} to {last:g}"


def _bounds(params: GradientParams) -> str:
    bounds = {
        "inner elements at most {:g}": params.inner_clip,
        "outer elements at most {:g}": params.clip,
        "outer norm at most {:g}": params.max_norm,
        _SKIPPING: params.skip_above,
    }
    return _said(bounds)


def _regularization(
    *,
    decay: float = 0.0,
    arch_decay: float = 0.0,
    drop_path: float = 0.0,
    path_dropout: float = 0.0,
    smoothing: float = 0.0,
    augmentation: Augmentation | None = None,
) -> str:
    return _said(
        {
            "weight decay {:g}": decay or None,
            "weight decay of the logits {:g}": arch_decay or None,
            "DropPath {:g}": drop_path or None,
            "operations dropped in the search {:g}": path_dropout or None,
            "label smoothing {:g}": smoothing or None,
        },
        augmentation,
    )


def _said(facts: dict[str, float | None], augmentation: Augmentation | None = None) -> str:
    said = [text.format(value) for text, value in facts.items() if value is not None]
    changes = "none" if augmentation is None else str(augmentation)
    if changes != "none":
        said.append(changes)
    return ", ".join(said) or "none"
