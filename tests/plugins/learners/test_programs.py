"""The meta-steps of every built-in learner as programs, in float64, beside its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from metabench.conformance.bench import Bench
from metabench.conformance.samples import generator
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.plugin.contracts.episode import TaskKind
from metabench.running.engines.lowering import lower
from metabench.running.engines.programs import Compile, Run, as_recorded, by_inductor
from metabench.running.engines.states import FlatState, copied
from metabench.running.engines.stepper import Stepper

EAGER = {
    "one-shot": "its state counts in Python what it has seen",
    "tadam": "a drawn number decides what is trained",
}
"""Learners that are trained by their own steps, and why."""

STEEP = ("auto-maml",)
"""Learners whose losses on the made-up tasks reach 1e11, which multiplies rounding as much."""

OF_IMAGES = ("maml", "protonet", "mtnet", "bmaml", "leo", "metaoptnet", "baseline++")
"""Learners whose programs for images are compared in every run of the slow tests."""

ALIKE = (
    "auto-meta", "hsml-notree", "metanas-maml", "mnas-nm", "mnas-shared-m", "mnas-shared-nm",
    "random-search", "random-search-maml",
)  # fmt: skip
"""Learners of a class that others stand for; they are tried before a release."""

LOWERED = tuple((name, "regression", False) for name in ("maml", "reptile", "mtnet"))
"""Those that are lowered as Inductor does in every run of the slow tests."""

STEPS = 5


pytestmark = pytest.mark.usefixtures("in_float64")


def cases() -> Iterator[tuple[str, TaskKind, bool]]:
    for spec in load_catalog().learners.values():
        if spec.trains:
            for kind in spec.kinds:
                yield spec.name, kind, spec.searches
                if spec.search_params is not None:
                    yield spec.name, kind, True


def marks_of(name: str, kind: TaskKind, searched: bool) -> list[pytest.MarkDecorator]:
    """Images are slow, and searched networks for them the slowest; many are very alike."""
    if name in ALIKE or (kind == "classification" and (searched or name not in OF_IMAGES)):
        return [pytest.mark.slow, pytest.mark.exhaustive]
    return [pytest.mark.slow] if kind == "classification" else []


def compare(
    catalog: Catalog,
    name: str,
    kind: TaskKind,
    searched: bool,
    compile_graph: Compile,
    n_steps: int,
) -> Stepper:
    """Make each step from the same state, and compare losses and moments, which hold gradients."""
    bench = Bench(catalog.learner(name), kind, lambda: catalog, searched=searched)
    own, other = bench.build(), bench.build()
    said: list[str] = []
    stepper = Stepper(other, compile_graph, say=said.append)
    for step in range(n_steps):
        tasks, progress = bench.tasks(seed=step), step / n_steps / 2
        wanted = own.meta_step(tasks, progress=progress, rng=generator(step))
        found = stepper(tasks, progress=progress, rng=generator(step))
        assert {k: float(v) for k, v in found.items()} == pytest.approx(
            {k: float(v) for k, v in wanted.items()}, rel=1e-9, abs=1e-10
        )
        assert_close(own.state_dict(), other.state_dict())
        other.load_state_dict(copied(own.state_dict()))
        stepper.forget()
    assert not any("cannot be compiled" in text for text in said), said
    return stepper


def assert_close(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Adam divides a gradient by its own size: one that is rounding alone may turn its sign."""
    first, second = FlatState.of(one), FlatState.of(other)
    assert first.kind == second.kind
    n_moments = 0
    for path, tensor in first.tensors.items():
        is_moment = any("exp_avg" in str(key) or "moment" in str(key) for key in path)
        n_moments += is_moment
        scale = (
            float(tensor.detach().double().abs().nan_to_num(0, 0, 0).max()) if tensor.numel() else 0
        )
        torch.testing.assert_close(
            second.tensors[path],
            tensor,
            rtol=1e-8,
            atol=1e-10 * max(1.0, scale) if is_moment else 0.1 * max(1.0, scale),
            equal_nan=True,
            msg=str(path),
        )
    assert n_moments


@pytest.mark.parametrize(
    ("name", "kind", "searched"),
    [pytest.param(*case, marks=marks_of(*case)) for case in cases()],
)
def test_programs_of_operators(catalog: Catalog, name: str, kind: TaskKind, searched: bool) -> None:
    stepper = compare(catalog, name, kind, searched, as_recorded, STEPS)
    if name in EAGER:
        assert stepper.by_program == 0
    else:
        assert stepper.by_program >= 2


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(case[0], marks=marks_of(*case))
        for case in cases()
        if case[1:] == ("regression", True)
    ],
)
def test_a_resumed_search_is_recorded(catalog: Catalog, name: str) -> None:
    """What a learner works out once, such as the size of a network, it works out anew here."""
    late = 0.9
    bench = Bench(catalog.learner(name), "regression", lambda: catalog, searched=True)
    stopped, resumed = bench.build(), bench.build()
    stopped.meta_step(bench.tasks(seed=0), progress=late, rng=generator(0))
    resumed.load_state_dict(copied(stopped.state_dict()))
    said: list[str] = []
    stepper = Stepper(resumed, as_recorded, say=said.append)
    for step in range(1, 4):
        stepper(bench.tasks(seed=step), progress=late, rng=generator(step))
    assert not any("eagerly" in text for text in said), said
    assert stepper.by_program


def functional(module: fx.GraphModule, examples: Mapping[str, Tensor]) -> Run:
    """What Inductor makes loops of: no operator in place, and the large ones decomposed."""
    import torch._inductor.lowering
    from functorch.compile import make_boxed_func
    from torch._functorch.aot_autograd import aot_module_simplified
    from torch._inductor.decomposition import select_decomp_table

    lower(module.graph)
    module.recompile()
    with torch.no_grad():
        compiled = aot_module_simplified(
            module,
            list(examples.values()),
            fw_compiler=lambda graph, _: make_boxed_func(graph.forward),
            decompositions=select_decomp_table(),
        )

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            results: tuple[Tensor, ...] = compiled(*inputs)
        return results

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "searched"),
    [
        pytest.param(*case, marks=() if case in LOWERED else pytest.mark.exhaustive)
        for case in cases()
        if case[0] not in (*EAGER, *STEEP)
    ],
)
def test_programs_as_they_are_compiled(
    catalog: Catalog, name: str, kind: TaskKind, searched: bool
) -> None:
    stepper = compare(catalog, name, kind, searched, functional, 4)
    assert stepper.by_program >= 1


def compiled_beside(
    catalog: Catalog, name: str, *, n_steps: int, rel: float
) -> tuple[Stepper, list[str]]:
    """Train compiled beside the learner's own steps, and compare the losses of each step."""
    bench = Bench(catalog.learner(name), "regression", lambda: catalog)
    own, other = bench.build(), bench.build()
    said: list[str] = []
    stepper = Stepper(other, by_inductor, say=said.append)
    for step in range(n_steps):
        tasks, progress = bench.tasks(seed=step % 7), step / n_steps
        wanted = own.meta_step(tasks, progress=progress, rng=generator(step))
        found = stepper(tasks, progress=progress, rng=generator(step))
        assert float(found["loss"]) == pytest.approx(float(wanted["loss"]), rel=rel)
    return stepper, said


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.filterwarnings("default")  # Inductor has some of its own
@pytest.mark.parametrize("name", ["maml", "reptile"])
def test_a_long_training_by_compiled_programs(
    catalog: Catalog, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    stepper, said = compiled_beside(catalog, name, n_steps=200, rel=1e-6)
    assert stepper.by_program >= 199, said


@pytest.mark.parametrize("name", ["mumomaml", "hsml"])
def test_programs_in_float32_have_no_operators_of_one_library(catalog: Catalog, name: str) -> None:
    """In float32 an LSTM is one operator of oneDNN, which compiles, and ends with an error."""
    torch.set_default_dtype(torch.float32)
    graphs: list[fx.Graph] = []

    def kept(module: fx.GraphModule, examples: Mapping[str, Tensor]) -> Run:
        graphs.append(module.graph)
        return as_recorded(module, examples)

    bench = Bench(catalog.learner(name), "regression", lambda: catalog)
    stepper = Stepper(bench.build(), kept, say=lambda text: None)
    for step in range(2):  # the first one makes the moments
        stepper(bench.tasks(seed=step), progress=0.0, rng=generator(step))
    assert stepper.by_program
    assert [node for graph in graphs for node in graph.nodes if "mkldnn" in str(node.target)] == []


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.filterwarnings("default")  # Inductor has some of its own
@pytest.mark.parametrize(
    "name",
    [
        name
        for name, kind, searched in cases()
        if kind == "regression" and not searched and name not in (*EAGER, *STEEP)
    ],
)
def test_compiled_programs_in_float32(
    catalog: Catalog, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a run: some operators are others than in float64."""
    torch.set_default_dtype(torch.float32)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    stepper, said = compiled_beside(catalog, name, n_steps=3, rel=1e-3)
    assert not any("eagerly" in text for text in said), said
    assert stepper.by_program >= 2
