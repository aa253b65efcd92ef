"""``results/README.md``: scores and training times in it are those of the records."""

from __future__ import annotations

import re

import pytest
from committed_studies import RESULTS, report_of, runs_of

from metabench.render import Format, render

TEXT = (RESULTS / "README.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `([^`]+)`\n(.+?)(?=^## )", TEXT, flags=re.M | re.S))
TIMES = re.findall(r"^\| `(.+?)` .* (\d+) to (\d+) min training each", TEXT, flags=re.M)


@pytest.mark.parametrize("study", SECTIONS)
def test_each_score_with_two_digits_is_one_of_the_report(study: str) -> None:
    """Papers print one digit where this page quotes them with a half-width."""
    written = set(re.findall(r"\d+\.\d\d ± \d+\.\d\d", SECTIONS[study]))
    assert written
    assert {score for score in written if score not in render(report_of(study), Format.md)} == set()


@pytest.mark.parametrize(("study", "least", "most"), TIMES)
def test_the_range_of_training_times_is_that_of_the_runs(study: str, least: str, most: str) -> None:
    seconds = [run.record.train_seconds for run in runs_of(study).runs]
    minutes = [one / 60 for one in seconds if one]
    assert min(minutes) == pytest.approx(int(least), abs=1)
    assert max(minutes) == pytest.approx(int(most), abs=1)
