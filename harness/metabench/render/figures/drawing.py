"""What every figure is made with and written by: one style, and the same bytes every time.

A figure is as wide as a column of a journal or as a page, and its text is 8 points high at that
width, so that it is printed as it is.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from metabench.errors import UsageError
from metabench.render.figures.palette import INK, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T = TypeVar("T")
FONT = "DejaVu Sans"
"""Comes with matplotlib, so it is the same everywhere."""
POINTS = 8.0
"""Height of all text."""
LINE = 0.16
"""Inches from one line of text to the next."""
_MM = 1 / 25.4

_RC: dict[str, Any] = {
    "font.family": FONT,
    "font.size": POINTS,
    "axes.titlesize": POINTS,
    "figure.titlesize": POINTS,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "text.color": INK,
    "text.parse_math": False,  # a learner's name is text, whatever it holds
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.handlelength": 3.0,  # a whole period of the longest dashes
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.4,
    "lines.scale_dashes": True,
    "svg.hashsalt": "metabench",
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


class FileFormat(StrEnum):
    """How a figure is written."""

    svg = "svg"
    png = "png"
    pdf = "pdf"


class Width(StrEnum):
    """How wide a figure is in print: a column of a journal, 85 mm, or both of them, 174 mm."""

    single = "single"
    double = "double"

    @property
    def inches(self) -> float:
        """The width of the whole picture."""
        return (85 if self is Width.single else 174) * _MM

    @property
    def columns(self) -> int:
        """How many panels stand beside each other."""
        return 1 if self is Width.single else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure with its title and description.

    Attributes:
        name: of the kind of figure, such as ``fits``.
        figure: of matplotlib.
        title: one line.
        description: the figure in words, for whoever cannot see it.
        notes: what was left out and why, one sentence each.
    """

    name: str
    figure: Figure
    title: str
    description: str
    notes: tuple[str, ...] = ()


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and write in one style, whatever the user's own matplotlib settings say.

    Raises:
        UsageError: when matplotlib is not installed.
    """
    try:
        from matplotlib import style
    except ImportError as error:
        raise UsageError(
            "Figures need matplotlib, which is not installed.",
            hint='pip install "metabench[plots]"',
        ) from error
    with style.context(_RC, after_reset=True), warnings.catch_warnings():
        # A name may hold a letter that the font lacks; it is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def new_figure(width: Width, height: float, *, placed: bool = False) -> Figure:
    """An empty figure that belongs to no window.

    Args:
        width: of the figure.
        height: in inches, without the legend.
        placed: whether its axes get places of their own; otherwise they share the room.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width.inches, height), layout=None if placed else "constrained")


def text_width(text: str) -> float:
    """Inches of one line of text."""
    return _width_of(text) if text else 0.0


@cache
def _width_of(text: str) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    width, _, _ = TextToPath().get_text_width_height_descent(
        text, FontProperties(family=FONT, size=POINTS), ismath=False
    )
    return float(width) / 72


def wrapped(text: str, inches: float) -> str:
    """A text in lines that are at most so wide; words that are wider are broken, at hyphens first.

    Args:
        text: with or without lines of its own, which stay.
        inches: the width of a line.
    """
    return "\n".join("\n".join(_lines(line, inches)) for line in text.split("\n"))


def _lines(text: str, inches: float) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if text_width(longer) <= inches:
            line = longer
            continue
        if line:
            yield line
        while text_width(word) > inches:
            n = max(1, next(n for n in range(len(word)) if text_width(word[: n + 1]) > inches))
            n = word.rfind("-", 0, n) + 1 or n
            yield word[:n]
            word = word[n:]
        line = word
    yield line


def line_style(style: Style) -> dict[str, Any]:
    """A style as matplotlib's arguments for a line."""
    return {"color": style.color, "linestyle": (0, style.dash) if style.dash else "-"}


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend for all panels, under them; the figure grows by its height."""
    from matplotlib import rcParams

    em = POINTS / 72
    handle = em * (rcParams["legend.handlelength"] + rcParams["legend.handletextpad"])
    between = em * rcParams["legend.columnspacing"]
    whole = figure.get_figwidth() - 2 * em
    texts = [wrapped(label, whole - handle) for label in labels]
    widths = [handle + max(map(text_width, text.split("\n"))) for text in texts]
    columns = next(
        (
            n
            for n in range(len(texts), 1, -1)
            if sum(max(part) + between for part in _in_columns(widths, n)) <= whole + between
        ),
        1,
    )
    n_lines = max(
        sum(text.count("\n") + 1 for text in part) for part in _in_columns(texts, columns)
    )
    figure.set_figheight(figure.get_figheight() + (n_lines + 1) * LINE)
    # matplotlib leaves out labels with a leading underscore, so the texts come afterwards.
    legend = figure.legend(
        handles, ["name"] * len(labels), loc="outside lower center", ncols=columns
    )
    for text, label in zip(legend.get_texts(), texts, strict=True):
        text.set_text(label)


def _in_columns(items: Sequence[T], n: int) -> list[Sequence[T]]:
    """What each column of a legend holds: the first ones have one more where it does not divide."""
    size, more = divmod(len(items), n)
    starts = [column * size + min(column, more) for column in range(n + 1)]
    return [items[start:end] for start, end in pairwise(starts)]


def plain_axis(axes: Axes, *, axis: str = "y", inches: float) -> None:
    """Few ticks whose numbers are plain, as many as fit an axis that is so long."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    ticks = getattr(axes, f"{axis}axis")
    ticks.set_major_formatter(FuncFormatter(_number))
    most = max(2, int(inches / (0.3 if axis == "y" else 0.55)))
    low, high = sorted(getattr(axes, f"get_{axis}lim")())
    if ticks.get_scale() == "log":
        ticks.set_minor_locator(NullLocator())
        if len(places := log_ticks(low, high, most=most)) >= 2:
            ticks.set_major_locator(FixedLocator(places))
            return
    ticks.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2))


def log_ticks(low: float, high: float, *, most: int) -> list[float]:
    """Round numbers within limits for a logarithmic axis, the finest series that is not too many.

    >>> log_ticks(0.3, 40, most=8), log_ticks(0.3, 40, most=4), log_ticks(1e-3, 1e5, most=4)
    ([0.5, 1.0, 2.0, 5.0, 10.0, 20.0], [1.0, 10.0], [0.01, 1.0, 100.0, 10000.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = range(first, last + 1)
    series = [[float(f"{digit}e{power}") for power in decades for digit in (1, 2, 5)]]
    for every in range(1, len(decades) + 1):
        series.append([float(f"1e{power}") for power in decades if power % every == 0])
    within = [[x for x in places if low <= x <= high] for places in series]
    return next((places for places in within if len(places) <= most), [])


def _number(value: float, position: int | None = None) -> str:
    """A number in plain letters where these are few.

    >>> _number(5000.0), _number(1000.5), _number(0.05), _number(-2.5), _number(3e7)
    ('5,000', '1,000.5', '0.05', '-2.5', '3e+07')
    """
    return f"{value:,.10g}" if 1e3 <= abs(value) < 1e7 else f"{value:g}"


def to_svg(drawing: Drawing, *, inline: bool = False) -> str:
    """A drawing as SVG text, with title and description for screen readers.

    Args:
        drawing: what to write.
        inline: for the middle of a page: no XML head, ids that start with the drawing's name, and
            letters as text. A file of its own holds letters as shapes, which look the same
            everywhere.
    """
    from matplotlib import rc_context

    with house_style(), rc_context({"svg.fonttype": "none" if inline else "path"}):
        buffer = io.StringIO()
        drawing.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    head, start, body = buffer.getvalue().partition("<svg ")
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, count=1, flags=re.DOTALL)
    opening, end, rest = body.partition(">")
    words = (
        f"\n <title>{escape(drawing.title)}</title>\n <desc>{escape(drawing.description)}</desc>"
    )
    text = f'{start}role="img" {opening}{end}{words}{rest}'
    if not inline:
        return head + text
    prefix = rf"\1{drawing.name}-"
    return re.sub(r'(\bid="|url\(#|href="#)', prefix, text)


def encode(drawing: Drawing, format: FileFormat) -> bytes:
    """A drawing as the content of a file; equal drawings give equal bytes."""
    if format is FileFormat.svg:
        return to_svg(drawing).encode()
    about = {"Title": drawing.title}
    if format is FileFormat.pdf:
        about |= {"Subject": drawing.description, "CreationDate": None}  # type: ignore[dict-item]
    else:
        about |= {"Description": drawing.description}
    with house_style():
        buffer = io.BytesIO()
        drawing.figure.savefig(buffer, format=format.value, metadata=about)
    return buffer.getvalue()
