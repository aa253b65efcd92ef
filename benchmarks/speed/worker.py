"""The other end of ``all.py --against``: times steps of the revision that PYTHONPATH names.

Each line of standard input is a JSON list: ``["make", workload]`` answers names of steps and drops
those before; ``["time", name, seconds]`` answers tasks per CPU second.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from race import Local, one_thread
from workloads import WORKLOADS


def main() -> None:
    """Answer until the input ends."""
    one_thread()
    answers, sys.stdout = sys.stdout, sys.stderr
    made: Mapping[str, Local] = {}
    for line in sys.stdin:
        command, *given = json.loads(line)
        if command == "make":
            made = {}
            made = WORKLOADS[given[0]].ours()
            answer: object = list(made)
        else:
            answer = made[given[0]].rate(given[1])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
