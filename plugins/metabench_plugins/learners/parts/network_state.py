"""Networks with a state in learners that train them as such (:class:`metabench.StatefulSpace`).

A learner sets ``takes_state=True`` in its spec. It makes a :class:`NetworkState`, calls it instead
of ``forward``, with the same :class:`metabench.Training` in all passes of a meta-step, and keeps
what they left in the state once the update is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metabench import Mixture, Params, SearchSpace, StatefulSpace, Training


class NetworkState:
    """The state of a network; of a network without one it is empty, and nothing changes.

    Args:
        space: the network.
        device: where the state is.
    """

    def __init__(self, space: SearchSpace, device: torch.device) -> None:
        self._space = space
        self._state: Params = {}
        if isinstance(space, StatefulSpace):
            drawn = space.init_state()
            self._state = {name: one.to(device) for name, one in drawn.items()}

    def forward(
        self, weights: Params, mixture: Mixture, x: Tensor, *, training: Training | None = None
    ) -> Tensor:
        """Run the network with its state, which all tasks share.

        Args:
            weights: ``[tasks or 1, *shape]`` by name.
            mixture: weights of operations.
            x: ``[tasks, n, *inputs]``.
            training: None to predict.
        """
        everything = weights | {name: one[None] for name, one in self._state.items()}
        if training is None or not isinstance(self._space, StatefulSpace):
            return self._space.forward(everything, mixture, x)
        return self._space.forward_training(everything, mixture, x, training=training)

    def keep(self, training: Training, *, skipped: Tensor | None = None) -> None:
        """Take over what the passes of a meta-step left.

        Args:
            training: that of the passes.
            skipped: a scalar that is not 0 if the step was skipped; the state then stays. A pass
                that ran away would spoil it.
        """
        for name, new in training.state.items():
            new = new[0]
            if skipped is not None:
                new = torch.where(skipped > 0, self._state[name], new)
            self._state[name] = new

    def state_dict(self) -> dict[str, Any]:
        """The state under ``network_state``; nothing of a network without one."""
        return {"network_state": dict(self._state)} if self._state else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave, from the state of the whole learner."""
        for name, old in self._state.items():
            self._state[name] = state["network_state"][name].to(old.device, copy=True)
