"""Makes small folders of searches for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from result_factory import make_spec, write_run

from metabench.planning.plan import RunRequest, plan
from metabench.planning.runspec import Choice
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.genotype import Genotype
from metabench.results.store import RunStore
from metabench.running.loops import Control
from metabench.running.run import RunExecution

A: dict[str, Any] = {"cell": [[0, 2, "skip"], [1, 2, "linear"]]}
B: dict[str, Any] = {"cell": [[0, 2, "skip"], [1, 2, "skip"]]}


def write_search(
    out: Path,
    genotypes: list[dict[str, Any]],
    *,
    learner: str = "mnas",
    seed: int = 0,
    embedded: int = 0,
    own: list[dict[str, Any]] | None = None,
) -> Path:
    """A run of two sources that take turns, with as many episodes as genotypes."""
    spec = make_spec(
        learner,
        seed=seed,
        episodes=len(genotypes) // 2,
        strategy=Choice(name="darts", version=1),
    )
    folder = write_run(out, spec)
    store, rng = RunStore(folder), np.random.default_rng(seed)
    store.append_genotypes(
        0,
        [Genotype.from_json(g) for g in genotypes],
        own=None if own is None else [Genotype.from_json(g) for g in own],
    )
    shift = np.arange(embedded)[:, None] % 2 * 4.0
    store.append_embeddings(0, (rng.normal(size=(embedded, 3)) + shift).round(3).tolist())
    sizes = [10 if g == A else 7 for g in genotypes]
    path = folder / "episodes.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    texts = [json.dumps({**line, "n_params": n}) for line, n in zip(lines, sizes, strict=True)]
    path.write_text("".join(f"{text}\n" for text in texts))
    return folder


def run_search(out: Path, catalog: Catalog) -> Path:
    """MetaNAS on the toy cell, hardly trained, with its checkpoint: stamped smoke and custom."""
    request = RunRequest(
        learners=("metanas",),
        suite="toy-regression",
        budget="smoke",
        space="toy-cell",
        strategy="soft-pruning",
        changes={
            "budget": {"meta_steps": 2, "meta_batch": 1},
            "protocol": {"episodes": 3},
            "learner": {"test_steps_arch": 4, "test_steps": 1},
        },
    )
    return run_all(request, catalog, out)


def run_all(request: RunRequest, catalog: Catalog, out: Path) -> Path:
    """Make every run of a request on the CPU."""
    control = Control(emit=lambda event: None, stopped=lambda: False)
    for made in plan(request, catalog):
        RunExecution(made, catalog, out=out, device=torch.device("cpu"), control=control)()
    return out
