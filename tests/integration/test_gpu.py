"""The same runs on a CUDA device: same episodes, same curves up to float32, the same bits again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from metabench import run
from metabench.conformance.bench import Bench, predictions
from metabench.conformance.samples import SHAPES, made_up_tasks, on
from metabench.nn.layers import conv2d
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.plugin.contracts.episode import Adapted, Labelled, TaskBatch, TaskKind
from metabench.running.build import build
from metabench.running.devices import make_repeatable
from metabench.running.engines import WORTH_ADAPTING, open_adapter, open_engine
from metabench.running.engines.states import copied
from metabench.running.executors import Job, run_job
from metabench.running.loops import Control, Interrupted
from metabench.running.run import RunExecution
from metabench.sampling.seeding import generator

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore:.*does not have a deterministic implementation"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    make_repeatable()


def smoke(
    learner: str, suite: str, *, limit: int, meta_steps: int, **changes: dict[str, Any]
) -> RunRequest:
    """A short run on synthetic data."""
    return RunRequest(
        learners=(learner,),
        suite=suite,
        budget="smoke",
        data="synthetic",
        limit=limit,
        changes={"budget": {"meta_steps": meta_steps}, **changes},
    )


def episodes(request: RunRequest, catalog: Catalog, out: Path, device: str) -> list[dict[str, Any]]:
    (cell,) = plan(request, catalog)
    control = Control(emit=lambda event: None, stopped=lambda: False)
    run = RunExecution(
        cell, catalog, out=out / device, device=torch.device(device), control=control
    )
    record = run()
    assert record.status == "done"
    lines = (run.store.folder / "episodes.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("learner", ["maml", "reptile"])
@pytest.mark.parametrize("suite", ["toy-regression", "omniglot"])
@pytest.mark.parametrize("normalization", ["transductive", "inductive"])
def test_cpu_and_gpu_agree_before_training(
    catalog: Catalog, tmp_path: Path, learner: str, suite: str, normalization: str
) -> None:
    protocol = {"normalization": normalization}
    request = smoke(learner, suite, limit=12, meta_steps=0, protocol=protocol)
    cpu, gpu = (episodes(request, catalog, tmp_path, device) for device in ("cpu", "cuda"))
    assert [e["key"] for e in cpu] == [e["key"] for e in gpu]
    difference = torch.tensor([e["curve"] for e in cpu]) - torch.tensor([e["curve"] for e in gpu])
    # One query more or less may tip over in an accuracy; an error agrees to four digits.
    assert difference.abs().mean() < (0.02 if suite == "omniglot" else 1e-3)


@pytest.mark.parametrize(
    ("learner", "suite"), [("maml", "toy-regression"), ("reptile", "omniglot")]
)
def test_training_on_a_gpu_learns(
    catalog: Catalog, tmp_path: Path, learner: str, suite: str
) -> None:
    def mean(meta_steps: int) -> float:
        request = smoke(learner, suite, limit=50, meta_steps=meta_steps)
        found = episodes(request, catalog, tmp_path / str(meta_steps), "cuda")
        return sum(e["score"] for e in found) / len(found)

    before, after = mean(0), mean(200)
    assert after < 0.7 * before if suite == "toy-regression" else after > before + 0.1


SEARCHING = [
    ("metanas", "omniglot"),
    ("random-search", "omniglot"),
    ("tnas", "omniglot"),
    ("mnas", "multidataset"),
    ("mnas-shared", "multidataset"),
    ("one-shot", "cifar10-pruning"),
]
TOY = ["mtnet", "mumomaml", "bmaml", "hsml", "hsml-notree", "mnas", "mnas-shared", "mnas-nm"]


@pytest.mark.parametrize(
    ("learner", "suite"), [*SEARCHING, *((learner, "toy-regression") for learner in TOY)]
)
def test_every_learner_trains_and_adapts_on_a_gpu(
    catalog: Catalog, tmp_path: Path, learner: str, suite: str
) -> None:
    request = smoke(learner, suite, limit=2, meta_steps=4)
    cpu, gpu = (episodes(request, catalog, tmp_path, device) for device in ("cpu", "cuda"))
    assert [e["key"] for e in cpu] == [e["key"] for e in gpu]
    scores = torch.tensor([[e["score"] for e in found] for found in (cpu, gpu)])
    assert scores.isfinite().all()
    if suite == "toy-regression":  # four steps are too few for rounding to grow
        assert torch.allclose(scores[0], scores[1], rtol=0.05)


@pytest.mark.parametrize(
    ("learner", "suite"),
    [
        ("maml", "omniglot"),
        ("reptile", "omniglot"),
        ("auto-meta", "omniglot"),
        *(pair for pair in SEARCHING if pair[0] != "tnas"),  # it decodes each task as it trains
        *((learner, "toy-regression") for learner in TOY),
    ],
)
def test_a_meta_step_does_not_wait_for_the_gpu(catalog: Catalog, learner: str, suite: str) -> None:
    request = RunRequest(learners=(learner,), suite=suite, budget="smoke", data="synthetic")
    (cell,) = plan(request, catalog)
    built = build(cell.spec, catalog, device=torch.device("cuda"))
    batches = built.train.stream(0, 7, cell.spec.training.meta_batch)

    def step(progress: float) -> None:
        built.learner.meta_step(next(batches), progress=progress, rng=generator("waits"))

    step(0.0)  # algorithms are chosen and optimizers filled once
    for progress in (0.1, 0.6, 0.95):  # learners that search go through phases
        step(progress)  # where one ends, it decodes
        try:
            torch.cuda.set_sync_debug_mode("error")
            step(progress)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_float32_is_not_rounded_to_tf32() -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 16, 8, 8, generator=rng, dtype=torch.float64)
    weights = torch.randn(2, 16, 16, 3, 3, generator=rng, dtype=torch.float64)
    exact = conv2d(images, weights, padding=1)
    found = conv2d(images.float().cuda(), weights.float().cuda(), padding=1).cpu()
    assert (found - exact).norm() / exact.norm() < 1e-6  # TF32: about 3e-4


@pytest.mark.parametrize(
    ("learner", "suite"),
    [("maml", "omniglot"), ("reptile", "omniglot"), *SEARCHING, ("bmaml", "toy-regression")],
)
def test_a_run_that_is_stopped_and_resumed_gives_the_same_bytes(
    catalog: Catalog, tmp_path: Path, learner: str, suite: str
) -> None:
    request = smoke(learner, suite, limit=2, meta_steps=6)
    (cell,) = plan(request, catalog)
    looks = iter([False, False, True])

    def finish(out: str, stopped: Callable[[], bool]) -> str:
        job = Job(cell, tmp_path / out, "cuda", threads=1)
        return run_job(job, catalog, emit=lambda event: None, stopped=stopped).status

    assert finish("whole", lambda: False) == "done"
    assert finish("halves", lambda: next(looks)) == "interrupted"
    assert finish("halves", lambda: False) == "done"
    for name in ("metrics.jsonl", "episodes.jsonl"):
        (whole,), (halves,) = (list((tmp_path / out).rglob(name)) for out in ("whole", "halves"))
        assert whole.read_bytes() == halves.read_bytes(), name


def benches(kinds: Iterable[TaskKind] = get_args(TaskKind)) -> Iterator[Any]:
    """Each learner that trains on each kind of task, on a small network."""
    catalog = load_catalog()
    for spec in catalog.learners.values():
        for kind in kinds if spec.trains else ():
            if kind in spec.kinds:
                bench = Bench(spec, kind, lambda: catalog, searched=spec.searches)
                yield pytest.param(bench, id=f"{spec.name}-{kind}")


@pytest.mark.parametrize("bench", [*benches()])
def test_a_small_learner_makes_the_steps_of_a_cpu(bench: Bench) -> None:
    """The loss of the first steps of each phase, and predictions, to rounding."""
    gpu = torch.device("cuda")
    own, there = bench.build(), bench.build(device=gpu)
    tasks = made_up_tasks(bench.kind, seed=9)
    expected, found = (
        predictions(learner, on(device, tasks)).cpu()
        for learner, device in ((own, torch.device("cpu")), (there, gpu))
    )
    if not bench.searched:  # rounding decides between architectures that are nearly as good
        assert (expected - found).abs().mean() < 1e-3 * expected.abs().mean() + 1e-4
    for index in range(2 * bench.n_phases):
        batch = bench.tasks(seed=index)
        wanted = own.meta_step(batch, progress=index / 10, rng=generator(index))
        logged = there.meta_step(on(gpu, batch), progress=index / 10, rng=generator(index))
        assert float(logged["loss"]) == pytest.approx(float(wanted["loss"]), rel=0.02, abs=1e-3)
    assert predictions(there, on(gpu, tasks)).isfinite().all()


WAITING = ("tadam", "tnas", "tnas++", "auto-maml")
"""A draw decides what is trained, or architectures of tasks are read."""


@pytest.mark.parametrize(
    "bench", [one for one in benches() if one.values[0].spec.name not in WAITING]
)
def test_a_step_of_a_small_learner_does_not_wait_for_the_gpu(bench: Bench) -> None:
    gpu = torch.device("cuda")
    learner = bench.build(device=gpu)
    for index in range(3 * bench.n_phases):
        tasks = on(gpu, bench.tasks(seed=index))
        torch.cuda.synchronize()
        waits = index < 2 * bench.n_phases  # algorithms are chosen and optimizers filled once
        try:
            torch.cuda.set_sync_debug_mode("default" if waits else "error")
            learner.meta_step(tasks, progress=0.5 + index / 1000, rng=generator(index))
        finally:
            torch.cuda.set_sync_debug_mode("default")


CAPTURED = [
    ("maml", "regression", False),
    ("maml", "classification", False),
    ("maml", "regression", True),
    ("maml++", "classification", False),
    ("reptile", "classification", False),
    ("reptile", "regression", True),  # MetaNAS
    ("mtnet", "regression", False),
    ("hsml", "regression", False),
    ("mumomaml", "regression", False),
    ("mnas", "regression", True),
    ("protonet", "classification", False),
    ("baseline++", "classification", False),
    ("leo", "classification", False),
]
DEVICES = [
    "cuda",
    pytest.param(
        "cuda:1",
        marks=pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device"),
    ),
]


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize(("name", "kind", "searched"), CAPTURED)
def test_a_captured_step_is_that_of_the_learner(
    catalog: Catalog, name: str, kind: TaskKind, searched: bool, where: str
) -> None:
    """Its numbers, also after the learner's state was replaced by that of a checkpoint."""
    bench = Bench(catalog.learner(name), kind, lambda: catalog, searched=searched)
    device = torch.device(where)
    own, other = bench.build(device=device), bench.build(device=device)
    said: list[str] = []
    engine = open_engine("compiled", other, device=device, say=said.append)
    for step in range(8):
        tasks = on(device, bench.tasks(seed=step))
        progress = step / 20
        wanted = own.meta_step(tasks, progress=progress, rng=generator(step))
        found = engine(tasks, progress=progress, rng=generator(step))
        assert float(found["loss"]) == pytest.approx(float(wanted["loss"]), rel=1e-3, abs=1e-4)
        if step == 4:
            for learner in (own, other):
                learner.load_state_dict(copied(learner.state_dict()))
    assert engine.name == "captured", said
    assert len(said) <= 3


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize(
    ("name", "kind"),
    [("maml", "regression"), ("maml", "classification"), ("protonet", "classification")],
)
def test_a_captured_adaptation_is_that_of_the_learner(
    catalog: Catalog, name: str, kind: TaskKind, where: str
) -> None:
    """Its predictions, also after the learner has changed its weights in place."""
    bench, device = Bench(catalog.learner(name), kind, lambda: catalog), torch.device(where)
    learner, said = bench.build(device=device), list[str]()
    adapter = open_adapter(
        "compiled",
        device=device,
        task=SHAPES[kind][0],
        size=3,
        batches=WORTH_ADAPTING,
        curve=True,
        say=said.append,
    )
    for index in range(4):
        tasks = on(device, made_up_tasks(kind, seed=index))
        wanted = learner.adapt(tasks.support, rng=generator(index)).predict(tasks.query.x)
        found = adapter(learner, tasks, rng=generator(index)).predict(tasks.query.x)
        torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-3)
        learner.meta_step(on(device, bench.tasks(seed=index)), progress=0.0, rng=generator(index))
    assert adapter.name == "captured", said


def test_a_step_that_cannot_be_captured_leaves_the_gpu_as_it_was(catalog: Catalog) -> None:
    """The steps after it are made eagerly on the stream of before, by the learner."""
    device = torch.device("cuda")
    small, other = (Waiting(device) for _ in range(2))
    said: list[str] = []
    engine = open_engine("compiled", other, device=device, say=said.append)
    stream = torch.cuda.current_stream()
    for step in range(3):
        tasks = on(device, made_up_tasks("regression", seed=step))
        wanted = small.meta_step(tasks, progress=0.0, rng=generator(step))
        found = engine(tasks, progress=0.0, rng=generator(step))
        assert float(found["loss"]) == pytest.approx(float(wanted["loss"]), rel=1e-5)
    assert engine.name == "eager"
    assert said[-1].startswith("meta-steps are made eagerly")
    assert torch.cuda.current_stream() == stream


class Waiting:
    """A learner in whose step an operator of PyTorch waits for the device, which nothing shows."""

    def __init__(self, device: torch.device) -> None:
        self.weight = torch.ones(3, 3, device=device)

    def meta_step(self, tasks: TaskBatch, *, progress: float, rng: torch.Generator) -> Any:
        # Without bounds it looks for the least and the largest element.
        self.weight.add_(torch.histc(self.weight, bins=3) * tasks.support.x.mean())
        return {"loss": self.weight.sum()}

    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        return {"weight": self.weight}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.weight = state["weight"]


def test_a_captured_run_that_is_stopped_gives_the_same_bytes(
    catalog: Catalog, tmp_path: Path
) -> None:
    (cell,) = plan(smoke("maml", "toy-regression", limit=12, meta_steps=20), catalog)

    def run(out: str, stop_at: int | None = None) -> RunExecution:
        asked = iter([False] * ((stop_at or 1) - 1) + [stop_at is not None])
        control = Control(
            emit=lambda event: None, stopped=lambda: next(asked, False), engine="compiled"
        )
        device = torch.device("cuda")
        return RunExecution(cell, catalog, out=tmp_path / out, device=device, control=control)

    whole = run("whole")
    assert whole().provenance.engine == ("captured",)
    with pytest.raises(Interrupted):
        run("cut", stop_at=9)()
    again = run("cut")
    again()
    one, other = (r.store.folder / "episodes.jsonl" for r in (whole, again))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_gpus_make_the_run_of_one(tmp_path: Path) -> None:
    found = []
    for ranks in (1, 2):
        out = tmp_path / str(ranks)
        run(
            "maml", "omniglot", budget="smoke", data="synthetic", limit=20, out=out, device="cuda",
            changes={"budget.meta_steps": 5}, ranks=ranks, on_event=lambda event: None,
        )  # fmt: skip
        (file,) = out.rglob("metrics.jsonl")
        found.append([json.loads(line) for line in file.read_text().splitlines()])
    alone, shared = found
    assert len(alone) == len(shared) >= 5
    for one, other in zip(alone, shared, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
