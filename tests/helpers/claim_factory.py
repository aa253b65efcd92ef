"""Claims and runs for tests: scores are levels, so that every difference is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from result_factory import make_spec, write_run

from metabench.papers.claims import Claim, ClaimFile, ClaimResult, evaluate
from metabench.results.reading import read_runs

N = 40
"""Episodes of each of two sources."""


def claim(**changes: Any) -> Claim:
    values = {
        "id": "one",
        "sentence": "The left is better.",
        "citation": "Table 1",
        "suite": "multidataset",
        "setting": "5w1s",
        "left": ["mnas"],
        "relation": "better",
        "right": ["maml"],
    }
    return Claim.model_validate({**values, **changes})


def add(out: Path, learner: str, *, level: float, noise: float = 0.0, **changes: Any) -> Path:
    """A run whose scores are ``level`` plus the episode's hardness plus plus-minus ``noise``.

    Episodes alternate between two sources, so ``+`` and ``-`` come in twos.
    """
    stamps = changes.pop("stamps", ())
    spec = make_spec(learner, episodes=N, **changes)
    signs = [1 if i % 4 < 2 else -1 for i in range(2 * N)]
    scores = [level + 0.01 * (i % 8) + noise * sign for i, sign in enumerate(signs)]
    return write_run(out, spec, scores, stamps=stamps)


def judged(out: Path, *claims: Claim) -> list[ClaimResult]:
    return evaluate([ClaimFile(paper="P", claims=claims or (claim(),))], read_runs(out).runs)


def one(out: Path, *claims: Claim) -> ClaimResult:
    (found,) = judged(out, *claims)
    return found


def genotypes(folder: Path, n_different: int) -> None:
    lines = [
        json.dumps({"index": i, "genotype": {"normal": [[0, 1, f"op{i % n_different}"]]}})
        for i in range(2 * N)
    ]
    (folder / "genotypes.jsonl").write_text("".join(f"{line}\n" for line in lines))
