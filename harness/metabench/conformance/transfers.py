"""What a computation moves between the pretended accelerator and the host, and where.

A host that reads from an accelerator waits for it, and a step that waits cannot be captured: a CUDA
graph replays kernels, and Python sees nothing of what they compute. What goes the other way may be
captured only if it comes from a random generator, because the engine draws that before the step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metabench.conformance.purity import FAKE

_aten = torch.ops.aten
_READS_VALUE = (
    _aten._local_scalar_dense.default,
    _aten.equal.default,
    _aten.is_nonzero.default,
)
_SHAPED_BY_VALUES = (
    _aten.nonzero.default,
    _aten.masked_select.default,
    _aten._unique2.default,
    _aten.unique_consecutive.default,
    _aten.unique_dim.default,
    _aten.repeat_interleave.Tensor,
)
_INDEXING = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default)
_SKIPPED = (str(Path(torch.__file__).parent), __file__, str(Path(__file__).with_name("purity.py")))


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of code that makes the host wait for the accelerator, or the other way round.

    Attributes:
        file: its path.
        line: in the file.
        what: it does, such as ``reads a value``.
    """

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{Path(self.file).name}, line {self.line}, {self.what}"


@dataclass(slots=True)
class Transfers:
    """What was moved, one entry for each time.

    Attributes:
        reads: from the accelerator to the host.
        uploads: of tensors, from the host to the accelerator.
    """

    reads: list[Place] = field(default_factory=list)
    uploads: list[Place] = field(default_factory=list)


@contextmanager
def watched_transfers() -> Iterator[Transfers]:
    """Note what the body moves; use it inside of :func:`~metabench.conformance.purity.fake_accelerator`."""
    watch = _Watch()
    with watch:
        yield watch.found


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = Transfers()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if what := _read(func, args, kwargs):
            self.found.reads.append(_place(what))
        elif what := _upload(func, args, kwargs):
            self.found.uploads.append(_place(what))
        return func(*args, **kwargs)


def _read(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """What an operation makes the host wait for; empty if for nothing."""
    there = [leaf for leaf in tree_leaves((args, kwargs)) if _is_there(leaf)]
    if not there:
        return ""
    if func in _READS_VALUE:
        return "reads a value"
    if func in _SHAPED_BY_VALUES:
        return "has a shape that depends on values"
    if func in _INDEXING and any(_is_there(i) and i.dtype == torch.bool for i in args[1]):
        return "indexes by a mask"
    if func is _aten._to_copy.default and _leaves(kwargs.get("device")):
        return "copies to the host"
    if func is _aten.copy_.default and not _is_there(args[0]):
        return "copies to the host"
    return ""


def _upload(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """What of the host an operation takes to the accelerator; empty if nothing."""
    if func is _aten._to_copy.default:
        device = kwargs.get("device")
        arrives = device is not None and not _leaves(device) and not _is_there(args[0])
        return "copies to the accelerator" if arrives else ""
    if func is _aten.copy_.default:
        arrives = _is_there(args[0]) and not _is_there(args[1])
        return "copies to the accelerator" if arrives else ""
    if func in _INDEXING and _is_there(args[0]):
        indices = [index for index in args[1] if index is not None]
        if not all(map(_is_there, indices)):
            return "indexes by a tensor of the host"
    return ""


def _is_there(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.device.type == FAKE.type


def _leaves(device: Any) -> bool:
    return device is not None and torch.device(device).type != FAKE.type


def _place(what: str) -> Place:
    """The innermost line that is neither PyTorch's nor of the pretended accelerator."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_SKIPPED):
        frame = frame.f_back
    assert frame is not None
    return Place(frame.f_code.co_filename, frame.f_lineno, what)
