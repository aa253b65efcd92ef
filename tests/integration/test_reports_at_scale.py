"""Reports of many runs: what is done is counted, and grows with the runs, not faster."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from result_factory import make_spec, write_run

from metabench.plugin.catalog import Catalog
from metabench.render import Format, render
from metabench.render.page import pictures, read_page
from metabench.render.page.html import render_page
from metabench.reports.build import build_report
from metabench.results import cache, episode_columns, reading
from metabench.results.reading import read_runs

pytestmark = pytest.mark.slow

LEARNERS = ("maml", "reptile", "mnas", "protonet")
SEEDS = 5
EPISODES = 40
BYTES_PER_RUN = 6_000
"""Of a page, with its part of a row, of two lines of a figure of 100 points, and of its command."""


def write_runs(root: Path, n: int) -> Path:
    """n runs: settings of four learners with five seeds each, with curves and architectures."""
    rng = np.random.default_rng(0)
    for i in range(n):
        setting, rest = divmod(i, len(LEARNERS) * SEEDS)
        learner, seed = LEARNERS[rest // SEEDS], rest % SEEDS
        spec = make_spec(learner, setting=f"setting-{setting}", seed=seed, episodes=EPISODES)
        folder = write_run(root, spec, rng.integers(0, 6, 2 * EPISODES).__truediv__(5).tolist())
        points = [{"step": 10 * k, "loss": float(rng.random())} for k in range(100)]
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(p)}\n" for p in points))
        if learner == "mnas":
            genotype = {"normal": [[0, 1, str(rng.choice(["skip", "linear"]))]]}
            lines = [{"genotype": genotype, "index": k} for k in range(2 * EPISODES)]
            (folder / "genotypes.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))
    return root


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counter[str]:
    """How often files were parsed, records read and figures drawn, with an empty cache."""
    monkeypatch.setenv("METABENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_SETTLED_NS", -(10**12))
    found: Counter[str] = Counter()
    for module, name in (
        (episode_columns, "_alike"),
        (reading, "read_record"),
        (pictures, "_picture"),
    ):
        monkeypatch.setattr(module, name, counting(found, name, getattr(module, name)))
    return found


def counting(found: Counter[str], name: str, function):
    def counted(*arguments, **more):
        found[name] += 1
        return function(*arguments, **more)

    return counted


def test_a_table_of_80_runs_parses_each_file_once_and_none_again(tmp_path, counts):
    root = write_runs(tmp_path / "runs", 80)
    results = read_runs(root)
    cold = render(build_report(results), Format.md)
    assert counts == {"_alike": 80, "read_record": 80}
    assert len({id(run.episodes.key) for run in results.runs}) == 4  # one for each setting
    assert len({id(run.episodes.index) for run in results.runs}) == 4
    assert render(build_report(read_runs(root)), Format.md) == cold
    assert counts == {"_alike": 80, "read_record": 160}


def test_a_page_grows_with_its_runs_and_is_drawn_once(tmp_path, counts, catalog: Catalog):
    sizes = {}
    for n in (40, 80):
        root = write_runs(tmp_path / f"runs-{n}", n)
        counts.clear()
        page = render_page(read_page(root, catalog, paper=None)[1])
        assert counts["read_record"] == counts["_alike"] == n
        assert counts["_picture"] == 5 * n / 20  # curves, ranks, cell, genotypes, sizes
        sizes[n] = len(page)
        again = render_page(read_page(root, catalog, paper=None)[1])
        assert again == page
        assert counts == {"_alike": n, "read_record": 2 * n, "_picture": 5 * n / 20}
    assert 0 < sizes[80] - sizes[40] < 40 * BYTES_PER_RUN
    assert sizes[80] < 2 * sizes[40]
