"""In a meta-step nothing waits to be copied to the device; a state that was kept can be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from metabench.conformance.bench import Bench
from metabench.conformance.capture import _is_there, _place
from metabench.conformance.purity import assert_on, fake_accelerator
from metabench.conformance.samples import generator, on
from metabench.plugin.catalog import load_catalog
from metabench.plugin.contracts.data import ClassData
from metabench.running import checkpoint
from metabench.sampling.labelled import LabelledSampler
from metabench.sampling.sources import ClassSource

CATALOG = load_catalog()
EACH_TIME = ("baseline++", "leo", "maml", "mnas", "tadam")
"""The learners that are tried each time; all are in the slow tests."""


class Waits(TorchDispatchMode):
    """Notes copies to the accelerator that wait for all that it has been given to do."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name
        if name == "aten::_to_copy":
            source, waits = args[0], not (kwargs or {}).get("non_blocking")
        elif name == "aten::copy_":
            source, waits = args[1], len(args) < 3 or not args[2]
        else:
            return result
        if waits and isinstance(source, Tensor) and not _is_there(source) and _is_there(result):
            self.found.append(str(_place("waits")))
        return result


def cases() -> Iterator[Any]:
    for spec in CATALOG.learners.values():
        if spec.trains:
            slow = spec.name not in EACH_TIME
            bench = Bench(spec, spec.kinds[-1], lambda: CATALOG, searched=spec.searches)
            yield pytest.param(bench, id=spec.name, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("bench", [*cases()])
def test_a_meta_step_does_not_wait_to_copy(bench: Bench) -> None:
    with fake_accelerator() as device:
        learner = bench.build(device=device)
        for phase in range(bench.n_phases):
            for part in range(2):  # a first step may do what it likes
                seed = phase + part * bench.n_phases
                tasks = on(device, bench.tasks(seed=seed))
                with Waits() as waits:
                    learner.meta_step(tasks, progress=0.5 + part / 1000, rng=generator(seed))
            assert waits.found == []


@pytest.mark.parametrize("bench", [*cases()])
def test_a_state_that_was_kept_on_another_device_is_taken_over(
    bench: Bench, tmp_path: Path
) -> None:
    """As where a run that began on a CPU goes on on a GPU."""
    steps = 2 * bench.n_phases
    before = bench.trained(n_steps=steps)
    checkpoint.save(tmp_path / "last", {"learner": before.state_dict()})
    with fake_accelerator() as device:
        learner = bench.build(device=device, seed=1)
        learner.load_state_dict(checkpoint.load(tmp_path / "last", device=device)["learner"])
        for seed in range(steps, steps + bench.n_phases):
            tasks = on(device, bench.tasks(seed=seed))
            learner.meta_step(tasks, progress=0.5, rng=generator(seed))
        assert_on(device, learner.state_dict())


def test_labelled_examples_do_not_wait() -> None:
    rng = np.random.default_rng(0)
    data = ClassData(
        images=rng.integers(0, 255, (12, 4, 4, 1), dtype=np.uint8),
        offsets=np.arange(0, 13, 3),
        class_names=("a", "b", "c", "d"),
        splits={
            split: np.array(ids)
            for split, ids in {"meta-train": [0, 1], "meta-val": [2], "meta-test": [3]}.items()
        },
        fingerprint="x",
        rotations=dict.fromkeys(("meta-train", "meta-val", "meta-test"), "none"),
    )
    with fake_accelerator() as device:
        sources = [ClassSource(name, data, device=device) for name in "ab"]
        sampler = LabelledSampler(sources, suite="any", seed=0)
        with Waits() as waits:
            sampler.batch(0, 6)
    assert waits.found == []
