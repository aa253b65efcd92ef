"""The figures of a page: curves of every setting, and what searches and embeddings show."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter

from metabench.errors import MetabenchError
from metabench.render.figures import FIGURES, FigureRequest
from metabench.render.figures.drawing import house_style, to_svg
from metabench.render.page.compact_svg import compact
from metabench.render.page.values import Picture
from metabench.results.cache import Cache, cache_root, settled, stamps
from metabench.results.comparability import comparable_groups
from metabench.results.configurations import configurations
from metabench.results.reading import FinishedRun, Results
from metabench.stats.ranks import MIN_LEARNERS

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

MOST = 12
"""Trained configurations that one figure can show and a reader can distinguish."""

_TAG = re.compile(r"<\w[^<>]*>")
_SIZE = re.compile(r' (width|height)="([\d.]+)pt"')
_STYLE = re.compile(r'\sstyle="([^"]*)"')
_NAMESPACE = re.compile(r'\sxmlns(?::\w+)?="[^"]*"')
_ATTRIBUTES = {
    *("fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity"),
    *("stroke-dasharray", "stroke-dashoffset", "stroke-linecap", "stroke-linejoin"),
    *("stroke-miterlimit", "opacity", "font-size", "text-anchor"),
}


def draw_pictures(
    runs: Sequence[FinishedRun], catalog: Catalog, *, read_at: int = 0
) -> list[Picture]:
    """Draw every setting of a suite at every budget, kind by kind.

    A figure is kept until the next time if its files did not change since they were read.

    Args:
        runs: the runs.
        catalog: of plugins.
        read_at: when the runs were read; see :class:`metabench.results.reading.Results`.

    Raises:
        UsageError: when matplotlib is not installed.
    """
    with house_style():
        pass  # says at once that matplotlib is missing
    groups: dict[tuple[str, str, str], list[FinishedRun]] = defaultdict(list)
    for run in runs:
        spec = run.record.spec
        groups[spec.suite, spec.setting, spec.budget].append(run)
    pictures: list[Picture] = []
    kept = Cache(cache_root())
    for kind, (title, concerns) in KINDS.items():
        for _, group in sorted(groups.items()):
            shown = [run for run in group if concerns(run)]
            name = f"figure-{len(pictures) + 1}"
            if shown and (kind != "ranks" or _most_comparable(shown) >= MIN_LEARNERS):
                pictures.append(
                    _kept(kept, shown, kind, catalog, title=title, name=name, read_at=read_at)
                )
    return pictures


def _most_comparable(runs: Iterable[FinishedRun]) -> int:
    """How many configurations the largest group has that ran under the same conditions."""
    return max(map(len, comparable_groups(configurations(runs))), default=0)


def _searched(run: FinishedRun) -> bool:
    return (run.folder / "genotypes.jsonl").exists()


def _sized(run: FinishedRun) -> bool:
    """Whether the networks that are tested are those that were searched; a supernet has no size."""
    return _searched(run) and not bool(np.isnan(run.episodes.n_params).all())


KINDS: dict[str, tuple[str, Callable[[FinishedRun], bool]]] = {
    "curves": ("Learning curves and steps at meta-test", lambda run: True),
    "ranks": ("Average ranks over episodes", lambda run: True),
    "cell": ("Searched cells", _searched),
    "genotypes": ("How common each architecture is", _searched),
    "sizes": ("Sizes of the searched networks", _sized),
    "embeddings": ("Task embeddings", lambda run: (run.folder / "embeddings.jsonl").exists()),
}
"""Figures that need records alone: a title, and which runs each shows."""


_STEMS = ("episodes", "metrics", "genotypes", "embeddings")
_FILES = ("run.json", *(f"{stem}.jsonl" for stem in _STEMS))
"""What a figure is drawn from, of each run."""


def _kept(
    cache: Cache,
    runs: Sequence[FinishedRun],
    kind: str,
    catalog: Catalog,
    *,
    title: str,
    name: str,
    read_at: int,
) -> Picture:
    """One figure, which is drawn only if it was not drawn before from the same files."""
    files = [run.folder / file for run in runs for file in _FILES]
    made_from = stamps(files)
    key = json.dumps([kind, title, name, *(path for path, _ in made_from)])
    said = json.dumps(made_from).encode()
    found = cache.get("pictures", key)
    if found is not None and found.partition(b"\n")[0] == said:
        return _PICTURE.validate_json(found.partition(b"\n")[2])
    picture = _picture(runs, kind, catalog, title=title, name=name)
    if settled((stamp for _, stamp in made_from), at=read_at) and stamps(files) == made_from:
        cache.put("pictures", key, said + b"\n" + _PICTURE.dump_json(picture))
    return picture


_PICTURE = TypeAdapter(Picture)


def _is_trained(run: FinishedRun) -> bool:
    """Whether its network was trained; a predictor without training has no curve to distinguish."""
    spec = run.record.spec
    return spec.training.meta_steps > 0 or spec.weights is not None


def _picture(
    runs: Sequence[FinishedRun], kind: str, catalog: Catalog, *, title: str, name: str
) -> Picture:
    """One figure, or why there is none in a sentence."""
    spec = runs[0].record.spec
    blank = Picture(
        suite=spec.suite,
        setting=spec.setting,
        budget=spec.budget,
        learners=tuple(dict.fromkeys(run.record.spec.learner.name for run in runs)),
        title=title,
    )
    n_configs = len({run.config_id for run in runs if _is_trained(run)})
    if n_configs > MOST:
        return replace(
            blank,
            notes=(
                f"{n_configs:,} trained configurations are too many for one figure. To see the "
                f"figure, make the report from a folder with at most {MOST} of them.",
            ),
        )
    try:
        request = FigureRequest(results=Results(tuple(runs), (), ()), catalog=lambda: catalog)
        drawing = replace(FIGURES[kind].make(request), name=name)
        svg = compact(without_styles(to_svg(drawing, inline=True)), name=name)
    except MetabenchError as error:
        return replace(blank, notes=(error.message,))
    return replace(blank, description=drawing.description, svg=svg, notes=drawing.notes)


def without_styles(svg: str) -> str:
    """An SVG that a page may hold which allows no styles but its own.

    Styles become attributes, so that the page's style sheet, which overrides attributes, can
    recolor the figure for a dark screen. Fonts are the page's, and the size follows them: what is
    8 points high becomes 0.8 em.
    """
    svg = re.sub(r"<style\b.*?</style>", "", svg, flags=re.DOTALL)
    svg = _SIZE.sub(lambda match: f' {match[1]}="{float(match[2]) / 10:g}em"', svg, count=2)
    return _TAG.sub(lambda match: _without_style(match[0]), svg)


def _without_style(tag: str) -> str:
    # The text of an element holds no angle brackets, so this is a tag and its attributes.
    tag = _NAMESPACE.sub("", tag).replace("xlink:href=", "href=")
    return _STYLE.sub(lambda match: _attributes(unescape(match[1])), tag)


def _attributes(style: str) -> str:
    """Declarations as attributes, those that SVG has.

    >>> _attributes("fill: #fff; font: 8px 'DejaVu Sans'; x: y")
    ' fill="#fff" font-size="8px"'
    """
    found = []
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font" and (size := re.search(r"[\d.]+px", value)):
            name, value = "font-size", size[0]
        if name in _ATTRIBUTES and '"' not in value:
            found.append(f' {name}="{value}"')
    return "".join(found)
