"""The one-shot model of MetaNAS: one task of 5 inner steps, beside plain modules.

28 channels, 4 cells, 28x28x1, 20 ways, batches of 20 images, SGD. ``weights``: the architecture is
fixed. ``joint``: one backward pass gives the steps of weights and architecture (MetaNAS, equation
3). ``in turn``: a pass for each, as in the released code. The peer is the same network of
``torch.nn`` modules, every operation computed and weighed by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from race import Local
from revision import INPUTS, REDUCTION, Mixture, Params, TaskShape
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from workload import Facts

from metabench_plugins.spaces.metanas import MetaNasParams, metanas

WAYS, STEPS, LR, CHANNELS, NODES = 20, 5, 0.01, 28, 3
TASK = TaskShape("classification", (1, 28, 28), WAYS)
SPACE = metanas(MetaNasParams(channels=CHANNELS, nodes=NODES), TASK)
PASSES: dict[str, list[tuple[bool, bool]]] = {
    "weights": [(True, False)],
    "joint": [(True, True)],
    "in turn": [(False, True), (True, False)],
}
"""Per step, the passes, each for weights or not, and for the architecture or not."""
Forward = Callable[[Params, Mixture], Tensor]


def task(forward: Forward, weights: Params, arch: Params, y: Tensor, mode: str) -> list[Tensor]:
    """Run the inner steps, and return what weights and logits have become."""
    for _ in range(STEPS):
        for with_weights, with_arch in PASSES[mode]:
            w = {n: t.detach().requires_grad_(with_weights) for n, t in weights.items()}
            a = {n: t.detach().requires_grad_(with_arch) for n, t in arch.items()}
            mixture = {key: _softmax(key, logits) for key, logits in a.items()}
            loss = functional.cross_entropy(forward(w, mixture), y)
            moving = {n: t for n, t in (w | a).items() if t.requires_grad}
            gradients = torch.autograd.grad(loss, list(moving.values()))
            moved = {n: t - LR * g for (n, t), g in zip(moving.items(), gradients, strict=True)}
            weights = {n: moved.get(n, t).detach() for n, t in weights.items()}
            arch = {n: moved.get(n, t).detach() for n, t in arch.items()}
    return [*weights.values(), *arch.values()]


def _softmax(key: str, logits: Tensor) -> Tensor:
    if not key.endswith(INPUTS):
        return logits.softmax(-1)
    per_node = [len(p) for p in SPACE.choices()[key.removesuffix(INPUTS)].pairs().values()]
    return torch.cat([part.softmax(-1) for part in logits.split(per_node, dim=-1)], dim=-1)


class Plain(nn.Module):
    """The same network in the ordinary way."""

    def __init__(self) -> None:
        super().__init__()
        c = CHANNELS
        self.stem = nn.Sequential(nn.Conv2d(1, 3 * c, 3, padding=1, bias=False), _norm(3 * c, True))
        self.cells = nn.ModuleList([PlainCell(kind, i) for i, kind in enumerate("NRNR")])
        self.head = nn.Linear(3 * c, WAYS)

    def forward(self, x: Tensor, mixture: Mixture) -> Tensor:
        """Map images to logits."""
        first = second = self.stem(x)
        for cell in self.cells:
            first, second = second, cell(first, second, mixture)
        y: Tensor = self.head(second.mean((2, 3)))
        return y


class PlainCell(nn.Module):
    """A cell: every operation a module."""

    def __init__(self, kind: str, position: int) -> None:
        super().__init__()
        c = CHANNELS
        self.kind = REDUCTION if kind == "R" else "normal"
        self.input0 = Reduction(3 * c) if position == 2 else _pointwise(3 * c)
        self.input1 = _pointwise(3 * c)
        choices = SPACE.choices()[self.kind]
        self.edges = choices.edges
        self.pairs = choices.pairs()
        self.operations = nn.ModuleList()
        for source, _ in choices.edges:
            stride = 2 if kind == "R" and source < 2 else 1
            self.operations.append(nn.ModuleList(_operations(stride)))

    def forward(self, first: Tensor, second: Tensor, mixture: Mixture) -> Tensor:
        """Sum over pairs of inputs."""
        nodes = [self.input0(first), self.input1(second)]
        row = 0
        for pairs in self.pairs.values():
            total = torch.zeros(())
            on_edge: dict[int, Tensor] = {}
            for pair in pairs:
                for edge in pair:
                    if edge not in on_edge:
                        x = nodes[self.edges[edge][0]]
                        weights = mixture[self.kind][0, edge]
                        operations = self.operations[edge]
                        on_edge[edge] = sum(
                            (w * o(x) for w, o in zip(weights, operations, strict=True)),
                            start=torch.zeros(()),
                        )
                both = on_edge[pair[0]] + on_edge[pair[1]]
                total = total + mixture[self.kind + INPUTS][0, row] * both
                row += 1
            nodes.append(total)
        return torch.cat(nodes[2:], 1)


class Reduction(nn.Module):
    """Even and odd pixels, each by a pointwise convolution."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(inputs, CHANNELS // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(inputs, CHANNELS // 2, 1, stride=2, bias=False)
        self.norm = _norm()

    def forward(self, x: Tensor) -> Tensor:
        """Halve a map of even size."""
        x = torch.relu(x)
        y: Tensor = self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))
        return y


def _norm(channels: int = CHANNELS, affine: bool = False) -> nn.Module:
    return nn.BatchNorm2d(channels, affine=affine, track_running_stats=False)


def _pointwise(inputs: int) -> nn.Module:
    return nn.Sequential(nn.ReLU(), nn.Conv2d(inputs, CHANNELS, 1, bias=False), _norm())


def _separable(stride: int, dilation: int = 1) -> list[nn.Module]:
    c = CHANNELS
    depthwise = nn.Conv2d(c, c, 3, stride, dilation, dilation=dilation, groups=CHANNELS, bias=False)
    return [nn.ReLU(), depthwise, nn.Conv2d(c, c, 1, bias=False), _norm()]


def _operations(stride: int) -> Iterator[nn.Module]:
    c = CHANNELS
    yield nn.Sequential(nn.MaxPool2d(3, stride, 1), _norm())
    yield nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), _norm())
    yield nn.Identity() if stride == 1 else Reduction(c)
    yield nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(c, c, (1, 5), stride, (0, 2), bias=False),
        nn.Conv2d(c, c, (5, 1), 1, (2, 0), bias=False),
        _norm(),
    )
    yield nn.Sequential(*_separable(stride))
    yield nn.Sequential(*_separable(stride), *_separable(1))
    yield nn.Sequential(*_separable(stride, dilation=2))


def ours(x: Tensor) -> Forward:
    """The network of metabench."""

    def forward(weights: Params, mixture: Mixture) -> Tensor:
        return SPACE.forward({n: w[None] for n, w in weights.items()}, mixture, x[None])[0]

    return forward


def plain(x: Tensor) -> Forward:
    """The network of modules; its parameters come in the order of our weights."""
    network = Plain().to(x.dtype)
    names = [name for name, _ in network.named_parameters()]

    def forward(weights: Params, mixture: Mixture) -> Tensor:
        values = [w.T if n == "head.weight" else w for n, w in weights.items()]
        own = dict(zip(names, values, strict=True))
        y: Tensor = torch.func.functional_call(network, own, (x, mixture))
        return y

    return forward


MAKERS = {"metabench": ours, "plain modules": plain}


@dataclass(frozen=True, slots=True)
class OneShot:
    """One task on the one-shot model; the mode is a key of :data:`PASSES`."""

    mode: str

    @property
    def name(self) -> str:
        """As ``--workload`` says it."""
        return f"supernet-{self.mode.replace(' ', '-')}"

    @property
    def summary(self) -> str:
        """One line."""
        return f"one task of MetaNAS on its one-shot model, 5 steps, {self.mode}"

    def step(self, name: str, dtype: torch.dtype = torch.float32) -> Callable[[], list[Tensor]]:
        """The inner steps on one network."""
        rng = torch.Generator().manual_seed(0)
        weights = SPACE.init_weights(rng=rng)
        arch: dict[str, Tensor] = {}
        for cell, c in SPACE.choices().items():
            arch[cell] = torch.randn(1, len(c.edges), len(c.primitives), generator=rng)
            arch[cell + INPUTS] = torch.randn(1, sum(map(len, c.pairs().values())), generator=rng)
        x = torch.rand(WAYS, *TASK.inputs, generator=rng).to(dtype)
        y = torch.arange(WAYS)
        w, a = ({n: t.to(dtype) for n, t in group.items()} for group in (weights, arch))
        forward = MAKERS[name](x)
        return lambda: task(forward, w, a, y, self.mode)

    def ours(self) -> Mapping[str, Local]:
        """The network of metabench."""
        return {"inner loop": Local(self.step("metabench"))}

    def peers(self) -> Mapping[str, Local]:
        """Plain modules."""
        return {"plain modules": Local(self.step("plain modules"))}

    def facts(self) -> Facts:
        """Operations of ours, which fuses some, and the difference of plain modules."""
        exact, theirs = (
            torch.cat([t.flatten() for t in self.step(name, torch.float64)()]) for name in MAKERS
        )
        with FlopCounterMode(display=False) as counter:
            self.step("metabench")()
        difference = float((theirs - exact).abs().max() / exact.abs().max())
        return Facts(counter.get_total_flops() / 1e9, {"plain modules": difference})
