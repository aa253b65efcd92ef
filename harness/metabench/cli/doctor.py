"""``metabench doctor``: what this installation has and what it lacks."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print versions, devices, plugins and optional packages; exit with 4 if a plugin is broken."""
    from metabench.cli.context import catalog
    from metabench.running.diagnosis import diagnose

    found = diagnose(catalog(with_broken_files=True))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        for topic, facts in found.items():
            typer.echo(topic)
            for name, value in facts.items():
                typer.echo(f"  {name}: {value}")
    if found["broken plugins"]:
        raise typer.Exit(4)
