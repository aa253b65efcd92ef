"""What a learner returns, held to its contract before it becomes a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from metabench.errors import PluginError
from metabench.plugin.contracts.episode import Adapted, Predictor, TaskBatch

PER_TASK = ("genotypes", "own_genotypes", "n_params", "embedding")
"""What has one row for each task."""


def scalars(logged: Any, *, learner: str) -> Mapping[str, Tensor | float]:
    """What a meta-step returned, if it is numbers by name.

    Args:
        logged: what it returned.
        learner: its name.

    Raises:
        PluginError: for anything else.
    """
    if not isinstance(logged, Mapping):
        raise _refused(learner, "meta_step", logged, "a mapping of numbers by name")
    if "loss" not in logged:
        said = f"meta_step returned {sorted(map(str, logged))}; 'loss' must be among them."
        raise PluginError(f"Learner {learner} breaks its contract: {said}", hint=_hint(learner))
    for name, value in logged.items():
        is_number = isinstance(value, int | float) or (
            isinstance(value, Tensor) and value.numel() == 1
        )
        if not is_number:
            raise _refused(learner, f"meta_step, as {name!r},", value, "a number")
    return logged


def adaptation(adapted: Any, tasks: TaskBatch, *, curve_steps: int, learner: str) -> Adapted:
    """What adapting returned, if its parts are those of these tasks.

    Args:
        adapted: what it returned.
        tasks: those that it adapted to.
        curve_steps: inner steps up to which a curve goes.
        learner: its name.

    Raises:
        PluginError: for anything else.
    """
    if not isinstance(adapted, Adapted):
        raise _refused(learner, "adapt", adapted, "a metabench.Adapted")
    for name in PER_TASK:
        rows = getattr(adapted, name)
        if rows is None:
            continue
        if not isinstance(rows, Sequence | Tensor):
            raise _refused(learner, f"adapt, as {name},", rows, "a sequence with a row per task")
        if len(rows) != len(tasks):
            raise PluginError(
                f"Learner {learner} breaks its contract: {name} has {len(rows)} rows for "
                f"{len(tasks)} tasks.",
                hint=_hint(learner),
            )
    if adapted.curve is not None and len(adapted.curve) > curve_steps + 1:
        raise PluginError(
            f"Learner {learner} breaks its contract: its curve has {len(adapted.curve)} "
            f"predictors; after 0 to {curve_steps} inner steps there are {curve_steps + 1}.",
            hint=_hint(learner),
        )
    return adapted


def outputs(predict: Predictor, tasks: TaskBatch, *, n_outputs: int, learner: str) -> Tensor:
    """Predict the queries.

    Args:
        predict: a predictor of these tasks.
        tasks: the tasks.
        n_outputs: classes or targets of each.
        learner: its name.

    Returns:
        ``[tasks, q, outputs]``.

    Raises:
        PluginError: when the learner predicts something of another shape, which a metric might
            take for an answer.
    """
    found = predict(tasks.query.x)
    if not isinstance(found, Tensor):
        raise _refused(learner, "its predictor", found, "a tensor")
    wanted = (*tasks.query.y.shape[:2], n_outputs)
    if found.shape != wanted or not found.is_floating_point():
        raise PluginError(
            f"Learner {learner} breaks its contract: it predicts {found.dtype} of shape "
            f"{tuple(found.shape)}; it must predict floating point of shape {wanted}, "
            "[tasks, queries, outputs].",
            hint=_hint(learner),
        )
    return found


def _refused(learner: str, what: str, value: object, wanted: str) -> PluginError:
    return PluginError(
        f"Learner {learner} breaks its contract: {what} returned a {type(value).__name__}; it "
        f"must be {wanted}.",
        hint=_hint(learner),
    )


def _hint(learner: str) -> str:
    return f"`metabench plugins check {learner}` tells all that is wrong with it."
