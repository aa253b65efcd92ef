"""Captures on a stand-in for CUDA, which keeps to the rules that PyTorch's own one has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from step_factory import Small, rng_of, small_tasks
from torch import Tensor, fx

from metabench.conformance.bench import Bench
from metabench.conformance.purity import FAKE, fake_accelerator
from metabench.conformance.samples import on
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.episode import TaskBatch, TaskKind
from metabench.running.engines import capture
from metabench.running.engines.states import copied
from metabench.running.engines.stepper import Stepper


class Stream:
    """A stream of a device; work on it is seen elsewhere once somebody has waited for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.waited_for: list[Stream] = []

    def wait_stream(self, other: Stream) -> None:
        self.waited_for.append(other)


class Graph:
    """A captured graph: the function that was running as it was captured, and its outputs."""

    def __init__(self) -> None:
        self.play: Callable[[], Any] | None = None

    def replay(self) -> None:
        assert self.play is not None, "the capture has failed"
        self.play()


class Cuda:
    """What :mod:`metabench.running.engines.capture` asks of ``torch.cuda``.

    The current device is another than that of the learner. As in PyTorch, ``graph`` takes a stream
    of the current device if it is given none, and does not leave its stream where a capture fails.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, breaks: bool = False) -> None:
        self.main = Stream(FAKE)
        self.stream_now = self.main
        self.captures: list[Stream] = []
        self.runs = 0
        self._graphs: list[Graph] = []
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", self.new_graph)
        monkeypatch.setattr(torch.cuda, "graph", self.graph)
        monkeypatch.setattr(torch.cuda, "stream", self.stream)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self.stream_now)
        capture._stream_beside.cache_clear()
        cuda, run = self, capture._Capture._run

        def running(self: capture._Capture) -> Any:
            cuda.runs += 1
            if breaks and cuda.runs > capture.WARM_UPS:
                raise RuntimeError("operation not permitted when stream is capturing")
            state = [own for name, own in self._inputs.items() if capture._is_state(name)]
            before = [own.clone() for own in state]
            outputs = run(self)
            if cuda._graphs:  # a capture notes what there is to do, and does nothing
                for own, former in zip(state, before, strict=True):
                    own.copy_(former)
                cuda._graphs[-1].play = lambda: [
                    own.copy_(new) for own, new in zip(outputs, run(self), strict=True)
                ]
            return outputs

        monkeypatch.setattr(capture._Capture, "_run", running)

    def new_graph(self) -> Graph:
        return Graph()

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.stream_now = self.stream_now, stream
        try:
            yield
        finally:
            self.stream_now = before

    @contextmanager
    def graph(self, graph: Graph, stream: Stream | None = None) -> Iterator[None]:
        own = stream or Stream(torch.device("cpu"))
        assert own.device == FAKE, "captured on a stream of another device"
        self.captures.append(own)
        before, self.stream_now = self.stream_now, own
        self._graphs.append(graph)
        yield
        self._graphs.pop()
        self.stream_now = before


def body(small: Small, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Tensor:
    """A draw, a rate that falls, and a change of the state in place."""
    noise = torch.rand(3, generator=rng).to(small.weight.device, non_blocking=True)
    rate = 1.0 - 0.5 * progress
    small.weight.add_(rate * noise * tasks.support.x.mean())
    return small.weight.sum()


def on_accelerator(device: torch.device) -> Small:
    small = Small(body)
    small.weight = small.weight.to(device)
    return small


def test_captured_steps_are_those_of_the_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)
    eager, said = Small(body), []
    with fake_accelerator() as device:
        small = on_accelerator(device)
        stepper = Stepper(small, capture.captured, name="captured", say=said.append)
        for step in range(6):
            wanted = eager.meta_step(small_tasks(step), progress=step / 6, rng=rng_of(step))
            found = stepper(on(device, small_tasks(step)), progress=step / 6, rng=rng_of(step))
            assert float(found["loss"]) == pytest.approx(float(wanted["loss"]), rel=1e-6)
            torch.testing.assert_close(small.weight.cpu(), eager.weight)
            if step == 3:  # as where a checkpoint is loaded: the state lies elsewhere
                small.load_state_dict(copied(small.state_dict()))
                stepper.forget()
    assert stepper.name == "captured", said
    # The first one for the check of the program, whose state is then replaced by a copy.
    assert len(cuda.captures) == 3
    assert len(set(map(id, cuda.captures))) == 1, "libraries keep memory for each stream"
    assert cuda.stream_now is cuda.main
    assert cuda.main.waited_for == [cuda.captures[0]] * 3


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("maml", "regression"),
        pytest.param("mumomaml", "regression", marks=pytest.mark.slow),  # an LSTM
        pytest.param("hsml", "regression", marks=pytest.mark.slow),  # a GRU
        pytest.param("leo", "classification", marks=pytest.mark.slow),  # two phases
    ],
)
def test_steps_of_a_built_in_learner_are_captured(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, name: str, kind: TaskKind
) -> None:
    Cuda(monkeypatch)
    bench, said = Bench(catalog.learner(name), kind, lambda: catalog), list[str]()
    with fake_accelerator() as device:
        eager, other = bench.build(), bench.build(device=device)
        stepper = Stepper(other, capture.captured, name="captured", say=said.append)
        for step in range(4 * bench.n_phases):
            tasks = bench.tasks(seed=step)
            wanted = eager.meta_step(tasks, progress=step / 20, rng=rng_of(step))
            found = stepper(on(device, tasks), progress=step / 20, rng=rng_of(step))
            assert float(found["loss"]) == pytest.approx(float(wanted["loss"]), rel=1e-3)
    assert stepper.name == "captured", said


def test_a_capture_that_fails_leaves_its_stream_and_the_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = Cuda(monkeypatch, breaks=True)
    eager, said = Small(body), []
    with fake_accelerator() as device:
        small = on_accelerator(device)
        stepper = Stepper(small, capture.captured, say=said.append)
        for step in range(3):
            wanted = eager.meta_step(small_tasks(step), progress=0.0, rng=rng_of(step))
            found = stepper(on(device, small_tasks(step)), progress=0.0, rng=rng_of(step))
            assert float(found["loss"]) == pytest.approx(float(wanted["loss"]), rel=1e-6)
    assert "operation not permitted when stream is capturing" in said[-1]
    assert stepper.by_program == 0
    assert cuda.stream_now is cuda.main
    assert cuda.main.waited_for == cuda.captures


def test_a_graph_is_captured_anew_where_the_state_lies_elsewhere_and_constants_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The memory of the former graph is free by then; a constant is read where it is."""
    cuda = Cuda(monkeypatch)
    graph = fx.Graph()
    state, constant, task = (graph.placeholder(name) for name in ("state", "constant", "task"))
    for node in (state, constant, task):
        node.meta["origins"] = frozenset()
    scaled = graph.call_function(torch.ops.aten.mul.Tensor, (state, constant))
    out = graph.call_function(torch.ops.aten.add.Tensor, (scaled, task))
    for node in (scaled, out):
        node.meta["layout"] = ((3,), FAKE)
    graph.output((out,))
    with fake_accelerator() as device:

        def inputs(value: float, of_task: float, constant: Tensor) -> dict[str, Tensor]:
            names = ("state.0", "tasks.support.x")
            state, task = (torch.full((3,), v, device=device) for v in (value, of_task))
            return {names[0]: state, "constant.0": constant, names[1]: task}

        three = torch.full((3,), 3.0, device=device)
        first = inputs(1.0, 0.0, three)
        made = capture._Capture(capture.split(graph, first))
        made.prepare(first)
        assert made({**first, "tasks.support.x": three})[0].tolist() == [6.0] * 3
        assert len(cuda.captures) == 1
        held: list[Any] = []
        run = capture._Capture._run

        def looking(self: capture._Capture) -> Any:
            held.extend([self._graph, *self._outputs])
            return run(self)

        monkeypatch.setattr(capture._Capture, "_run", looking)
        copies: list[Tensor] = []
        monkeypatch.setattr(Tensor, "copy_", _noting(copies))
        (found,) = made(inputs(2.0, 1.0, three))
        assert found.tolist() == [7.0] * 3
    assert held == [None] * 3
    assert not any(one.data_ptr() == three.data_ptr() for one in copies)


def _noting(copies: list[Tensor]) -> Callable[..., Tensor]:
    copy = Tensor.copy_

    def noting(self: Tensor, other: Tensor, non_blocking: bool = False) -> Tensor:
        copies.append(self)
        return copy(self, other, non_blocking=non_blocking)

    return noting
