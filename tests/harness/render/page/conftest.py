"""A folder of results as a page in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Tab, open_tab
from result_factory import make_spec, write_run

from metabench.plugin.catalog import load_catalog
from metabench.render.page import read_page
from metabench.render.page.html import render_page

HOSTILE = "<script>alert(1)</script>"
MEANS = {"maml": 2.0, "hsml": 10.5, "mnas": 1.25, HOSTILE: 9.0}


@pytest.fixture(scope="package")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few learners on two suites, with curves, stamps, searched cells and a name to fear."""
    out = tmp_path_factory.mktemp("browser")
    genotype = {"normal": [[0, 2, "conv_3x3"], [1, 2, "skip"]]}
    for learner, mean in MEANS.items():
        spec = make_spec(
            learner,
            suite="toy-regression",
            setting="10-shot",
            metric="mse",
            budget="paper",
            sources=("sine", "line"),
            episodes=40,
        )
        scores = [mean + (i % 7 - 3) / 10 for i in range(80)]
        stamps = ("lite",) if learner == "hsml" else ()
        run = write_run(out / "toy", spec, scores, stamps=stamps, transductive=False)
        points = [{"step": step, "loss": mean * 10.0 / step} for step in range(1, 40)]
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(p)}\n" for p in points))
        if learner == "mnas":
            lines = [{"index": i, "genotype": genotype} for i in range(5)]
            (run / "genotypes.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))
    for learner in ("maml", "reptile"):
        spec = make_spec(learner, suite="omniglot", sources=("omniglot",), episodes=40)
        write_run(out / "o", spec, [(i % 3) / 2 for i in range(40)], stamps=("lite", "subset"))
    return out


@pytest.fixture(scope="package")
def page(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "report.html"
    text = render_page(read_page(results, load_catalog(), paper=None)[1])
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="package")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_tab(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def opened(tab: Tab, page: Path) -> Iterator[Tab]:
    """The page at desktop width; nothing may complain or go to the network."""
    tab.resize(1280, 900)
    tab.prefer("light")
    tab.complaints.clear()
    tab.open(page.as_uri())
    yield tab
    asked = [url for url in tab.requests if not url.startswith(("data:", "blob:"))]
    assert {url.partition("?")[0] for url in asked} == {page.as_uri()}
    assert tab.complaints == []
