"""The fixed reference of the speed check: the meta-gradients of two small workloads in plain torch.

They compute what metabench computes, in the way that it did when this file was written, so that a
processor that is slow at it is slow at both. Do not make this file faster: all figures of
`release.json` are relative to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from maml import Maml
from torch import Tensor
from torch.nn import functional


def reference(workload: Maml) -> Callable[[], list[Tensor]]:
    """One meta-gradient, second order; all tasks of an MLP at once, images task by task."""
    leaves = [w.clone().requires_grad_() for w in workload.weights().values()]
    data = workload.data()
    if not workload.is_image:
        batches = [(data.x, data.y, data.query_x, data.query_y)]
    else:
        batches = [tuple(t[None] for t in task) for task in data.tasks()]  # type: ignore[misc]

    def step() -> list[Tensor]:
        total = [torch.zeros_like(w) for w in leaves]
        for x, y, query_x, query_y in batches:
            weights = [w.expand(len(x), *w.shape) for w in leaves]
            for _ in range(workload.steps):
                loss = _loss(workload, weights, x, y) * len(x)
                gradients = torch.autograd.grad(loss, weights, create_graph=True)
                weights = [
                    w.add(g, alpha=-workload.lr) for w, g in zip(weights, gradients, strict=True)
                ]
            outer = _loss(workload, weights, query_x, query_y) * (len(x) / workload.tasks)
            for sum_, g in zip(total, torch.autograd.grad(outer, leaves), strict=True):
                sum_ += g
        return total

    return step


def _loss(workload: Maml, weights: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The mean loss over tasks; weights ``[tasks, *shape]``."""
    if workload.is_image:
        own = [w[0] for w in weights]
        return functional.cross_entropy(_conv4(own, x[0]), y[0])
    return (_mlp(weights, x) - y).square().mean()


def _mlp(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    for i in range(0, len(weights) - 2, 4):
        weight, bias, scale, shift = weights[i : i + 4]
        x = torch.baddbmm(bias[:, None], x, weight)
        variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        x = (x - mean) * (variance + 1e-5).rsqrt()
        x = torch.relu(torch.addcmul(shift[:, None], x, scale[:, None]))
    return torch.baddbmm(weights[-1][:, None], x, weights[-2])


def _conv4(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    for i in range(0, len(weights) - 2, 4):
        weight, bias, scale, shift = weights[i : i + 4]
        x = functional.conv2d(x, weight, bias, padding=1)
        x = functional.batch_norm(x, None, None, scale, shift, training=True)
        x = torch.relu(functional.max_pool2d(x, 2))
    return torch.addmm(weights[-1], x.flatten(1), weights[-2])
