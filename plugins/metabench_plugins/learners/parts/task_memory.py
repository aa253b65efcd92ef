"""How many tasks are differentiated at once, so that their graphs fit the memory.

The number depends on the network, the sizes of the sets and the kind of device, not on what other
programs have left of the memory: it may decide the last digit of a gradient, and a run that is
stopped and resumed is to have the same digits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from metabench import Mixture, Params, SearchSpace, TaskBatch

AT_ONCE_ON_CPU = 2**28
"""Bytes of the graphs that live at once on a CPU: some cost a small network no time, and few tasks
keep the maps of a large one in the cache."""
SHARE_OF_DEVICE = 0.5
"""Share of the memory of a GPU for graphs. The rest is for weights, temporary tensors and gaps."""
GRAPHS_PER_STEP = 3
"""What an inner step keeps for a second-order gradient, in graphs of its forward pass."""
PROBED = 2
"""Examples of which the graph is measured; one would leave some statistics undefined."""


class TaskMemory:
    """Remembers what was measured of a learner's networks.

    Args:
        device: where tasks run.
    """

    def __init__(self, device: torch.device) -> None:
        self._limit = bytes_at_once(device)
        self._space: SearchSpace | None = None
        self._per_example = self._weights = 0

    def tasks_at_once(
        self,
        space: SearchSpace,
        network: Callable[[], tuple[Params, Mixture]],
        tasks: TaskBatch,
        *,
        steps: int,
        second: bool,
        query_passes: int = 1,
        networks: int = 1,
    ) -> int:
        """How many tasks may run at once in an outer gradient.

        Args:
            space: the network.
            network: gives weights of one network, ``[1, *shape]``, and weights of operations;
                called once for each space. The values do not count.
            tasks: a batch.
            steps: of the inner loop.
            second: whether the outer gradient goes through the inner ones.
            query_passes: how often an outer loss runs the query set.
            networks: how many each task has.
        """
        if space is not self._space:
            weights, mixture = network()
            self._space = space
            self._per_example = bytes_per_example(space, weights, mixture, tasks.support.x[:1])
            self._weights = sum(w.numel() * w.element_size() for w in weights.values())
        per_task = bytes_per_task(
            self._per_example,
            self._weights,
            n_support=tasks.support.x.shape[1],
            n_query=tasks.query.x.shape[1] * query_passes,
            steps=steps,
            second=second,
        )
        return max(1, self._limit // max(1, networks * per_task))


def bytes_at_once(device: torch.device) -> int:
    """What the graphs of the tasks that run at once may take."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return int(SHARE_OF_DEVICE * total)
    return AT_ONCE_ON_CPU


def bytes_per_task(
    per_example: int, weights: int, *, n_support: int, n_query: int, steps: int, second: bool
) -> int:
    """Estimate the graph of the inner loop of one task and of its query loss.

    Args:
        per_example: bytes of a forward pass, see :func:`bytes_per_example`.
        weights: bytes of a task's own weights.
        n_support: support examples.
        n_query: query examples.
        steps: of the inner loop.
        second: whether the outer gradient goes through the inner ones.

    >>> bytes_per_task(1000, 0, n_support=5, n_query=75, steps=5, second=True)
    150000
    >>> bytes_per_task(1000, 0, n_support=5, n_query=75, steps=5, second=False)
    75000
    """
    if not second:
        return per_example * max(n_support, n_query) + 3 * weights
    kept = n_query + GRAPHS_PER_STEP * steps * n_support
    return per_example * kept + 3 * weights * steps


def bytes_per_example(space: SearchSpace, weights: Params, mixture: Mixture, x: Tensor) -> int:
    """Measure what a forward pass keeps of each example for its gradient.

    All operations of a searched network count, whatever their weights, so that it is a fact of
    the network.

    Args:
        space: the network.
        weights: of one task, or shared.
        mixture: weights of operations, of one task; their values are not used.
        x: inputs ``[1, n, *inputs]`` whose values are not used.
    """
    x = torch.zeros_like(x[:, :1]).expand(-1, PROBED, *x.shape[2:]).contiguous()
    even = {name: torch.full_like(w, 1 / w.shape[-1]) for name, w in mixture.items()}
    own = {name: w.detach().clone().requires_grad_() for name, w in weights.items()}
    given = {t.untyped_storage().data_ptr() for t in (x, *even.values(), *own.values())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        outputs = space.forward(own, even, x)
    del outputs
    return sum(kept.values()) // PROBED
