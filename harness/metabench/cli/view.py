"""``metabench view``: the report of a folder as a page, served locally or written as files."""

from __future__ import annotations

import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench.cli.references import complete_key
from metabench.cli.screen import put, say, tell, tell_under_way
from metabench.errors import DataError, UsageError

if TYPE_CHECKING:
    from metabench.render.page import Page

USUAL_PORT = 8765


def view(
    directory: Annotated[
        Path, typer.Argument(help="The results folder, or the folder of one run.")
    ] = Path("results"),
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Serve on this port of 127.0.0.1; 0 means any free port. [default: 8765]",
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the page in a browser.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Write the page and its tables to this folder instead of serving the page.",
        ),
    ] = None,
    paper: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Show only this one of the papers' tables, such as m-nas/table-1.",
            autocompletion=complete_key,
        ),
    ] = None,
    episodes: Annotated[
        bool,
        typer.Option(
            "--episodes",
            help="Open the episodes on which two learners differ most, with what both predict. It "
            "takes the data, the checkpoints, and some seconds for each learner.",
        ),
    ] = False,
) -> None:
    """Show the report in a browser, with tables to sort and filter, and runs while they go on.

    The pages are served on this machine only, until Ctrl-C. While runs go on, /live shows their
    curves, the share done, the time left and what failed, without a reload. Reload the report to
    see new runs. With --bundle, the report is written as static files instead.
    """
    from metabench.cli.context import catalog
    from metabench.render.live.service import LiveService
    from metabench.render.page import read_page
    from metabench.render.page.current import Current, State, state_of
    from metabench.render.page.html import render_page
    from metabench.render.page.server import ReportServer, bundle_of, write_bundle
    from metabench.results.reading import Results

    if bundle is not None and (port is not None or no_browser):
        option = "--no-browser" if port is None else "--port"
        raise UsageError(
            f"{option} is for a page that is served, but --bundle writes files.",
            hint=f"Leave out {option} or --bundle.",
        )
    found = catalog()
    files = [*found.claims.values(), *found.references.values(), *found.suites.values()]

    def state() -> State:
        return state_of(directory, (file for file in files if isinstance(file, Path)))

    def make() -> tuple[Results, Page]:
        return read_page(directory, found, paper=paper, open_episodes=episodes)

    current = Current(make, state)
    if bundle is not None:
        results, page = current()
        for problem in page.problems:
            tell(problem)
        tell_under_way(results.under_way, directory)
        for path in write_bundle(bundle, bundle_of(page)):
            put(path)
        return

    live = LiveService(directory)
    under_way = live.under_way()
    try:
        for problem in current()[1].problems:
            tell(problem)
    except DataError:
        if not under_way:  # else the first run is about to begin
            raise
    written = Current(lambda: render_page(replace(current()[1], live="/live")), state)
    asked = USUAL_PORT if port is None else port
    with ReportServer(written, port=asked, beside=live.pages()) as server:
        put(server.url)
        if under_way:
            say(f"Runs are going on; watch them at {server.url}live")
        say("Reload the page to see new runs. Press Ctrl-C to stop.")
        if not no_browser:
            webbrowser.open(f"{server.url}live" if under_way else server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("Stopped.")
