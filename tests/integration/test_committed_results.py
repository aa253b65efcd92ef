"""The records under ``results/``: what is written about them is what they say."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import pytest
from committed_studies import RESULTS, STUDIES, papers_of, report_of, runs_of
from latex_documents import GEOMETRIES, misfits

import metabench
from metabench.papers.claims import ClaimResult, PairResult, evaluate, load_claims
from metabench.papers.reference_files import find_reference
from metabench.papers.report import build_paper_report
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.render import Format, as_tex, render
from metabench.render.page import Page, read_page
from metabench.render.page.html import render_page
from metabench.render.print_names import print_names
from metabench.reports.build import build_report
from metabench.results.metrics import number
from metabench.results.reading import Results

TABLE_1 = RESULTS / "m-nas-table-1"
VERDICTS = {
    "m-nas-table-1": {
        "m-nas-modulation": "supported (one seed)",
        "m-nas-modulation-tree": "undecided",
        "m-nas-searched-average": "refuted (one seed)",
        "m-nas-searched-harmonics": "undecided (one seed)",
        "m-nas-searched-extrapolates": "refuted (one seed)",
        "m-nas-per-task": "undecided (one seed)",
        "m-nas-near-maml": "supported (one seed)",
        "m-nas-genotypes": "supported (one seed)",
        "m-nas-genotypes-by-source": "supported (one seed)",
    },
    "toy-guarded": {
        "m-nas-modulation": "supported [medium]",
        "m-nas-modulation-tree": "undecided",
        "m-nas-searched-average": "undecided [medium]",
        "m-nas-searched-harmonics": "undecided [medium]",
        "m-nas-searched-extrapolates": "undecided [medium]",
        "m-nas-per-task": "undecided [medium]",
        "m-nas-near-maml": "undecided [medium]",
        "m-nas-genotypes": "supported [medium]",
        "m-nas-genotypes-by-source": "supported [medium]",
    },
    "cifar10-pruning-lite": {
        "metanas-pruning-none": "refuted (one seed) [lite, subset]",
        "metanas-pruning-operations": "supported (one seed) [lite, subset]",
        "metanas-pruning-both": "refuted (one seed) [lite, subset]",
    },
    "four-domains-search": {
        "m-nas-four-domains": "undecided [search, substitute]",
        "m-nas-four-domains-modulation": "undecided [search, substitute]",
        "m-nas-four-domains-shared": "supported [search, substitute]",
        "m-nas-genotypes-images": "refuted [search, substitute]",
        "m-nas-genotypes-images-by-source": "undecided [search, substitute]",
        "m-nas-embeddings": "refuted [search, substitute]",
        "m-nas-embeddings-probe": "supported [search, substitute]",
    },
    "four-domains-twice": {
        "m-nas-four-domains": "undecided [search, custom, substitute]",
        "m-nas-four-domains-modulation": "undecided",
        "m-nas-four-domains-shared": "undecided",
        "m-nas-genotypes-images": "undecided [search, custom, substitute]",
        "m-nas-genotypes-images-by-source": "undecided [search, custom, substitute]",
        "m-nas-embeddings": "undecided",
        "m-nas-embeddings-probe": "undecided",
    },
    "miniimagenet-lite": {
        "protonet-above-maml": "undecided (one seed) [lite, subset]",
        "ridge-above-maml": "supported (one seed) [lite, subset]",
        "m-nas-miniimagenet": "undecided",
    },
    "omniglot-search": {
        "metanas-reptile-omniglot": "supported [search]",
        "metanas-alone-reptile-omniglot": "supported [search]",
        "metanas-auto-meta-omniglot": "supported [search]",
        "metanas-auto-meta-slightly-omniglot": "refuted [search]",
    },
}
"""What the records say of every claim about them, by study."""
QUOTED = [
    (
        "m-nas-table-1",
        "m-nas-modulation",
        ("hsml-notree", "maml"),
        "1.251 [1.161, 1.341]",
    ),
    ("m-nas-table-1", "m-nas-modulation", ("mnas", "maml"), "1.241 [1.155, 1.327]"),
    ("m-nas-table-1", "m-nas-modulation", ("mnas", "mnas-nm"), "0.323 [0.290, 0.356]"),
    ("m-nas-table-1", "m-nas-modulation", ("hsml-notree", "mnas-nm"), "0.333 [0.297, 0.369]"),
    ("m-nas-table-1", "m-nas-searched-average", ("mumomaml", "mnas"), "0.034 [0.010, 0.058]"),
    (
        "m-nas-table-1",
        "m-nas-searched-average",
        ("mnas-shared", "hsml-notree"),
        "0.034 [0.010, 0.058]",
    ),
    (
        "m-nas-table-1",
        "m-nas-searched-average",
        ("mnas-shared", "mumomaml"),
        "0.010 [-0.014, 0.035]",
    ),
    ("m-nas-table-1", "m-nas-per-task", ("mnas-shared", "mnas"), "0.044 [0.025, 0.063]"),
    ("m-nas-table-1", "m-nas-searched-extrapolates", ("mumomaml", "mnas"), "0.525 [0.340, 0.710]"),
    (
        "m-nas-table-1",
        "m-nas-searched-extrapolates",
        ("hsml-notree", "mnas"),
        "0.506 [0.333, 0.678]",
    ),
    ("m-nas-table-1", "m-nas-near-maml", ("maml", "mtnet"), "0.330 [0.284, 0.375]"),
    ("m-nas-table-1", "m-nas-near-maml", ("maml", "bmaml"), "0.189 [0.146, 0.232]"),
    ("toy-guarded", "m-nas-modulation", ("mnas", "maml"), "1.106 [1.012, 1.200]"),
    ("toy-guarded", "m-nas-modulation", ("hsml-notree", "maml"), "1.099 [1.005, 1.193]"),
    ("toy-guarded", "m-nas-modulation", ("mnas", "mnas-nm"), "0.607 [0.464, 0.751]"),
    ("toy-guarded", "m-nas-searched-average", ("mnas", "hsml-notree"), "0.007 [-0.065, 0.079]"),
    (
        "toy-guarded",
        "m-nas-searched-average",
        ("mnas-shared", "hsml-notree"),
        "0.038 [-0.148, 0.224]",
    ),
    ("toy-guarded", "m-nas-searched-average", ("mumomaml", "mnas"), "0.025 [-0.046, 0.096]"),
    (
        "toy-guarded",
        "m-nas-searched-average",
        ("mnas-shared", "mumomaml"),
        "0.006 [-0.174, 0.187]",
    ),
    ("toy-guarded", "m-nas-per-task", ("mnas-shared", "mnas"), "0.031 [-0.062, 0.125]"),
    ("toy-guarded", "m-nas-near-maml", ("bmaml", "maml"), "0.047 [-0.233, 0.328]"),
    ("toy-guarded", "m-nas-near-maml", ("maml", "mtnet"), "0.256 [0.090, 0.423]"),
    ("toy-guarded", "m-nas-modulation", ("hsml-notree", "mnas-nm"), "0.600 [0.484, 0.716]"),
    ("four-domains-search", "m-nas-four-domains", ("mnas", "mtnet"), "23.60 [8.92, 38.28]"),
    (
        "four-domains-search",
        "m-nas-four-domains-modulation",
        ("mnas-nm", "mnas"),
        "0.70 [-1.69, 3.09]",
    ),
    (
        "four-domains-search",
        "m-nas-four-domains-shared",
        ("mnas-shared", "mnas"),
        "2.64 [-0.00, 5.29]",
    ),
    ("four-domains-twice", "m-nas-four-domains", ("mnas", "mtnet"), "20.03 [10.62, 29.44]"),
    ("four-domains-twice", "m-nas-four-domains", ("mnas", "mumomaml"), "12.17 [2.78, 21.56]"),
    (
        "cifar10-pruning-lite",
        "metanas-pruning-both",
        ("headline", "one-shot"),
        "14.62 [13.54, 15.70]",
    ),
    (
        "cifar10-pruning-lite",
        "metanas-pruning-operations",
        ("one-shot", "pruned"),
        "1.09 [0.19, 1.99]",
    ),
    ("miniimagenet-lite", "ridge-above-maml", ("metaoptnet-ridge", "maml"), "9.90 [8.34, 11.46]"),
    ("miniimagenet-lite", "protonet-above-maml", ("protonet", "maml"), "1.32 [-0.14, 2.78]"),
    (
        "omniglot-search",
        "metanas-alone-reptile-omniglot",
        ("metanas", "reptile"),
        "4.40 [0.24, 8.56]",
    ),
    (
        "omniglot-search",
        "metanas-reptile-omniglot",
        ("auto-meta", "reptile"),
        "30.44 [25.69, 35.20]",
    ),
    (
        "omniglot-search",
        "metanas-auto-meta-omniglot",
        ("auto-meta", "metanas"),
        "26.04 [22.30, 29.78]",
    ),
]
"""Intervals that stand in a README: study, claim, the better learner and the other."""


@cache
def page_of(study: str) -> Page:
    return read_page(RESULTS / study, load_catalog(), paper=None)[1]


@pytest.fixture(scope="module")
def table_1() -> Results:
    return runs_of(TABLE_1.name)


@STUDIES
def test_every_committed_run_is_counted(study: str) -> None:
    runs = runs_of(study).runs
    assert runs
    for run in runs:
        spec = run.record.spec
        assert len(run.episodes) == spec.protocol.episodes * len(spec.sources)


@STUDIES
def test_every_study_is_written_in_every_format(study: str) -> None:
    report = report_of(study)
    learners = {run.record.spec.learner.name for run in runs_of(study).runs}
    texts = {str(format): render(report, format) for format in Format if format is not Format.html}
    texts["html"] = render_page(page_of(study))
    for format, text in texts.items():
        assert {name for name in learners if name not in text} == set(), format


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("paper", GEOMETRIES)
@STUDIES
def test_the_latex_of_every_study_fits_in_papers(study: str, paper: str, tmp_path: Path) -> None:
    geometry, names = GEOMETRIES[paper], print_names(load_catalog())
    tables = [
        as_tex.render(report, names=names, width=width)
        for report in (report_of(study), *papers_of(study))
        for width in geometry.widths
    ]
    assert len(tables) >= 2 * len(geometry.widths)  # a paper's table too
    assert misfits(tmp_path, tables, geometry) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_latex_of_all_studies_side_by_side_fits(tmp_path: Path) -> None:
    studies = ("miniimagenet-lite", "omniglot-lite", "omniglot-search", "four-domains-search")
    together = Results(tuple(run for study in studies for run in runs_of(study).runs), (), ())
    text = as_tex.render(build_report(together), names=print_names(load_catalog()))
    assert r"\multicolumn{6}{c}{Four domains} & \multicolumn{2}{c@{}}{Omniglot}" in text
    assert misfits(tmp_path, [text], GEOMETRIES["article"]) == []


@STUDIES
def test_the_page_of_every_study_has_all_its_figures(study: str) -> None:
    pictures = page_of(study).pictures
    assert pictures
    assert [picture.notes for picture in pictures if not picture.svg] == []


def test_the_written_table_is_the_rendered_one(catalog: Catalog, table_1: Results) -> None:
    reference = find_reference(catalog, "m-nas/table-1")
    rendered = render(build_paper_report(table_1, reference), Format.md)
    assert (TABLE_1 / "README.md").read_text(encoding="utf-8").endswith(rendered)


def test_the_rates_of_maml_are_those_of_the_tuning() -> None:
    """The scores of the trials, and how the chosen rate compares at the paper's length."""
    folder = RESULTS / "toy-maml-rate"
    text = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
    (study,) = json.loads((folder / "tuning" / "tuning.json").read_bytes())["studies"]
    assert len(study["trials"]) == 4
    for trial in study["trials"]:
        (rate,) = trial["values"].values()
        assert f"| {rate:g} | {trial['score']:.3f} ± {trial['half_width']:.3f} |" in text
    (chosen,) = folder.glob("*/maml/*")
    (usual,) = TABLE_1.glob("*/maml/*")
    found = metabench.compare(str(usual), str(chosen)).to_frame().set_index("column")
    for column in ("average", "harmonics"):
        row = found.loc[column]
        quoted = f"{row['difference']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        assert f"on {column} by {quoted}" in text


@pytest.mark.parametrize(
    ("study", "left", "right", "quoted"),
    [
        ("four-domains-resnet12", "metaoptnet", "leo", "by 2.06 [0.34, 3.78] points"),
        ("four-domains-resnet12", "leo", "protonet", "by 5.38 [3.63, 7.12]"),
        ("four-domains-resnet12", "protonet", "tadam", "by 7.82 [2.32, 13.31]"),
        ("four-domains-twice", "protonet", "mnas", "by 3.11 [1.33, 4.88] points"),
        ("miniimagenet-lite", "r2d2", "maml", "by 8.84 [7.33, 10.35] points"),
        ("m-nas-table-1", "446a460236151aa9", "8a738c960571077e", "by 0.090 [0.072, 0.108]"),
    ],
)
def test_differences_that_are_no_claim_are_those_of_compare(
    study: str, left: str, right: str, quoted: str
) -> None:
    rows = metabench.compare(left, right, RESULTS / study).to_frame().set_index("column")
    row = rows.loc["average"] if "average" in rows.index else rows.iloc[-1]
    difference, low, high = (
        number(row[name], row["unit"]) for name in ("difference", "low", "high")
    )
    assert quoted.startswith(f"by {difference} [{low}, {high}]".replace("+", ""))
    assert quoted in " ".join(_readme(study).split())


def test_a_claim_is_about_the_rate_of_the_suite_where_another_was_tried(catalog: Catalog) -> None:
    tried = tuple(
        run
        for study in ("m-nas-table-1", "toy-maml-rate")
        for run in runs_of(study).runs
        if run.record.spec.budget == "paper"
    )
    claims = [load_claims(file) for file in catalog.claims.values()]
    (found,) = (c for c in evaluate(claims, tried) if c.claim.id == "m-nas-near-maml")
    assert found.said == VERDICTS["m-nas-table-1"]["m-nas-near-maml"]
    said = "Not used, because the suite has other parameters: maml with inner_lr=0.003."
    assert said in found.notes


@pytest.mark.parametrize(
    "study", ["toy-batch-norm", "toy-guarded", "toy-maml-rate", "toy-readings"]
)
def test_the_written_tables_of_a_study_are_the_rendered_ones(study: str) -> None:
    rendered = render(report_of(study), Format.md)
    assert (RESULTS / study / "README.md").read_text(encoding="utf-8").endswith(rendered)


@cache
def evaluations_of(study: str) -> dict[str, ClaimResult]:
    files = [load_claims(file) for file in load_catalog().claims.values()]
    return {found.claim.id: found for found in evaluate(files, runs_of(study).runs)}


@pytest.mark.parametrize("study", VERDICTS)
def test_claims_have_the_verdicts_that_the_records_give(study: str) -> None:
    found = {name: evaluation.said for name, evaluation in evaluations_of(study).items()}
    assert found == VERDICTS[study]


@pytest.mark.parametrize(
    ("left", "right", "quoted"),
    [
        ("toy-batch-norm/*/mnas/a2353429f17e4a3f", "toy-guarded/*/mnas/0970d0ed7df6af3a", "2.557"),
        (
            "toy-batch-norm/*/mnas-shared/190364e6a5ba22ed",
            "toy-guarded/*/mnas-shared/44ec77ecfbe713c8",
            "2.169",
        ),
        (
            "toy-batch-norm/*/mnas/a2353429f17e4a3f",
            "toy-batch-norm/*/mnas-shared/190364e6a5ba22ed",
            "0.394",
        ),
        (
            "toy-batch-norm/*/mnas/a2353429f17e4a3f",
            "toy-batch-norm/*/mnas/c1e4ac2acd6e7fee",
            "0.506",
        ),
    ],
)
def test_differences_between_cells_with_and_without_batch_norm_are_those_of_compare(
    left: str, right: str, quoted: str
) -> None:
    (worse,), (better,) = RESULTS.glob(left), RESULTS.glob(right)
    row = metabench.compare(str(worse), str(better)).to_frame().set_index("column").loc["average"]
    assert f"{row['difference']:.3f}" == quoted
    assert f"{quoted} [{row['low']:.3f}, {row['high']:.3f}]" in _readme("toy-batch-norm")


def _readme(study: str) -> str:
    """What is written about a study, in its own folder or beside all studies."""
    own = RESULTS / study / "README.md"
    return (own if own.exists() else RESULTS / "README.md").read_text(encoding="utf-8")


def _said(pair: PairResult, *, better: str, as_in: str) -> str:
    """The advantage of one side with its interval, with as many digits as a README has."""
    assert pair.difference is not None
    assert pair.low is not None
    assert pair.high is not None
    ends = (pair.difference.mean, pair.low, pair.high)
    if pair.right == better:
        ends = (-ends[0], -ends[2], -ends[1])
    n_digits = len(as_in.split()[0].split(".")[1])
    unit = "%" if n_digits == 2 else ""
    mean, low, high = (number(end, unit) for end in ends)
    return f"{mean} [{low}, {high}]"


@pytest.mark.parametrize(("study", "claim", "sides", "quoted"), QUOTED)
def test_an_interval_in_a_readme_is_that_of_the_claim(
    study: str, claim: str, sides: tuple[str, str], quoted: str
) -> None:
    pairs = [
        pair for pair in evaluations_of(study)[claim].pairs if {pair.left, pair.right} == set(sides)
    ]
    assert quoted in {_said(pair, better=sides[0], as_in=quoted) for pair in pairs}
    assert quoted in " ".join(_readme(study).replace("+", "").split())
