"""What every figure is made with and written by: one style, and the same bytes every time."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from typing import TYPE_CHECKING, Any

from metabench.errors import UsageError
from metabench.render.figures.palette import INK, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere
    "font.size": 8.0,
    "axes.titlesize": 9.0,
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


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches that belongs to no window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def line_style(style: Style) -> dict[str, Any]:
    """A style as matplotlib's arguments for a line."""
    return {"color": style.color, "linestyle": (0, style.dash) if style.dash else "-"}


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend for all panels, under them."""
    columns = min(len(labels), max(1, int(figure.get_figwidth() * 14 / max(map(len, labels)))))
    # matplotlib leaves out labels with a leading underscore, so the texts come afterwards.
    legend = figure.legend(
        handles, ["name"] * len(labels), loc="outside lower center", ncols=columns
    )
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(label)


def plain_log_axis(axes: Axes, *, axis: str = "y") -> None:
    """A logarithmic axis whose ticks are plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    getattr(axes, f"set_{axis}scale")("log")
    ticks = getattr(axes, f"{axis}axis")
    ticks.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ticks.set_minor_formatter(NullFormatter())


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
