"""Running statistics of a lifted module: which norms have them, and their update in training.

The module stays in evaluation mode, where its batch norms call ``functional.batch_norm`` with their
running statistics. In meta-training that call is answered by
:func:`metabench.nn.running_batch_norm`, so that a lifted network is updated as a built-in one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from metabench.errors import PluginError
from metabench.nn.state import running_batch_norm
from metabench.plugin.contracts.architecture import Params
from metabench.plugin.contracts.space import Training

PARTS = {"running_mean": "mean", "running_var": "variance"}
"""The buffers of a norm of PyTorch, and what the state of a network calls them."""


def norms_with_state(module: nn.Module) -> dict[str, _BatchNorm]:
    """The batch norms of a module, by path.

    Raises:
        PluginError: there is none, or one whose running statistics cannot be kept.
    """
    norms = {path: part for path, part in module.named_modules() if isinstance(part, _BatchNorm)}
    if not norms:
        raise PluginError(
            "The module has no batch norm, so it has no running statistics.",
            hint="Leave norm='running' out.",
        )
    for path, norm in norms.items():
        where = f"{type(norm).__name__} at {path!r}"
        if norm.running_mean is None or norm.running_var is None:
            raise PluginError(
                f"{where} keeps no running statistics.",
                hint="Make it with track_running_stats=True, or lift with norm='batch'.",
            )
        if norm.momentum is None:
            raise PluginError(
                f"{where} averages over all batches (momentum=None).",
                hint="Give it a momentum, such as 0.1.",
            )
    return norms


class NormCall(NamedTuple):
    """The arguments of ``functional.batch_norm``."""

    input: Tensor
    running_mean: Tensor | None
    running_var: Tensor | None
    weight: Tensor | None = None
    bias: Tensor | None = None
    training: bool = False
    momentum: float = 0.1
    eps: float = 1e-5

    @property
    def affine(self) -> tuple[Tensor | None, Tensor | None]:
        """Scale and shift, ``[1, channels]`` each."""
        scale, shift = (None if one is None else one[None] for one in (self.weight, self.bias))
        return scale, shift


class BatchNormMode(TorchFunctionMode, ABC):
    """Answers the batch norms of a module; all other functions are PyTorch's."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Answer ``functional.batch_norm``."""
        if func is functional.batch_norm:
            return self.batch_norm(NormCall(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))

    @abstractmethod
    def batch_norm(self, call: NormCall) -> Tensor:
        """What a batch norm gives."""


class UpdatedStatistics(BatchNormMode):
    """Lets batch norms use the statistics of their input, and leaves the running ones.

    Args:
        names: what the state calls the norm whose ``running_mean`` has this id.
        training: of the meta-step; its state gets the new statistics, ``[1, channels]``.
    """

    def __init__(self, names: Mapping[int, str], training: Training) -> None:
        super().__init__()
        self._names = names
        self._training = training

    def batch_norm(self, call: NormCall) -> Tensor:
        """Normalize as a network of ours does in meta-training."""
        name = self._names.get(id(call.running_mean))
        if name is None or call.running_mean is None or call.running_var is None:
            raise PluginError(
                "A batch norm of the module computes with other statistics than its own.",
                hint="Lift the module with norm='batch'.",
            )
        old = {f"{name}.mean": call.running_mean[None], f"{name}.variance": call.running_var[None]}
        scale, shift = call.affine
        # All axes after the channels are positions of a map.
        x = call.input
        maps = x if x.dim() == 2 else x.flatten(2).unsqueeze(3)
        y = running_batch_norm(
            maps[None],
            old,
            name,
            scale=scale,
            shift=shift,
            training=self._training,
            momentum=call.momentum,
            eps=call.eps,
        )
        return y[0].view(x.shape)


def of_each_task(training: Training, n_tasks: int) -> list[Training]:
    """A training of each task's own, with its rows of the state."""
    return [
        Training(
            rng=training.rng,
            progress=training.progress,
            state={name: rows[t : t + 1] for name, rows in training.state.items()},
        )
        for t in range(n_tasks)
    ]


def join_tasks(trainings: Sequence[Training]) -> Params:
    """The state that the passes of all tasks left, ``[tasks, *shape]``."""
    names = trainings[0].state
    return {name: torch.cat([one.state[name] for one in trainings]) for name in names}
