"""What is shown of text of others: one set of characters for all ways to a reader."""

from __future__ import annotations

import sys
from collections.abc import Callable
from unicodedata import category

import pytest

from metabench.render.page.html import _exactly
from metabench.text import for_terminal, plain, readable

HIDDEN = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in "\n\t"
]


@pytest.mark.parametrize("show", [plain, readable, for_terminal, lambda text: str(_exactly(text))])
def test_every_way_to_a_reader_hides_the_same_characters(show: Callable[[str], str]) -> None:
    """Control and format characters, halves of pairs, and ends of lines that are not ``\\n``."""
    assert "\u202e" in HIDDEN
    assert "\U000e0041" in HIDDEN
    passed = [hex(ord(one)) for one in HIDDEN if one in show(f"a{one}b")]
    assert passed == []


@pytest.mark.parametrize("show", [readable, for_terminal, lambda text: str(_exactly(text))])
def test_spaces_of_all_widths_and_tabs_stay(show: Callable[[str], str]) -> None:
    seen = "café \u3000 \u00a0 \u2009 \t 写真 ± ½"
    assert show(seen) == seen
