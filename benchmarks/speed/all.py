"""How fast metabench is: its workloads beside what is installed to compare with, in one run.

``python benchmarks/speed/all.py`` prints tasks per CPU second of one thread, the ratio of metabench
to the best peer, and the share of the peak, which is measured in the same run.
``--against REVISION`` compares with another revision of metabench instead.
"""

from __future__ import annotations

import argparse
import gc
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import peak
import show
from other_revision import Remote, stations
from race import here, one_thread, race
from workloads import DEFAULT, WORKLOADS


def beside_peers(name: str, *, rounds: int, seconds: float) -> show.Result:
    """Time one workload beside its peers, and the peak in between."""
    workload = WORKLOADS[name]
    facts = workload.facts()
    ours, peers = workload.ours(), workload.peers()
    rates = race({**ours, **peers, **peak.peaks()}, rounds=rounds, seconds=seconds)
    return show.Result(
        name=name,
        summary=workload.summary,
        rates=rates,
        ours=tuple(ours),
        peers=tuple(peers),
        facts=facts,
    )


def beside_revision(
    names: Sequence[str], revision: str, *, rounds: int, seconds: float, console: show.Console
) -> list[show.Result]:
    """Time this revision and another in turns."""
    results = []
    with stations(revision) as (ours, theirs):
        for name in names:
            made = [step for step in ours.make(name) if step in theirs.make(name)]
            entrants = {}
            for step in made:
                entrants[step] = Remote(ours, step)
                entrants[f"{step} of {revision}"] = Remote(theirs, step)
            rates = race(entrants, rounds=rounds, seconds=seconds)
            for step in made:
                other = f"{step} of {revision}"
                result = show.Result(
                    name=name,
                    summary=WORKLOADS[name].summary,
                    rates={key: rates[key] for key in (step, other)},
                    ours=(step,),
                    peers=(other,),
                )
                show.one_line(result, console)
                results.append(result)
    return results


def main() -> None:
    """Read the command line, race, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--workload",
        action="append",
        choices=list(WORKLOADS),
        help="one of them, may be given several times; all but the last few unless given",
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each; the median counts")
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU time of a turn, at least")
    parser.add_argument("--against", metavar="REVISION", help="a revision, or a folder with one")
    parser.add_argument("--json", metavar="FILE", help="write all rates to this file")
    given = parser.parse_args()
    console = show.console()
    warnings.simplefilter("ignore")  # of peers that nobody maintains
    one_thread()
    show.say_where(console)
    results = []
    if given.against:
        names = given.workload or DEFAULT
        results = beside_revision(
            names, given.against, rounds=given.rounds, seconds=given.seconds, console=console
        )
    else:
        for name in given.workload or DEFAULT:
            result = beside_peers(name, rounds=given.rounds, seconds=given.seconds)
            show.table(result, console)
            results.append(result)
            gc.collect()
        show.summary(results, console)
    if given.json:
        text = json.dumps({"machine": here(), "results": [r.as_json() for r in results]}, indent=1)
        Path(given.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
