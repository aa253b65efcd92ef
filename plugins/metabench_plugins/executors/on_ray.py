"""Makes runs on a Ray cluster, or on a Ray that is started on this machine.

``RAY_ADDRESS`` names the cluster. All of its nodes must see the results folder.
"""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from metabench import Frozen, Job, JobOutcome, RunEvent, UsageError, run_job
from metabench_plugins.executors.ray_cluster import Cluster, connected, import_ray, require_ray

ASK_SECONDS = 1.0
"""A worker asks this often whether it shall stop."""
WAIT_SECONDS = 0.5
"""The command looks this often for events, and for its user's wish to stop."""
DELIVERY_SECONDS = 10.0
"""How long a worker waits for its last events to arrive, and the command for the mailbox."""


class RayParams(Frozen):
    """Parameters of the Ray executor."""

    jobs: int = Field(
        default=1, ge=1, le=100_000, description="How many runs are made at the same time."
    )
    gpus: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The part of a GPU that Ray lends to each run: with 0.5, two runs share one. "
        "By default 1 with the device cuda, and with auto where the cluster has GPUs; else 0.",
    )
    retries: int = Field(
        default=3,
        ge=0,
        le=1000,
        description="How often a run is made again, from its last checkpoint, after its worker "
        "died.",
    )


class RayExecutor:
    """Makes each run in a Ray task, which holds the CPU threads and the part of a GPU it needs."""

    def __init__(self, params: RayParams) -> None:
        require_ray()
        self._params = params

    def __call__(
        self,
        jobs: Sequence[Job],
        *,
        emit: Callable[[RunEvent], None],
        stopped: Callable[[], bool],
    ) -> list[JobOutcome]:
        """Make all runs; see :class:`metabench.Executor`."""
        if not jobs:
            return []
        # Ray starts a process for each CPU that it lends.
        cpus = min(self._params.jobs, len(jobs)) * max(job.threads for job in jobs)
        with connected(cpus=cpus) as cluster, Permit(jobs) as permit:
            tasks = _Tasks(cluster, self._params, permit, emit)
            tasks.check(jobs)
            waiting = deque(jobs)
            while waiting or tasks.running:
                if stopped() and not tasks.stopping:
                    waiting.clear()
                    tasks.stop()
                # Ray would begin all that its CPUs allow, and --jobs may be fewer.
                while waiting and len(tasks.running) < self._params.jobs:
                    tasks.begin(waiting.popleft())
                tasks.look()
        return [tasks.outcomes.get(job.run_id, JobOutcome(job, "interrupted")) for job in jobs]


class Permit:
    """A file in the results folder: runs may go on as long as it is there.

    A worker that does not find it when it begins does not see the folder that the user named.
    Asking Ray instead would cost the worker's CPU: a task that waits for another one lends it.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._name = f".ray-{secrets.token_hex(8)}"
        self._files = {self.of(job) for job in jobs}

    def of(self, job: Job) -> Path:
        """The absolute path of the file that a job looks at."""
        return job.folder / job.out / self._name

    def __enter__(self) -> Permit:
        for file in self._files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return self

    def __exit__(self, *_: object) -> None:
        self.withdraw()

    def withdraw(self) -> None:
        """Let all runs save and stop."""
        for file in self._files:
            with suppress(OSError):
                file.unlink(missing_ok=True)


class Mailbox:
    """An actor that passes the events of all workers to the command."""

    def __init__(self) -> None:
        self._events: list[RunEvent] = []

    def put(self, event: RunEvent) -> None:
        """Leave an event."""
        self._events.append(event)

    def take(self) -> list[RunEvent]:
        """Hand over all events since the last time."""
        events, self._events = self._events, []
        return events


class _Tasks:
    """The Ray tasks of a command: those that run, and how the others ended.

    Attributes:
        running: the job of each task.
        outcomes: of the jobs that ended, by run id.
        stopping: whether the user asked to stop.
    """

    def __init__(
        self,
        cluster: Cluster,
        params: RayParams,
        permit: Permit,
        emit: Callable[[RunEvent], None],
    ) -> None:
        self._cluster, self._ray, self._params = cluster, cluster.ray, params
        self._permit, self._emit = permit, emit
        # A mailbox whose node dies is made anew elsewhere; only events that nobody took are lost.
        mailbox = self._ray.remote(Mailbox).options(num_cpus=0, max_restarts=-1)
        self._mailbox = mailbox.remote()
        self._delivery: Any = None  # events on their way
        self._has_gpus = self._ray.cluster_resources().get("GPU", 0) > 0
        self._environment = {
            name: value for name, value in os.environ.items() if name.startswith("METABENCH_")
        }
        self._seen = defaultdict[str, set[str]](set)  # the kinds of events, by run id
        self._lost = Counter[str]()  # how often the worker of a run died
        self.running: dict[Any, Job] = {}
        self.outcomes: dict[str, JobOutcome] = {}
        self.stopping = False

    def check(self, jobs: Sequence[Job]) -> None:
        """Say what no node has now that runs need.

        Raises:
            UsageError: when an own Ray never can.
        """
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        said = set[str]()
        for job in jobs:
            needs = {"CPU": job.threads, "GPU": self._gpus(job)}
            if any(all(node.get(n, 0) >= need for n, need in needs.items()) for node in nodes):
                continue
            wanted = " and ".join(f"{need:g} {name}" for name, need in needs.items() if need)
            if self._cluster.own:
                raise UsageError(
                    f"A run needs {wanted}, and Ray finds none on this machine.",
                    hint="Give --device cpu, or the address of a cluster in RAY_ADDRESS.",
                )
            if wanted not in said:
                said.add(wanted)
                text = f"no node of the Ray cluster has {wanted}; runs that need it wait for one"
                self._emit(job.event("message", text))

    def begin(self, job: Job) -> None:
        """Hand a job to Ray."""
        self._seen[job.run_id].clear()
        gpus = self._gpus(job)
        device = job.device
        if gpus:
            device = "cuda"  # a worker sees only what it is lent
        elif device == "auto":
            device = "cpu"
        task = self._ray.remote(_work).options(
            num_cpus=job.threads, num_gpus=gpus, max_retries=0, name=job.label
        )
        started = task.remote(
            replace(job, device=device), self._permit.of(job), self._environment, self._mailbox
        )
        self.running[started] = job

    def look(self) -> None:
        """Wait a moment, pass on events, and take the outcomes of tasks that ended."""
        if not self.running:
            return
        ready, _ = self._ray.wait(list(self.running), timeout=WAIT_SECONDS)
        self._pass_on_events()
        for task in ready:
            job = self.running.pop(task)
            outcome = self._outcome(job, task)
            if outcome is not None:
                self._end(job, outcome)

    def stop(self) -> None:
        """Let the runs save and stop; those that Ray has not begun are not begun."""
        self.stopping = True
        self._permit.withdraw()
        self._pass_on_events()
        for task, job in self.running.items():
            if not self._seen[job.run_id]:
                self._ray.cancel(task)

    def _gpus(self, job: Job) -> float:
        if job.device == "cpu":
            return 0
        if self._params.gpus is not None:
            return self._params.gpus
        return float(job.device != "auto" or self._has_gpus)

    def _pass_on_events(self) -> None:
        if self._delivery is None:
            self._delivery = self._mailbox.take.remote()
        arrived, _ = self._ray.wait([self._delivery], timeout=DELIVERY_SECONDS)
        if not arrived:
            return  # and looked for again, since these events are handed over only once
        delivery, self._delivery = self._delivery, None
        try:
            events = self._ray.get(delivery)
        except self._ray.exceptions.RayError:  # the mailbox died, and is being made anew
            return
        for event in events:
            self._seen[event.run_id].add(event.kind)
            self._emit(event)

    def _outcome(self, job: Job, task: Any) -> JobOutcome | None:
        """How a task ended; None where it begins again."""
        try:
            outcome: JobOutcome = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            last = str(error).strip().rpartition("\n")[2]
            return JobOutcome(
                job,
                "failed",
                f"its Ray task failed: {last}",
                "All nodes need the same metabench, plugins and packages.",
            )
        except self._ray.exceptions.RayError as error:
            if self.stopping:
                return JobOutcome(job, "interrupted")
            return self._retry(job, f"its Ray worker died ({type(error).__name__})")
        return replace(outcome, job=job)

    def _retry(self, job: Job, why: str) -> JobOutcome | None:
        self._lost[job.run_id] += 1
        n, most = self._lost[job.run_id], self._params.retries
        if n > most:
            return JobOutcome(job, "failed", why, "Run the same command to resume it.")
        text = f"{why}; it begins again at its last checkpoint (retry {n} of {most})"
        self._emit(job.event("message", text))
        self.begin(job)
        return None

    def _end(self, job: Job, outcome: JobOutcome) -> None:
        seen = self._seen[job.run_id]
        if outcome.status == "failed" and "run-failed" not in seen:
            if self.stopping and not seen:  # its worker looked for the permit too late
                outcome = JobOutcome(job, "interrupted")
            else:
                self._emit(job.event("run-failed", outcome.text))
        self.outcomes[job.run_id] = outcome


def _work(job: Job, permit: Path, environment: Mapping[str, str], mailbox: Any) -> JobOutcome:
    """What a Ray task does."""
    ray = import_ray()
    if not os.path.exists(permit):  # noqa: PTH110 - which is False for a folder that is refused
        return JobOutcome(
            job,
            "failed",
            f"its Ray node {platform.node()} does not see the results folder {permit.parent}",
            "Give --out a folder that all nodes of the cluster share.",
        )
    os.environ.update(environment)
    delivery = None

    def emit(event: RunEvent) -> None:
        nonlocal delivery
        delivery = mailbox.put.remote(event)

    outcome = run_job(job, emit=emit, stopped=_Withdrawn(permit))
    if delivery is not None:
        with suppress(ray.exceptions.RayError):
            ray.get(delivery, timeout=DELIVERY_SECONDS)
    return outcome


class _Withdrawn:
    """Whether a permit was withdrawn; looked up now and then."""

    def __init__(self, permit: Path, *, ask_seconds: float = ASK_SECONDS) -> None:
        self._permit, self._ask_seconds = permit, ask_seconds
        self._asked_at, self._gone = time.monotonic(), False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._gone and now - self._asked_at >= self._ask_seconds:
            self._asked_at = now
            try:
                self._permit.stat()
            except FileNotFoundError:
                self._gone = True
            except OSError:  # a shared folder that does not answer for a moment
                pass
        return self._gone
