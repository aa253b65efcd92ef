"""The meta-steps of all built-in learners, under all strategies, can be captured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from metabench.conformance.bench import Bench
from metabench.conformance.capture import why_not_captured
from metabench.conformance.samples import generator
from metabench.plugin.catalog import load_catalog
from metabench.running.engines.states import copied

CATALOG = load_catalog()
STAGES = (0.1, 0.47, 0.9)
"""Each phase of a built-in learner is met; at 0.47 T-NAS notes what its tasks decode to."""
EAGER = {
    ("tadam", ""): "reads a number that was drawn or counted",
    **{(name, "random"): "gradient_learner.py" for name in ("tnas", "tnas++")},
}
"""Learners and strategies that run eagerly, and what is said: an update that is drawn or not, and
T-NAS on architectures that are tried, which end where the loss is least."""


WATCHED = {"maml": False, "protonet": False, "metaoptnet": False, "mnas": True, "metanas": True}
"""Learners whose slow cases are in every run of the slow tests, and whether on a searched network;
all are tried before a release."""


def cases() -> Iterator[Any]:
    """Each learner on each kind of task; of those of one class the first under all strategies."""
    seen = set()
    for spec in CATALOG.learners.values():
        networks = {spec.searches} | ({True} if spec.search_params else set())
        for kind in spec.kinds if spec.trains else ():
            for searched in sorted(networks):
                names = [""]
                if searched and spec.factory not in seen and kind == spec.kinds[-1]:
                    seen.add(spec.factory)
                    fitting = CATALOG.nas_strategies.values()
                    names = [s.name for s in fitting if s.reads_logits or not spec.makes_logits]
                for name in names:
                    bench = Bench(spec, kind, lambda: CATALOG, searched=searched, strategy=name)
                    quick = kind == "regression" and not searched
                    marks = [] if quick else [pytest.mark.slow]
                    if not quick and (name or searched is not WATCHED.get(spec.name)):
                        marks.append(pytest.mark.exhaustive)
                    yield pytest.param(
                        bench,
                        marks=marks,
                        id="-".join([spec.name, kind, *["searched"] * searched, name]).strip("-"),
                    )


@pytest.mark.parametrize("bench", [*cases()])
def test_a_step_reads_nothing_and_is_the_same_program_as_the_next(bench: Bench) -> None:
    found = why_not_captured(bench, stages=STAGES)
    expected = EAGER.get((bench.spec.name, bench.strategy))
    if expected is None:
        assert found == []
    else:
        (why,) = found
        assert expected in why


def trained(bench: Bench, *, as_tensor: bool) -> list[Tensor]:
    """What a learner is after a step in each phase, its progress given as a tensor or a number."""
    learner = bench.build()
    for seed, progress in enumerate(STAGES):
        given: Any = torch.tensor(progress, dtype=torch.float64) if as_tensor else progress
        learner.meta_step(bench.tasks(seed=seed), progress=given, rng=generator(seed))
    leaves = tree_leaves(copied(learner.state_dict()))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("bench", [*cases()])
def test_progress_as_a_tensor_gives_the_same_numbers_in_the_same_precision(bench: Bench) -> None:
    found, expected = (trained(bench, as_tensor=given) for given in (True, False))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
