"""States of a training that an earlier start kept, checked before anything is trained on them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from metabench.errors import DataError
from metabench.plugin.contracts.learner import Learner
from metabench.running.checkpoint import TRAINING_ID, named_tensors, without_training
from metabench.running.engines.states import copied
from metabench.running.out_of_memory import is_out_of_memory


def check_training(kept: Mapping[str, Any], training_id: str, *, path: Path) -> None:
    """Refuse the state of another training.

    Args:
        kept: what a checkpoint holds.
        training_id: of the training that it shall be of; "" for any.
        path: of the file.

    Raises:
        DataError: when it is of another one.
    """
    if training_id and kept.get(TRAINING_ID, training_id) != training_id:
        raise damaged(path, "it is of another training")


def check_position(kept: Mapping[str, Any], *, path: Path, most: int = sys.maxsize) -> None:
    """Refuse a state of training that says nonsense of where the training is.

    Args:
        kept: what a checkpoint holds.
        path: of the file.
        most: meta-steps of the whole training.

    Raises:
        DataError: when a number is of another type, or out of bounds.
    """
    pending, others = kept.get("pending", []), kept.get("others", [])
    fits = {
        "step": _is_count(kept.get("step"), most),
        "best": kept.get("best") is None or _is_finite(kept["best"]),
        "score": kept.get("score") is None or _is_finite(kept["score"]),
        "skipped": kept.get("skipped") is None or _is_count(kept["skipped"], most),
        "in_a_row": _is_count(kept.get("in_a_row", 0), most),
        "pending": isinstance(pending, list) and all(map(_are_scalars, pending)),
        "others": isinstance(others, list) and all(isinstance(one, Mapping) for one in others),
    }
    for name, fit in fits.items():
        if not fit:
            raise damaged(path, f"its {name} is {str(kept.get(name))[:40]!r}")


def load_kept(learner: Learner, state: Any, *, path: Path, whole: bool = True) -> None:
    """Load the state that an earlier start of this run kept of its learner.

    A learner that it does not fit is not to be used further: it may hold a part of it.

    Args:
        learner: gets the state.
        state: what :meth:`metabench.Learner.state_dict` returned then.
        path: of the file that it is from.
        whole: whether it has the parts that only training needs.

    Raises:
        DataError: when it does not fit the learner.
    """
    if reason := misfit(learner, state, whole=whole):
        raise damaged(path, reason)


def damaged(path: Path, reason: str) -> DataError:
    """The error of a checkpoint that does not fit, because of a reason."""
    return DataError(
        f"The checkpoint {path} does not fit this run: {reason}.",
        hint="Move it away, and run the command again.",
    )


def tensors_to_fit(before: Any, after: Any, state: Any) -> dict[str, Tensor]:
    """The tensors, by name, whose shapes those of a state must have.

    Some learners spread a smaller tensor over a larger one; these keep their shapes. Others take
    any shape; these had another one before. A state of another phase or genotype has a network of
    its own, of which only the learner that holds it tells the shapes.

    Args:
        before: the state of the learner before it got the other one.
        after: its state afterwards.
        state: what it got, with or without the parts that only training needs.
    """
    own = named_tensors(after)
    return {**own, **named_tensors(before)} if _words(before) == _words(state) else own


def _words(state: Any) -> set[str]:
    """All strings among the values of a nested state: names of phases, operations of genotypes."""
    if isinstance(state, str):
        return {state}
    if isinstance(state, Mapping):
        state = list(state.values())
    if not isinstance(state, list | tuple):
        return set()
    return set[str]().union(*map(_words, state))


def misfit(learner: Learner, state: Any, *, whole: bool = True) -> str:
    """Load a state; why it does not fit, in words, and "" where it does.

    Args:
        learner: gets the state.
        state: what :meth:`metabench.Learner.state_dict` returned earlier.
        whole: whether it has the parts that only training needs.
    """
    before = copied(learner.state_dict())
    if not isinstance(state, Mapping):
        return "it holds no state of a learner"
    try:
        learner.load_state_dict(state)
        after = learner.state_dict()
    except Exception as error:  # a plugin may raise anything at what it does not expect
        if is_out_of_memory(error):
            raise
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    if not whole:
        before, after = without_training(before), without_training(after)
    given, own = named_tensors(state), named_tensors(after)
    if lacking := sorted(own.keys() - given.keys()):
        return f"it has no {lacking[0]}"
    own = tensors_to_fit(before, after, state)
    for name in sorted(own.keys() & given.keys()):
        there, here = _kind(given[name]), _kind(own[name])
        if there != here:
            return f"{name} is {there}, and the learner has {here}"
    return ""


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_finite(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _are_scalars(step: Any) -> bool:
    return isinstance(step, Mapping) and all(
        isinstance(value, float | int) or (isinstance(value, Tensor) and value.numel() == 1)
        for value in step.values()
    )
