"""What torchrun says about this process, by its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class World:
    """This process among those that torchrun has started.

    Attributes:
        rank: of this process.
        local_rank: among those of this machine.
        count: how many there are.
    """

    rank: int
    local_rank: int
    count: int


def world_of(environment: Mapping[str, str] = os.environ) -> World | None:
    """Read the environment; None for a process that torchrun has not started, or started alone.

    >>> world_of({}) is None
    True
    """
    if "TORCHELASTIC_RUN_ID" not in environment:
        return None
    rank, local, count = (int(environment[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
    return World(rank, local, count) if count > 1 else None
