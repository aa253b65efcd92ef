"""What runs would cost, before any is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.api.plugins import catalog_with
from metabench.errors import UsageError
from metabench.text import counted

if TYPE_CHECKING:
    import pandas as pd

    from metabench.api.executing import HowToRun
    from metabench.planning.plan import PlannedRun
    from metabench.plugin.catalog import Catalog
    from metabench.results.price import Price
    from metabench.running.engines import EngineName


@dataclass(frozen=True, slots=True)
class PriceView:
    """What runs would cost. A notebook shows a table; ``print`` gives plain text.

    Attributes:
        price: its values.
        left_out: what of a paper's table cannot be run, one sentence each.
    """

    price: Price
    left_out: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        """Seconds until all runs are done, on an idle machine; None where none is known."""
        return self.price.seconds

    def to_frame(self) -> pd.DataFrame:
        """One row per run: learner, suite, setting, seed, done, seconds left, memory and bytes."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "learner": run.planned.spec.learner.name,
                    "suite": run.planned.spec.suite,
                    "setting": run.planned.spec.setting,
                    "seed": run.planned.spec.seed,
                    "done": run.done,
                    "seconds": run.seconds,
                    "memory_mib": run.costs.memory_mib if run.costs else None,
                    "bytes": run.costs.disk_bytes(run.planned.spec) if run.costs else None,
                }
                for run in self.price.runs
            ]
        )

    def __str__(self) -> str:
        """As ``metabench run --dry-run`` prints it."""
        from metabench.render.price_text import price_text

        return price_text(self.price) + "".join(f"Cannot be run: {one}\n" for one in self.left_out)

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(index=False)


def price(
    learner: str | Sequence[str] = (),
    suite: str | Path | Sequence[str | Path] = (),
    *,
    paper: str | None = None,
    out: str | Path | None = None,
    jobs: int = 1,
    device: str = "auto",
    engine: EngineName = "eager",
    threads: int = 1,
    plugins: Iterable[str | Path] = (),
    probe: bool = True,
    **asked: Any,
) -> PriceView:
    """Say what runs would cost: time, memory and disk, what is done, and what data is missing.

    The speed of each configuration is measured for a few seconds, once on a machine. Finished runs
    of the same configuration in ``out`` are better than a measurement.

    Args:
        learner: as of :func:`metabench.run`.
        suite: as of :func:`metabench.run`.
        paper: the key of a paper's table, such as ``m-nas/table-1``, in place of both.
        out: the results folder; as :func:`metabench.run` or :func:`metabench.reproduce` by default.
        jobs: runs at a time.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        engine: what makes the meta-steps.
        threads: CPU threads of each run.
        plugins: plugin files to load.
        probe: measure what nobody has measured.
        asked: the other arguments of :func:`metabench.run` that say what to run, such as
            ``budget``; of a paper's table those of :func:`metabench.reproduce`.

    Raises:
        UsageError: for unknown names, values out of bounds and combinations that do not fit.
    """
    from metabench.api.executing import HowToRun
    from metabench.api.reproducing import folder_of, plan_of
    from metabench.api.running import fields_of
    from metabench.planning.grid import Grid
    from metabench.planning.validation import validated

    files = tuple(Path(file) for file in plugins)
    found = catalog_with(files)
    if (paper is None) == (not learner or not suite):
        raise UsageError(
            "A price is that of learners on suites, or that of a paper's table.",
            hint='For example: metabench.price("maml", "toy-regression"), or '
            'metabench.price(paper="m-nas/table-1").',
        )
    left_out: tuple[str, ...] = ()
    if paper is None:
        fields = fields_of(learner=learner, suite=suite, **asked)
        grid = validated(Grid, fields, what="price:")
        runs = grid.plan(found, plugin_files=files, without_data=True)
        folder = Path(out or "results/local")
    else:
        table = plan_of(paper, found, plugin_files=files, **asked)
        runs, left_out = list(table.runs), table.left_out
        folder = Path(out or folder_of(paper))
    how = HowToRun(
        out=folder, jobs=jobs, device=device, engine=engine, threads=threads, plugin_files=files
    )
    return PriceView(price_of(runs, how, found, probe=probe), left_out)


def price_of(
    runs: Sequence[PlannedRun],
    how: HowToRun,
    catalog: Catalog,
    *,
    probe: bool,
    tell: Callable[[str], None] = lambda line: None,
) -> Price:
    """The price of planned runs; what is not known is measured and kept for the next command.

    Args:
        runs: they may lack data.
        how: they are made. Time is that of this machine, also where an executor uses others.
        catalog: the plugins.
        probe: measure what nobody has measured.
        tell: called with what goes on, a line each.
    """
    from metabench.planning.training_identity import training_id
    from metabench.results.costs import Costs, KnownCosts
    from metabench.results.price import kind_of, known_costs, priced, trained_by_others
    from metabench.running.devices import pick_device
    from metabench.running.engines import pick_engine
    from metabench.running.probe import Resources
    from metabench.running.probing import probe_all

    device = pick_device("auto" if catalog.executor(how.executor).remote else how.device)
    engine = pick_engine(how.engine, device=device)
    known = KnownCosts(device=device, engine=engine, threads=how.threads)
    costs = known_costs(runs, how.out, known=known)
    trained = trained_by_others(runs, how.out, partial(training_id, catalog=catalog))
    why: dict[str, str] = {}

    def now() -> Price:
        return priced(
            runs,
            costs,
            out=how.out,
            device=device,
            jobs=how.jobs or 1,
            why=why,
            trained=trained,
        )

    # Programs take each other's caches, so that a step computes for longer on a busy machine.
    again = _quiet()
    unpriced = [
        run.planned
        for run in now().left
        if run.costs is None or (again and device == "cpu" and run.costs.busy)
    ]
    unknown = [*{kind_of(run): run for run in unpriced}.values()]

    def keep(index: int, found: Costs | str) -> None:
        run = unknown[index]
        if isinstance(found, str):
            if kind_of(run) not in costs:
                why[kind_of(run)] = found
        elif kind_of(run) not in costs or found.load <= costs[kind_of(run)].load:
            costs[kind_of(run)] = found
            known.put(run.spec, found)
        tell(f"{index + 1} of {len(unknown)}: {_words(run)}")

    if probe and unknown:
        tell(f"Measuring the speed of {counted(len(unknown), 'configuration')}, some seconds each.")
        resources = Resources(device=device, engine=engine, threads=how.threads)
        probe_all(unknown, resources, plugin_files=how.plugin_files, tell=keep)
    return now()


def _quiet() -> bool:
    """Whether a CPU of this machine is idle, as far as the system tells."""
    try:
        at_work = os.getloadavg()[0]
    except (AttributeError, OSError):
        return False
    return at_work + 1 <= (os.cpu_count() or 1)


def _words(run: PlannedRun) -> str:
    return f"{run.spec.learner.name} on {run.spec.suite}@{run.spec.setting}"
