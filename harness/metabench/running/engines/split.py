"""A recorded graph in two: what a CPU computes before a step, and what the device computes.

Random numbers and ``progress`` come from a CPU. What is computed of them there, such as an order
of examples or a learning rate, is computed before the step, and its results are copied to the
device. The rest touches the device alone, so that the device never waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from metabench.running.engines.recording import Refused, base_of, written_by


@dataclass(frozen=True, slots=True)
class Split:
    """Both parts.

    Attributes:
        host: maps the inputs on the CPU to what the device needs of them, and to outputs.
        device: maps the inputs on the device, and what it needs from the host, to outputs.
        host_inputs: names of the inputs on the CPU, in order.
        device_inputs: names of the inputs on the device, in order.
        n_handed: how many of the host's results go to the device, the first ones.
        outputs: of each output, its part and its place there.
    """

    host: fx.GraphModule
    device: fx.GraphModule
    host_inputs: tuple[str, ...]
    device_inputs: tuple[str, ...]
    n_handed: int
    outputs: tuple[tuple[str, int], ...]

    def run_host(self, inputs: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """Compute what the host computes."""
        results: Sequence[Tensor] = self.host(*[inputs[name] for name in self.host_inputs])
        return results

    def join(self, of_host: Sequence[Tensor], of_device: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs of the whole graph."""
        results = {"host": of_host, "device": of_device}
        return tuple(results[part][place] for part, place in self.outputs)


def split(graph: fx.Graph, examples: Mapping[str, Tensor]) -> Split:
    """Split a graph.

    Args:
        graph: as recorded.
        examples: inputs by name, in the order of the graph's.

    Raises:
        Refused: the device would have to wait for the host.
    """
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    names = dict(zip(placeholders, examples, strict=True))
    on_device = _on_device(
        graph, {node for node, name in names.items() if _is_host(examples[name])}
    )
    (output,) = graph.find_nodes(op="output")
    results: Sequence[fx.Node] = output.args[0]
    handed = list(
        dict.fromkeys(
            used for node in on_device for used in node.all_input_nodes if used not in on_device
        )
    )
    _check_unchanged(graph, handed, on_device)
    of_host = [node for node in results if node not in on_device]
    of_device = [node for node in results if node in on_device]
    host = _part((node for node in graph.nodes if node not in on_device), (), [*handed, *of_host])
    device = _part((node for node in graph.nodes if node in on_device), handed, of_device)
    return Split(
        host,
        device,
        tuple(name for node, name in names.items() if node not in on_device),
        tuple(name for node, name in names.items() if node in on_device),
        len(handed),
        tuple(
            ("device", of_device.index(node))
            if node in on_device
            else ("host", len(handed) + of_host.index(node))
            for node in results
        ),
    )


def _on_device(graph: fx.Graph, host_inputs: set[fx.Node]) -> dict[fx.Node, None]:
    """The nodes of the device, in order."""
    found: dict[fx.Node, None] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            if node not in host_inputs:
                found[node] = None
        elif node.op == "call_function":
            layout = node.meta.get("layout")
            elsewhere = layout is not None and layout[1].type != "cpu"
            if any(used in found for used in node.all_input_nodes):
                _check_stays(node, found)
                found[node] = None
            elif elsewhere:
                found[node] = None
    return found


def _check_stays(node: fx.Node, on_device: Mapping[fx.Node, None]) -> None:
    """Refuse an operator that brings numbers of the device to the host."""
    layout = node.meta.get("layout")
    schema = getattr(node.target, "_schema", None)
    into = node.args[0] if schema is not None and schema.is_mutable and node.args else None
    lands = layout is not None and layout[1].type == "cpu"
    if lands or (isinstance(into, fx.Node) and into not in on_device):
        raise Refused(f"{node.name.rstrip('_0123456789')} copies numbers from the device")


def _check_unchanged(
    graph: fx.Graph, handed: Sequence[fx.Node], on_device: Mapping[fx.Node, None]
) -> None:
    """Refuse a change on the host of what the device reads before it: the host goes first."""
    read: set[fx.Node] = set()
    given = {*handed}
    for node in graph.nodes:
        if node in on_device:
            read |= {base_of(used) for used in node.all_input_nodes if used in given}
        elif any(base_of(changed) in read for changed in written_by(node)):
            raise Refused("the host changes in place what it has copied to the device")


def _part(
    nodes: Iterable[fx.Node], handed: Sequence[fx.Node], results: Sequence[fx.Node]
) -> fx.GraphModule:
    """Some nodes as a graph of their own; ``handed`` are further inputs."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    kept = [node for node in nodes if node.op != "output"]
    for node in [n for n in kept if n.op == "placeholder"]:
        copies[node] = graph.node_copy(node)
    for index, node in enumerate(handed):
        copies[node] = graph.placeholder(f"handed{index}")
    for node in [n for n in kept if n.op != "placeholder"]:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in results))
    return fx.GraphModule({}, graph)


def _is_host(tensor: Tensor) -> bool:
    return tensor.device == torch.device("cpu")
