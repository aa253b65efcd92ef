"""Meta-gradients of MAML: W1, W2a, W2b and W3, on metabench and on each peer."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from meta_steps import meta_steps
from peers import PEERS
from race import Local
from revision import (
    UNBOUNDED,
    Params,
    RunRequest,
    TaskShape,
    inner_loop,
    load_catalog,
    share,
)
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from workload import Facts

from metabench_plugins.spaces.conv4 import Conv4, Conv4Params
from metabench_plugins.spaces.mlp import Mlp, MlpParams

MetaGradient = Callable[[], list[Tensor]]
"""Gradients of the mean query loss after the inner steps, for all weights in our order."""


@dataclass(frozen=True, slots=True)
class Data:
    """A meta-batch: support and query examples and labels, ``[tasks, n, ...]``."""

    x: Tensor
    y: Tensor
    query_x: Tensor
    query_y: Tensor

    def tasks(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Task by task."""
        return zip(self.x, self.y, self.query_x, self.query_y, strict=True)

    def to(self, dtype: torch.dtype) -> Data:
        """With numbers of another precision."""
        tensors = (self.x, self.y, self.query_x, self.query_y)
        return Data(*(t.to(dtype) if t.is_floating_point() else t for t in tensors))


@dataclass(frozen=True, slots=True, kw_only=True)
class Maml:
    """MAML on a multilayer perceptron or a Conv-4, both with batch norm, all weights adapted.

    Attributes:
        name: of the workload.
        suite: whose learner ``maml`` is timed too, and in which setting.
        setting: see above.
        inputs: shape of one example: a single number, or an image.
        ways: classes; 0 in regression.
        shots: support examples per class, or per task in regression.
        queries: query examples, likewise.
        steps: inner steps.
        lr: the inner learning rate.
        order: first or second.
        width: units or filters of each of the four hidden layers.
        tasks: of a meta-batch.
    """

    name: str
    suite: str
    setting: str
    inputs: tuple[int, ...]
    ways: int
    shots: int
    queries: int
    steps: int
    lr: float
    width: int
    tasks: int
    order: str = "second"

    @property
    def is_image(self) -> bool:
        """Whether the network is a Conv-4."""
        return len(self.inputs) == 3

    @property
    def summary(self) -> str:
        """One line."""
        size = "x".join(map(str, self.inputs[1:] + self.inputs[:1]))
        few_shot = f"{self.ways}-way {self.shots}-shot, " if self.ways else f"{self.shots} points, "
        net = "conv4" if self.is_image else "mlp 4x"
        steps = "1 step" if self.steps == 1 else f"{self.steps} steps"
        return (
            f"MAML, {net}{'-' if self.is_image else ''}{self.width}, {size} inputs, {few_shot}"
            f"{self.queries} queries, {steps}, {self.order} order, {self.tasks} tasks"
        )

    def network(self) -> Mlp | Conv4:
        """Ours."""
        if self.is_image:
            task = TaskShape("classification", self.inputs, self.ways)
            return Conv4(Conv4Params(filters=self.width), task)
        return Mlp(MlpParams(norm="batch", width=self.width), TaskShape("regression", (1,), 1))

    def weights(self) -> Params:
        """The initial weights of all entrants."""
        return self.network().init_weights(rng=torch.Generator().manual_seed(0))

    def data(self) -> Data:
        """The meta-batch of all entrants."""
        rng = torch.Generator().manual_seed(1)
        tensors = []
        for per_class in (self.shots, self.queries):
            if self.ways:
                y = torch.arange(self.ways).repeat(self.tasks, per_class)
                tensors += [torch.rand(*y.shape, *self.inputs, generator=rng), y]
            else:
                tensors += [torch.randn(self.tasks, per_class, 1, generator=rng) for _ in "xy"]
        return Data(*tensors)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The mean loss of one task."""
        if self.ways:
            return functional.cross_entropy(outputs, y)
        return (outputs - y).square().mean()

    def gradient(self, dtype: torch.dtype = torch.float32) -> MetaGradient:
        """Ours, by the functions that learners use."""
        space, data = self.network(), self.data().to(dtype)
        leaves = {n: w.to(dtype).requires_grad_() for n, w in self.weights().items()}

        def losses(w: Params, x: Tensor, y: Tensor) -> Tensor:
            outputs = space.forward(w, {}, x)
            if not self.ways:
                return (outputs - y).square().mean((1, 2))
            flat = outputs.flatten(0, 1)
            entropies = functional.cross_entropy(flat, y.flatten(), reduction="none")
            return entropies.view(y.shape).mean(1)

        def step() -> list[Tensor]:
            end = inner_loop(
                lambda w: losses(w, data.x, data.y),
                share(leaves, self.tasks),
                steps=self.steps,
                lr=self.lr,
                order=self.order,  # type: ignore[arg-type]
            )
            loss = losses(end, data.query_x, data.query_y).mean()
            return list(
                torch.autograd.grad(
                    loss, list(leaves.values()), allow_unused=True, materialize_grads=True
                )
            )

        return step

    def ours(self) -> Mapping[str, Local]:
        """The meta-gradient alone, as peers compute it, and a whole meta-step of a run."""
        gradient = Local(self.gradient(), self.tasks)
        return {"meta-gradient": gradient, "meta-step": self.meta_step()}

    def meta_step(self, *, compiled: bool = False) -> Local:
        """The learner `maml` as the suite sets it up, on the same shapes."""
        network = {"filters": self.width, "pool": "max", "head": "flatten"}
        learner = {"inner_steps": self.steps, "inner_lr": self.lr, "order": self.order}
        protocol = {"shots": self.shots, "queries": self.queries}
        if self.suite == "miniimagenet":
            protocol["train_queries"] = self.queries
        request = RunRequest(
            learners=("maml",),
            suite=self.suite,
            settings=(self.setting,),
            data="synthetic" if self.is_image else "real",
            changes={
                "space": network if self.is_image else {"norm": "batch", "width": self.width},
                "learner": learner | {"outer_lr": 1e-6, "clip": None} | UNBOUNDED,
                "protocol": protocol,
            },
        )
        steps = meta_steps(
            request, load_catalog(), n_tasks=self.tasks, progress=0.0, compiled=compiled
        )
        return Local(steps["maml"], self.tasks)

    def peer(self, name: str, dtype: torch.dtype) -> MetaGradient | None:
        """The meta-gradient by a peer; None where it is not installed or cannot do this."""
        try:
            module = importlib.import_module(f"peers.{PEERS[name]}")
        except ImportError:
            return None
        weights = {n: w.to(dtype) for n, w in self.weights().items()}
        made: MetaGradient | None = module.meta_gradient(self, weights, self.data().to(dtype))
        return made

    def peers(self) -> Mapping[str, Local]:
        """All that are installed."""
        made = {name: self.peer(name, torch.float32) for name in PEERS}
        return {name: Local(step, self.tasks) for name, step in made.items() if step}

    def gflop(self) -> float:
        """Operations of one task in billions, as a plain loop over tasks makes them."""
        plain = replace(self, tasks=1).peer("plain loop", torch.float32)
        assert plain is not None
        with FlopCounterMode(display=False) as counter:
            plain()
        return float(counter.get_total_flops()) / 1e9

    def facts(self) -> Facts:
        """Operations, and differences in float64, for which a small network will do."""
        few = replace(self, tasks=1, width=8, queries=min(self.queries, 5))
        exact = torch.cat([g.flatten() for g in few.gradient(torch.float64)()])
        differences = {}
        for name in PEERS:
            step = few.peer(name, torch.float64)
            if step:
                theirs = torch.cat([g.flatten() for g in step()])
                differences[name] = float((theirs - exact).abs().max() / exact.abs().max())
        return Facts(self.gflop(), differences)


W1 = Maml(
    name="W1",
    suite="toy-regression",
    setting="10-shot",
    inputs=(1,),
    ways=0,
    shots=10,
    queries=10,
    steps=5,
    lr=0.001,
    width=50,
    tasks=25,
)
W2A = Maml(
    name="W2a",
    suite="omniglot",
    setting="5w1s",
    inputs=(1, 28, 28),
    ways=5,
    shots=1,
    queries=15,
    steps=1,
    lr=0.4,
    width=64,
    tasks=4,
)
W2B = replace(W2A, name="W2b", setting="20w1s", ways=20, steps=5, lr=0.1, tasks=2)
W3 = replace(
    W2A,
    name="W3",
    suite="miniimagenet",
    inputs=(3, 84, 84),
    steps=5,
    lr=0.01,
    width=32,
    tasks=2,
)
W3_FIRST = replace(W3, name="W3-first", order="first")
