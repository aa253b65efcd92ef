"""Reads that reach no operator: what Python looks at while a step is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metabench.running.engines.recording import Recorder

_RECURRENT = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
_READS = (Tensor.tolist, Tensor.numpy, Tensor.__array__)


class PythonReads(TorchFunctionMode):
    """Sees reads of a tensor that reach no operator, such as ``tolist``.

    ``one_hot`` reads the classes on a CPU, to check them; here it compares them instead. An LSTM or
    a GRU is recorded as products and gates: oneDNN's own operator cannot be compiled, and cuDNN's
    counts as one that draws, since it can drop.

    Args:
        recorder: which refuses a step that reads.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Refuse a read of a tensor that is known."""
        if func is torch.nn.functional.one_hot:
            return _one_hot(*args, **(kwargs or {}))
        if func in _RECURRENT:
            return _as_cells(func, args, kwargs or {})
        recorder = self._recorder
        if func in _READS and not recorder.refused and recorder.has_origin(args[0]):
            recorder.refused = (
                f"Python reads the numbers of a tensor ({func.__name__}), which waits for the "
                "device"
            )
        return func(*args, **(kwargs or {}))


class Names(tuple[str, ...]):
    """Names of the tasks of a step, which are others in each; a step that reads one is refused.

    Their number is known, and a part of them may be passed on.
    """

    recorder: Recorder

    @classmethod
    def of(cls, names: Iterable[str], recorder: Recorder) -> Names:
        """Watch who reads some names."""
        watched = cls(names)
        watched.recorder = recorder
        return watched

    def _read(self) -> tuple[str, ...]:
        self.recorder.refused = self.recorder.refused or "it reads the sources or keys of its tasks"
        return tuple.__getitem__(self, slice(None))

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Names.of(tuple.__getitem__(self, place), self.recorder)
        return self._read()[place]

    def __contains__(self, name: object) -> bool:
        return name in self._read()

    def __eq__(self, other: object) -> bool:
        return self._read() == other

    def __hash__(self) -> int:
        return hash(self._read())


def _one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    if num_classes < 0:  # their number is read
        return torch.nn.functional.one_hot(tensor)
    classes = torch.arange(num_classes, device=tensor.device)
    return (tensor.unsqueeze(-1) == classes).to(torch.int64)


def _as_cells(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run a recurrent layer step by step, without the libraries that have one operator for it."""
    of_cpu, of_cuda = torch._C._get_mkldnn_enabled(), torch._C._get_cudnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    torch._C._set_cudnn_enabled(False)
    try:
        return func(*args, **kwargs)
    finally:
        torch._C._set_mkldnn_enabled(of_cpu)
        torch._C._set_cudnn_enabled(of_cuda)
