"""``metabench view``: the page of a folder, served to this machine or written as files."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.references import complete_key


def view(
    directory: Annotated[Path, typer.Argument(help="A folder of results, or of one run.")] = Path(
        "results"
    ),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes any free one.")
    ] = 8765,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the page in a browser.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT", help="Serve nothing; write the page and its tables into this folder."
        ),
    ] = None,
    paper: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Of the papers' tables only this one, such as m-nas/table-1.",
            autocompletion=complete_key,
        ),
    ] = None,
) -> None:
    """Show the report as a page to sort and filter; reload it to see new runs.

    It is served to this machine only, until Ctrl-C. With --bundle it is written as static files.
    """
    from metabench.cli.context import catalog
    from metabench.render.page import read_page
    from metabench.render.page.html import render_page
    from metabench.render.page.server import ReportServer, bundle_of, write_bundle
    from metabench.text import plain

    found = catalog()
    _, page = read_page(directory, found, paper=paper)
    for problem in page.problems:
        typer.echo(plain(problem), err=True)
    if bundle is not None:
        for path in write_bundle(bundle, bundle_of(page)):
            typer.echo(path)
        return

    def rendered() -> str:
        return render_page(read_page(directory, found, paper=paper)[1])

    with ReportServer(rendered, port=port) as server:
        typer.echo(server.url)
        typer.echo("Reload the page to see new runs; Ctrl-C ends.", err=True)
        if not no_browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("Stopped.", err=True)
