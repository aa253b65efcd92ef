"""All workloads, by the name that ``--workload`` takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from episodes import Sampling
from lifted import Lifted
from maml import W1, W2A, W2B, W3, W3_FIRST
from suite_workloads import Compiled, Learners, MetaStep, MetaTest, TasksAtOnce
from supernet import PASSES, OneShot
from workload import Workload

MNAS_TOY = MetaStep(
    name="mnas-toy",
    learner="mnas",
    suite="toy-regression",
    setting="10-shot",
    budget="lite",
    tasks=25,
    bounds=False,
)
TOY_TEST = MetaTest(replace(W1, name="toy", tasks=100))
"""The batch of a run's meta-test."""
METANAS: dict[str, Any] = {
    "learner": "metanas",
    "suite": "omniglot",
    "setting": "20w1s",
    "budget": "search",
    "tasks": 4,
    "progress": 0.5,
}
_ALL: list[Workload] = [
    W1,
    W2A,
    W2B,
    W3,
    W3_FIRST,
    MetaTest(W1),
    MetaTest(W2A),
    MetaTest(W3),
    MNAS_TOY,
    *(OneShot(mode) for mode in PASSES),
    MetaStep(name="metanas", **METANAS),
    Sampling("episodes-28", (1100, 20, 28, 28, 1)),
    Sampling("episodes-84", (64, 600, 84, 84, 3)),
]
_FURTHER: list[Workload] = [
    Compiled(W1),
    Compiled(MNAS_TOY),
    TOY_TEST,
    Compiled(TOY_TEST),
    Compiled(MetaTest(W2A)),
    Learners(),
    TasksAtOnce(
        name="at-once-mnas",
        learner="mnas",
        suite="four-domains",
        setting="5w1s",
        budget="search",
        tasks=4,
        progress=0.5,
    ),
    TasksAtOnce(name="at-once-metanas", **METANAS),
    Lifted(),
]
WORKLOADS = {workload.name: workload for workload in [*_ALL, *_FURTHER]}
DEFAULT = tuple(workload.name for workload in _ALL)
"""What is timed where nothing else is said."""
