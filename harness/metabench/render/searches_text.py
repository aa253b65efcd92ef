"""Results of searches as text: for a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from metabench.planning.runspec import RunSpec
from metabench.plugin.contracts.genotype import Edge
from metabench.render.columns import columns
from metabench.render.layout import GLUE, PLAIN, Screen, wrap
from metabench.results.search_files import Architecture
from metabench.results.searches import SearchSummary
from metabench.stats.search_measures import PROPORTIONS, wilson
from metabench.text import counted, plain

_INDENT = "    "
_LEGEND = (
    "Silhouette: near 1 if the embeddings of each source form a cluster, near 0 if sources mix.",
    "Linear probe: the share of tasks whose source a linear classifier finds from the embedding, "
    "with its 95 % interval.",
)


def searches_json(searches: Mapping[str, SearchSummary], *, top: int) -> str:
    """Every number; of the architectures the most common ones."""
    values = [_values(label, search, top) for label, search in searches.items()]
    return json.dumps({"searches": values}, indent=2) + "\n"


def searches_text(
    searches: Mapping[str, SearchSummary], *, top: int, screen: Screen = PLAIN
) -> str:
    """A block per configuration."""
    blocks = [_block(label, search, top, screen) for label, search in searches.items()]
    if any(_embeddings(search) for search in searches.values()):
        blocks.append("\n".join(screen.said(*_LEGEND)))
    return "\n\n".join(blocks) + "\n"


def _block(label: str, search: SearchSummary, top: int, screen: Screen) -> str:
    spec = search.spec
    lines = [
        plain(f"{_heading(label, spec)}, {_seeds(search)}"),
        f"  cost: {_cost(search)}",
    ]
    if stamps := search.stamps:
        lines.append(f"  stamps: {plain(', '.join(stamps))}")
    lines += [f"  {line}" for line in _embeddings(search)]
    if search.architectures:
        lines += [f"  {line}" for line in (_found(search), *_trained(search))]
    width = screen.of_rows
    lines = [part for line in lines for part in wrap(line, width, indent=_INDENT)]
    if search.architectures:
        lines += _table(search, top, width)
    return "\n".join(lines)


def _heading(label: str, spec: RunSpec) -> str:
    """The label with suite and budget, each once."""
    place = f"{spec.suite}@{spec.setting}"
    own = " ".join(word for word in label.split(" ") if word not in (place, spec.budget))
    return f"{own}: {place}, budget {spec.budget}"


def _seeds(search: SearchSummary) -> str:
    numbers = ", ".join(map(str, search.seeds))
    return f"seed{'s' if len(search.seeds) > 1 else ''} {numbers}"


def _cost(search: SearchSummary) -> str:
    cost = search.cost
    parts = [f"{cost.meta_steps:,} meta-steps with {counted(cost.meta_batch, 'task')} each"]
    if cost.train_seconds is not None:
        parts.append(f"{cost.train_seconds:,.0f} s of meta-training per seed")
    if cost.peak_memory_mib is not None:
        parts.append(f"a peak memory of {cost.peak_memory_mib:,.0f}{GLUE}MiB")
    return ", ".join(parts)


def _embeddings(search: SearchSummary) -> list[str]:
    lines = []
    for seed, found in zip(search.seeds, search.measures, strict=True):
        if "embedding_probe" in found:
            share = found["embedding_probe"]
            low, high = wilson(share, found[PROPORTIONS["embedding_probe"]])
            lines.append(
                f"task embeddings of seed {seed}: silhouette {found['embedding_silhouette']:.2f}, "
                f"linear probe {_percent(share)} [{_percent(low)}, {_percent(high)}] on "
                f"{found['embeddings']:,.0f} tasks"
            )
    return lines


def _found(search: SearchSummary) -> str:
    n, tasks = len(search.architectures), sum(one.count for one in search.architectures)
    text = f"{counted(n, 'architecture')} in {counted(tasks, 'task')}"
    if (size := search.n_params) is not None:
        spread = f" on average ({size.low:,} to {size.high:,})" if size.low < size.high else ""
        text += f" with {size.mean:,.0f} weights{spread}"
    if n == tasks > 1:
        text += "; each task has its own, and the first are shown"
    elif (agreement := search.agreement) is not None:
        text += (
            f"; {_agreeing(agreement.same, agreement.n_seeds)} most common architecture, and the "
            f"most common architectures of two seeds share {100 * agreement.equal_edges:.0f} % "
            "of their edges on average"
        )
    return text


def _trained(search: SearchSummary) -> list[str]:
    """For how many tasks their own architecture was trained, where a learner trains some."""
    return [
        f"own architecture trained: {_percent(share)} of the tasks of seed {seed}"
        + ("; the others have the nearest trained one" if share < 1 else "")
        for seed, found in zip(search.seeds, search.measures, strict=True)
        if (share := found.get("own_genotype_trained")) is not None
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}{GLUE}%"


def _agreeing(share: float, n_seeds: int) -> str:
    same = round(share * n_seeds)
    if same == 1:
        return f"each of the {n_seeds} seeds has a different"
    return f"{same} of the {n_seeds} seeds have the same"


def _table(search: SearchSummary, top: int, width: int | None) -> list[str]:
    total = sum(one.count for one in search.architectures)
    rows = []
    for one in search.architectures[:top]:
        about = [f"{one.count:,}", _percent(one.count / total), _size(one)]
        for cell, edges in one.genotype.cells:
            rows.append([*about, plain(cell), _in_words(edges)])
            about = [""] * len(about)
    header = ("tasks", "share", "weights", "cell", "edges")
    text = columns(header, rows, width and width - len(_INDENT))
    return [f"{_INDENT}{line}".rstrip() for line in text.splitlines()]


def _in_words(edges: Sequence[Edge]) -> str:
    return ", ".join(f"{e.source}-{e.target}{GLUE}{plain(e.primitive)}" for e in edges)


def _size(one: Architecture) -> str:
    if one.n_params is None:
        return ""
    low, high = one.n_params
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _values(label: str, search: SearchSummary, top: int) -> dict[str, Any]:
    spec, total = search.spec, sum(one.count for one in search.architectures)
    shown: Sequence[Architecture] = search.architectures[:top]
    return {
        "label": label,
        "suite": spec.suite,
        "setting": spec.setting,
        "budget": spec.budget,
        "learner": spec.learner.name,
        "space": spec.space.name if spec.space else None,
        "strategy": spec.strategy.name if spec.strategy else None,
        "stamps": list(search.stamps),
        "seeds": list(search.seeds),
        "cost": asdict(search.cost),
        "measures": [dict(found) for found in search.measures],
        "n_params": asdict(search.n_params) if search.n_params else None,
        "agreement": asdict(search.agreement) if search.agreement else None,
        "n_architectures": len(search.architectures),
        "n_tasks": total,
        "architectures": [
            {
                "count": one.count,
                "by_source": dict(one.by_source),
                "n_params": one.n_params,
                "genotype": one.genotype.to_json(),
            }
            for one in shown
        ],
    }
