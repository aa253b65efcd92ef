"""What keeps a meta-step from being captured: it reads from its device, or its program changes.

A captured step is a list of operations that the device plays again. Python sees nothing of what
they compute, so a step that reads a value from the device, or whose operations or numbers change
from one step to the next, runs eagerly. It is right, but slower. The page on adding a learner says
what a step may do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product, zip_longest
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metabench.conformance.bench import Bench
from metabench.conformance.purity import FAKE, fake_accelerator
from metabench.conformance.samples import generator, on

_aten = torch.ops.aten
_VALUES = (_aten._local_scalar_dense.default, _aten.equal.default, _aten.is_nonzero.default)
_SHAPED_BY_VALUES = (
    _aten.nonzero.default,
    _aten.masked_select.default,
    _aten._unique2.default,
    _aten.unique_consecutive.default,
    _aten.unique_dim.default,
    _aten.repeat_interleave.Tensor,
)
_INDEXING = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default)
_OWN = (str(Path(torch.__file__).parent), __file__, str(Path(__file__).with_name("purity.py")))
_SCHEDULE = "_depends_on_progress"
"""Attribute of tensors on the host whose values follow from progress alone."""
STAGES = (0.5,)
"""Shares of meta-training at which the conformance check looks at a step."""


@dataclass(frozen=True, slots=True)
class Read:
    """A line of code that makes the host wait for the device.

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
class Recording:
    """What happened on the pretended accelerator.

    Attributes:
        reads: in order.
        program: each operation with the numbers that it was given.
    """

    reads: list[Read] = field(default_factory=list)
    program: list[str] = field(default_factory=list)


@contextmanager
def recording() -> Iterator[Recording]:
    """Record what the body does, inside of :func:`~metabench.conformance.purity.fake_accelerator`.

    >>> with fake_accelerator() as device, recording() as found:
    ...     int(torch.ones(2, device=device).sum())
    2
    >>> found.program
    ['ones 2 False', 'sum', '_local_scalar_dense']
    """
    recorder = _Recorder()
    with recorder:
        yield recorder.found


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = Recording()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = (args, kwargs or {})
        if what := _read(func, *given):
            self.found.reads.append(_place(what))
        result = func(*given[0], **given[1])
        if any(hasattr(leaf, _SCHEDULE) for leaf in tree_leaves(given)):
            _mark(result)
        if any(map(_is_there, tree_leaves((given, result)))):
            name = func._schema.name.removeprefix("aten::")
            numbers = [str(leaf) for leaf in tree_leaves(given) if isinstance(leaf, int | float)]
            self.found.program.append(" ".join([name, *numbers]))
        return result


def _read(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """What an operation makes the host wait for; empty if for nothing."""
    there = [leaf for leaf in tree_leaves((args, kwargs)) if _is_there(leaf)]
    if func in _VALUES and not there:
        # A whole number may be a seed, and what depends on progress alone may be read.
        free = hasattr(args[0], _SCHEDULE) or args[0].dtype == torch.int64
        return "" if free else "reads a number that was drawn or counted"
    if not there:
        return ""
    if func in _VALUES:
        return "reads a value"
    if func in _SHAPED_BY_VALUES:
        return "makes a shape of values"
    if func in _INDEXING and any(_is_there(i) and i.dtype == torch.bool for i in args[1]):
        return "indexes by a mask"
    device = kwargs.get("device")
    leaves = device is not None and torch.device(device).type != FAKE.type
    if func is _aten._to_copy.default and leaves:
        return "copies to the host"
    if func is _aten.copy_.default and not _is_there(args[0]):
        return "copies to the host"
    return ""


def _mark(tree: Any) -> None:
    """Note that numbers on the host depend on progress alone."""
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor) and not _is_there(leaf):
            setattr(leaf, _SCHEDULE, True)


def _is_there(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.device.type == FAKE.type


def _place(what: str) -> Read:
    """The innermost line that is neither PyTorch's nor the pretended accelerator's."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_OWN):
        frame = frame.f_back
    assert frame is not None
    return Read(frame.f_code.co_filename, frame.f_lineno, what)


def why_not_captured(bench: Bench, *, stages: Sequence[float] = STAGES) -> list[str]:
    """Say what keeps the meta-step of a learner from being captured, in sentences; none if nothing.

    At each stage a first step may do what it likes, as where a phase begins. Two more, on other
    tasks with other draws, must read nothing and be the same operations with the same numbers.
    Progress is a tensor in them, as it is while a step is recorded.

    Args:
        bench: builds the learner.
        stages: shares of meta-training.
    """
    with fake_accelerator() as device:
        learner = bench.build(device=device)
        for stage, phase in product(stages, range(bench.n_phases)):
            steps = []
            for part in range(3):
                seed = phase + part * bench.n_phases
                progress: Any = stage + part / 1000
                if part:
                    progress = torch.tensor(progress, dtype=torch.float64)
                    _mark(progress)
                tasks = on(device, bench.tasks(seed=seed))
                with recording() as found:
                    learner.meta_step(tasks, progress=progress, rng=generator(seed))
                steps.append(found)
            if why := _differences(*steps[1:]):
                return [why]
    return []


def _differences(first: Recording, second: Recording) -> str:
    """Why two steps are not one program; empty if they are."""
    if reads := dict.fromkeys(map(str, first.reads + second.reads)):
        return f"it reads values ({'; '.join([*reads][:3])})."
    for one, other in zip_longest(first.program, second.program, fillvalue="the end"):
        if one != other:
            return f"what is ({one}) in one step is ({other}) in the next."
    return ""
