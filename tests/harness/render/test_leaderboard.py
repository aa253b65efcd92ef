"""The site of a leaderboard: versions apart, entries and stamps visible, equal bytes."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest
from browser import CHROMIUM, open_tab
from result_factory import PROVENANCE, edit_json, make_spec, write_run

from metabench.errors import UsageError
from metabench.render.leaderboard import render_site
from metabench.reports.entries import Submission, entry_text, make_entry
from metabench.reports.entry_checks import submission_of
from metabench.results.reading import read_runs

INDEX, JSON = PurePosixPath("index.html"), PurePosixPath("leaderboard.json")


def write(folder: Path, learner: str, score: float, *stamps: str, version: int = 1) -> Path:
    spec = make_spec(learner, suite_version=version)
    scores = [score, score, score - 0.1, score + 0.1]
    code = {"harness": "metabench 0.1.0 dddd", "learner x": "other 1 eeee"}
    made_with = PROVENANCE.model_copy(update={"git": "abc123-dirty", "code": code})
    write_run(folder, spec, scores, stamps=stamps, provenance=made_with)
    return folder


def submitted(folder: Path) -> Submission:
    return Submission(None, folder, read_runs(folder))


def test_versions_of_a_suite_have_pages_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, "maml", 0.5)
    write(tmp_path, "maml", 0.6, version=2)
    site = render_site([submitted(tmp_path)], title="Board")
    pages = {path.as_posix() for path in site}
    assert pages == {
        "index.html",
        "leaderboard.json",
        "multidataset-v1/index.html",
        "multidataset-v2/index.html",
    }
    index = site[INDEX]
    assert index.index("multidataset, version 2") < index.index("multidataset, version 1")
    for version, own, other in ((1, "50.00", "60.00"), (2, "60.00", "50.00")):
        text = site[Path(f"multidataset-v{version}/index.html")]
        assert own in text
        assert other not in text


def test_stamped_rows_stand_below_better_or_not(tmp_path: Path) -> None:
    write(tmp_path, "maml", 0.9, "subset")
    write(tmp_path, "reptile", 0.4)
    write(tmp_path, "anil", 0.6)
    site = render_site([submitted(tmp_path)], title="Board")
    rows = json.loads(site[JSON])["rows"]
    assert [row["learner"] for row in rows] == ["anil", "reptile", "maml"]
    assert '<span class="stamp">subset</span>' in site[INDEX]


def test_the_code_of_a_row_says_whether_it_was_changed(tmp_path: Path) -> None:
    write(tmp_path, "maml", 0.5)
    (row,) = json.loads(render_site([submitted(tmp_path)], title="Board")[JSON])["rows"]
    (code,) = row["code"]
    assert "revision abc123 with changes" in code
    assert "code metabench 0.1.0 dddd, other 1 eeee" in code


def test_an_entry_names_its_submitter_and_escapes_what_it_says(tmp_path: Path) -> None:
    folder = write(tmp_path / "R", "maml", 0.5)
    file = tmp_path / "doe.yaml"
    made = make_entry(folder, file=file, submitter="<b>Doe</b>", link="https://example.org/?a&b")
    file.write_text(entry_text(made))
    index = render_site([submission_of(file)], title="<Board>")[INDEX]
    assert "&lt;b&gt;Doe&lt;/b&gt;" in index
    assert 'href="https://example.org/?a&amp;b"' in index
    assert "<Board>" not in index
    assert made.digest in index


def test_a_run_of_two_folders_counts_once(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, "maml", 0.5) for name in ("a", "b")]
    site = render_site([submitted(folder) for folder in folders], title="Board")
    assert len(json.loads(site[JSON])["rows"]) == 1
    assert "the same run is also of a" in site[INDEX]


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    folder = write(write(tmp_path, "maml", 0.5), "reptile", 0.6)
    assert render_site([submitted(folder)], title="B") == render_site(
        [submitted(folder)], title="B"
    )


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_axe_finds_nothing_on_the_index(tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_core_python", reason="no axe: pip install axe-core-python")
    rules = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    folder = write(write(tmp_path / "R", "maml", 0.5), "reptile", 0.6, "subset")
    index = tmp_path / "index.html"
    index.write_text(render_site([submitted(folder)], title="Board")[INDEX], encoding="utf-8")
    with open_tab(tmp_path / "profile") as tab:
        for scheme, size in (("light", (1440, 900)), ("dark", (390, 844))):
            tab.resize(*size)
            tab.prefer(scheme)
            tab.open(index.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") == size[0]
            tab.evaluate(f"{rules};1")
            broken = "axe.run(document).then(found => found.violations.map(rule => rule.id))"
            assert tab.evaluate(broken) == []


def test_a_row_names_every_folder_that_its_seeds_are_from(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        write_run(tmp_path / name, make_spec(seed=seed))
    site = render_site([submitted(tmp_path / name) for name in "ab"], title="Board")
    (row,) = json.loads(site[JSON])["rows"]
    assert (row["seeds"], row["entry"]) == ([0, 1], "a, b")
    assert '<td><a href="#entry-a">a</a>, <a href="#entry-b">b</a></td>' in site[INDEX]


def test_seeds_that_share_no_episode_make_no_row(tmp_path: Path) -> None:
    for seed in (0, 1):
        path = write_run(tmp_path, make_spec(seed=seed)) / "episodes.jsonl"
        rows = path.read_text().splitlines(keepends=True)
        path.write_text("".join(rows[4 * seed : 4 * seed + 4]))
    site = render_site([submitted(tmp_path)], title="Board")
    assert json.loads(site[JSON])["rows"] == []


@pytest.mark.parametrize("suite", ["../../elsewhere", "/elsewhere", "a/b", "", "Suite", "a\n"])
def test_no_name_in_a_record_leads_out_of_the_site(tmp_path: Path, suite: str) -> None:
    folder = write_run(tmp_path / "a", make_spec())
    spec = make_spec(suite=suite).model_dump(mode="json")
    edit_json(folder / "run.json", spec=spec, run_id=make_spec(suite=suite).run_id)
    write(tmp_path / "a", "reptile", 0.5)
    site = render_site([submitted(tmp_path / "a")], title="Board")
    pages = {path.as_posix() for path in site}
    assert pages == {"index.html", "leaderboard.json", "multidataset-v1/index.html"}
    assert "is no name of a suite" in site[INDEX]


def test_submissions_of_one_name_are_refused(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        write_run(tmp_path / name / "results", make_spec(seed=seed))
    both = [submitted(tmp_path / name / "results") for name in "ab"]
    with pytest.raises(UsageError, match="2 entries or folders are called results"):
        render_site(both, title="Board")


def test_every_interval_says_what_it_is_over(tmp_path: Path) -> None:
    write(tmp_path, "maml", 0.5)
    for seed in (0, 1):
        write_run(tmp_path, make_spec("anil", seed=seed), [0.4 + 0.1 * seed, 0.2] * 4)
    site = render_site([submitted(tmp_path)], title="Board")
    rows = json.loads(site[JSON])["rows"]
    assert {row["learner"]: row["interval"] for row in rows} == {
        "anil": "over seeds",
        "maml": "over episodes",
    }
    assert "<td>over seeds</td>" in site[INDEX]
    assert "half-width\nof a 95 % interval" in site[INDEX]
