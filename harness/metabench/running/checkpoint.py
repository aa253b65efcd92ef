"""Save and load a nested state without pickle: tensors as safetensors, the rest as JSON.

A file is written under another name and renamed, so that a kill leaves the old or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from metabench.data.plain_files import require_plain
from metabench.durable import replacing
from metabench.errors import DataError, PluginError
from metabench.planning.starting_weights import STATE
from metabench.plugin.contracts.learner import TrainingOnly

TRAINING_ID = "training_id"
"""Name of what identifies the training, in its states. Absent in states of older versions."""

_TENSOR = "tensor:"
_DIGEST = "#digest"
"""Name of the digest of all that a file holds, as 32 bytes; older files have none. It is a tensor,
since safetensors writes several texts in any order."""
_DAMAGES = (
    *(AttributeError, KeyError, RecursionError, TypeError, ValueError),
    SafetensorError,
)
"""What reading a damaged file raises."""
_OS_ERROR = re.compile(r"(?:\(os error|Os \{ code:) (\d+)")
"""The number of an error of the operating system, in what safetensors says of it."""


def save(path: Path, state: Mapping[str, Any], *, about: Mapping[str, str] | None = None) -> None:
    """Write nested dicts, lists, tuples, tensors, numbers, strings and None.

    A tensor is named by the keys that lead to it, ``learner.weights.head.bias``. A file without
    texts beside the state holds a digest; one for other programs holds only these tensors.

    Args:
        path: of the file.
        state: what is written.
        about: texts beside it, by name.

    Raises:
        PluginError: when the state holds something else.
        OSError: when the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_strip(state, tensors, ""))
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.cpu() for name, tensor in tensors.items()}  # once, for both below
    if about is None:
        tensors[_DIGEST] = _digest(skeleton, tensors)
    about = {STATE: skeleton, **(about or {})}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=about)
        except SafetensorError as error:
            if not (number := _OS_ERROR.search(str(error))):
                raise
            code = int(number[1])
            raise OSError(code, os.strerror(code), str(path)) from error


def load(path: Path, *, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what :func:`save` wrote.

    Raises:
        DataError: when the file is damaged.
    """
    try:
        require_plain(path)
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        skeleton = about[STATE]
        digest = tensors.pop(_DIGEST, None)
        if digest is not None and not torch.equal(digest, _digest(skeleton, tensors)):
            raise ValueError("its content does not have the digest that it gives")
        on_device = {name: tensor.to(device) for name, tensor in tensors.items()}
        state = _fill(json.loads(skeleton), on_device)
        if not isinstance(state, dict):
            raise TypeError("it holds no state")
    except _DAMAGES as error:
        raise DataError(
            f"The checkpoint {path} is damaged: {str(error) or type(error).__name__}.",
            hint="Delete it to start this run from the beginning.",
        ) from error
    return state


def _digest(skeleton: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """A digest of all that a file holds, of tensors on the CPU, uint8 ``[32]``."""
    found = hashlib.sha256(skeleton.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return torch.tensor(list(found.digest()), dtype=torch.uint8)


def named_tensors(state: Any) -> dict[str, Tensor]:
    """The tensors of a nested state by name, as :func:`save` names them."""
    tensors: dict[str, Tensor] = {}
    _strip(state, tensors, "")
    return tensors


def without_training(state: Any) -> Any:
    """A nested state without the parts that only training needs."""
    if isinstance(state, Mapping):
        return {
            key: without_training(value)
            for key, value in state.items()
            if not isinstance(value, TrainingOnly)
        }
    if isinstance(state, list | tuple):
        return type(state)(without_training(value) for value in state)
    return state


def _strip(value: Any, tensors: dict[str, Tensor], place: str) -> Any:
    """Replace tensors by their names, and what JSON cannot say by tagged lists."""
    if isinstance(value, Tensor):
        name = place if place not in tensors else f"{place}#{len(tensors)}"
        # A clone: safetensors refuses tensors that share memory.
        tensors[name] = value.detach().clone().contiguous()
        return _TENSOR + name
    if isinstance(value, Mapping):
        pairs = [[key, _strip(item, tensors, _below(place, key))] for key, item in value.items()]
        if any(not isinstance(key, str | int) for key, _ in pairs):
            raise _unwritable("has a key that is no string and no integer", place)
        return {"map": pairs}
    if isinstance(value, list | tuple):
        if hasattr(value, "_fields"):  # a named tuple, which would come back without its names
            raise _unwritable(f"holds a {type(value).__name__}", place)
        items = [_strip(item, tensors, _below(place, i)) for i, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return {"str": value}
    raise _unwritable(f"holds a {type(value).__name__}", place)


def _unwritable(what: str, place: str) -> PluginError:
    return PluginError(
        f"The state of the learner {what}{f' at {place}' if place else ''}, which no checkpoint "
        "can keep.",
        hint="A state consists of dicts, lists, tuples, tensors, texts and numbers.",
    )


def _below(place: str, key: str | int) -> str:
    return f"{place}.{key}" if place else str(key)


def _fill(skeleton: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(skeleton, str):
        return tensors[skeleton.removeprefix(_TENSOR)]
    if isinstance(skeleton, dict):
        ((kind, items),) = skeleton.items()
        if kind == "map":
            return {key: _fill(item, tensors) for key, item in items}
        if kind == "str":
            return items
        filled = [_fill(item, tensors) for item in items]
        return tuple(filled) if kind == "tuple" else filled
    return skeleton
