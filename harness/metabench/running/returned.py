"""What a learner returns, held to its contract before it becomes a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from numbers import Integral
from typing import Any, cast

from torch import Tensor

from metabench.errors import PluginError
from metabench.plugin.contracts.episode import Adapted, Predictor, TaskBatch
from metabench.plugin.contracts.genotype import Genotype

PER_TASK: dict[str, type] = {
    "genotypes": Sequence,
    "own_genotypes": Sequence,
    "n_params": Sequence,
    "embedding": Tensor,
}
"""What has one row for each task, and what it is."""
_WORDS: dict[type, str] = {
    Sequence: "a sequence with a row per task",
    Tensor: "a tensor [tasks, d]",
}


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
    for name, wanted in PER_TASK.items():
        rows = getattr(adapted, name)
        if rows is None:
            continue
        if not isinstance(rows, wanted):
            raise _refused(learner, f"adapt, as {name},", rows, _WORDS[wanted])
        n_rows = len(cast(Sized, rows))
        if n_rows != len(tasks):
            raise PluginError(
                f"Learner {learner} breaks its contract: {name} has {n_rows} rows for "
                f"{len(tasks)} tasks.",
                hint=_hint(learner),
            )
    predictors = {"predict": adapted.predict, "curve": adapted.curve, "variants": adapted.variants}
    _check_predictors(learner, **predictors)
    if adapted.curve is not None and len(adapted.curve) > curve_steps + 1:
        raise PluginError(
            f"Learner {learner} breaks its contract: its curve has {len(adapted.curve)} "
            f"predictors; after 0 to {curve_steps} inner steps there are {curve_steps + 1}.",
            hint=_hint(learner),
        )
    return adapted


def _check_predictors(learner: str, predict: Any, curve: Any, variants: Any) -> None:
    if not callable(predict):
        raise _refused(learner, "adapt, as predict,", predict, "a function")
    if curve is not None and not isinstance(curve, Sequence):
        raise _refused(learner, "adapt, as curve,", curve, "a sequence of functions")
    if not isinstance(variants, Mapping):
        raise _refused(learner, "adapt, as variants,", variants, "a mapping of functions by name")
    for one in (*(curve or ()), *variants.values()):
        if not callable(one):
            raise _refused(learner, "adapt, in curve or variants,", one, "a function")


def genotypes(found: Sequence[Any], *, learner: str) -> Sequence[Genotype]:
    """Architectures of tasks, if they are some.

    Raises:
        PluginError: if one is something else.
    """
    for one in found:
        if not isinstance(one, Genotype):
            raise _refused(learner, "adapt, in genotypes,", one, "a metabench.Genotype")
    return found


def sizes(found: Sequence[Any], *, learner: str) -> list[int]:
    """Numbers of weights, if they are some.

    Raises:
        PluginError: if one is something else.
    """
    for one in found:
        if isinstance(one, bool) or not isinstance(one, Integral) or int(one) < 0:
            raise _refused(learner, "adapt, in n_params,", one, "a whole number")
    return [int(one) for one in found]


def state(found: Any, *, learner: str) -> dict[str, Any]:
    """The state of a learner, if it is one; what cannot be written in it is told when it is.

    Raises:
        PluginError: if it is something else.
    """
    if not isinstance(found, dict):
        raise _refused(learner, "state_dict", found, "a dict")
    return found


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
