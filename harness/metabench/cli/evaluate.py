"""``metabench evaluate``: trained weights on other episodes, other shots or other data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.run import Data


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
    metric: Annotated[
        str, typer.Option(help="Further metrics of the same predictions, separated by commas.")
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Use this many meta-test episodes per source. The results are stamped limit.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Compute on this device: auto, cpu, cuda or cuda:N.")
    ] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each process.")] = 1,
    jobs: Annotated[
        int, typer.Option(min=1, help="How many runs are executed at the same time.")
    ] = 1,
    out: Annotated[Path, typer.Option(help="The results folder to write to.")] = Path(
        "results/local"
    ),
) -> None:
    """Test trained weights; what is left out is as in their training.

    Each becomes a row of its own, which says where it was trained.
    """
    from metabench.api.executing import HowToRun, prepare
    from metabench.api.running import execute
    from metabench.api.weights import plan_of
    from metabench.cli.context import catalog, plugin_files
    from metabench.cli.progress import progress
    from metabench.cli.run import finish, parse_names
    from metabench.cli.screen import say
    from metabench.planning.overrides import parse_changes

    found = catalog()
    planned = plan_of(
        weights,
        found,
        learner=learner,
        network=network,
        suite=suite,
        setting=setting,
        budget=budget,
        data=None if data is None else data.value,
        limit=limit,
        changes=parse_changes(set_ or ()),
        metrics=parse_names(metric, "--metric") if metric else (),
        plugin_files=plugin_files(),
    )
    for note in dict.fromkeys(note for one in planned for note in one.notes):
        say(f"Note: {note}", fg="yellow")
    how = HowToRun(out=out, jobs=jobs, device=device, threads=threads, plugin_files=plugin_files())
    work, todo = prepare(planned, how, found)
    with progress(len(todo)) as show:
        outcomes = execute(work, todo, found, show=show)
    finish(outcomes)
