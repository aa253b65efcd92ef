"""Runs under an engine: the same bytes however often they are cut, and a record that says it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from metabench.errors import UsageError
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.specs import MetricSpec, RunEvent
from metabench.results.schema import RunRecord
from metabench.running import engines, loops
from metabench.running.engines import EngineName, programs
from metabench.running.loops import Control, Interrupted
from metabench.running.run import RunExecution

CPU = torch.device("cpu")
VECTORS = TaskShape("regression", (1,), 1)
IMAGES = TaskShape("classification", (1, 28, 28), 5)


@pytest.fixture(autouse=True)
def _no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators run one by one: Inductor takes minutes."""
    monkeypatch.setattr(programs, "by_inductor", programs.as_recorded)


def planned(catalog: Catalog, learner: str = "maml", *, selection: str = "last") -> PlannedRun:
    request = RunRequest(
        learners=(learner,), suite="toy-regression", budget="smoke",
        changes={
            "budget": {"meta_steps": 20, "meta_batch": 3},
            "protocol": {"episodes": 12, "selection": selection, "val_episodes": 6},
            "space": {"width": 8, "hidden": 2},
        },
    )  # fmt: skip
    return plan(request, catalog)[0]


def execution(
    made: PlannedRun,
    catalog: Catalog,
    out: Path,
    engine: EngineName,
    *,
    stop_at: int | None = None,
    events: list[RunEvent] | None = None,
) -> RunExecution:
    asked = iter([False] * ((stop_at or 1) - 1) + [stop_at is not None])
    stopped: Callable[[], bool] = lambda: next(asked, False)  # noqa: E731
    control = Control(
        emit=(events if events is not None else []).append,
        stopped=stopped,
        checkpoint_seconds=0.0,
        engine=engine,
    )
    return RunExecution(made, catalog, out=out, device=CPU, control=control)


def files(run: RunExecution) -> list[bytes]:
    return [(run.store.folder / name).read_bytes() for name in ("episodes.jsonl", "metrics.jsonl")]


def texts(events: list[RunEvent]) -> list[str]:
    return [event.text for event in events if event.kind == "message"]


@pytest.mark.parametrize("learner", ["maml", "maml++"])
@pytest.mark.parametrize("stop_at", [1, 7])
def test_a_stopped_run_ends_with_the_same_bytes(
    catalog: Catalog, tmp_path: Path, learner: str, stop_at: int
) -> None:
    made, events = planned(catalog, learner), list[RunEvent]()
    whole = execution(made, catalog, tmp_path / "whole", "compiled", events=events)
    assert whole().provenance.engine == ("compiled",)
    assert any("compiling the meta-step" in text for text in texts(events))
    cut = execution(made, catalog, tmp_path / "cut", "compiled", stop_at=stop_at)
    with pytest.raises(Interrupted):
        cut()
    stopped = cut.store.read_record()
    assert stopped is not None
    # The first step of Adam makes its moments, so the learner makes it.
    assert stopped.provenance.engine == ("eager" if stop_at == 1 else "compiled",)
    again = execution(made, catalog, tmp_path / "cut", "compiled")
    record = again()
    assert record.status == "done"
    assert files(again) == files(whole)


def test_the_identity_does_not_name_the_engine(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog)
    records: list[RunRecord] = []
    for name in ("eager", "compiled"):
        run = execution(made, catalog, tmp_path / name, name)  # type: ignore[arg-type]
        records.append(run())
    eager, compiled = records
    assert eager.run_id == compiled.run_id
    assert eager.provenance.engine == ("eager",)
    assert compiled.provenance.engine == ("compiled",)


def test_a_run_may_go_on_with_another_engine_and_says_so(catalog: Catalog, tmp_path: Path) -> None:
    made, events = planned(catalog), list[RunEvent]()
    with pytest.raises(Interrupted):
        execution(made, catalog, tmp_path, "eager", stop_at=5)()
    record = execution(made, catalog, tmp_path, "compiled", events=events)()
    assert record.provenance.engine == ("eager", "compiled")
    assert "goes on with engine compiled; it began with eager" in texts(events)


def test_a_run_that_is_done_keeps_its_engine(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog)
    execution(made, catalog, tmp_path, "compiled")()
    episodes = execution(made, catalog, tmp_path, "eager").store.folder / "episodes.jsonl"
    lines = episodes.read_text().splitlines(keepends=True)
    episodes.write_text("".join(lines[:-1]))  # its meta-test is made again
    assert execution(made, catalog, tmp_path, "auto")().provenance.engine == ("compiled",)


@pytest.fixture
def _adapting_by_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of ten episodes, of which a few are worth a program."""
    monkeypatch.setattr(loops, "TEST_ELEMENTS", 10 * 20)
    monkeypatch.setattr(engines, "WORTH_ADAPTING", 2)


@pytest.mark.usefixtures("_adapting_by_programs")
def test_a_meta_test_by_programs_equals_the_learners_own(catalog: Catalog, tmp_path: Path) -> None:
    made, events = planned(catalog), list[RunEvent]()
    compiled = execution(made, catalog, tmp_path / "compiled", "compiled", events=events)
    eager = execution(made, catalog, tmp_path / "eager", "eager")
    assert compiled().provenance.test_engine == ("compiled",)
    assert eager().provenance.test_engine == ("eager",)
    assert any("compiling the adaptation" in text for text in texts(events))
    assert files(compiled) == files(eager)


@pytest.mark.usefixtures("_adapting_by_programs")
@pytest.mark.parametrize("engine", ["compiled", "eager"])
def test_the_record_says_what_adapts_before_the_episodes_are_written(
    catalog: Catalog, tmp_path: Path, engine: EngineName
) -> None:
    """So that it is right if the process is killed."""
    found: set[tuple[str, ...]] = set()

    def emit(event: RunEvent) -> None:
        if event.kind == "progress" and event.phase == "meta-test":
            record = run.store.read_record()
            assert record is not None
            found.add(record.provenance.test_engine)

    control = Control(emit=emit, stopped=lambda: False, engine=engine)
    run = RunExecution(planned(catalog), catalog, out=tmp_path, device=CPU, control=control)
    run()
    assert found == {(engine,)}


@pytest.mark.usefixtures("_adapting_by_programs")
# 20 meta-steps ask whether to stop, and with selection 3 batches of each of 20 meta-validations.
@pytest.mark.parametrize(("selection", "stop_at"), [("last", 22), ("meta-val", 82)])
def test_a_stopped_meta_test_by_programs_ends_with_the_same_bytes(
    catalog: Catalog, tmp_path: Path, selection: str, stop_at: int
) -> None:
    made = planned(catalog, selection=selection)
    whole = execution(made, catalog, tmp_path / "whole", "compiled")
    whole()
    cut = execution(made, catalog, tmp_path / "cut", "compiled", stop_at=stop_at)
    with pytest.raises(Interrupted):
        cut()
    stopped = cut.store.read_record()
    assert stopped is not None
    assert stopped.provenance.test_engine == ("compiled",)
    assert 0 < cut.store.count_episodes() < 48
    again = execution(made, catalog, tmp_path / "cut", "compiled")
    assert again().provenance.test_engine == ("compiled",)
    assert files(again) == files(whole)


@pytest.mark.usefixtures("_adapting_by_programs")
def test_a_further_metric_is_of_the_predictions_of_the_engine(
    catalog: Catalog, tmp_path: Path
) -> None:
    mae = MetricSpec(
        name="mae", version=1, summary="An error.", kinds=("regression",), title="the error",
        function=lambda outputs, y: (outputs - y).abs().mean(dim=(1, 2)), better="smaller",
        range=(0.0, None),
    )  # fmt: skip
    more = replace(catalog, metrics={**catalog.metrics, "mae": mae})
    made, events = planned(more), list[RunEvent]()
    record = execution(made, more, tmp_path, "compiled")()
    asked = replace(made, metrics=("mae",))
    again = execution(asked, more, tmp_path, "eager", events=events)()
    assert "mae" in again.metrics
    assert any("compiling the adaptation" in text for text in texts(events))
    engine = again.provenance.engine, again.provenance.test_engine
    assert engine == (record.provenance.engine, record.provenance.test_engine)


def test_auto_goes_on_with_the_engine_of_the_beginning(catalog: Catalog, tmp_path: Path) -> None:
    made, events = planned(catalog), list[RunEvent]()
    with pytest.raises(Interrupted):
        execution(made, catalog, tmp_path, "compiled", stop_at=5)()
    record = execution(made, catalog, tmp_path, "auto", events=events)()
    assert record.provenance.engine == ("compiled",)
    assert not any("goes on" in text for text in texts(events))


@pytest.mark.parametrize(
    ("name", "device", "task", "meta_steps", "expected"),
    [
        ("eager", "cuda", VECTORS, 10**6, "eager"),
        ("compiled", "cpu", IMAGES, 1, "compiled"),
        ("auto", "cuda", IMAGES, 1, "compiled"),
        ("auto", "cpu", VECTORS, engines.WORTH_COMPILING, "compiled"),
        ("auto", "cpu", VECTORS, engines.WORTH_COMPILING - 1, "eager"),
        ("auto", "cpu", IMAGES, 10**6, "eager"),
    ],
)
def test_auto_compiles_where_it_pays(
    monkeypatch: pytest.MonkeyPatch,
    name: EngineName,
    device: str,
    task: TaskShape,
    meta_steps: int,
    expected: str,
) -> None:
    monkeypatch.setattr(engines, "has_compiler", lambda: True)
    found = engines.chosen(name, device=torch.device(device), task=task, meta_steps=meta_steps)
    assert found == expected


def test_without_a_compiler_auto_is_eager_and_compiled_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert engines.chosen("auto", device=CPU, task=VECTORS, meta_steps=10**6) == "eager"
    with pytest.raises(UsageError, match="needs a C\\+\\+ compiler"):
        engines.pick_engine("compiled", device="cpu")
    assert engines.pick_engine("compiled", device="cuda") == "compiled"


@pytest.mark.skipif(sys.platform != "linux", reason="the usual compiler is another elsewhere")
def test_the_compiler_that_is_looked_for_is_the_one_that_inductor_calls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another compiler beside it is of no use."""
    for name in ("clang++", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert not engines.has_compiler()
    monkeypatch.setenv("CXX", str(tmp_path / "mine"))
    assert engines.has_compiler()


def test_an_unknown_engine_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Unknown engine 'compile'") as refused:
        engines.pick_engine("compile", device="cpu")
    assert refused.value.hint == "Did you mean compiled?"
