"""A network of cells: stem, normal and reduction cells, global average, linear head.

The supernet computes every operation on every edge; the network of a genotype is the same code
with the kept operations alone. Batch statistics always. Norms in the cells of a supernet have no
scale and shift, those of the stem and of a child do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from metabench import (
    INPUTS,
    CellChoices,
    Genotype,
    Mixture,
    Params,
    TaskShape,
    UsageError,
    is_norm,
    nn,
)
from metabench_plugins.spaces.parts.cell import (
    Cell,
    all_edges,
    kept_candidates,
    kept_edges,
    search_candidates,
)
from metabench_plugins.spaces.parts.image_maps import Shapes
from metabench_plugins.spaces.parts.operation_weights import Amounts, amounts, membership, overlap
from metabench_plugins.spaces.parts.partial_channels import check_partial
from metabench_plugins.spaces.parts.primitives import EPS, Feed, norm_shapes
from metabench_plugins.spaces.parts.published_cells import REDUCTION

MAPS_AT_ONCE = 160_000
"""Elements of a node's maps of the tasks that a CPU runs at once; they shall stay in its cache."""
LEAST_OVERLAP = 0.5
"""Share of its operations that a task must have in common with others to run beside them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a network looks like.

    Attributes:
        stem: channels after each convolution 3x3 of the stem.
        stem_pool: whether each is followed by a max pool that halves the map.
        cells: type and channels of each cell, in order.
        nodes: intermediate nodes of a cell.
        primitives: candidate operations of an edge.
        child_pool_norm: whether a child normalizes after pools; a supernet always does.
        partial: K, of whose K parts of a node's channels the supernet mixes one; a child has whole
            operations.
    """

    stem: tuple[int, ...]
    stem_pool: bool
    cells: tuple[tuple[str, int], ...]
    nodes: int
    primitives: tuple[str, ...]
    child_pool_norm: bool
    partial: int = 1


class CellNetwork:
    """The supernet of a layout, or with ``genotype`` the network of that.

    Weights: ``stem<i>`` (``weight``, ``norm.scale``, ``norm.shift``), ``cell<i>.input0`` and
    ``.input1``, ``cell<i>.edge<source>-<target>.<operation>.<part>``, ``head`` (``weight``,
    ``bias``). Where a child and its supernet have the same weight, they have it under one name.
    With partial channels the operations of a child are larger than those of the supernet.

    Args:
        layout: see :class:`Layout`.
        task: images ``(channels, height, width)``, and the number of outputs.
        genotype: cells of a fixed network; None for the supernet.
    """

    batch_statistics = True

    def __init__(
        self, layout: Layout, task: TaskShape, *, genotype: Genotype | None = None
    ) -> None:
        smallest = 2 ** len(layout.stem) if layout.stem_pool else 1
        if len(task.inputs) != 3 or min(task.inputs[1:]) < smallest:
            raise UsageError(
                f"A network of cells cannot read inputs of shape {list(task.inputs)}.",
                hint=f"It needs images that are at least {smallest} pixels high and wide.",
            )
        for _, channels in layout.cells:
            check_partial(layout.partial, channels)
        self._layout = layout
        self._task = task
        self._genotype = genotype
        self._choices: dict[str, CellChoices] = {}
        if genotype is None:
            searched = CellChoices(all_edges(layout.nodes), layout.primitives, input_pairs=True)
            self._choices = dict.fromkeys(sorted({kind for kind, _ in layout.cells}), searched)
        self._cells = self._stack()

    def init_weights(self, *, rng: torch.Generator) -> Params:
        """Draw weights from U(-a, a), a = 1/sqrt(inputs of a unit); norms begin at 1 and 0."""
        weights: Params = {}
        for name, shape in self._shapes().items():
            if is_norm(name):
                weights[name] = torch.full(shape, float(name.endswith("scale")))
                continue
            inputs = self._features if name.startswith("head.") else math.prod(shape[1:])
            bound = 1 / math.sqrt(inputs)
            weights[name] = torch.empty(shape).uniform_(-bound, bound, generator=rng)
        return weights

    def forward(self, weights: Params, mixture: Mixture, x: Tensor) -> Tensor:
        """Map ``x [tasks, n, channels, height, width]`` to ``[tasks, n, outputs]``.

        Operations of weight 0 are not computed on a CPU, unless a gradient of the mixture is
        asked for; see :func:`metabench_plugins.spaces.parts.operation_weights.amounts`.
        """
        at_once = self.tasks_at_once(x.shape[1])
        if min(at_once, len(x)) > 1 and x.device.type == "cpu":
            # Where each task has operations of its own, together they would compute those of all.
            at_once = at_once if overlap(mixture, self._choices) > LEAST_OVERLAP else 1
        return nn.by_task(self._forward, x, weights, mixture, at_once=at_once)

    def tasks_at_once(self, n_examples: int) -> int:
        """As many as have maps of :data:`MAPS_AT_ONCE` elements."""
        return max(1, MAPS_AT_ONCE // (n_examples * self._largest_map()))

    def choices(self) -> Mapping[str, CellChoices]:
        """Per cell type; nothing for a child."""
        return self._choices

    def child(self, genotype: Genotype) -> CellNetwork:
        """The network of a genotype, which may have other nodes than the supernet."""
        return CellNetwork(self._layout, self._task, genotype=genotype)

    def drop_paths(
        self, n_tasks: int, n_examples: int, *, rate: float, rng: torch.Generator
    ) -> Mixture:
        """Draw masks; see :meth:`metabench.DropPathSpace.drop_paths`."""
        return {
            f"{cell.name}.drop": torch.empty(n_tasks, len(cell.candidates), n_examples)
            .bernoulli_(1 - rate, generator=rng)
            .div_(1 - rate)
            for cell in self._cells
        }

    def n_weights(self, mixture: Mixture, *, threshold: float = 0.0) -> list[int]:
        """Count the weights that each task's network uses.

        Args:
            mixture: ``[tasks, ...]``; ``{}`` for a child.
            threshold: least weight of an operation, and of an input pair, that counts. An edge
                counts that belongs to a pair that does (MetaNAS).
        """
        sizes = {name: math.prod(shape) for name, shape in self._shapes().items()}
        total = sum(sizes.values())
        if not self._choices:
            return [total]
        removed: Tensor | int = 0
        for cell in self._cells:
            choices = self._choices[cell.kind]
            unused = mixture[cell.kind] < threshold
            if (pairs := mixture.get(cell.kind + INPUTS)) is not None:
                kept = (pairs >= threshold).float() @ membership(choices, pairs)
                unused = unused | (kept == 0).unsqueeze(2)
            size = torch.zeros(unused.shape[1:], dtype=torch.int64)
            for candidate in cell.candidates:
                parts = candidate.shapes(cell.mixed_channels).values()
                size[candidate.edge, candidate.operation] = sum(map(math.prod, parts))
            removed = removed + (unused.cpu() * size).sum((1, 2))
        return [total - int(n) for n in torch.as_tensor(removed)]

    def _largest_map(self) -> int:
        """Elements of the largest map of a cell's node, of one example."""
        height, width = self._task.inputs[1:]
        if self._layout.stem_pool:
            shrink = 2 ** len(self._layout.stem)
            height, width = height // shrink, width // shrink
        sizes = []
        for kind, channels in self._layout.cells:
            if kind == REDUCTION:
                height, width = (height + 1) // 2, (width + 1) // 2
            sizes.append(channels * height * width)
        return max(sizes)

    @property
    def _features(self) -> int:
        return self._cells[-1].outputs

    def _stack(self) -> tuple[Cell, ...]:
        layout, genotype = self._layout, self._genotype
        widths = [layout.stem[-1]] * 2
        cells: list[Cell] = []
        for i, (kind, channels) in enumerate(layout.cells):
            name = f"cell{i}"
            if genotype is None:
                edges = self._choices[kind].edges
                candidates = search_candidates(name, kind, self._choices[kind])
            else:
                candidates = kept_candidates(name, kind, genotype, pool_norm=layout.child_pool_norm)
                edges = kept_edges(genotype, kind)
            cell = Cell(
                name=name,
                kind=kind,
                inputs=(widths[-2], widths[-1]),
                channels=channels,
                halve_first=bool(cells) and cells[-1].kind == REDUCTION,
                affine=genotype is not None,
                edges=edges,
                candidates=candidates,
                partial=layout.partial if genotype is None else 1,
            )
            widths.append(cell.outputs)
            cells.append(cell)
        return tuple(cells)

    def _shapes(self) -> Shapes:
        shapes: Shapes = {}
        inputs = self._task.inputs[0]
        for i, channels in enumerate(self._layout.stem, start=1):
            shapes[f"stem{i}.weight"] = (channels, inputs, 3, 3)
            shapes |= norm_shapes(f"stem{i}.norm", channels)
            inputs = channels
        for cell in self._cells:
            shapes |= cell.shapes()
        outputs = self._task.outputs
        return shapes | {"head.weight": (self._features, outputs), "head.bias": (outputs,)}

    def _forward(self, x: Tensor, weights: Params, mixture: Mixture) -> Tensor:
        given: dict[str, Amounts] = {
            kind: amounts(mixture, kind, choices) for kind, choices in self._choices.items()
        }
        # Its maps are too large to run several tasks at once.
        own = {name: weight for name, weight in weights.items() if name.startswith("stem")}
        second = Feed(nn.by_task(self._stem, x, own))
        first = second
        for cell in self._cells:
            y = cell.forward(
                weights, given.get(cell.kind), mixture.get(f"{cell.name}.drop"), first, second
            )
            first, second = second, Feed(y)
        y = nn.global_avg_pool(second.x)
        return nn.linear(y, weights["head.weight"], weights["head.bias"])

    def _stem(self, x: Tensor, weights: Params) -> Tensor:
        last = len(self._layout.stem)
        for i in range(1, last + 1):
            weight, relu = weights[f"stem{i}.weight"], i < last
            scale, shift = weights[f"stem{i}.norm.scale"], weights[f"stem{i}.norm.shift"]
            if self._layout.stem_pool:
                x = nn.conv_block(x, weight, scale, shift, eps=EPS, relu=relu)
            else:
                x = nn.conv2d(x, weight, padding=1)
                x = nn.batch_norm(x, scale, shift, eps=EPS, relu=relu)
        return x
