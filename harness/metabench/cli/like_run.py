"""Options that a command has in common with ``metabench run``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import get_type_hints

from metabench.cli.run import run


def with_options_of_run(
    *names: str, behind: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options of ``metabench run``, in front of its own or behind them.

    The command takes them as ``**options``, by the names of the parameters of
    :func:`metabench.cli.run.run`.
    """
    theirs, hints = inspect.signature(run).parameters, get_type_hints(run, include_extras=True)

    def give(command: Callable[..., None]) -> Callable[..., None]:
        own_hints = get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(annotation=own_hints[parameter.name])
            for parameter in inspect.signature(command).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        first = [one for one in own if one.default is inspect.Parameter.empty]
        taken = [theirs[name].replace(annotation=hints[name]) for name in names]
        others = own[len(first) :]
        order = [*others, *taken] if behind else [*taken, *others]
        signature = inspect.Signature([*first, *order])
        annotations = {**{name: hints[name] for name in names}, **own_hints}
        command.__annotations__ = annotations
        command.__dict__["__signature__"] = signature
        return command

    return give
