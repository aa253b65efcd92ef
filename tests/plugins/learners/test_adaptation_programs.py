"""The adaptation of every built-in learner as a program, in float64, beside its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from metabench.conformance.bench import Bench, step
from metabench.conformance.samples import generator, made_up_tasks
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.plugin.contracts.episode import Adapted, TaskBatch, TaskKind
from metabench.running.engines.adapter import ProgramAdapter
from metabench.running.engines.programs import as_recorded

DECODING = (
    "auto-maml", "maml", "metanas", "metanas-maml", "mnas", "mnas-low-rank", "mnas-nm", "one-shot",
    "random-search", "random-search-maml", "reptile", "tnas", "tnas++",
)  # fmt: skip
"""Learners that read an architecture of each task, on a searched network; they adapt eagerly."""

OF_IMAGES = ("maml", "protonet", "mtnet")
"""Learners whose programs for images are compared in every run of the slow tests."""

OF_CELLS = ("maml", "mnas", "metanas", "random-search", "tnas")
"""Learners whose searched networks are compared in every run of the slow tests."""

N_TASKS = 3
BATCHES = 3


pytestmark = pytest.mark.usefixtures("in_float64")


def cases() -> Iterator[object]:
    for spec in load_catalog().learners.values():
        for kind in spec.kinds:
            for searched in {spec.searches, spec.searches or spec.search_params is not None}:
                marks = [pytest.mark.slow] if searched or kind == "classification" else []
                each_time = OF_CELLS if kind == "regression" else () if searched else OF_IMAGES
                if marks and spec.name not in each_time:
                    marks.append(pytest.mark.exhaustive)
                yield pytest.param(spec.name, kind, searched, marks=marks)


def asked(adapted: Adapted, tasks: TaskBatch) -> dict[str, Tensor]:
    """All tensors that a meta-test looks at, in its order."""
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for index, predict in enumerate(adapted.curve or ()):
            found[f"curve {index}"] = predict(tasks.query.x)
        found["predict"] = adapted.predict(tasks.query.x)
        for name, predict in adapted.variants.items():
            found[name] = predict(tasks.query.x)
    if adapted.embedding is not None:
        found["embedding"] = adapted.embedding
    return found


@pytest.mark.parametrize(("name", "kind", "searched"), [*cases()])
def test_programs_adapt_as_the_learner(
    catalog: Catalog, name: str, kind: TaskKind, searched: bool
) -> None:
    """The program is recorded once, and the learner trains between the batches."""
    bench, said = (
        Bench(catalog.learner(name), kind, lambda: catalog, searched=searched),
        list[str](),
    )
    learner = bench.build()
    programs = ProgramAdapter(as_recorded, size=N_TASKS, say=said.append)
    for batch in range(BATCHES):
        if bench.spec.trains:
            step(bench, learner, first=2 * batch, n_steps=2)
        tasks = made_up_tasks(kind, seed=10 + batch, n_tasks=N_TASKS)
        wanted = learner.adapt(tasks.support, rng=generator(batch))
        found = programs(learner, tasks, rng=generator(batch))
        torch.testing.assert_close(
            asked(found, tasks), asked(wanted, tasks), rtol=1e-10, atol=1e-10, equal_nan=True
        )
        for what in ("genotypes", "own_genotypes", "n_params"):
            own, other = getattr(wanted, what), getattr(found, what)
            assert (own is None) == (other is None)
            assert own is None or list(own) == list(other)
    eager = name in DECODING and searched
    assert (programs.by_program == 0) == eager, said
    assert not eager or said[0].startswith("adaptation is made eagerly, because ")
