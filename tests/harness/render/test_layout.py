"""A table fits the terminal: it is wrapped, stacked or split, and no word of it is broken."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from metabench.render.layout import (
    Cell,
    Column,
    Grid,
    Screen,
    columns_of,
    lay_out,
    paint,
    without_constants,
    wrap,
)

SCORES = Grid(
    (
        Column("Learner", "key"),
        Column("Network"),
        *(Column(f"source-{i}", "number") for i in "abcd"),
    ),
    tuple(
        (
            Cell(learner),
            Cell("conv4(filters=16, head=mean)"),
            *(Cell(f"{n}{i}.25", f"± {i}.50", "*" if n == 1 else "") for i in range(4)),
        )
        for n, learner in enumerate(("maml", "reptile"))
    ),
)  # fmt: skip


def shown(width: int | None) -> list[str]:
    return lay_out(SCORES, width).splitlines()


def test_a_table_with_room_has_a_line_for_each_row() -> None:
    lines = shown(None)
    assert lines == shown(200)
    assert len(lines) == 4
    assert "10.25 ± 0.50 *" in lines[3]


def test_text_is_wrapped_at_words_first() -> None:
    lines = shown(95)
    assert [line.split()[0] for line in lines if line[0].isalpha()] == [
        "Learner",
        "maml",
        "reptile",
    ]
    assert any(line.strip() == "head=mean)" for line in lines)
    assert "10.25 ± 0.50 *" in "\n".join(lines)


def test_a_half_width_stands_below_its_mean_next() -> None:
    text = "\n".join(shown(75))
    assert "± 0.50 " in text
    assert "10.25 ± 0.50" not in text
    mean, half = (line for line in text.splitlines()[-2:])
    assert mean.index("10.25") + len("10.25") == half.index("± 0.50") + len("± 0.50")


def test_a_table_in_parts_repeats_its_key_and_has_the_numbers_first() -> None:
    parts = lay_out(SCORES, 40).split("\n\n")
    assert len(parts) > 1
    assert all(part.split()[0] == "Learner" for part in parts)
    assert "Network" in parts[-1].split()
    assert all("Network" not in part.split() for part in parts[:-1])


def test_columns_of_a_part_stay_beside_each_other() -> None:
    columns = (
        Column("Method", "key"),
        *(Column(name, "number", part) for part in ("one", "two") for name in ("ours", "paper")),
    )
    rows = tuple((Cell("maml"), *(Cell(f"1.00{i}", "± 0.100") for i in range(4))) for _ in "ab")
    parts = lay_out(Grid(columns, rows), 28).split("\n\n")
    assert [part.splitlines()[0].split() for part in parts] == [
        ["#", "Method", "ours", "paper"]
    ] * 2


def test_rows_with_equal_keys_are_numbered_in_parts() -> None:
    twice = Grid(SCORES.columns, (SCORES.rows[0], SCORES.rows[0]))
    for part in lay_out(twice, 40).split("\n\n"):
        assert [line.split()[0] for line in part.splitlines() if line[:1] in "12"] == ["1", "2"]
    assert "#" not in lay_out(twice, None)


def test_a_table_for_which_nothing_else_fits_is_a_list() -> None:
    text = lay_out(columns_of(["name", "a-long-heading"], [["x", "y"], ["z", "w"]]), 18)
    assert text == "name: x\na-long-heading: y\n\nname: z\na-long-heading: w"


words = st.text("abcdefgh=(),-", min_size=1, max_size=9)
texts = st.lists(words, min_size=1, max_size=8).map(" ".join)
numbers = st.floats(0, 9999).map(lambda value: f"{value:.3f}")


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    kinds = draw(st.lists(st.sampled_from(["text", "number"]), min_size=1, max_size=7))
    columns = [Column(draw(words), "key"), *(Column(draw(texts), kind) for kind in kinds)]  # type: ignore[arg-type]
    rows = draw(st.integers(1, 4))
    cells = [
        tuple(
            Cell(draw(numbers), f"± {draw(numbers)}", draw(st.sampled_from(["", "*", "‡"])))
            if column.kind == "number"
            else Cell(draw(texts))
            for column in columns
        )
        for _ in range(rows)
    ]
    return Grid(tuple(columns), tuple(cells))


@settings(max_examples=60)
@given(grids(), st.integers(30, 140))
def test_no_word_is_broken_and_no_line_too_wide(grid: Grid, width: int) -> None:
    text = lay_out(grid, width)
    assert max(map(len, text.splitlines())) <= width
    rows = {"#", "1", "2", "3", "4"}
    whole = {word.rstrip(":") for word in lay_out(grid, None).split()}
    found = {word.rstrip(":") for word in text.split()}

    def bare(given: set[str]) -> set[str]:
        return {word for word in given if set(word) != {"─"}} - rows

    assert bare(found) == bare(whole)
    assert re.sub("\x1b\\[[0-9]+m", "", lay_out(grid, width, styled=True)) == text


def test_constant_columns_are_left_out_and_said() -> None:
    grid = columns_of(["a", "b", "c"], [["1", "x", ""], ["2", "x", ""]])
    rest, said = without_constants(grid)
    assert [column.heading for column in rest.columns] == ["a"]
    assert said == [("b", "x")]
    kept, said = without_constants(grid, but=["b"])
    assert [column.heading for column in kept.columns] == ["a", "b"]
    assert said == []


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("advantage of -0.146 mse [-0.359, +0.067] at 97.5 %", "[-0.359, +0.067]"),
        ("paper prints 2.210 ± 0.364 there", "2.210 ± 0.364"),
        ("advantage at 97.5 % of all", "97.5 %"),
    ],
)
def test_intervals_and_percentages_stay_whole(text: str, whole: str) -> None:
    for width in range(len(whole), len(text) + 1):
        assert any(whole in line for line in wrap(text, width))


def test_wide_characters_count_twice() -> None:
    lines = wrap("名前 名前 名前", 9)
    assert lines == ["名前 名前", "名前"]
    table = lay_out(columns_of(["a", "b"], [["名前", "x"]]), 20, rule=False)
    assert table.splitlines() == ["a     b", "名前  x"]


@given(st.text("名前 a", max_size=60), st.integers(8, 40), st.sampled_from(["", "  "]))
def test_wide_words_that_are_longer_than_a_line_are_broken(
    text: str, width: int, indent: str
) -> None:
    lines = wrap(text, width, indent=indent)
    assert max(map(cell_len, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_styles_are_codes_around_the_text_alone() -> None:
    assert paint("  x ", "red") == "  \x1b[31mx\x1b[0m "
    assert paint("", "red") == ""
    assert Screen(styled=False).painted("x", "red") == "x"
