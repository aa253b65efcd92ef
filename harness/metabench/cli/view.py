"""``metabench view``: the report of a folder as a page, served locally or written as files."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.references import complete_key


def view(
    directory: Annotated[
        Path, typer.Argument(help="The results folder, or the folder of one run.")
    ] = Path("results"),
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="Serve on this port of 127.0.0.1; 0 means any free port."
        ),
    ] = 8765,
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
) -> None:
    """Show the report in a browser, with tables to sort and filter.

    The page is served on this machine only, until Ctrl-C. Reload it to see new runs. With
    --bundle, it is written as static files instead.
    """
    from metabench.cli.context import catalog
    from metabench.cli.screen import tell
    from metabench.render.page import read_page
    from metabench.render.page.current import Current, State, state_of
    from metabench.render.page.html import render_page
    from metabench.render.page.server import ReportServer, bundle_of, write_bundle

    found = catalog()
    files = [*found.claims.values(), *found.references.values(), *found.suites.values()]

    def state() -> State:
        return state_of(directory, (file for file in files if isinstance(file, Path)))

    current = Current(lambda: read_page(directory, found, paper=paper)[1], state)
    page = current()
    for problem in page.problems:
        tell(problem)
    if bundle is not None:
        for path in write_bundle(bundle, bundle_of(page)):
            typer.echo(path)
        return

    written = Current(lambda: render_page(current()), state)
    with ReportServer(written, port=port) as server:
        typer.echo(server.url)
        typer.echo("Reload the page to see new runs. Press Ctrl-C to stop.", err=True)
        if not no_browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("Stopped.", err=True)
