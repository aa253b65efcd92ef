"""The sign and the color of a verdict, the same wherever a terminal shows one."""

from __future__ import annotations

from metabench.render.layout import Cell, Style

_SIGNS: dict[str, tuple[str, Style]] = {
    "match": ("✓", "green"),
    "close": ("≈", "green"),
    "inconclusive": ("?", "yellow"),
    "differs": ("✗", "red"),
    "not comparable": ("-", "dim"),
    "supported": ("✓", "green"),
    "refuted": ("✗", "red"),
    "undecided": ("?", "yellow"),
    "a is better": ("✓", "green"),
    "b is better": ("✓", "green"),
}
"""By the words with which a verdict begins."""


def signed(verdict: str) -> Cell:
    """A verdict with its sign and color.

    >>> signed("match (± 0.200)").text
    '✓ match (± 0.200)'
    """
    for words, (sign, style) in _SIGNS.items():
        if verdict.lower().startswith(words):
            return Cell(f"{sign} {verdict}", style=style)
    return Cell(verdict)


def unsigned(text: str) -> str:
    """A verdict without its sign, for a sentence.

    >>> unsigned("- not comparable"), unsigned("match")
    ('not comparable', 'match')
    """
    sign, space, verdict = text.partition(" ")
    return verdict if space and sign in {sign for sign, _ in _SIGNS.values()} else text
