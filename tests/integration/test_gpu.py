"""The same runs on a CUDA device: same episodes, same curves up to float32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from metabench.catalog import Catalog, load_catalog
from metabench.engine import Control
from metabench.planning import RunRequest, plan
from metabench.running import Run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def episodes(request: RunRequest, catalog: Catalog, out: Path, device: str) -> list[dict[str, Any]]:
    (cell,) = plan(request, catalog)
    control = Control(emit=lambda event: None, stopped=lambda: False)
    run = Run(cell, catalog, out=out / device, device=torch.device(device), control=control)
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
    request = RunRequest(
        learners=(learner,),
        suite=suite,
        budget="smoke",
        data="synthetic",
        limit=12,
        changes={"budget": {"meta_steps": 0}, "protocol": {"normalization": normalization}},
    )
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
        request = RunRequest(
            learners=(learner,),
            suite=suite,
            budget="smoke",
            data="synthetic",
            limit=50,
            changes={"budget": {"meta_steps": meta_steps}},
        )
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
    request = RunRequest(
        learners=(learner,),
        suite=suite,
        budget="smoke",
        data="synthetic",
        limit=2,
        changes={"budget": {"meta_steps": 4}},
    )
    cpu, gpu = (episodes(request, catalog, tmp_path, device) for device in ("cpu", "cuda"))
    assert [e["key"] for e in cpu] == [e["key"] for e in gpu]
    scores = torch.tensor([[e["score"] for e in found] for found in (cpu, gpu)])
    assert scores.isfinite().all()
    if suite == "toy-regression":  # four steps are too few for rounding to grow
        assert torch.allclose(scores[0], scores[1], rtol=0.05)
