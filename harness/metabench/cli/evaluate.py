"""``metabench evaluate``: trained weights on other episodes, other shots or other data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from metabench.cli.like_run import with_options_of_run
from metabench.cli.run import Data


@with_options_of_run("metric", "limit", "device", "threads", "jobs", "out", behind=True)
def evaluate(
    weights: Annotated[
        list[Path],
        typer.Argument(
            help="Files of `metabench export`, folders of finished runs, results folders for all "
            "runs in them, or files of tensors from elsewhere. Weights of several seeds make one "
            "row of a table.",
        ),
    ],
    suite: Annotated[
        str | None,
        typer.Option(
            help="The suite to test on, or the path of its file. [default: that of the training]"
        ),
    ] = None,
    setting: Annotated[
        str | None,
        typer.Option(
            help="The setting to test on, such as 5w5s. [default: that of the training, or the "
            "first of another suite]"
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="The budget whose number of episodes is used. [default: that of the training; "
            "lite for weights from elsewhere]"
        ),
    ] = None,
    learner: Annotated[
        str | None, typer.Option(help="For weights from elsewhere: the learner that adapts them.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="For weights from elsewhere: the network that they are of. [default: the suite's]"
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SCOPE.NAME=VALUE",
            help="Set what concerns the test, such as protocol.steps_at_test=10, "
            "protocol.shots=3 or learner.test_steps=20. SCOPE is protocol, data or learner. "
            "Several values, as in protocol.shots=1,5, make tests of their own. May be given "
            "several times.",
        ),
    ] = None,
    data: Annotated[
        Data | None,
        typer.Option(
            help="Use the real files, or generated look-alikes. [default: as in the training]"
        ),
    ] = None,
    **options: Any,
) -> None:
    """Test trained weights, by default on the suite and setting of their training.

    Their row of a table says where they were trained.
    """
    from metabench.api.executing import HowToRun, prepare
    from metabench.api.running import execute
    from metabench.api.weights import plan_of
    from metabench.cli.context import catalog, plugin_files
    from metabench.cli.progress import progress
    from metabench.cli.run import finish, parse_names
    from metabench.planning.overrides import parse_changes
    from metabench.planning.plan import notes_of

    found = catalog()
    planned = plan_of(
        weights,
        found,
        learner=learner,
        network=network,
        note=_say_note,
        suite=suite,
        setting=setting,
        budget=budget,
        data=None if data is None else data.value,
        limit=options["limit"],
        changes=parse_changes(set_ or ()),
        metrics=parse_names(options["metric"], "--metric") if options["metric"] else (),
        plugin_files=plugin_files(),
    )
    for note in notes_of(planned):
        _say_note(note)
    how = HowToRun(
        plugin_files=plugin_files(),
        **{name: options[name] for name in ("out", "jobs", "device", "threads")},
    )
    work, todo = prepare(planned, how, found)
    with progress(len(todo)) as show:
        outcomes = execute(work, todo, found, show=show)
    finish(outcomes)


def _say_note(note: str) -> None:
    from metabench.cli.screen import say

    say(f"Note: {note}", fg="yellow")
