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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from metabench.running.engines.draws import DrawRecorder, Draws, shift

aten = torch.ops.aten

PROGRESS, DRAW, DATA = "progress", "draw", "data"
"""Origins of numbers: the share of training that is done, a draw, and state or tasks."""

_PUTTING = (aten.index_put.default, aten.index_put_.default)
_READS = (aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default)


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

    def is_like(self, other: Recording) -> bool:
        """Whether a recording of the same with other draws computes the same of its inputs."""
        ours, theirs = self.constants, other.constants
        return (
            _written(self.graph) == _written(other.graph)
            and {*self.inputs} - ours.keys() == {*other.inputs} - theirs.keys()
            and all(map(_equal, ours.values(), theirs.values()))
        )


def for_any_draws(
    first: Recording, again: Callable[[], Recording], rng: torch.Generator
) -> Recording:
    """A recording that holds for other draws too, where Python has read one.

    Args:
        first: which may have what a learner works out once.
        again: records the same, and leaves learner and generator as they were before ``first``.
        rng: the generator, as it was before ``first``.

    Raises:
        Refused: with other draws something else is computed.
    """
    if not first.draws.are_read:
        return first
    shift(rng)
    other = again()
    if first.is_like(other):
        return first
    settled = again()
    if not settled.is_like(other):
        raise Refused("Python makes something else of a drawn number than a torch.Generator")
    return settled


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

    def has_origin(self, tensor: Tensor) -> bool:
        """Whether the numbers of a tensor may be others in another step."""
        return bool(_origins([self.node_of(tensor)]))

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
                "origins": _origins(node_args[:1]),
                "layout": _layout(out),
            }
            return out
        node = self.graph.call_function(func, node_args, node_kwargs)
        node.meta["origins"] = _origins(inputs)
        if _is_view(func) and inputs:
            node.meta["base"] = base_of(inputs[0])
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
            raise Refused(
                f"{_name(func)} draws from another generator than the one it got, or sets it anew"
            )
        if position not in self._drawn:
            self._drawn[position] = self._input(f"draw.{position}", origin=DRAW)
        node = self._drawn[position]
        if func._schema.is_mutable:
            self._check_writes(func, [self.node_of(args[0]), node], {})
        out = func(*args, **kwargs)
        self._draws.drew(kwargs["generator"])
        if func._schema.is_mutable:
            filled = self.graph.call_function(aten.copy_.default, (self.node_of(out), node))
            filled.meta["origins"] = frozenset([DRAW])
        else:
            # A learner may change what it has drawn; the same numbers may be used again.
            own = self.graph.call_function(aten.clone.default, (node,))
            own.meta |= {"origins": frozenset([DRAW]), "draw": position, "layout": _layout(out)}
            self._nodes[out] = own
        return out

    def _read(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value = func(*args, **kwargs)
        nodes = [self.node_of(arg) for arg in args if isinstance(arg, Tensor)]
        origins = _origins(nodes)
        if not origins:
            return value
        if origins == {DRAW} and "draw" in nodes[0].meta and "changed" not in nodes[0].meta:
            self._draws.read(nodes[0].meta["draw"], int(value))
        elif origins == {PROGRESS} and isinstance(value, bool) and len(nodes) == 1:
            if any("changed" in base_of(node).meta for node in _ancestors(nodes)):
                raise Refused("it changes in place what it compares of progress")
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
        sources = _origins(n for n in tree_iter((args, kwargs)) if isinstance(n, fx.Node))
        for node in _written_to(func, args, kwargs):
            base = base_of(node)
            name = self._names.get(base.name, "")
            if name.startswith("constant."):
                raise Refused(
                    f"{_name(func)} changes a tensor that state_dict() does not return (a view of "
                    "it does not count)"
                )
            if name == "progress":
                raise Refused(f"{_name(func)} changes progress in place")
            if name.startswith("tasks."):
                raise Refused(f"{_name(func)} changes a tensor of the tasks")
            if name.startswith("state.") and not self._changes_state:
                raise Refused(f"{_name(func)} changes a tensor of the state")
            base.meta |= {"origins": base.meta["origins"] | sources, "changed": True}

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
        if self._draws.has_other_reads():
            raise Refused("Python reads a drawn number that seeds no generator")
        outputs: dict[str, int | float] = {}
        results: list[fx.Node] = []
        for name, value in scalars.items():
            if isinstance(value, Tensor):
                outputs[name] = len(results)
                results.append(self._kept(self.node_of(value)))
            else:
                outputs[name] = float(value)
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
        self.graph.output(tuple(results))
        guard = self.guard()
        self._prune()
        names = tuple(self._names[n.name] for n in self.graph.nodes if n.op == "placeholder")
        constants = {
            name: self._constants[name].detach() for name in names if name in self._constants
        }
        return Recording(self.graph, names, constants, self._draws.draws, guard, outputs)

    def _kept(self, node: fx.Node) -> fx.Node:
        """A result as it is when the step ends; later steps change the state in place."""
        if base_of(node).op != "placeholder":
            return node
        return self.graph.call_function(aten.clone.default, (node,))

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


def base_of(node: fx.Node) -> fx.Node:
    """What a node is a view of; the node itself where it is none."""
    base: fx.Node = node.meta.get("base", node)
    return base


def _origins(nodes: Iterable[fx.Node]) -> frozenset[str]:
    """Where the numbers of some nodes come from. A view also has what its base got later."""
    found = (one.meta["origins"] for node in nodes for one in (node, base_of(node)))
    return frozenset().union(*found)


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.device != other.device:
        return False
    return one.data_ptr() == other.data_ptr() or torch.equal(one, other)


def _written(graph: fx.Graph) -> list[object]:
    """The operators of a graph with their arguments; each node by its place."""
    places = {node: f"%{place}" for place, node in enumerate(graph.nodes)}

    def written(given: Any) -> str:
        return repr(fx.map_arg(given, places.__getitem__))

    return [
        (node.op, str(node.target) * (node.op != "placeholder"), written([node.args, node.kwargs]))
        for node in graph.nodes
    ]


def _ancestors(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def written_by(node: fx.Node) -> list[fx.Node]:
    """What an operator of a graph changes in place."""
    if getattr(node.target, "_schema", None) is None:
        return []
    return _written_to(node.target, node.args, node.kwargs)


def _written_to(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[fx.Node]:
    found = []
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[index] if index < len(args) else kwargs.get(argument.name)
            found += [node for node in tree_iter(value) if isinstance(node, fx.Node)]
    return found


def _waits(func: Any, args: Sequence[Any]) -> bool:
    """Whether the result, or its shape, depends on values in a way that Python sees."""
    elsewhere = args and isinstance(args[0], Tensor) and args[0].device.type != "cpu"
    if func is aten.index.Tensor or (elsewhere and func in _PUTTING):
        # Other indices than masks give a known shape.
        return any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
    if elsewhere and func is aten._linalg_check_errors.default:
        return True
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
