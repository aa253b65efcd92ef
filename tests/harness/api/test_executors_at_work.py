"""What an executor returns is held to its contract: nothing looks made that was not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metabench.api.executing import HowToRun, check, executor_of
from metabench.api.running import execute
from metabench.errors import PluginError, UsageError
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.plugin.specs import ExecutorSpec
from metabench.running.executors import Job, JobOutcome
from metabench.values import Frozen


@pytest.fixture(scope="module")
def planned(catalog: Catalog) -> list[Any]:
    return plan(RunRequest(learners=("reptile",), suite="toy-regression", budget="smoke"), catalog)


def spec_of(factory: Callable[..., Any]) -> ExecutorSpec:
    return ExecutorSpec(name="mine", version=1, summary="M.", params=Frozen, factory=factory)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda jobs, **_: None, "The executor returned a NoneType, so it is not known"),
        (lambda jobs, **_: [], "The executor returned 0 outcomes for 1 job"),
        (lambda jobs, **_: ["done"], "The executor returned things that are no JobOutcome"),
        (
            lambda jobs, **_: {}["n"],
            "The executor failed: KeyError: 'n' (test_executors",
        ),
        (lambda jobs: [], "The executor failed: TypeError: "),
    ],
)
def test_an_executor_that_returns_no_outcomes_is_refused(
    catalog: Catalog, planned: list[Any], tmp_path: Path, work: Any, said: str
) -> None:
    jobs = [Job(one, tmp_path, "cpu", 1) for one in planned]
    with pytest.raises(PluginError) as caught:
        execute(work, jobs, catalog, show=lambda event: None)
    assert caught.value.message.startswith(said)


def test_an_executor_without_jobs_works_and_takes_no_option_of_it(
    catalog: Catalog, planned: list[Any], tmp_path: Path
) -> None:
    def factory(params: Frozen) -> Any:
        return lambda jobs, **_: [JobOutcome(job, "done") for job in jobs]

    jobs = [Job(one, tmp_path, "cpu", 1) for one in planned]
    work = executor_of(spec_of(factory), {}, jobs=None)
    found = execute(work, jobs, catalog, show=lambda event: None)
    assert [one.status for one in found] == ["done"]
    with pytest.raises(UsageError, match="The executor mine does not take --jobs"):
        executor_of(spec_of(factory), {}, jobs=2)


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (lambda params: 3, "Executor mine cannot be used: it is a int, which has no method __call"),
        (lambda params: {}["n"], "Executor mine cannot be built: KeyError: 'n' (test_executors"),
    ],
)
def test_what_is_no_executor_is_refused(factory: Any, said: str) -> None:
    with pytest.raises(PluginError) as caught:
        executor_of(spec_of(factory), {}, jobs=None)
    assert caught.value.message.startswith(said)


@pytest.mark.parametrize("device", ["cuda:1", "cuda:0", "gpu", "mps"])
def test_executors_on_other_machines_take_no_device_of_this_one(
    catalog: Catalog, planned: list[Any], tmp_path: Path, device: str
) -> None:
    """A job counts the GPUs that it is lent from 0, and has one: cuda:1 would fail in the queue."""
    remote = [name for name, spec in catalog.executors.items() if spec.remote]
    assert {"ray", "slurm"} <= {*remote}

    def made(name: str, asked: str) -> str:
        working = replace(catalog.executor(name), factory=lambda params: lambda *_, **__: [])
        only = replace(catalog, executors={name: working})
        how = HowToRun(out=tmp_path / "R", executor=name, device=asked)
        return check(planned, how, only)[1]

    for name in remote:
        with pytest.raises(UsageError) as caught:
            made(name, device)
        assert caught.value.message == (
            f"--device {device!r} is none that the executor {name} can give to a run."
        )
        assert "auto, cpu or cuda" in caught.value.hint
        assert [made(name, one) for one in ("auto", "cpu", "cuda")] == ["auto", "cpu", "cuda"]
