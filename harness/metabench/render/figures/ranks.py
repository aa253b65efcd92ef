"""Critical-difference diagrams: average ranks, joined if they are not distinguishable.

Learners are ranked within blocks. Blocks are meta-test episodes that all of them have, made under
equal conditions; with several seeds an episode's scores are averaged first. The diagram is that of
Demšar (Journal of Machine Learning Research 7, 2006), who ranks within datasets: an average rank
over episodes describes these trained networks on this suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metabench.errors import DataError
from metabench.render.figures.drawing import (
    LINE,
    Drawing,
    Width,
    house_style,
    line_style,
    new_figure,
    text_width,
    wrapped,
)
from metabench.render.figures.palette import COLORS, INK, Style, learner_styles
from metabench.render.figures.stamps import stamped
from metabench.results.comparability import comparable_conditions, comparable_groups
from metabench.results.configurations import Configuration
from metabench.results.labels import labelled, told_apart
from metabench.results.reading import Results
from metabench.stats import CriticalDifference, critical_difference, shared_positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


LEAST = 1.0
"""Inches of the line of ranks at least."""
PAD, STEM, BAR = 0.08, 0.1, 0.14
"""Inches between parts, from the line to the names, and from one bar to the next."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One diagram.

    Attributes:
        ranks: what it shows.
        networks: how many trained networks each rank is computed from, in words.
    """

    ranks: CriticalDifference
    networks: str

    def __str__(self) -> str:
        """Ranks, which of them are not distinguishable, by what rule, and what they hold for."""
        found = self.ranks
        ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in found.ranks.items())
        alike = "; ".join(" and ".join(group) for group in found.groups) or "none"
        return (
            f"{ranks}; not distinguishable: {alike} ({found.words(blocks='episodes')}). "
            f"Each rank is that of {self.networks}; it holds for these networks, not for newly "
            "trained ones."
        )


def draw(results: Results, *, width: Width = Width.double) -> Drawing:
    """Rank the learners of each suite, setting and budget.

    Args:
        results: where the runs are.
        width: of the figure.

    Raises:
        DataError: when nowhere there are enough learners and episodes, with the reason.
        UsageError: when scipy is not installed.
    """
    found: dict[str, Ranked] = {}
    shown: dict[str, Configuration] = {}
    notes = []
    for title, group in _groups(labelled(results)):
        ranked = _rank(group)
        if isinstance(ranked, str):
            notes.append(f"{title}: {ranked}")
        else:
            found[title] = Ranked(ranked, networks(group.values()))
            shown |= group
    if not found:
        raise DataError(
            f"There is nothing to rank. {' '.join(notes)}".strip(),
            hint="Run more learners with the same suite, setting and budget.",
        )
    with house_style():
        learners = {label: config.spec.learner.name for label, config in shown.items()}
        figure = figure_of(found, learner_styles(learners), width=width)
    drawing = Drawing(
        name="ranks",
        figure=figure,
        title="Average ranks over episodes",
        description=" ".join(f"{title}: {ranked}" for title, ranked in found.items()),
        notes=tuple(notes),
    )
    return stamped(drawing, shown)


def _groups(configs: Mapping[str, Configuration]) -> list[tuple[str, dict[str, Configuration]]]:
    """What ran under equal conditions, by label, each with a title of its own."""
    labels = list(configs)
    groups = [
        {labels[i]: configs[labels[i]] for i in group}
        for group in comparable_groups(list(configs.values()))
    ]
    firsts = [next(iter(group.values())) for group in groups]
    titles = [
        f"{one.spec.suite} @ {one.spec.setting}, budget {one.spec.budget}{_metric(group.values())}"
        for one, group in zip(firsts, groups, strict=True)
    ]
    apart = told_apart(titles, [comparable_conditions(group.values()) for group in groups])
    titles = [", ".join([title, *said]) for title, said in zip(titles, apart, strict=True)]
    return list(zip(titles, groups, strict=True))


def _rank(group: Mapping[str, Configuration]) -> CriticalDifference | str:
    positions = shared_positions([config.key for config in group.values()])
    scores = [
        config.scores[:, places].mean(axis=0)
        for config, places in zip(group.values(), positions, strict=True)
    ]
    metric = next(iter(group.values())).metric
    columns = np.stack(scores, axis=1)
    return critical_difference(columns, list(group), higher_is_better=metric.better == "larger")


def _metric(configs: Iterable[Configuration]) -> str:
    """The metric that learners are ranked by, where it is not the headline's."""
    further = [config.metric.words for config in configs if config.runs[0].headline]
    return f", {further[0]}" if further else ""


def networks(configs: Iterable[Configuration]) -> str:
    """How many trained networks each learner has; episodes of several are averaged."""
    counts = sorted({len(config.runs) for config in configs})
    if counts == [1]:
        return "one trained network"
    said = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{said} trained networks, averaged per episode"


def figure_of(found: Mapping[str, Ranked], style: Mapping[str, Style], *, width: Width) -> Figure:
    """One diagram below the other, the best at the left."""
    diagrams = [_Diagram.of(title, one, width) for title, one in found.items()]
    height = sum(one.height for one in diagrams)
    figure = new_figure(width, height, placed=True)
    top = 1.0
    for one in diagrams:
        part = one.height / height
        axes = figure.add_axes((0, top - part, 1, part))
        top -= part
        axes.set_xlim(0, width.inches)
        axes.set_ylim(one.height, 0)
        axes.set_axis_off()
        axes.set_title(one.title, y=1, va="top", pad=-72 * PAD)
        _draw_diagram(axes, one, style)
    return figure


@dataclass(frozen=True, slots=True)
class _Diagram:
    """Where the parts of a diagram are, in inches from its upper left corner.

    Attributes:
        title: above it, in lines.
        ranks: what it shows.
        left: names at the left with their lines, best first.
        right: the others.
        low: where rank 1 is.
        high: where the last rank is.
        line: how far down the line of ranks is.
        row: from one name to the next.
        height: of the whole.
    """

    title: str
    ranks: CriticalDifference
    left: dict[str, str]
    right: dict[str, str]
    low: float
    high: float
    line: float
    row: float
    height: float

    @classmethod
    def of(cls, title: str, one: Ranked, width: Width) -> _Diagram:
        ranks = one.ranks.ranks
        below = f"ranks within {one.ranks.n_blocks:,} episodes, each of {one.networks}"
        above = wrapped(f"{title}\n{below}", width.inches - 2 * PAD)
        most = (width.inches - LEAST) / 2 - 2 * PAD
        half = -(-len(ranks) // 2)
        said = [
            (name, wrapped(f"{name}  {rank:.2f}" if order < half else f"{rank:.2f}  {name}", most))
            for order, (name, rank) in enumerate(ranks.items())
        ]
        left, right = dict(said[:half]), dict(said[half:])
        row = LINE * max(text.count("\n") + 1 for _, text in said)
        bars = BAR * (len(one.ranks.groups) + (one.ranks.difference is not None))
        line = LINE * (above.count("\n") + 2) + 3 * PAD + bars
        return cls(
            title=above,
            ranks=one.ranks,
            left=left,
            right=right,
            low=2 * PAD + _widest(left) + STEM,
            high=width.inches - 2 * PAD - _widest(right) - STEM,
            line=line,
            row=row,
            height=line + PAD + row * half + PAD,
        )

    def x(self, rank: float) -> float:
        """Where a rank is."""
        return self.low + (self.high - self.low) * (rank - 1) / (len(self.ranks.ranks) - 1)


def _widest(texts: Mapping[str, str]) -> float:
    return max(text_width(line) for text in texts.values() for line in text.split("\n"))


def _draw_diagram(axes: Axes, one: _Diagram, style: Mapping[str, Style]) -> None:
    """Ranks on a line, names below on stems, bars over what is not distinguishable."""
    n = len(one.ranks.ranks)
    axes.hlines(one.line, one.low, one.high, color=INK, linewidth=0.8)
    every = -(-n // max(2, int((one.high - one.low) / 0.25)))
    for tick in range(1, n + 1):
        axes.vlines(one.x(tick), one.line - 0.03, one.line, color=INK, linewidth=0.8)
        if (tick - 1) % every == 0:
            axes.text(one.x(tick), one.line - 0.04, str(tick), ha="center", va="bottom")
    for side, edge in ((one.left, one.low - STEM), (one.right, one.high + STEM)):
        at_left = side is one.left
        for order, (name, text) in enumerate(side.items() if at_left else reversed(side.items())):
            height = one.line + PAD + one.row * (order + 0.5)
            stem = one.x(one.ranks.ranks[name])
            path = [stem, stem, edge], [one.line, height, height]
            axes.plot(*path, **line_style(style[name]), linewidth=1.0)
            beside = edge - PAD / 2 if at_left else edge + PAD / 2
            axes.text(beside, height, text, ha="right" if at_left else "left", va="center")
    _draw_groups(axes, one, [list(group) for group in one.ranks.groups])


def _draw_groups(axes: Axes, one: _Diagram, groups: Sequence[Sequence[str]]) -> None:
    """A bar for each group, and the length of the critical difference above them."""
    lowest = one.line - LINE - PAD
    for level, group in enumerate(groups):
        first, last = (one.x(one.ranks.ranks[name]) for name in (group[0], group[-1]))
        height = lowest - BAR * level
        axes.plot([first - 0.02, last + 0.02], [height, height], color=COLORS[0], linewidth=3)
    if one.ranks.difference is not None:
        top = lowest - BAR * len(groups)
        end = one.x(1 + one.ranks.difference)
        axes.plot([one.low, end], [top, top], color=INK, marker="|", markersize=5, linewidth=1)
        axes.text(end + PAD, top, f"CD {one.ranks.difference:.3f}", va="center")
