"""A paper's table from our runs, and its price, from Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import metabench
from metabench.errors import DataError, UsageError

SHORT = {"budget": "smoke", "limit": 2, "changes": {"budget.meta_steps": 2}}
KEY = "m-nas/table-1"


def test_a_row_is_made_once_and_shown_beside_the_paper(tmp_path: Path) -> None:
    first = metabench.reproduce(f"{KEY}:maml", out=tmp_path, on_event=lambda event: None, **SHORT)
    assert [outcome.status for outcome in first.runs.outcomes] == ["done"]
    text = str(first)
    assert "MAML" in text
    assert "2.210" in text
    assert first.left_out == ()
    assert first.claims is not None
    said: list[str] = []
    again = metabench.reproduce(
        KEY, row="MAML", out=tmp_path, on_event=lambda event: said.append(event.text), **SHORT
    )
    assert "was done already" in said
    assert str(again) == text
    found = metabench.price(paper=KEY, row="MAML", out=tmp_path, **SHORT)
    assert found.seconds == 0
    assert found.to_frame()["done"].tolist() == [True]


def test_the_price_of_runs_that_nobody_measured_is_not_known(tmp_path: Path) -> None:
    found = metabench.price(["maml", "mnas"], "toy-regression", budget="smoke", out=tmp_path)
    assert found.seconds is None
    assert "The time of 2 runs is not known." in str(found)
    assert "maml" in found._repr_html_()
    assert not list(tmp_path.iterdir())


def test_a_price_is_of_runs_or_of_a_table() -> None:
    with pytest.raises(UsageError, match="of learners on suites, or that of a paper's table"):
        metabench.price()
    with pytest.raises(UsageError, match="of learners on suites, or that of a paper's table"):
        metabench.price("maml", "toy-regression", paper=KEY)


def test_a_table_without_its_data_is_refused_and_priced(tmp_path: Path, data_root: Path) -> None:
    with pytest.raises(DataError, match="The data of all runs is missing") as error:
        metabench.reproduce("metanas/table-1", row="reptile", out=tmp_path)
    assert "metabench data fetch omniglot" in error.value.hint
    found = metabench.price(paper="metanas/table-1", row="reptile", out=tmp_path)
    assert len(found.price.lacking) == 2
