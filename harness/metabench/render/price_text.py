"""The price of planned runs, as text that fits a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from metabench.planning.overrides import scope_in_words, written
from metabench.render.columns import columns
from metabench.render.layout import wrap
from metabench.results.costs import BUSY
from metabench.results.price import Price, PricedRun, kind_of
from metabench.text import counted, duration, plain

_ORIGINS = {"probe": "measured", "records": "finished runs"}
_HEADER = ("run", "done", "time each", "memory", "disk", "time known from")


def price_text(price: Price, width: int | None = None) -> str:
    """A line for each configuration, then what all of it costs; lines end with a line end.

    Args:
        price: of the runs.
        width: columns of the terminal; None for lines as long as they need to be.
    """
    groups: dict[str, list[PricedRun]] = {}
    for run in price.runs:
        groups.setdefault(kind_of(run.planned), []).append(run)
    shared = _shared([runs[0] for runs in groups.values()])
    rows = [_row(runs, shared) for runs in groups.values()]
    lines = [columns(_HEADER, rows, width), ""]
    for sentence in _sentences(price):
        lines += [sentence] if width is None else wrap(sentence, width)
    return "".join(f"{line}\n" for line in lines)


def _shared(runs: Sequence[PricedRun]) -> set[str]:
    """The changes that all of several rows have, which tell none of them from another."""
    each = [set(_changes(run)) for run in runs]
    return set.intersection(*each) if len(each) > 1 else set()


def _changes(run: PricedRun) -> list[str]:
    """What the user sets for a run, as ``--set`` takes it."""
    return [
        f"{scope_in_words(scope)}.{name}={written(value)}"
        for scope, values in run.planned.changes.items()
        for name, value in values.items()
    ]


def _row(runs: Sequence[PricedRun], shared: Collection[str]) -> tuple[str, ...]:
    first = runs[0]
    spec, costs = first.planned.spec, first.costs
    changes = [change for change in _changes(first) if change not in shared]
    words = (spec.learner.name, f"{spec.suite}@{spec.setting}", *changes)
    start = (plain(" ".join(words)), f"{sum(run.done for run in runs)} of {len(runs)}")
    if costs is None:
        known_from = f"not known: {first.why}" if first.why else "not known"
        return *start, "?", "?", "?", "" if all(run.done for run in runs) else plain(known_from)
    memory = "?" if costs.memory_mib is None else memory_text(costs.memory_mib)
    return (
        *start,
        duration(costs.seconds(spec)),
        f"over {memory}" if costs.memory_is_least else memory,
        size_text(costs.disk_bytes(spec)),
        _ORIGINS[costs.origin],
    )


def _sentences(price: Price) -> Iterator[str]:
    n_done = len(price.runs) - len(price.left)
    where = plain(str(price.out))
    if n_done:
        are = "is" if n_done == 1 else "are"
        yield f"Of {counted(len(price.runs), 'run')}, {n_done:,} {are} done in {where}."
    if not price.left:
        return
    yield _time(price)
    if price.memory_mib is not None:
        single = len(price.left) == 1
        they_take, write = ("It takes", "writes") if single else ("They take", "write")
        yield (
            f"{they_take} at least {memory_text(price.memory_mib)} of memory and {write} about "
            f"{size_text(price.disk_bytes)} to {where}."
        )
    yield from price.notes
    for sentence, n in price.lacking.items():
        yield f"Missing data of {counted(n, 'run')}: {sentence}"
    if any(run.planned.lacks and run.costs for run in price.left):
        yield "Where data is missing, time was measured on generated data of the same shape."


def _time(price: Price) -> str:
    n, unknown = len(price.left), price.n_unknown
    if price.seconds is None:
        return f"The time of {counted(n, 'run')} is not known."
    at_a_time = f", {price.jobs} at a time" if min(price.jobs, n) > 1 else ""
    said = f"{counted(n - unknown, 'run')} on {price.device} will take about "
    said += f"{duration(price.seconds)}{at_a_time}"
    if price.load >= BUSY:
        busy = duration(price.seconds * price.load)
        said += f"; the machine is busy, and at its present load it is {busy}"
    if unknown:
        said += f"; the time of {counted(unknown, 'further run')} is not known"
    return f"{said}."


def memory_text(mib: float) -> str:
    """Memory in the largest unit that says it well.

    >>> memory_text(300.4), memory_text(2600)
    ('300 MiB', '2.5 GiB')
    """
    return f"{mib:.0f} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"


def size_text(n_bytes: float) -> str:
    """Bytes in the largest unit that says them well.

    >>> size_text(1200), size_text(74e6), size_text(2.5e9)
    ('2 kB', '74 MB', '2.5 GB')
    """
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:.1f} GB"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes >= 1e6 else f"{max(1, -(-n_bytes // 1e3)):.0f} kB"
