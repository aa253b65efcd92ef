"""``metabench run --ranks``, and what it is under torchrun."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from metabench.errors import UsageError

if TYPE_CHECKING:
    from metabench.running.ranks.torchrun import World


def count_ranks(asked: int | None, world: World | None, *, executor: str, jobs: int | None) -> int:
    """How many processes share the meta-steps of each run.

    Args:
        asked: the value of ``--ranks``; None where it is not given.
        world: the processes that torchrun has started; None where it has not.
        executor: the value of ``--executor``.
        jobs: the value of ``--jobs``; None where it is not given.

    Raises:
        UsageError: when the options contradict each other.
    """
    if world is not None and asked not in (None, world.count):
        raise UsageError(
            f"--ranks {asked} contradicts torchrun, which has started {world.count} processes.",
            hint="Leave out --ranks.",
        )
    ranks = world.count if world is not None else asked or 1
    several = jobs is not None and jobs > 1
    if ranks > 1 and (several or executor != "local"):
        option = f"--jobs {jobs}" if several else f"--executor {executor}"
        raise UsageError(
            f"{option} makes several runs at a time, and {ranks} ranks make one run together.",
            hint="Use one of the two. Where there are several runs, --jobs uses cores and GPUs "
            "better.",
        )
    return ranks


def refuse_torchrun(command: str) -> None:
    """Refuse a command that starts its processes itself.

    Raises:
        UsageError: under torchrun, which has started several.
    """
    from metabench.running.ranks.torchrun import world_of

    world = world_of()
    if world is not None:
        raise UsageError(
            f"{command} does not run in the {world.count} processes that torchrun has started.",
            hint=f"Start it once, without torchrun: {command} ... --ranks {world.count}.",
        )


def follow(world: World, *, device: str, threads: int) -> None:
    """Do in one of the processes of torchrun what the first of them says, and exit."""
    from metabench.cli.context import plugin_files
    from metabench.running.devices import pick_device
    from metabench.running.ranks.executor import follow_torchrun

    files, picked = plugin_files(), pick_device(device)
    raise typer.Exit(follow_torchrun(world, device=picked, threads=threads, plugin_files=files))


def let_go(world: World, *, device: str) -> None:
    """End the other processes of torchrun where there is nothing to run."""
    from metabench.running.devices import pick_device
    from metabench.running.ranks.executor import TorchrunExecutor

    work = TorchrunExecutor(world, pick_device(device))
    work([], emit=lambda event: None, stopped=lambda: False)
