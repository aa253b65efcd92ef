"""Meta-steps and meta-tests of learners as a suite sets them up."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from maml import Maml
from meta_steps import meta_steps, meta_tests
from race import Local
from revision import UNBOUNDED, RunRequest, load_catalog, load_suite, supernet
from torch import Tensor
from workload import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaStep:
    """The meta-step of one learner of a suite; nobody else offers it."""

    name: str
    learner: str
    suite: str
    setting: str
    budget: str
    tasks: int
    progress: float = 0.0
    bounds: bool = True

    @property
    def summary(self) -> str:
        """One line."""
        return (
            f"meta-step of {self.learner}, {self.suite} {self.setting}, budget {self.budget}, "
            f"{self.tasks} tasks"
        )

    def meta_step(self, *, compiled: bool = False) -> Local:
        """The learner as the suite sets it up."""
        request = RunRequest(
            learners=(self.learner,),
            suite=self.suite,
            settings=(self.setting,),
            budget=self.budget,
            data="real" if self.suite == "toy-regression" else "synthetic",
            changes={} if self.bounds else {"learner": UNBOUNDED},
        )
        steps = meta_steps(
            request,
            load_catalog(),
            n_tasks=self.tasks,
            progress=self.progress,
            compiled=compiled,
        )
        return Local(steps[self.learner], self.tasks)

    def ours(self) -> Mapping[str, Local]:
        """The meta-step of a run."""
        return {"meta-step": self.meta_step()}

    def peers(self) -> Mapping[str, Local]:
        """None."""
        return {}

    def facts(self) -> Facts:
        """Nothing besides."""
        return Facts()


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksAtOnce(MetaStep):
    """A learner that searches a small network: tasks at once, beside one after another."""

    @property
    def summary(self) -> str:
        """One line."""
        return f"{MetaStep.summary.fget(self)}, tasks at once"  # type: ignore[attr-defined]

    def _limited(self, limit: int) -> Local:
        step: Callable[[], Any] = self.meta_step().step

        def limited() -> float:
            kept = supernet.MAPS_AT_ONCE
            supernet.MAPS_AT_ONCE = limit
            try:
                return float(step()["loss"])
            finally:
                supernet.MAPS_AT_ONCE = kept

        return Local(limited, self.tasks)

    def ours(self) -> Mapping[str, Local]:
        """As a CPU does it with maps this small."""
        return {"tasks at once": self._limited(supernet.MAPS_AT_ONCE)}

    def peers(self) -> Mapping[str, Local]:
        """The same code, one task at a time."""
        return {"task by task": self._limited(1)}

    def facts(self) -> Facts:
        """How far the losses of a first meta-step lie apart, in float32."""
        a, b = self._limited(supernet.MAPS_AT_ONCE).step(), self._limited(1).step()
        assert isinstance(a, float)
        assert isinstance(b, float)
        return Facts(differences={"task by task": abs(a - b) / abs(a)})


@dataclass(frozen=True, slots=True)
class Learners:
    """The meta-step of every learner of toy regression, beside MAML's."""

    name: str = "learners"
    suite: str = "toy-regression"
    tasks: int = 25

    @property
    def summary(self) -> str:
        """One line."""
        return f"meta-steps of all learners of {self.suite}, {self.tasks} tasks"

    def _steps(self) -> Mapping[str, Local]:
        catalog = load_catalog()
        names = tuple(load_suite(catalog.suite(self.suite)).learners)
        request = RunRequest(learners=names, suite=self.suite)
        steps = meta_steps(request, catalog, n_tasks=self.tasks, progress=0.0)
        return {name: Local(step, self.tasks) for name, step in steps.items()}

    def ours(self) -> Mapping[str, Local]:
        """MAML first."""
        steps = self._steps()
        return {"maml": steps["maml"]} | dict(sorted(steps.items()))

    def peers(self) -> Mapping[str, Local]:
        """None."""
        return {}

    def facts(self) -> Facts:
        """Nothing besides."""
        return Facts()


@dataclass(frozen=True, slots=True)
class MetaTest:
    """Meta-test of MAML: adaptation and the predictions after each of ten steps.

    The peer is a plain loop over tasks that keeps no graph.
    """

    maml: Maml

    @property
    def name(self) -> str:
        """As ``--workload`` says it."""
        return f"test-{self.maml.name}"

    @property
    def summary(self) -> str:
        """One line."""
        m = self.maml
        return f"meta-test of MAML, {m.suite} {m.setting}, 10 steps, {m.tasks} tasks"

    def _request(self) -> RunRequest:
        m = self.maml
        network = {"filters": m.width, "pool": "max", "head": "flatten"}
        return RunRequest(
            learners=("maml",),
            suite=m.suite,
            settings=(m.setting,),
            data="synthetic" if m.is_image else "real",
            changes={
                "space": network if m.is_image else {"norm": "batch"},
                "protocol": {"shots": m.shots, "queries": m.shots},
                "learner": {"inner_lr": m.lr} | UNBOUNDED,
            },
        )

    def meta_test(self, *, compiled: bool = False) -> Local:
        """The meta-test of a run."""
        n_tasks = self.maml.tasks
        tests = meta_tests(self._request(), load_catalog(), n_tasks=n_tasks, compiled=compiled)
        return Local(tests["maml"], n_tasks)

    def ours(self) -> Mapping[str, Local]:
        """That of the learner."""
        return {"meta-test": self.meta_test()}

    def peers(self) -> Mapping[str, Local]:
        """A plain loop."""
        m = self.maml
        plain = importlib.import_module("peers.plain_network")
        start, data = plain.leaves(m.weights()), m.data()
        n_queries = m.shots * max(1, m.ways)

        def test() -> Tensor:
            outputs = []
            for x, y, query_x, _ in data.tasks():
                w = start
                for step in range(11):
                    with torch.no_grad():
                        outputs.append(plain.forward(w, query_x[:n_queries]))
                    if step < 10:
                        gradients = torch.autograd.grad(m.loss(plain.forward(w, x), y), w)
                        w = [
                            (a - m.lr * g).detach().requires_grad_()
                            for a, g in zip(w, gradients, strict=True)
                        ]
            return torch.stack(outputs)

        return {"plain loop": Local(test, m.tasks)}

    def facts(self) -> Facts:
        """Nothing besides."""
        return Facts()


@dataclass(frozen=True, slots=True)
class Compiled:
    """A workload made by ``--engine compiled``, which first takes seconds or minutes.

    A revision without engines makes it eagerly; so it is what the other is compared with.
    """

    eager: Maml | MetaStep | MetaTest

    @property
    def name(self) -> str:
        """As ``--workload`` says it."""
        return f"{self.eager.name}-compiled"

    @property
    def summary(self) -> str:
        """One line."""
        return f"{self.eager.summary}, compiled"

    def ours(self) -> Mapping[str, Local]:
        """That of a run; its first steps, which compile, are not timed."""
        made = self._made(compiled=True)
        for _ in range(3):
            made.step()
        return {"meta-test" if isinstance(self.eager, MetaTest) else "meta-step": made}

    def _made(self, *, compiled: bool) -> Local:
        if isinstance(self.eager, MetaTest):
            return self.eager.meta_test(compiled=compiled)
        return self.eager.meta_step(compiled=compiled)

    def peers(self) -> Mapping[str, Local]:
        """Those of the workload, and ours without compiling."""
        return {"eager": self._made(compiled=False), **self.eager.peers()}

    def facts(self) -> Facts:
        """Those of the workload."""
        return self.eager.facts()
