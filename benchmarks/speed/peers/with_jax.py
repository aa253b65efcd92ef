"""JAX: the whole meta-gradient compiled; tasks by `vmap`, or of images one after another.

Not for several inner steps on images: XLA takes minutes to compile them.
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
    """The step; None for several inner steps on images."""
    if workload.is_image and workload.steps > 1:
        return None
    start = [jnp.asarray(_layout(w).numpy()) for w in weights.values()]
    batch = [jnp.asarray(_layout_of_data(t).numpy()) for t in data_of(data)]

    def outer(w: list[Any], batch: list[Any]) -> Any:
        def one(task: list[Any]) -> Any:
            return _task_loss(workload, w, *task)

        # Tasks of images at once would be a grouped convolution, which is slower on a CPU.
        losses = jax.lax.map(one, batch) if workload.is_image else jax.vmap(one)(batch)
        return losses.mean()

    gradient = jax.jit(jax.grad(outer))

    def step() -> list[Tensor]:
        found = jax.block_until_ready(gradient(start, batch))
        return [_our_layout(np.asarray(g)) for g in found]

    return step


def data_of(data: Any) -> tuple[Tensor, ...]:
    """The tensors of a batch."""
    return data.x, data.y, data.query_x, data.query_y


def _layout(w: Tensor) -> Tensor:
    """Kernels ``[height, width, in, out]``."""
    return w.permute(2, 3, 1, 0).contiguous() if w.dim() == 4 else w


def _our_layout(g: Any) -> Tensor:
    found = torch.from_numpy(np.array(g))
    return found.permute(3, 2, 0, 1) if found.dim() == 4 else found


def _layout_of_data(t: Tensor) -> Tensor:
    """Channels last."""
    return t.permute(0, 1, 3, 4, 2).contiguous() if t.dim() == 5 else t


def _forward(weights: list[Any], x: Any) -> Any:
    for i in range(0, len(weights) - 2, 4):
        weight, bias, scale, shift = weights[i : i + 4]
        axes: tuple[int, ...] = (0,)
        if weight.ndim == 4:
            numbers = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=numbers)
            axes = (0, 1, 2)
        else:
            x = x @ weight
        x = x + bias
        mean = x.mean(axes, keepdims=True)
        variance = jnp.square(x - mean).mean(axes, keepdims=True)
        x = (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift
        if weight.ndim == 4:
            x = _halved(x)
        x = jax.nn.relu(x)
    if x.ndim == 4:
        x = x.transpose(0, 3, 1, 2)
    return x.reshape(len(x), -1) @ weights[-2] + weights[-1]


def _halved(x: Any) -> Any:
    """2x2 max pooling. The gradient of `max` over an axis compares with what XLA may recompute."""
    height, width = (side // 2 * 2 for side in x.shape[1:3])
    rows = jnp.maximum(x[:, 0:height:2], x[:, 1:height:2])
    return jnp.maximum(rows[:, :, 0:width:2], rows[:, :, 1:width:2])


def _loss(workload: Any, outputs: Any, y: Any) -> Any:
    if workload.ways:
        logs = jax.nn.log_softmax(outputs)
        return -jnp.take_along_axis(logs, y[:, None], axis=1).mean()
    return jnp.square(outputs - y).mean()


def _task_loss(workload: Any, start: list[Any], x: Any, y: Any, query_x: Any, query_y: Any) -> Any:
    adapted = start
    for _ in range(workload.steps):
        gradients = jax.grad(lambda w: _loss(workload, _forward(w, x), y))(adapted)
        if workload.order == "first":
            gradients = jax.lax.stop_gradient(gradients)
        adapted = [w - workload.lr * g for w, g in zip(adapted, gradients, strict=True)]
    return _loss(workload, _forward(adapted, query_x), query_y)
