"""Results of a race as tables and as JSON."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import peak
from race import Rates, here
from rich.console import Console
from rich.table import Table
from workload import Facts

__all__ = ["Console", "Result", "console", "one_line", "say_where", "summary", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Rates of one workload.

    Attributes:
        name: of the workload.
        summary: what one task is.
        rates: tasks per CPU second by entrant, those of the peak among them.
        ours: names of our entrants; the first is what peers are compared with.
        peers: names of the others.
        facts: what does not depend on time.
    """

    name: str
    summary: str
    rates: dict[str, Rates]
    ours: tuple[str, ...]
    peers: tuple[str, ...]
    facts: Facts = field(default_factory=Facts)

    @property
    def own(self) -> Rates:
        """What peers are compared with."""
        return self.rates[self.ours[0]]

    @property
    def best_peer(self) -> str | None:
        """The fastest peer."""
        return max(self.peers, key=lambda name: self.rates[name].median, default=None)

    def gflops(self, name: str) -> float | None:
        """Billions of floating-point operations per CPU second."""
        gflop = self.facts.gflop
        return None if gflop is None else gflop * self.rates[name].median

    def share(self, name: str) -> float | None:
        """Of the peak of the same run."""
        gflops = self.gflops(name)
        return None if gflops is None else gflops * 1e9 / peak.best(self.rates)

    def as_json(self) -> dict[str, object]:
        """All that was measured."""
        best = self.best_peer
        return {
            "workload": self.name,
            "summary": self.summary,
            "ours": self.ours,
            "peers": self.peers,
            "tasks_per_cpu_second": {n: r.rounds for n, r in self.rates.items()},
            "best_peer": best,
            "ratio_to_best_peer": best and self.own.over(self.rates[best]),
            "gflop_per_task": self.facts.gflop,
            "share_of_peak": self.share(self.ours[0]),
            "differences": dict(self.facts.differences or {}),
            "note": self.facts.note,
        }


def console() -> Console:
    """Where tables go; as wide as they are when nobody looks."""
    made = Console()
    return made if made.is_terminal else Console(width=110)


def say_where(console: Console) -> None:
    """One line of what the figures depend on."""
    facts = here()
    console.print(
        f"{facts['processor']}; torch {facts['torch']}; thread {facts['threads']}; "
        f"metabench {revision()}",
        highlight=False,
    )


def revision() -> str:
    """Of this checkout."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "of unknown revision"


def table(result: Result, console: Console) -> None:
    """Each entrant of one workload."""
    note = f" ({result.facts.note})" if result.facts.note else ""
    made = Table(title=f"{result.name}: {result.summary}{note}", title_justify="left")
    made.add_column("")
    for heading in ("tasks/s", "min", "max", "ours/it", "GFLOP/s", "of peak", "difference"):
        made.add_column(heading, justify="right")
    differences = result.facts.differences or {}
    for name in [*result.ours, *result.peers]:
        rates = result.rates[name]
        gflops, share, gap = result.gflops(name), result.share(name), differences.get(name)
        made.add_row(
            name,
            _number(rates.median),
            _number(min(rates.rounds)),
            _number(max(rates.rounds)),
            f"{result.own.over(rates):.2f}",
            "" if gflops is None else _number(gflops),
            "" if share is None else f"{share:.0%}",
            "" if gap is None else f"{gap:.0e}",
        )
    console.print(made)


def summary(results: list[Result], console: Console) -> None:
    """One line a workload."""
    made = Table(title="all workloads", title_justify="left")
    for heading in ("", "tasks/s", "best peer", "ratio", "range", "GFLOP/s", "of peak"):
        made.add_column(heading, justify="right" if heading not in ("", "best peer") else "left")
    for result in results:
        best, own = result.best_peer, result.ours[0]
        gflops, share = result.gflops(own), result.share(own)
        low, high = result.own.range_over(result.rates[best]) if best else (0.0, 0.0)
        made.add_row(
            result.name,
            _number(result.own.median),
            best or "",
            f"{result.own.over(result.rates[best]):.2f}" if best else "",
            f"{low:.2f} to {high:.2f}" if best else "",
            "" if gflops is None else _number(gflops),
            "" if share is None else f"{share:.0%}",
        )
    console.print(made)
    peaks = {n: max(r.rates[n].median for r in results) / 1e9 for n in peak.peaks()}
    console.print(
        "peak: " + ", ".join(f"{n} {v:.0f} GFLOP/s" for n, v in peaks.items()), highlight=False
    )


def one_line(result: Result, console: Console) -> None:
    """Our rate, that of the other revision, and the ratio."""
    (own,), (other,) = result.ours, result.peers
    mine, theirs = result.own, result.rates[other]
    low, high = mine.range_over(theirs)
    console.print(
        f"{result.name:18}{own:14}{mine.median:12.4g}{theirs.median:12.4g} tasks/s"
        f"   ratio {mine.over(theirs):5.2f}   ({low:.2f} to {high:.2f})",
        highlight=False,
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
