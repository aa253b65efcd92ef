"""Critical-difference diagrams: average ranks, joined if they are not distinguishable.

Learners are ranked within blocks. Blocks are meta-test episodes that all of them have, made under
equal conditions; with several seeds an episode's scores are averaged first. The diagram is that of
Demšar (Journal of Machine Learning Research 7, 2006), who ranks within datasets: an average rank
over episodes describes these trained networks on this suite.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metabench.errors import DataError
from metabench.render.figures.drawing import Drawing, house_style, new_figure
from metabench.render.figures.palette import COLORS, INK
from metabench.render.figures.stamps import stamped
from metabench.results.comparability import conditions
from metabench.results.configurations import Configuration
from metabench.results.labels import labelled
from metabench.results.reading import Results
from metabench.stats import CriticalDifference, critical_difference, shared_positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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


def draw(results: Results) -> Drawing:
    """Rank the learners of each suite, setting and budget.

    Raises:
        DataError: when nowhere there are enough learners and episodes, with the reason.
        UsageError: when scipy is not installed.
    """
    groups: dict[tuple[tuple[str, str], ...], dict[str, Configuration]] = defaultdict(dict)
    for label, config in labelled(results).items():
        groups[tuple(conditions(config.spec).items())][label] = config
    found: dict[str, Ranked] = {}
    shown: dict[str, Configuration] = {}
    notes = []
    for group in groups.values():
        spec = next(iter(group.values())).spec
        title = f"{spec.suite} @ {spec.setting}, budget {spec.budget}{_metric(group.values())}"
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
        figure = figure_of(found)
    drawing = Drawing(
        name="ranks",
        figure=figure,
        title="Average ranks over episodes",
        description=" ".join(f"{title}: {ranked}" for title, ranked in found.items()),
        notes=tuple(notes),
    )
    return stamped(drawing, shown)


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


def figure_of(found: Mapping[str, Ranked]) -> Figure:
    """One diagram below the other, the best at the left."""
    heights = [
        1.05 + 0.16 * len(one.ranks.ranks) + 0.1 * len(one.ranks.groups) for one in found.values()
    ]
    figure = new_figure(5.6, sum(heights))
    grid = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights).ravel()
    for axes, (title, one) in zip(grid, found.items(), strict=True):
        _draw_diagram(axes, one.ranks)
        below = f"ranks within {one.ranks.n_blocks:,} episodes, each of {one.networks}"
        axes.set_title(f"{title}\n{below}")
    return figure


def _draw_diagram(axes: Axes, found: CriticalDifference) -> None:
    """Ranks on a line, names below on stems, bars over what is not distinguishable."""
    places = list(found.ranks.items())
    n, half = len(places), -(-len(places) // 2)
    axes.set_xlim(0.4, n + 0.6)
    axes.set_ylim(half + 0.6, -0.9 - 0.45 * len(found.groups))
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.yaxis.set_visible(False)
    axes.xaxis.set_visible(False)
    axes.hlines(0, 1, n, color=INK, linewidth=0.8)
    for tick in range(1, n + 1):
        axes.vlines(tick, -0.12, 0, color=INK, linewidth=0.8)
        axes.text(tick, -0.2, str(tick), ha="center", va="bottom")
    for order, (name, rank) in enumerate(places):
        left = order < half
        height = 0.5 + (order if left else n - 1 - order)
        edge = 0.9 if left else n + 0.1
        axes.plot([rank, rank, edge], [0, height, height], color=INK, linewidth=0.8)
        said = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        axes.text(edge + (-0.05 if left else 0.05), height, said, ha="right" if left else "left",
                  va="center")  # fmt: skip
    _draw_groups(axes, found, [list(group) for group in found.groups])


def _draw_groups(axes: Axes, found: CriticalDifference, groups: Sequence[Sequence[str]]) -> None:
    """A bar for each group, and the length of the critical difference above them."""
    for level, group in enumerate(groups, start=1):
        ends = [found.ranks[group[0]] - 0.03, found.ranks[group[-1]] + 0.03]
        axes.plot(ends, [-0.35 - 0.45 * level] * 2, color=COLORS[0], linewidth=3)
    if found.difference is not None:
        top = -0.75 - 0.45 * len(groups)
        axes.plot([1, 1 + found.difference], [top, top], color=INK, marker="|", markersize=5)
        axes.text(1.05 + found.difference, top, f"CD {found.difference:.3f}", va="center")
