"""Networks with a task axis: layers as pure functions of inputs and weights.

Read ``layers`` first, then ``norm`` and ``mlp`` (their derivatives), ``losses``, ``scores`` and
``transduction`` (predictors for the transductive and the inductive protocol). ``statistics`` says
whose statistics batch norm uses, ``state`` has layers that train otherwise than they predict, and
``derivatives`` says which derivatives convolutions and norms of maps have (``convolution``,
``norm_maps``). ``conv_block`` makes one operation of what follows a convolution (``norm_pool``).
"""

from metabench.nn.conv_block import conv_block
from metabench.nn.derivatives import differentiated_twice
from metabench.nn.layers import (
    avg_pool2d,
    batch_norm,
    by_task,
    conv2d,
    flatten,
    fold_tasks,
    global_avg_pool,
    linear,
    max_pool2d,
    unfold_tasks,
)
from metabench.nn.lift import lift
from metabench.nn.mlp import Layer, norm_mlp
from metabench.nn.state import drop_block, dropout, running_batch_norm
from metabench.nn.statistics import statistics_of_first

__all__ = [
    "Layer",
    "avg_pool2d",
    "batch_norm",
    "by_task",
    "conv2d",
    "conv_block",
    "differentiated_twice",
    "drop_block",
    "dropout",
    "flatten",
    "fold_tasks",
    "global_avg_pool",
    "lift",
    "linear",
    "max_pool2d",
    "norm_mlp",
    "running_batch_norm",
    "statistics_of_first",
    "unfold_tasks",
]
