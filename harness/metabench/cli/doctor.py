"""``metabench doctor``: what this installation has and what it lacks."""

from __future__ import annotations

import json

import typer

from metabench.cli.formats import JsonOption, TextFormatOption, asks_for_json
from metabench.cli.screen import put


def doctor(
    format: TextFormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print versions, devices, plugins and optional packages; exit with 4 if a plugin is broken."""
    from metabench.cli.context import catalog
    from metabench.running.diagnosis import diagnose

    found = diagnose(catalog(with_broken_files=True))
    if asks_for_json(format, as_json=as_json):
        put(json.dumps(found, indent=2))
    else:
        for topic, facts in found.items():
            if not facts:
                continue
            put(topic)
            for name, value in facts.items():
                put(f"  {name}: {value}")
    if found["broken plugins"]:
        raise typer.Exit(4)
