"""The state of a learner as a flat list of tensors, and the numbers and words beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

Path = tuple[Any, ...]
"""The keys and positions that lead to a leaf of a nested state."""


@dataclass(frozen=True)
class FlatState:
    """What ``state_dict()`` returned, taken apart.

    Attributes:
        tensors: by path.
        rest: everything else by path, such as the name of a phase.
    """

    tensors: dict[Path, Tensor]
    rest: dict[Path, Any]

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> FlatState:
        """Take a nested state apart."""
        leaves = dict(_leaves(state, ()))
        tensors = {path: leaf for path, leaf in leaves.items() if isinstance(leaf, Tensor)}
        return cls(tensors, {path: leaf for path, leaf in leaves.items() if path not in tensors})

    @cached_property
    def kind(self) -> object:
        """What a program depends on: shapes of tensors, and everything else as it is."""
        tensors = tuple(
            (path, tensor.shape, tensor.dtype, tensor.device)
            for path, tensor in self.tensors.items()
        )
        return tensors, repr(self.rest)


def layout(tensor: Tensor) -> tuple[object, ...]:
    """Shape, strides, type and device of a tensor."""
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device


def copied(state: Any) -> Any:
    """A nested state whose tensors are copies, contiguous in memory."""
    if isinstance(state, Tensor):
        return state.detach().clone(memory_format=torch.contiguous_format)
    if isinstance(state, Mapping):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(copied(value) for value in state)
    return state


def differences(before: FlatState, after: FlatState) -> list[str]:
    """What changed beside the values of tensors, in words."""
    found = [
        _name(path)
        for path in before.rest.keys() | after.rest.keys()
        if repr(before.rest.get(path)) != repr(after.rest.get(path))
    ]
    for path in before.tensors.keys() | after.tensors.keys():
        one, other = before.tensors.get(path), after.tensors.get(path)
        if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
            found.append(_name(path))
    return sorted(set(found))


def _name(path: Path) -> str:
    return ".".join(map(str, path))


def _leaves(state: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(state, Mapping):
        for key, value in state.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(state, list | tuple):
        for index, value in enumerate(state):
            yield from _leaves(value, (*path, index))
    else:
        yield path, state


def same_memory(first: FlatState, second: FlatState) -> bool:
    """Whether two looks at a state show the same tensors, not copies."""
    return first.tensors.keys() == second.tensors.keys() and all(
        tensor.data_ptr() == second.tensors[path].data_ptr()
        for path, tensor in first.tensors.items()
    )


def share_memory(some: Iterable[Tensor], others: Iterable[Tensor]) -> bool:
    """Whether one of some tensors shares memory with one of the others."""
    held = {tensor.untyped_storage().data_ptr() for tensor in others} - {0}  # of those without any
    return any(tensor.untyped_storage().data_ptr() in held for tensor in some)
