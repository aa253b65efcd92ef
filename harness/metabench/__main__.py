"""``python -m metabench``: the command line."""

from metabench.cli import app

app()
