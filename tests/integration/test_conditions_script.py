"""``benchmarks/conditions.py``: captions of the committed tables say what the records say."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metabench.reports.tables import Report
from metabench.results.reading import Results

ROOT = Path(__file__).parents[2]
STUDIES = sorted(path.name for path in (ROOT / "results").iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("conditions", ROOT / "benchmarks/conditions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("study", STUDIES)
def test_what_a_caption_calls_equal_is_equal(
    study: str, script: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(script.check(ROOT / "results" / study)) == []
    assert "inner steps at test" in capsys.readouterr().out


def test_a_false_caption_is_found(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = script.build_report

    def with_false_captions(results: Results) -> Report:
        report = original(results)
        caption = (
            "Inner steps at test: 7. "
            "Training conditions of all trained rows: inner optimizer: LAMB. "
            "The numbers of weights differ by up to 9.0 times."
        )
        tables = tuple(
            replace(table, facts=(caption.replace("Inner", "inner", 1),)) for table in report.tables
        )
        return replace(report, tables=tables)

    monkeypatch.setattr(script, "build_report", with_false_captions)
    found = " ".join(script.check(ROOT / "results" / "omniglot-lite"))
    assert "inner steps at test 7" in found
    assert "inner optimizer LAMB" in found
    assert "weights differ" in found
    assert "training episodes are" in found
