"""Claims on a number of each run: counts, proportions, the association with sources."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from claim_factory import N, add, claim, genotypes, judged, one
from result_factory import edit_json

from metabench.papers.claims.sentences import deciding
from metabench.stats.search_measures import wilson


def with_share(count: int) -> str:
    """A number of architectures, with the share of the tasks that have the most common one."""
    share = math.ceil(2 * N / count) / (2 * N)
    return "1" if count == 1 else f"{count} ({100 * share:.1f} % of the tasks share one)"


@pytest.mark.parametrize(
    ("counts", "verdict"), [((3, 2), "supported"), ((1, 2), "undecided"), ((1, 1), "refuted")]
)
def test_a_measure_of_every_run(tmp_path: Path, counts: tuple[int, ...], verdict: str) -> None:
    several = claim(right=[], relation="at-least", measure="genotypes", value=2)
    for seed, count in enumerate(counts):
        genotypes(add(tmp_path, "mnas", level=0.5, seed=seed), count)
    found = one(tmp_path, several)
    assert found.verdict == verdict
    first, second = map(with_share, counts)
    assert f": measured {first} with seed 0, {second} with seed 1" in deciding(found)
    assert found.said == verdict  # two seeds


def test_a_measure_that_not_every_run_has(tmp_path: Path) -> None:
    several = claim(right=[], relation="at-least", measure="genotypes", value=2)
    genotypes(add(tmp_path, "mnas", level=0.5), 2)
    add(tmp_path, "mnas", level=0.5, seed=1)
    assert one(tmp_path, several).verdict == "undecided"


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [((0.5, 0.31), "supported"), ((0.5, 0.26), "undecided"), ((0.1, 0.2), "refuted")],
)
def test_a_proportion_reaches_a_value_with_its_whole_interval(
    tmp_path: Path, shares: tuple[float, ...], verdict: str
) -> None:
    told = claim(right=[], relation="at-least", measure="embedding_probe", value=0.25)
    for seed, share in enumerate(shares):
        folder = add(tmp_path, "mnas", level=0.5, seed=seed)
        edit_json(folder / "run.json", measures={"embedding_probe": share, "embeddings": 1000})
    found = one(tmp_path, told)
    assert found.verdict == verdict
    low, high = wilson(shares[0], 1000)
    first = f"claimed at least 0.25: measured {shares[0]} [{low:.3g}, {high:.3g}] with "
    assert first in deciding(found)


def of_sources(folder: Path, *, n_of_texture: int) -> None:
    """One architecture for all tasks but the first of the source ``texture``."""
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    places = [i for i, line in enumerate(lines) if json.loads(line)["source"] == "texture"]
    other = set(places[:n_of_texture])
    rows = [
        {"index": i, "genotype": {"normal": [[0, 1, "b" if i in other else "a"]]}}
        for i in range(len(lines))
    ]
    (folder / "genotypes.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.mark.parametrize(("n_of_texture", "verdict"), [(1, "undecided"), (20, "supported")])
def test_architectures_that_go_with_sources(
    tmp_path: Path, n_of_texture: int, verdict: str
) -> None:
    """One task that deviates is two architectures, and no sign that the source has a say."""
    goes = claim(right=[], relation="at-most", measure="genotype_source_p", value=0.05)
    folder = add(tmp_path, "mnas", level=0.5)
    edit_json(folder / "run.json", measures={"genotypes": 2.0})  # a record knows nothing of it
    of_sources(folder, n_of_texture=n_of_texture)
    found = one(tmp_path, goes)
    assert found.said == f"{verdict} (one seed)"
    assert "Cramér's V" in deciding(found)
    assert "1,999 permutations of the sources, n = 80 episodes" in deciding(found)
    (folder / "genotypes.jsonl").unlink()
    assert "not every run has the measure genotype_source_p" in deciding(one(tmp_path, goes))


def test_at_most_a_value(tmp_path: Path) -> None:
    genotypes(add(tmp_path, "mnas", level=0.5), 3)
    few, one_only = (
        claim(id=f"n{n}", right=[], relation="at-most", measure="genotypes", value=n)
        for n in (3, 1)
    )
    assert [f.verdict for f in judged(tmp_path, few, one_only)] == ["supported", "refuted"]
