"""Whether metabench has become slower than its last release: takes half a minute, for CI.

Meta-gradients of toy regression and of Omniglot-sized images, the M-NAS meta-step of toy regression
and meta-test are timed beside a fixed reference in plain torch, in turns in one process. The figure
is their speed relative to the reference. The check fails if the *best* round is slower than the
figure of `release.json` by more than the tolerance, and so again when timed for longer; other work
on the machine does not cause that.
``--write`` makes the present speed the figure: at a release, and after a change for speed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import show
from maml import W1, W2A, Maml
from race import Local, Rates, one_thread, race
from reference import reference
from suite_workloads import MetaTest
from workloads import WORKLOADS

RELEASE = Path(__file__).with_name("release.json")
TOLERANCE = 1.5
IMAGES = replace(W2A, tasks=2)
CHECKED: dict[str, tuple[Callable[[], Local], Maml]] = {
    "MAML, toy regression": (lambda: _first(W1.ours()), W1),
    "MAML, images": (lambda: _first(IMAGES.ours()), IMAGES),
    "MAML, images, meta-test": (lambda: _first(MetaTest(IMAGES).ours()), IMAGES),
    "M-NAS, toy regression": (lambda: _first(WORKLOADS["mnas-toy"].ours()), W1),
}
"""What is timed, and the workload of the reference it is relative to."""


def _first(entrants: Mapping[str, Local]) -> Local:
    return next(iter(entrants.values()))


def measured(names: Iterable[str], *, rounds: int, seconds: float) -> dict[str, tuple[float, ...]]:
    """Speed relative to the reference, round by round."""
    relative = {}
    for name in names:
        make, workload = CHECKED[name]
        fixed = Local(reference(workload), workload.tasks)
        rates: dict[str, Rates] = race(
            {"ours": make(), "reference": fixed}, rounds=rounds, seconds=seconds
        )
        pairs = zip(rates["ours"].rounds, rates["reference"].rounds, strict=True)
        relative[name] = tuple(a / b for a, b in pairs)
    return relative


def complaints(
    relative: Mapping[str, tuple[float, ...]], release: Mapping[str, float], tolerance: float
) -> dict[str, str]:
    """One sentence for each that is slower than the release in its best round.

    >>> complaints({"a": (0.5, 0.9), "b": (0.5, 0.6)}, {"a": 1.0, "b": 1.0}, 1.5)
    {'b': '1.67 times slower than the release (0.60 of the reference, it was 1.00)'}
    """
    return {
        name: f"{release[name] / max(rounds):.2f} times slower than the release "
        f"({max(rounds):.2f} of the reference, it was {release[name]:.2f})"
        for name, rounds in relative.items()
        if max(rounds) * tolerance < release[name]
    }


def main() -> None:
    """Check, or write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--seconds", type=float, default=0.3, help="CPU time of a turn, at least")
    parser.add_argument("--write", action="store_true", help="make this the speed of the release")
    given = parser.parse_args()
    one_thread()
    console = show.console()
    show.say_where(console)
    relative = measured(CHECKED, rounds=given.rounds, seconds=given.seconds)
    medians = {name: sorted(rounds)[len(rounds) // 2] for name, rounds in relative.items()}
    if given.write:
        figures = {name: round(value, 3) for name, value in medians.items()}
        kept = {"tolerance": TOLERANCE, "relative_to_reference": figures}
        RELEASE.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    kept = json.loads(RELEASE.read_text(encoding="utf-8"))
    release, tolerance = kept["relative_to_reference"], kept["tolerance"]
    for name, value in medians.items():
        best, before = max(relative[name]), release[name]
        console.print(
            f"{name:28}{value:6.2f} of the reference, at best {best:.2f}; release {before:.2f}",
            highlight=False,
        )
    if slower := complaints(relative, release, tolerance):
        again = measured(slower, rounds=2 * given.rounds, seconds=2 * given.seconds)
        slower = complaints(again, release, tolerance)
    for name, how in slower.items():
        console.print(f"{name}: {how}.", highlight=False)
    if slower:
        console.print("If this is on purpose, write the new figures with --write.")
        sys.exit(1)
    console.print(f"None is more than {tolerance} times slower than the release.", highlight=False)


if __name__ == "__main__":
    main()
