"""JAX: the whole meta-gradient compiled, with all tasks at once by `vmap`.

Not for images: on a CPU XLA takes minutes to compile their meta-gradient, and it is then slower
than a plain loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

jax.config.update("jax_enable_x64", True)  # what is float32 stays float32


def meta_gradient(
    workload: Any, weights: Mapping[str, Tensor], data: Any
) -> Callable[[], list[Tensor]] | None:
    """The step; None for images."""
    if workload.is_image:
        return None
    start = [jnp.asarray(w.numpy()) for w in weights.values()]
    batch = [jnp.asarray(t.numpy()) for t in (data.x, data.y, data.query_x, data.query_y)]

    def outer(w: list[Any], batch: list[Any]) -> Any:
        def one(task: list[Any]) -> Any:
            return _task_loss(workload, w, *task)

        return jax.vmap(one)(batch).mean()

    gradient = jax.jit(jax.grad(outer))

    def step() -> list[Tensor]:
        found = jax.block_until_ready(gradient(start, batch))
        return [torch.from_numpy(np.array(g)) for g in found]

    return step


def _forward(weights: list[Any], x: Any) -> Any:
    for i in range(0, len(weights) - 2, 4):
        weight, bias, scale, shift = weights[i : i + 4]
        x = x @ weight + bias
        mean = x.mean(0)
        variance = jnp.square(x - mean).mean(0)
        x = jax.nn.relu((x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift)
    return x @ weights[-2] + weights[-1]


def _loss(outputs: Any, y: Any) -> Any:
    return jnp.square(outputs - y).mean()


def _task_loss(workload: Any, start: list[Any], x: Any, y: Any, query_x: Any, query_y: Any) -> Any:
    adapted = start
    for _ in range(workload.steps):
        gradients = jax.grad(lambda w: _loss(_forward(w, x), y))(adapted)
        if workload.order == "first":
            gradients = jax.lax.stop_gradient(gradients)
        adapted = [w - workload.lr * g for w, g in zip(adapted, gradients, strict=True)]
    return _loss(_forward(adapted, query_x), query_y)
