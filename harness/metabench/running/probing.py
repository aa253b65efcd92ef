"""Measures what several runs cost, in processes of their own that can be given up.

A measurement may need more memory than there is, or never end; then the command that asked for it
goes on. ``python -m metabench.running.probing`` reads what to measure from its standard input and
writes a line for each measurement. It imports PyTorch once, and makes a process for each, whose
peak of memory is that of this run alone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from metabench.errors import MetabenchError
from metabench.planning.plan import PlannedRun
from metabench.results.costs import Costs
from metabench.running.estimate import SIZES, estimated, size_of, smaller
from metabench.running.probe import Resources, measure

ONE_SECONDS = 120.0
"""Seconds of wall time after which a measurement is given up."""
ESTIMATE_SECONDS = 60.0
"""Seconds of wall time for each measurement on smaller images of what was given up."""
ALL_SECONDS = 300.0
"""Seconds of wall time after which a command measures no further configuration."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What is measured."""

    runs: tuple[PlannedRun, ...]
    on: Resources
    plugin_files: tuple[Path, ...]


def probe_all(
    runs: Sequence[PlannedRun],
    on: Resources,
    *,
    plugin_files: Sequence[Path] = (),
    tell: Callable[[int, Costs | str], None],
    seconds: float | None = None,
) -> None:
    """Measure runs one after another.

    Args:
        runs: one of each configuration.
        on: device, engine and threads.
        plugin_files: plugins given by file.
        tell: called with the index of a run and its costs, or why they could not be measured.
        seconds: after which no further run is measured; :data:`ALL_SECONDS` by default.
    """
    limit = ALL_SECONDS if seconds is None else seconds
    if not runs or limit <= 0:
        return
    command = [sys.executable, "-m", "metabench.running.probing"]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        longest = limit + ONE_SECONDS + ESTIMATE_SECONDS * len(SIZES)
        timer = threading.Timer(longest, process.kill)
        timer.start()
        try:
            asked = _Request(tuple(runs), on, tuple(plugin_files))
            pickle.dump((asked, limit), process.stdin)
            process.stdin.close()
            for line in process.stdout:
                found = json.loads(line)
                costs = found.get("costs")
                tell(found["index"], found["why"] if costs is None else Costs(**costs))
        finally:
            timer.cancel()
            process.kill()


def _end_with_parent() -> None:
    """End this process when the one that made it has ended, however that was."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _main() -> None:
    """What the process does that measures."""
    from metabench.plugin.catalog import load_catalog

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # For what plugins print, and the programs that they start.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    asked, limit = pickle.load(sys.stdin.buffer)
    load_catalog(asked.plugin_files)  # the processes made of this one need not read plugins
    began = time.monotonic()
    for index, planned in enumerate(asked.runs):
        if time.monotonic() - began > limit:
            return
        found = _measured_or_estimated(planned, asked)
        print(json.dumps({"index": index, **found}), file=answers, flush=True)


GIVEN_UP: dict[str, object] = {"why": f"a few steps took longer than {ONE_SECONDS:.0f} s"}
"""What is found where not even a meta-step is measured."""


def _measured_or_estimated(planned: PlannedRun, asked: _Request) -> dict[str, object]:
    """What is measured of a run; where that is nothing, an estimate from smaller images."""
    found = _measured(planned, asked, within=ONE_SECONDS)
    if found != GIVEN_UP:
        return found
    at: dict[int, Costs] = {}
    for size, run in smaller(planned).items():
        small = _measured(run, asked, within=ESTIMATE_SECONDS)
        if "costs" not in small:
            break
        at[size] = Costs.model_validate(small["costs"])
    own = size_of(planned)
    return {"costs": estimated(at, own).model_dump(mode="json")} if at and own else found


def _measured(planned: PlannedRun, asked: _Request, *, within: float) -> dict[str, object]:
    """What a process of its own measures of a run within some seconds of wall time.

    Args:
        planned: the run.
        asked: what makes it.
        within: seconds after which the process is ended; what it has measured till then is kept.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=_measure, args=(planned, asked, theirs), daemon=True)  # type: ignore[attr-defined]
    worker.start()
    theirs.close()
    until = time.monotonic() + within
    found = GIVEN_UP
    try:
        while ours.poll(max(0.0, until - time.monotonic())):
            found = ours.recv()
    except EOFError:
        worker.join()
        if worker.exitcode:
            found = {"why": f"its process ended with exit code {worker.exitcode}"}
    else:
        worker.kill()
    worker.join()
    return found


def _measure(planned: PlannedRun, asked: _Request, to: Connection) -> None:
    from metabench.plugin.catalog import load_catalog

    _end_with_parent()

    def send(costs: Costs) -> None:
        to.send({"costs": costs.model_dump(mode="json")})

    try:
        send(measure(planned, load_catalog(asked.plugin_files), asked.on, so_far=send))
    except MetabenchError as error:
        to.send({"why": error.message})
    except Exception as error:  # a plugin may raise anything
        to.send({"why": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    _main()
