"""A meta-step as a graph of ATen operators, recorded while the learner makes it.

The recorder stands below autograd: it sees the operators of the forward pass and of both backward
passes, and no gradient remains to be taken in the graph. ``torch.compile`` around a function that
calls ``autograd.grad(create_graph=True)`` refuses it or returns wrong second derivatives.

A graph is right for further steps if nothing in it came from Python in a way that changes. So each
tensor is known by its origin: the state of the learner, the tasks, a draw, ``progress``, or a
constant. A number that Python reads from a tensor is refused, unless it is a comparison of
``progress``, which becomes a guard of the graph, or the seed of another generator.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from metabench.running.engines.draws import DrawRecorder, Draws

aten = torch.ops.aten

PROGRESS, DRAW, DATA = "progress", "draw", "data"
"""Origins of numbers: the share of training that is done, a draw, and state or tasks."""

_READS = (aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default)
_PYTHON_READS = (Tensor.tolist, Tensor.numpy, Tensor.__array__)


class Refused(Exception):  # noqa: N818 - it says why a step is not recorded, in one sentence
    """Why a step cannot be recorded."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A comparison of ``progress`` that Python made.

    Attributes:
        compare: maps ``progress`` to the outcomes of all guards before it and its own.
        outcomes: for which the graph is right.
    """

    compare: fx.GraphModule
    outcomes: tuple[bool, ...]

    def holds(self, progress: Tensor) -> bool:
        """Whether the graph is right at this progress."""
        found: Sequence[Tensor] = self.compare(progress)
        return tuple(map(bool, found)) == self.outcomes


@dataclass(frozen=True, slots=True)
class Recording:
    """A graph, and what goes in and comes out.

    Attributes:
        graph: inputs in the order of ``inputs``; it returns a tuple of tensors.
        inputs: names. ``state.N``, ``tasks.NAME``, ``draw.N``, ``progress``, ``constant.N``.
        constants: tensors that the learner holds or makes of numbers, by name of their input.
        draws: the random numbers.
        guard: where the graph is right; None for everywhere.
        outputs: of each scalar of the step, its place in the graph's output, or a fixed number.
    """

    graph: fx.Graph
    inputs: tuple[str, ...]
    constants: Mapping[str, Tensor]
    draws: Draws
    guard: Guard | None
    outputs: Mapping[str, int | float]


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records operators while it is active.

    Args:
        inputs: tensors that change from step to step, by name of their input.
        progress: a scalar tensor.
        rng: the generator of the step.
        changes_state: whether the inputs ``state.N`` may change in place.
    """

    def __init__(
        self,
        inputs: Mapping[str, Tensor],
        *,
        progress: Tensor,
        rng: torch.Generator,
        changes_state: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.refused = ""
        self._changes_state = changes_state
        self._names: dict[str, str] = {}
        self._nodes = WeakTensorKeyDictionary()
        self._constants: dict[str, Tensor] = {}
        self._guards: list[tuple[fx.Node, bool]] = []
        self._draws = DrawRecorder(rng)
        self._last: fx.Node | None = None
        self._drawn: dict[int, fx.Node] = {}
        for name, tensor in inputs.items():
            self._nodes[tensor] = self._input(name, origin=DATA)
        self._nodes[progress] = self._input("progress", origin=PROGRESS)

    def node_of(self, value: Any) -> Any:
        """The node of a tensor, a constant if it is not known; other values as they are."""
        if not isinstance(value, Tensor):
            return value
        if value not in self._nodes:
            name = f"constant.{len(self._constants)}"
            self._constants[name] = value
            self._nodes[value] = self._input(name)
        return self._nodes[value]

    def knows(self, tensor: Tensor) -> bool:
        """Whether a tensor is an input or was computed in the step."""
        return tensor in self._nodes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator, and record it."""
        kwargs = kwargs or {}
        if self.refused:
            return func(*args, **kwargs)
        try:
            return self._record(func, args, kwargs)
        except Refused as refusal:
            self.refused = str(refusal)
            self._nodes = WeakTensorKeyDictionary()  # memory is free again
            return func(*args, **kwargs)

    def _record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(kwargs.get("generator"), torch.Generator):
            return self._draw(func, args, kwargs)
        if func in _READS:
            return self._read(func, args, kwargs)
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Refused(f"it draws random numbers ({_name(func)}) without the generator it got")
        if _waits(func, args):
            raise Refused(f"{_name(func)} waits for the values of a tensor")
        node_args, node_kwargs = tree_map(self.node_of, (args, kwargs))
        inputs = [arg for arg in tree_iter((node_args, node_kwargs)) if isinstance(arg, fx.Node)]
        self._check_writes(func, node_args, node_kwargs)
        out = func(*args, **kwargs)
        if func in (aten.detach.default, aten.alias.default):
            self._nodes[out] = node_args[0]
            return out
        if func is aten.lift_fresh.default:  # Python's numbers, as a new tensor in every step
            self._nodes[out] = self.graph.call_function(aten.clone.default, node_args)
            self._nodes[out].meta |= {
                "origins": node_args[0].meta["origins"],
                "layout": _layout(out),
            }
            return out
        node = self.graph.call_function(func, node_args, node_kwargs)
        node.meta["origins"] = frozenset().union(*(n.meta["origins"] for n in inputs))
        if _is_view(func) and inputs:
            node.meta["base"] = inputs[0].meta.get("base", inputs[0])
        self._track(out, node)
        return out

    def _track(self, out: Any, node: fx.Node) -> None:
        if isinstance(out, Tensor):
            if out not in self._nodes:  # an operator in place returns what it has changed
                node.meta["layout"] = _layout(out)
                self._nodes[out] = node
        elif isinstance(out, list | tuple):
            for index, part in enumerate(out):
                if isinstance(part, Tensor) and part not in self._nodes:
                    item = self.graph.call_function(operator.getitem, (node, index))
                    item.meta |= node.meta | {"layout": _layout(part)}
                    self._nodes[part] = item

    def _input(self, name: str, *, origin: str = "") -> fx.Node:
        """A new input."""
        # Inputs that are found on the way go behind those before them, ahead of all operators.
        before = self.graph.inserting_before if self._last is None else self.graph.inserting_after
        with before(self._last or next(iter(self.graph.nodes), None)):
            node = self.graph.placeholder(f"input{len(self._names)}")
        self._last = node
        self._names[node.name] = name
        node.meta["origins"] = frozenset([origin] if origin else [])
        return node

    def _draw(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        rest = args[1:] if func._schema.is_mutable else args
        if any(isinstance(arg, Tensor) for arg in tree_iter(rest)):
            raise Refused(f"{_name(func)} draws with probabilities that are a tensor")
        position = self._draws.note(func, args, kwargs)
        if position is None:
            raise Refused(f"{_name(func)} draws from another generator than the one it got")
        out = func(*args, **kwargs)
        if position not in self._drawn:
            self._drawn[position] = self._input(f"draw.{position}", origin=DRAW)
        node = self._drawn[position]
        if func._schema.is_mutable:
            copy = self.graph.call_function(aten.copy_.default, (self.node_of(out), node))
            copy.meta["origins"] = frozenset([DRAW])
            target = self.node_of(out)
            target.meta["origins"] = target.meta["origins"] | {DRAW}
        else:
            # A learner may change what it has drawn; the same numbers may be used again.
            own = self.graph.call_function(aten.clone.default, (node,))
            own.meta |= {"origins": frozenset([DRAW]), "draw": position, "layout": _layout(out)}
            self._nodes[out] = own
        return out

    def _read(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value = func(*args, **kwargs)
        nodes = [self.node_of(arg) for arg in args if isinstance(arg, Tensor)]
        origins = frozenset().union(*(node.meta["origins"] for node in nodes))
        if not origins:
            return value
        if origins == {DRAW} and "draw" in nodes[0].meta:
            self._draws.read(nodes[0].meta["draw"], int(value))
        elif origins == {PROGRESS} and isinstance(value, bool) and len(nodes) == 1:
            self._guards.append((nodes[0], value))
        elif origins == {PROGRESS}:
            raise Refused("it reads progress as a Python number")
        else:
            raise Refused("Python reads a number from a tensor, which waits for the device")
        return value

    def _check_writes(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Refuse a change of a tensor that the learner holds outside its state."""
        if not func._schema.is_mutable:
            return
        sources = frozenset().union(
            *(n.meta["origins"] for n in tree_iter((args, kwargs)) if isinstance(n, fx.Node))
        )
        for argument, value in _arguments(func, args, kwargs):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            for node in tree_iter(value):
                if not isinstance(node, fx.Node):
                    continue
                base = node.meta.get("base", node)
                name = self._names.get(base.name, "")
                if name.startswith("constant."):
                    raise Refused(
                        f"{_name(func)} changes a tensor that state_dict() does not return"
                    )
                if name.startswith("tasks."):
                    raise Refused(f"{_name(func)} changes a tensor of the tasks")
                if name.startswith("state.") and not self._changes_state:
                    raise Refused(f"{_name(func)} changes a tensor of the state")
                for changed in (node, base):
                    changed.meta["origins"] = changed.meta["origins"] | sources

    def finish(
        self, scalars: Mapping[str, Any], written: Iterable[tuple[Tensor, Tensor]]
    ) -> Recording:
        """Close the graph.

        Args:
            scalars: what the step returned.
            written: tensors of the state before and after the step, where they were replaced.

        Raises:
            Refused: the step cannot be repeated.
        """
        if self.refused:
            raise Refused(self.refused)
        if self._draws.has_other_reads(self._numbers()):
            raise Refused("Python reads a drawn number that seeds no generator")
        copies = []
        for before, after in written:
            if not self.knows(after):
                raise Refused("its new state has a tensor that no operator made")
            # What goes back into the state may be a view of another part of it.
            copies.append(
                (
                    self._nodes[before],
                    self.graph.call_function(aten.clone.default, (self._nodes[after],)),
                )
            )
        for target, value in copies:
            self.graph.call_function(aten.copy_.default, (target, value))
        outputs: dict[str, int | float] = {}
        results: list[fx.Node] = []
        for name, value in scalars.items():
            if isinstance(value, Tensor):
                outputs[name] = len(results)
                results.append(self.node_of(value))
            else:
                outputs[name] = float(value)
        self.graph.output(tuple(results))
        guard = self.guard()
        self._prune()
        names = tuple(self._names[n.name] for n in self.graph.nodes if n.op == "placeholder")
        constants = {
            name: self._constants[name].detach() for name in names if name in self._constants
        }
        return Recording(self.graph, names, constants, self._draws.draws, guard, outputs)

    def _numbers(self) -> set[int]:
        """The whole numbers that operators got from Python."""
        args = tree_iter([(node.args, node.kwargs) for node in self.graph.nodes])
        return {arg for arg in args if isinstance(arg, int)}

    def _prune(self) -> None:
        """Take out what has no effect, inputs as well."""
        # eliminate_dead_code() of PyTorch 2.4 takes out what changes a tensor in place, too.
        for node in reversed(self.graph.nodes):
            if not node.users and node.op != "output" and not _has_effect(node.target):
                self.graph.erase_node(node)

    def guard(self) -> Guard | None:
        """The comparisons of ``progress`` so far, as a graph; None if there are none."""
        if not self._guards:
            return None
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        constants: dict[str, Tensor] = {}
        wanted = _ancestors([node for node, _ in self._guards])
        for node in self.graph.nodes:
            if node not in wanted:
                continue
            name = self._names.get(node.name, "")
            if name in self._constants:
                constants[key := name.replace(".", "_")] = self._constants[name].detach()
                copies[node] = graph.get_attr(key)
            else:
                copies[node] = graph.node_copy(node, copies.__getitem__)
        graph.output(tuple(copies[node] for node, _ in self._guards))
        return Guard(fx.GraphModule(constants, graph), tuple(value for _, value in self._guards))


class PythonReads(TorchFunctionMode):
    """Sees reads of a tensor that reach no operator, such as ``tolist``.

    ``one_hot`` reads the classes on a CPU, to check them; here it compares them instead. An LSTM is
    recorded as products and gates: oneDNN's own operator cannot be compiled.

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
        if func is torch.lstm:
            return _without_onednn(func, args, kwargs or {})
        if func in _PYTHON_READS and not self._recorder.refused:
            node = self._recorder.node_of(args[0])
            if node.meta["origins"]:
                self._recorder.refused = (
                    f"Python reads the numbers of a tensor ({func.__name__}), "
                    "which waits for the device"
                )
        return func(*args, **(kwargs or {}))


def _one_hot(tensor: Tensor, num_classes: int) -> Tensor:
    classes = torch.arange(num_classes, device=tensor.device)
    return (tensor.unsqueeze(-1) == classes).to(torch.int64)


def _without_onednn(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        return func(*args, **kwargs)
    finally:
        torch._C._set_mkldnn_enabled(enabled)


def _ancestors(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _arguments(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Iterable[tuple[Any, Any]]:
    for index, argument in enumerate(func._schema.arguments):
        if index < len(args):
            yield argument, args[index]
        elif argument.name in kwargs:
            yield argument, kwargs[argument.name]


def _waits(func: Any, args: Sequence[Any]) -> bool:
    """Whether the result, or its shape, depends on values in a way that Python sees."""
    if func is aten.index.Tensor:  # other indices than masks give a known shape
        return any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
    tags = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
    return any(tag in func.tags for tag in tags)


def _has_effect(target: Any) -> bool:
    """Whether a node does something even if nothing uses what it returns."""
    schema = getattr(target, "_schema", None)
    return schema is not None and (schema.is_mutable or not schema.returns)


def _is_view(func: Any) -> bool:
    """Whether what an operator returns shares memory with its first argument."""
    return any(
        returned.alias_info is not None and not returned.alias_info.is_write
        for returned in func._schema.returns
    )


def _layout(tensor: Tensor) -> tuple[tuple[int, ...], torch.device]:
    return tuple(tensor.shape), tensor.device


def _name(func: Any) -> str:
    return str(func.overloadpacket.__name__)
