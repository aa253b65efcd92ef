"""Training curves, and the metric after each inner step at meta-test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metabench.errors import DataError
from metabench.plugin.contracts.metric import MetricFacts
from metabench.render.figures.drawing import (
    Drawing,
    house_style,
    legend_below,
    line_style,
    new_figure,
    plain_log_axis,
)
from metabench.render.figures.palette import Style, styles
from metabench.render.figures.stamps import shown_of, stamped
from metabench.results.configurations import Configuration
from metabench.results.labels import labelled
from metabench.results.reading import Results
from metabench.stats import Interval, average_interval, field_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
SMOOTHED = 15
"""Points of the training curve that one point of the thick line is the mean of."""
LOG_RATIO = 10.0
"""A positive scalar whose largest value is this much larger than its smallest has a log axis."""


@dataclass(frozen=True, slots=True)
class Series:
    """A scalar over meta-steps, in the run of one seed."""

    step: Array
    value: Array


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn.

    Attributes:
        training: by scalar, by label, one series per seed.
        adaptation: by metric, by label, the interval after 0, 1, 2, ... inner steps.
    """

    training: Mapping[str, Mapping[str, Sequence[Series]]]
    adaptation: Mapping[MetricFacts, Mapping[str, Sequence[Interval]]]


def draw(results: Results) -> Drawing:
    """Draw the curves of every configuration.

    Raises:
        DataError: when no run holds a curve of either kind.
    """
    curves, notes = collect(results)
    if not curves.training and not curves.adaptation:
        raise DataError("No run in this folder has a training curve or a curve over inner steps.")
    labels = sorted({label for panel in _panels(curves) for label in panel})
    with house_style():
        figure = figure_of(curves)
    drawing = Drawing(
        name="curves",
        figure=figure,
        title="Training curves, and the metric after each inner step",
        description=f"One line for each of {', '.join(labels)}. Training: "
        f"{', '.join(curves.training)} over meta-steps; the thin lines are as logged, the thick "
        f"lines are means of {SMOOTHED} points. Meta-test: the metric after each inner step with "
        "its 95 % interval over episodes.",
        notes=tuple(notes),
    )
    return stamped(drawing, shown_of(results, labels))


def collect(results: Results) -> tuple[Curves, list[str]]:
    """Read the curves of every configuration; name configurations without any."""
    training: dict[str, dict[str, list[Series]]] = {}
    adaptation: dict[MetricFacts, dict[str, list[Interval]]] = {}
    notes = []
    for label, config in labelled(results).items():
        found = [read_metrics(run.folder / "metrics.jsonl") for run in config.runs]
        for scalar in sorted({name for scalars in found for name in scalars}):
            of_seeds = [scalars[scalar] for scalars in found if scalar in scalars]
            training.setdefault(scalar, {})[label] = of_seeds
        steps = adaptation_curve(config)
        if steps:
            adaptation.setdefault(config.metric, {})[label] = steps
        if not steps and not any(found):
            notes.append(f"{label} is left out: it has no curve.")
    first = ("loss", "val_score")
    ordered = sorted(training, key=lambda name: (name not in first, name))
    return Curves({name: training[name] for name in ordered}, adaptation), notes


def read_metrics(path: Path) -> dict[str, Series]:
    """Each scalar of a training curve; lines that cannot be read are passed over."""
    points: dict[str, list[tuple[float, float]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            values: dict[str, Any] = json.loads(line)
            step = float(values.pop("step"))
        except (ValueError, KeyError, AttributeError, TypeError):
            continue
        for name, value in values.items():
            if isinstance(value, int | float):
                points.setdefault(name, []).append((step, float(value)))
    arrays = {name: np.array(pairs) for name, pairs in points.items()}
    return {name: Series(pairs[:, 0], pairs[:, 1]) for name, pairs in arrays.items()}


def adaptation_curve(config: Configuration) -> list[Interval]:
    """The average over sources after each inner step; scores averaged over seeds first."""
    blocks = [run.episodes.curve for run in config.runs]
    n_steps = min(block.shape[1] for block in blocks)
    if n_steps == 0 or len({len(block) for block in blocks}) > 1:
        return []
    scores = np.mean([block[:, :n_steps] for block in blocks], axis=0)
    source = config.runs[0].episodes.source
    factor = config.metric.scale
    parts = [factor * scores[source == name] for name in dict.fromkeys(source)]
    return [
        average_interval([field_interval(part[:, step]) for part in parts])
        for step in range(n_steps)
    ]


def figure_of(curves: Curves) -> Figure:
    """One panel per scalar of training and per metric of meta-test, all with the same styles."""
    panels = _panels(curves)
    style = styles(sorted({label for panel in panels for label in panel}))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(3.5 * columns, 2.5 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, by_label) in zip(grid, curves.training.items(), strict=False):
        _draw_training(axes, name, by_label, style)
    rest = grid[len(curves.training) :]
    for axes, (metric, lines) in zip(rest, curves.adaptation.items(), strict=False):
        _draw_adaptation(axes, metric, lines, style)
    for axes in grid[len(panels) :]:
        axes.remove()
    _legend(figure, style)
    return figure


def _panels(curves: Curves) -> list[Mapping[str, Any]]:
    return [*curves.training.values(), *curves.adaptation.values()]


def _draw_training(
    axes: Axes, name: str, by_label: Mapping[str, Sequence[Series]], style: Mapping[str, Style]
) -> None:
    for label, seeds in by_label.items():
        look = line_style(style[label])
        for series in seeds:
            axes.plot(series.step, series.value, color=look["color"], linewidth=0.5, alpha=0.35)
            axes.plot(series.step, smooth(series.value), **look)
    values = np.concatenate([series.value for seeds in by_label.values() for series in seeds])
    if values.min() > 0 and values.max() > LOG_RATIO * values.min():
        plain_log_axis(axes)
    axes.set_xlabel("meta-step")
    axes.set_ylabel(name)
    axes.set_title(f"training: {name}")


def _draw_adaptation(
    axes: Axes,
    metric: MetricFacts,
    lines: Mapping[str, Sequence[Interval]],
    style: Mapping[str, Style],
) -> None:
    for label, intervals in lines.items():
        mean = np.array([interval.mean for interval in intervals])
        half = np.nan_to_num(np.array([interval.half_width for interval in intervals]))
        steps = np.arange(len(mean))
        look = style[label]
        axes.plot(steps, mean, marker=look.marker, markersize=3, **line_style(look))
        axes.fill_between(steps, mean - half, mean + half, color=look.color, alpha=0.18, lw=0)
    means = np.array([i.mean for intervals in lines.values() for i in intervals])
    means = means[np.isfinite(means)]
    positive = not metric.percent and len(means) and means.min() > 0
    if positive and means.max() > LOG_RATIO * means.min():
        plain_log_axis(axes)
    axes.set_xlabel("inner steps at meta-test")
    axes.set_ylabel(f"{metric.title}, %" if metric.percent else metric.name)
    axes.set_title("meta-test: average over sources")


def smooth(values: Array) -> Array:
    """The mean of up to :data:`SMOOTHED` points around each; fewer at the ends."""
    kernel = np.ones(min(SMOOTHED, len(values)))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def _legend(figure: Figure, style: Mapping[str, Style]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker=look.marker, markersize=3, **line_style(look))
        for look in style.values()
    ]
    legend_below(figure, handles, list(style))
