"""A network predicts two examples before it is trained: a learner is not blamed for its flaws."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.planning.networks import parts_of, refused_network
from metabench.plugin.blame import guarded
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.contracts.space import SearchSpace, StatefulSpace


def check_network(space: SearchSpace, task: TaskShape, *, name: str, device: torch.device) -> None:
    """Refuse a network that fails, returns something else, or changes what it gets.

    Args:
        space: the network. One with choices needs a mixture to predict, and is not asked to.
        task: what it accepts and produces.
        name: of the network.
        device: where it computes.

    Raises:
        PluginError: with what it does.
    """
    drawn = parts_of(space, name=name)
    if space.choices():
        return
    state = space.init_state() if isinstance(space, StatefulSpace) else {}
    given = {key: one[None].to(device, copy=True) for key, one in (drawn | state).items()}
    x = torch.ones(1, 2, *task.inputs, device=device)
    before = [one.clone() for one in (*given.values(), x)]
    with torch.no_grad():
        found = guarded(f"forward of network {name} failed", lambda: space.forward(given, {}, x))
    wanted = (1, 2, task.outputs)
    if not isinstance(found, Tensor):
        raise refused_network(
            name, f"forward returned a {type(found).__name__}; it must be a tensor."
        )
    if found.shape != wanted:
        raise refused_network(
            name,
            f"forward returned shape {tuple(found.shape)}; it must be {wanted}, "
            "[tasks, n, outputs].",
        )
    after = (*given.values(), x)
    if not all(map(torch.equal, before, after)):
        raise refused_network(name, "forward changes its weights or inputs.")
