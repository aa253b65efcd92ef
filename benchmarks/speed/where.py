"""Where the time of a meta-step goes: the floor of each workload, and shares by kind of operation.

The floor is the time that the counted operations would take at the peak. Shares are of the time in
ATen operations by `torch.profiler`, medians over repeats, as its clock is that of the wall. Each
call costs Python and the dispatcher some microseconds besides.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections import Counter
from collections.abc import Callable

import peak
import show
from maml import W1, W2A, W2B, W3, W3_FIRST, Maml
from race import Local, one_thread, race
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

KINDS = {
    "convolution": r"conv",
    "product": r"mm|matmul|linear|dot",
    "norm": r"norm|var|rsqrt",
    "pool": r"pool",
    "copy": r"copy|clone|contiguous|cat|index|select|slice|expand|strided|view|transpose|permute",
}
"""Kinds of operations by what their names contain, first match first; others are elementwise."""
WORKLOADS: dict[str, Maml] = {w.name: w for w in (W1, W2A, W2B, W3, W3_FIRST)}


def kind_of(operation: str) -> str:
    """The kind of an ATen operation.

    >>> kind_of("aten::native_batch_norm_backward"), kind_of("aten::mkldnn_convolution")
    ('norm', 'convolution')
    >>> kind_of("aten::add_")
    'elementwise'
    """
    name = operation.partition("::")[2]
    return next((kind for kind, has in KINDS.items() if re.search(has, name)), "elementwise")


def shares(step: Callable[[], object]) -> tuple[dict[str, float], int]:
    """Of the time in kernels, by kind; and the number of calls."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    spent: Counter[str] = Counter()
    calls = 0
    for event in profiled.key_averages():
        if event.key.startswith("aten::"):
            spent[kind_of(event.key)] += event.self_cpu_time_total
            calls += event.count
    total = sum(spent.values())
    return {kind: spent[kind] / total for kind in [*KINDS, "elementwise"]}, calls


def main() -> None:
    """Print one line a workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS))
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    one_thread()
    console = show.console()
    show.say_where(console)
    made = Table()
    for heading in ("", "GFLOP", "floor", "spent", "calls", *KINDS, "elementwise"):
        made.add_column(heading, justify="right" if heading else "left")
    for name in given.workload or WORKLOADS:
        workload = WORKLOADS[name]
        step = workload.gradient()
        entrants = {"step": Local(step, workload.tasks), **peak.peaks()}
        rates = race(entrants, rounds=given.repeats, seconds=0.2)
        gflop = workload.gflop()
        found = [shares(step) for _ in range(given.repeats)]
        kinds = {k: statistics.median(own[k] for own, _ in found) for k in found[0][0]}
        made.add_row(
            name,
            f"{gflop:.3g}",
            f"{1e3 * gflop * 1e9 / peak.best(rates):.3g}",
            f"{1e3 / rates['step'].median:.3g}",
            f"{found[0][1]:,}",
            *(f"{share:.0%}" for share in kinds.values()),
        )
    console.print(made)
    console.print("floor and time spent in ms per task; calls per meta-batch", highlight=False)


if __name__ == "__main__":
    main()
