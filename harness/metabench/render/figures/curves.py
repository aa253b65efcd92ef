"""Training curves, and the metric after each inner step at meta-test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench.errors import DataError, UsageError
from metabench.plugin.contracts.learner import QUERY_ACCURACY, QUERY_LOSS
from metabench.plugin.contracts.metric import Better, MetricFacts
from metabench.render.figures.drawing import (
    Drawing,
    Width,
    house_style,
    legend_below,
    line_style,
    new_figure,
    plain_axis,
    wrapped,
)
from metabench.render.figures.palette import INK, Style, learner_styles
from metabench.render.figures.stamps import shown_of, stamped
from metabench.results.comparable_curves import (
    COMMON,
    Array,
    Series,
    training_curves,
)
from metabench.results.configurations import Configuration
from metabench.results.labels import labelled
from metabench.results.reading import Results
from metabench.results.training_curve import LOSS, VAL_SCORE
from metabench.stats import Interval, average_interval, field_interval, shared_positions
from metabench.text import counted, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMOOTHED = 15
"""Points of the training curve that one point of the thick line is the mean of."""
LOG_RATIO = 10.0
"""A positive scalar whose largest value is this much larger than its smallest has a log axis."""
RUNAWAY = 3.0
"""A loss is cut off where it is this many times what most runs begin with and stay at."""
FEW = 4
"""Up to so many runs are drawn as logged as well."""
HEIGHT = 2.1
"""Inches of a panel."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a panel shows.

    Attributes:
        name: of the scalar, or of the metric.
        title: of the panel.
        axis: what is on its vertical axis.
        better: the better direction; None where there is none.
        scale: what values are multiplied by.
    """

    name: str
    title: str
    axis: str
    better: Better | None = None
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn.

    Attributes:
        training: by quantity, by label, one series per seed.
        adaptation: by quantity, by label, the interval after 0, 1, 2, ... inner steps.
        learners: the learner of each label.
    """

    training: Mapping[Quantity, Mapping[str, Sequence[Series]]]
    adaptation: Mapping[Quantity, Mapping[str, Sequence[Interval]]]
    learners: Mapping[str, str]


def draw(results: Results, *, width: Width = Width.double, metric: str | None = None) -> Drawing:
    """Draw the curves of every configuration.

    Args:
        results: where the runs are.
        width: of the figure.
        metric: the only scalar of training or metric of meta-test to show; None for all that
            learners have in common.

    Raises:
        DataError: when no run holds a curve of either kind.
        UsageError: when no run holds one of the metric that is asked for.
    """
    curves, notes = collect(results, metric=metric)
    if not curves.learners:
        raise DataError("No run in this folder has a training curve or a curve over inner steps.")
    with house_style():
        figure, cut = figure_of(curves, width=width)
    drawing = Drawing(
        name="curves",
        figure=figure,
        title="Training curves, and the metric after each inner step",
        description=" ".join([*_in_words(curves), *cut]),
        notes=(*notes, *cut),
    )
    return stamped(drawing, shown_of(results, curves.learners))


def _in_words(curves: Curves) -> Iterator[str]:
    yield f"One line for each of {', '.join(curves.learners)}."
    if curves.training:
        names = ", ".join(quantity.title for quantity in curves.training)
        yield (
            f"Over meta-steps: {names}; lines are means of seeds, those of meta-training also of "
            f"{SMOOTHED} points, and bands hold all seeds."
        )
    if curves.adaptation:
        yield "Meta-test: the metric after each inner step with its 95 % interval over episodes."


def collect(results: Results, *, metric: str | None = None) -> tuple[Curves, list[str]]:
    """Read the curves of every configuration; name configurations that are not shown."""
    scalars: dict[Quantity, dict[str, list[Series]]] = {}
    adaptation: dict[Quantity, dict[str, list[Interval]]] = {}
    configs, of_runs = labelled(results), {}
    for label, config in configs.items():
        found = of_runs[label] = [training_curves(run) for run in config.runs]
        for name in sorted({name for of_seed in found for name in of_seed}):
            of_seeds = [scalars_of[name] for scalars_of in found if name in scalars_of]
            scalars.setdefault(_quantity(name, config.metric), {})[label] = of_seeds
        if steps := adaptation_curve(config):
            adaptation.setdefault(_of_metric(config.metric), {})[label] = steps
    training = _chosen(scalars, metric)
    if metric is not None:
        known = sorted({quantity.name for quantity in (*scalars, *adaptation)})
        adaptation = {key: lines for key, lines in adaptation.items() if key.name == metric}
        if not training and not adaptation:
            raise UsageError(
                f"No run here has a curve of {metric!r}; there is {', '.join(known) or 'none'}.",
                hint="A further metric is computed from the last predictions and has no curve.",
            )
    panels: list[Mapping[str, object]] = [*training.values(), *adaptation.values()]
    shown = [label for label in configs if any(label in panel for panel in panels)]
    notes = []
    for label in configs:
        logs = any(label in lines for lines in scalars.values())
        if metric is None and logs and not any(label in lines for lines in training.values()):
            notes.append(
                f"{label} is not in the panels of training: it logs nothing that all learners "
                "have in common. --metric loss shows its own loss."
            )
        elif label not in shown:
            what = "no curve" if metric is None else f"no curve of {metric}"
            notes.append(f"{label} is left out: it has {what}.")
    for quantity, lines in training.items():
        for label in lines:
            curves = [of_seed.get(quantity.name) for of_seed in of_runs[label]]
            if gaps := _gaps(curves, [run.record.spec.seed for run in configs[label].runs]):
                notes.append(f"{label}, {quantity.title}: {gaps}")
    learners = {label: plain(configs[label].spec.learner.name) for label in shown}
    return Curves(training, adaptation, learners), notes


def _gaps(curves: Sequence[Series | None], seeds: Sequence[int]) -> str:
    """Which of some seeds lack points that another one has, in a sentence; "" if none does."""
    last = max(one.step[-1] for one in curves if one is not None)
    short = [
        f"that of seed {seed} {'is missing' if one is None else f'ends at {one.step[-1]:,.0f}'}"
        for seed, one in zip(seeds, curves, strict=True)
        if one is None or one.step[-1] < last
    ]
    return f"of the curves up to meta-step {last:,.0f}, {', '.join(short)}." if short else ""


def _chosen(
    scalars: Mapping[Quantity, Mapping[str, Sequence[Series]]], metric: str | None
) -> dict[Quantity, Mapping[str, Sequence[Series]]]:
    """The scalar that is asked for, or the common ones; the learners' own loss without these."""
    names: Sequence[str] = COMMON if metric is None else (metric,)
    if metric is None and not any(quantity.name in COMMON for quantity in scalars):
        names = (LOSS,)
    return {
        quantity: lines
        for name in names
        for quantity, lines in scalars.items()
        if quantity.name == name
    }


def _quantity(name: str, metric: MetricFacts) -> Quantity:
    if name == QUERY_LOSS:
        return Quantity(name, "meta-training: query loss", "mean loss per query", "smaller")
    if name == QUERY_ACCURACY:
        return Quantity(name, "meta-training: query accuracy", "accuracy in %", "larger", 100.0)
    if name == VAL_SCORE:
        axis = _of_metric(metric).axis
        return Quantity(name, "meta-validation", axis, metric.better, metric.scale)
    if name == LOSS:
        return Quantity(name, "meta-training: each learner's own loss", name, "smaller")
    return Quantity(name, f"meta-training: {plain(name)}", plain(name))


def _of_metric(metric: MetricFacts) -> Quantity:
    axis = plain(f"{metric.title} in %" if metric.percent else metric.name)
    title = "meta-test: average over sources"
    return Quantity(metric.name, title, axis, metric.better, metric.scale)


def adaptation_curve(config: Configuration) -> list[Interval]:
    """The average over sources after each inner step; scores averaged over seeds first."""
    shared = shared_positions([run.episodes.key for run in config.runs])
    blocks = [run.episodes.curve[own] for run, own in zip(config.runs, shared, strict=True)]
    n_steps = min(block.shape[1] for block in blocks)
    if n_steps == 0 or not len(config.key):
        return []
    scores = np.mean([block[:, :n_steps] for block in blocks], axis=0)
    factor = config.metric.scale
    parts = [factor * scores[config.source == name] for name in dict.fromkeys(config.source)]
    return [
        average_interval([field_interval(part[:, step]) for part in parts])
        for step in range(n_steps)
    ]


def figure_of(curves: Curves, *, width: Width) -> tuple[Figure, list[str]]:
    """One panel per quantity, all with the styles of the learners, and what was cut off."""
    style = learner_styles(curves.learners)
    n_panels = len(curves.training) + len(curves.adaptation)
    columns = min(width.columns, n_panels)
    rows = -(-n_panels // columns)
    figure = new_figure(width, HEIGHT * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    inches = width.inches / columns - 0.8
    cut: list[str] = []
    for axes, (quantity, by_label) in zip(grid, curves.training.items(), strict=False):
        cut += _draw_training(axes, quantity, by_label, style)
        axes.set_xlabel("meta-step")
    rest = grid[len(curves.training) :]
    for axes, (quantity, lines) in zip(rest, curves.adaptation.items(), strict=False):
        cut += _draw_adaptation(axes, quantity, lines, style)
        axes.set_xlabel("inner steps at meta-test")
    for axes, quantity in zip(grid, [*curves.training, *curves.adaptation], strict=False):
        axes.set_ylabel(wrapped(quantity.axis, HEIGHT - 0.7))
        axes.set_title(wrapped(quantity.title, inches))
        plain_axis(axes, axis="x", inches=inches)
        plain_axis(axes, axis="y", inches=HEIGHT - 0.7)
    for axes in grid[n_panels:]:
        axes.remove()
    cut_off = any(" marked at its upper edge." in one for one in cut)
    _legend(figure, style, cut=cut_off, bands=_bands(curves))
    return figure, cut


def _bands(curves: Curves) -> str:
    """What the bands are, for the legend; "" where there are none."""
    lines = [seeds for by_label in curves.training.values() for seeds in by_label.values()]
    said = ["range of seeds"] if any(len(seeds) > 1 for seeds in lines) else []
    if curves.adaptation:
        of_test = "at meta-test " if said else ""
        said.append(f"{of_test}95 % interval over episodes")
    return ", ".join(said)


def _draw_training(
    axes: Axes,
    quantity: Quantity,
    by_label: Mapping[str, Sequence[Series]],
    style: Mapping[str, Style],
) -> list[str]:
    scaled = {
        label: [Series(one.step, quantity.scale * one.value) for one in seeds]
        for label, seeds in by_label.items()
    }
    limit = ceiling([one.value for seeds in scaled.values() for one in seeds], quantity)
    n_runs = sum(map(len, scaled.values()))
    drawn: list[Array] = []
    said = []
    for label, seeds in scaled.items():
        look = line_style(style[label])
        kept = [Series(one.step, np.where(one.value <= limit, one.value, np.nan)) for one in seeds]
        if n_runs <= FEW:
            for one in kept:
                axes.plot(one.step, one.value, color=look["color"], linewidth=0.5, alpha=0.35)
            drawn += [one.value for one in kept]
        step, lines = _together(kept, n=1 if quantity.name == VAL_SCORE else SMOOTHED)
        mean = mean_known(lines)
        if len(lines) > 1:
            known = np.where(np.isnan(lines), mean, lines)
            low, high = known.min(axis=0), known.max(axis=0)
            axes.fill_between(step, low, high, color=look["color"], alpha=0.15, lw=0)
            drawn += [low, high]
        axes.plot(step, mean, **_marked(style[label], len(step)))
        drawn.append(mean)
        said += _cut(axes, quantity, label, seeds, limit, style[label])
    _limit(axes, drawn, quantity)
    return said


def _draw_adaptation(
    axes: Axes,
    quantity: Quantity,
    lines: Mapping[str, Sequence[Interval]],
    style: Mapping[str, Style],
) -> list[str]:
    means = {label: np.array([i.mean for i in intervals]) for label, intervals in lines.items()}
    limit = ceiling(list(means.values()), quantity, begin=1)
    drawn: list[Array] = []
    said = []
    for label, intervals in lines.items():
        steps = np.arange(len(intervals), dtype=np.float64)
        mean = np.where(means[label] <= limit, means[label], np.nan)
        half = np.nan_to_num(np.array([interval.half_width for interval in intervals]))
        axes.plot(steps, mean, **_marked(style[label], len(steps)))
        axes.fill_between(steps, mean - half, mean + half, color=style[label].color, alpha=0.18,
                          lw=0)  # fmt: skip
        drawn += [mean, mean + half, np.where(mean - half > 0, mean - half, mean)]
        series = Series(steps, means[label])
        said += _cut(axes, quantity, label, [series], limit, style[label])
        lost = ~np.isfinite(means[label]) & ~(means[label] > limit)
        if unknown := int(lost.sum()):
            points = counted(unknown, "point is", "points are")
            said.append(f"{label}: {points} not finite in the panel {quantity.title!r}.")
    _limit(axes, drawn, quantity)
    return said


def ceiling(series: Sequence[Array], quantity: Quantity, *, begin: int = 3) -> float:
    """The largest value of a loss that is shown; infinite for what need not fall.

    It is :data:`RUNAWAY` times the larger of two values: what three quarters of the runs at most
    begin with (the median of the first points), and what three quarters have as their median.
    """
    known = [values[np.isfinite(values)] for values in series]
    known = [values for values in known if len(values)]
    if quantity.better != "smaller" or not known:
        return np.inf
    begun = np.quantile([np.median(values[:begin]) for values in known], 0.75)
    stay = np.quantile([np.median(values) for values in known], 0.75)
    limit = RUNAWAY * float(max(begun, stay))
    return limit if limit > 0 else np.inf


def _cut(
    axes: Axes,
    quantity: Quantity,
    label: str,
    seeds: Sequence[Series],
    limit: float,
    style: Style,
) -> list[str]:
    """Mark at the upper edge where a learner is above the limit, and say so."""
    steps = np.concatenate([one.step[one.value > limit] for one in seeds])
    if not len(steps):
        return []
    axes.plot(
        steps,
        np.ones(len(steps)),
        transform=axes.get_xaxis_transform(),
        ls="",
        marker="^",
        ms=4,
        mew=0,
        color=style.color,
        clip_on=False,
    )
    most = max(one.value[one.value > limit].max(initial=limit) for one in seeds)
    n = len(steps)
    points = "1 point is" if n == 1 else f"{n:,} points are"
    return [
        f"{label}: {points} higher than the panel {quantity.title!r} shows (up to {most:.3g}), and "
        "marked at its upper edge."
    ]


def _limit(axes: Axes, drawn: Iterable[Array], quantity: Quantity) -> None:
    """The range of what is drawn, on a logarithmic axis where it is wide and positive."""
    values = np.concatenate(list(drawn))
    values = values[np.isfinite(values)]
    if not len(values):
        return
    low, high = float(values.min()), float(values.max())
    if quantity.scale == 1.0 and low > 0 and high > LOG_RATIO * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.1, high * 1.1)
    else:
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)


def smooth(values: Array, n: int = SMOOTHED) -> Array:
    """The mean of up to ``n`` known points around each; fewer at the ends."""
    kernel = np.ones(min(n, len(values)))
    known = np.isfinite(values)
    counts = np.convolve(known.astype(float), kernel, "same")
    sums = np.convolve(np.where(known, values, 0.0), kernel, "same")
    means: Array = np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0.5)
    return means


def _together(seeds: Sequence[Series], *, n: int) -> tuple[Array, Array]:
    """The series ``[seeds, steps]`` at the steps of the longest, each a mean of ``n`` points.

    They are NaN before the first and after the last point of a seed.
    """
    step = max((one.step for one in seeds), key=lambda steps: steps[-1])
    lines = [
        np.interp(step, one.step, smooth(one.value, n), left=np.nan, right=np.nan) for one in seeds
    ]
    return step, np.stack(lines)


def mean_known(lines: Array) -> Array:
    """The mean over rows of what is known in a column; NaN where nothing is."""
    known = np.isfinite(lines)
    sums, counts = np.where(known, lines, 0.0).sum(axis=0), known.sum(axis=0)
    means: Array = np.divide(sums, counts, out=np.full(lines.shape[1], np.nan), where=counts > 0)
    return means


def _marked(style: Style, n_points: int) -> dict[str, Any]:
    """A line with some markers, which tell learners apart where lines cross."""
    every = max(1, n_points // 8)
    return {"marker": style.marker, "ms": 3.5, "markevery": every, **line_style(style)}


def _legend(figure: Figure, style: Mapping[str, Style], *, cut: bool, bands: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], marker=look.marker, markersize=3.5, **line_style(look))
        for look in style.values()
    ]
    labels = list(style)
    if bands:
        handles.append(Patch(facecolor=INK, alpha=0.18, lw=0))
        labels.append(bands)
    if cut:
        handles.append(Line2D([], [], ls="", marker="^", ms=4, mew=0, color=INK))
        labels.append("higher than shown")
    legend_below(figure, handles, labels)
