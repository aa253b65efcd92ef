"""Colors, line styles and markers: readable to the color-blind and in black and white.

Plain values, so that a page can draw with them as well as matplotlib can. Colors are those of Okabe
and Ito (2008) without yellow, which vanishes on white. A learner has its own in every figure:
:func:`learner_style`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

INK = "#222222"
FAINT = "#8a8a8a"
SHADE = "#ececec"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5B5B5B")
Dash = tuple[float, ...]
"""Lengths of stroke and gap in line widths, as in SVG's ``stroke-dasharray``; () is solid."""
SOLID: Dash = ()
DASHED: Dash = (5, 1.5)
DOTTED: Dash = (1.2, 1.2)
DASH_DOT: Dash = (6, 1.5, 1.2, 1.5)
LONG: Dash = (9, 3)
DASH_DOTS: Dash = (4, 1.2, 1.2, 1.2, 1.2, 1.2)
DASHES = (SOLID, DASHED, DOTTED, DASH_DOT, LONG)
OTHER_DASHES: tuple[Dash, ...] = ((2.5, 2.5), (8, 1.5, 3, 1.5), (1.2, 3))
"""Those of learners that are not built in."""
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "oooo", "----", "++++")
"""Patterns of areas, as matplotlib writes them."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
LEARNER_MARKERS = ("o", "s", "D", "v", "P", "X", "<", ">", "p")
"""Without the triangle that marks what is higher than a figure shows."""


BLUE, VERMILION, GREEN, PINK, SKY, ORANGE, GREY = range(len(COLORS))
LEARNERS: Mapping[str, tuple[int, Dash]] = {
    "maml": (BLUE, SOLID),
    "anil": (BLUE, DASHED),
    "bmaml": (BLUE, DOTTED),
    "maml++": (BLUE, DASH_DOT),
    "meta-sgd": (BLUE, LONG),
    "mnas-shared-nm": (BLUE, DASH_DOTS),
    "mnas": (VERMILION, SOLID),
    "mnas-nm": (VERMILION, DASHED),
    "baseline++": (VERMILION, DOTTED),
    "tnas++": (VERMILION, DASH_DOT),
    "tnas": (VERMILION, LONG),
    "mnas-low-rank": (VERMILION, DASH_DOTS),
    "mnas-shared": (GREEN, SOLID),
    "protonet": (GREEN, DASHED),
    "matching-net": (GREEN, DOTTED),
    "metaoptnet-ridge": (GREEN, DASH_DOT),
    "metaoptnet": (GREEN, LONG),
    "mnas-shared-m": (GREEN, DASH_DOTS),
    "hsml": (PINK, SOLID),
    "metanas": (PINK, DASHED),
    "metanas-maml": (PINK, DOTTED),
    "metanas-retrain": (PINK, DASH_DOT),
    "hsml-notree": (PINK, LONG),
    "auto-meta": (SKY, SOLID),
    "auto-maml": (SKY, DASHED),
    "leo": (SKY, DOTTED),
    "mumomaml": (SKY, DASH_DOT),
    "one-shot": (SKY, LONG),
    "reptile": (ORANGE, SOLID),
    "mtnet": (ORANGE, DASHED),
    "tadam": (ORANGE, DOTTED),
    "baseline": (ORANGE, DASH_DOT),
    "r2d2": (ORANGE, LONG),
    "support-mean": (GREY, SOLID),
    "nearest-neighbor": (GREY, DASHED),
    "random-search": (GREY, DOTTED),
    "gaussian-process": (GREY, DASH_DOT),
    "nearest-centroid": (GREY, LONG),
    "random-search-maml": (GREY, DASH_DOTS),
    "nil": (PINK, DASH_DOTS),
}
"""Color and line of each built-in learner; no two have both alike. Append, never reassign: figures
of one paper are made at different times."""


@dataclass(frozen=True, slots=True)
class Style:
    """How one thing is drawn wherever it appears in a figure."""

    color: str
    dash: Dash
    marker: str


def learner_style(name: str, *, variant: int = 0) -> Style:
    """How a learner is drawn in every figure; it depends on nothing but these.

    Built-in learners have fixed styles. That of another learner follows from its name, with a line
    that no built-in learner has.

    Args:
        name: of the learner.
        variant: which of several configurations of the learner in one figure; they share its color.

    >>> learner_style("maml").color == learner_style("maml", variant=1).color == COLORS[BLUE]
    True
    """
    lines: tuple[Dash, ...]
    if name in LEARNERS:
        color, dash = LEARNERS[name]
        lines, marker = (*DASHES, DASH_DOTS), list(LEARNERS).index(name)
    else:
        digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        digest, color = divmod(digest, len(COLORS))
        digest, line = divmod(digest, len(OTHER_DASHES))
        lines, marker, dash = OTHER_DASHES, digest, OTHER_DASHES[line]
    dash = lines[(lines.index(dash) + variant) % len(lines)]
    return Style(COLORS[color], dash, LEARNER_MARKERS[(marker + variant) % len(LEARNER_MARKERS)])


def learner_styles(learners: Mapping[str, str]) -> dict[str, Style]:
    """The style of each label, given the learner that it names.

    The first label of a built-in learner has the learner's own. Another has one that no other of
    the figure has: a line of its own, and where the color has none left, a marker of its own.

    >>> found = learner_styles({"maml": "maml", "maml quick": "maml", "anil": "anil"})
    >>> found["maml"] == learner_style("maml"), found["anil"] == learner_style("anil")
    (True, True)
    >>> len({style.dash for style in found.values()})
    3
    """
    firsts: dict[str, str] = {}
    for label, learner in learners.items():
        firsts.setdefault(learner, label)
    labels = sorted(learners, key=lambda label: firsts[learners[label]] != label)
    found: dict[str, Style] = {}
    for label in labels:
        found[label] = _free_style(learners[label], list(found.values()))
    return {label: found[label] for label in learners}


def _free_style(learner: str, taken: Sequence[Style]) -> Style:
    """The first style of a learner's variants that differs most from those that are taken."""
    n = len(LEARNER_MARKERS) * len(DASHES)
    variants = [learner_style(learner, variant=variant) for variant in range(n)]
    lines = {(style.color, style.dash) for style in taken}
    apart = [style for style in variants if (style.color, style.dash) not in lines]
    different = [style for style in variants if style not in taken]
    return (apart or different or variants)[0]


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each name that is no learner's, in their order; neighbors differ in all.

    >>> found = styles(["skip", "linear"])
    >>> found["skip"].color, found["linear"].dash
    ('#0072B2', (5, 1.5))
    """
    return {
        name: Style(COLORS[i % len(COLORS)], DASHES[i % len(DASHES)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(dict.fromkeys(names))
    }
