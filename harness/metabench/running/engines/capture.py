"""A recorded graph as a CUDA graph: the device gets one launch for a whole meta-step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor, fx

from metabench.running.engines.programs import Run
from metabench.running.engines.split import Split, split

WARM_UPS = 2
"""Runs before the capture, in which libraries choose algorithms and take their memory."""


def captured(module: fx.GraphModule, examples: Mapping[str, Tensor]) -> Run:
    """Capture a graph; see :data:`metabench.running.engines.programs.Compile`."""
    names = tuple(examples)
    capture = _Capture(split(module.graph, examples))

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        return capture(dict(zip(names, inputs, strict=True)))

    capture.prepare(examples)
    return run


class _Capture:
    """The device's part in a CUDA graph, with the tensors that it reads and writes.

    The state is changed where the learner has it, and constants are read where they are. If the
    learner has its state elsewhere than before, the graph is captured again. Tasks, and what the
    host computes, are copied to tensors of the graph.
    """

    def __init__(self, parts: Split) -> None:
        self._parts = parts
        self._inputs: dict[str, Tensor] = {}
        self._handed: list[Tensor] = []
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: Sequence[Tensor] = ()

    def __call__(self, inputs: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """Copy what is new, launch, and copy the outputs, which the next launch overwrites."""
        of_host = self._parts.run_host(inputs)
        moved = any(
            _stays(name) and inputs[name].data_ptr() != own.data_ptr()
            for name, own in self._inputs.items()
        )
        if moved:
            self.prepare(inputs)
        for name, own in self._inputs.items():
            if not _stays(name):
                own.copy_(inputs[name], non_blocking=True)
        for own, new in zip(self._handed, of_host, strict=False):
            own.copy_(new, non_blocking=True)
        assert self._graph is not None
        self._graph.replay()
        return self._parts.join(of_host, [output.clone() for output in self._outputs])

    def prepare(self, inputs: Mapping[str, Tensor]) -> None:
        """Warm up and capture. The state is afterwards as it was.

        Raises:
            RuntimeError: when the device cannot play it again, or has too little memory.
        """
        parts = self._parts
        # The memory of a former graph, which may be half of the device's, is for the next one.
        self._graph, self._outputs, self._handed = None, (), []
        device = next(inputs[name].device for name in parts.device_inputs)
        self._inputs = {
            name: inputs[name] if _stays(name) else inputs[name].clone()
            for name in parts.device_inputs
        }
        # The host's part may change state as well: it runs on copies here.
        copies = {name: inputs[name].clone() for name in parts.host_inputs}
        of_host = parts.run_host(copies)
        self._handed = [new.to(device) for new in of_host[: parts.n_handed]]
        before = {n: own.clone() for n, own in self._inputs.items() if _is_state(n)}
        beside, here = _stream_beside(device), torch.cuda.current_stream(device)
        beside.wait_stream(here)
        try:
            # PyTorch's own stream for captures is one of the current device, which may be another;
            # and where a capture fails, `torch.cuda.graph` does not leave its stream.
            with torch.cuda.stream(beside):
                for _ in range(WARM_UPS):
                    self._run()
                for name, own in before.items():
                    self._inputs[name].copy_(own)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=beside):
                    self._outputs = self._run()
        finally:
            here.wait_stream(beside)
        self._graph = graph

    def _run(self) -> Sequence[Tensor]:
        results: Sequence[Tensor] = self._parts.device(*self._inputs.values(), *self._handed)
        return results


@cache
def _stream_beside(device: torch.device) -> torch.cuda.Stream:
    """Where graphs of a device are captured; libraries keep memory for each stream."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _is_state(name: str) -> bool:
    return name.startswith("state.")


def _stays(name: str) -> bool:
    """Whether an input is used where it is: only tasks are other tensors in each step."""
    return _is_state(name) or name.startswith("constant.")
