"""How the rows of a page were made: commands, environments, data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metabench.render.page.values import DataOrigin, Environment, Origin, PageProvenance, RunLine
from metabench.reports.build import make_rows
from metabench.reports.tables import Row
from metabench.results import schema as records
from metabench.results.configurations import configurations
from metabench.results.reading import FinishedRun
from metabench.text import counted


def find_provenance(runs: Sequence[FinishedRun]) -> PageProvenance:
    """Bring together how every row was made, in the order of the tables."""
    by_setting: dict[tuple[str, str], list[FinishedRun]] = defaultdict(list)
    for run in runs:
        by_setting[run.record.spec.suite, run.record.spec.setting].append(run)
    origins = [
        _origin(row, config.runs)
        for _, group in sorted(by_setting.items())
        for row, config in make_rows(configurations(group))
    ]
    return PageProvenance(
        origins=tuple(origins),
        environments=tuple(_environments(runs)),
        data=tuple(_data(runs)),
    )


def _origin(row: Row, runs: Sequence[FinishedRun]) -> Origin:
    spec = runs[0].record.spec
    return Origin(
        row=row,
        suite=spec.suite,
        setting=spec.setting,
        facts=_facts(runs[0].record),
        runs=tuple(
            RunLine(
                run_id=run.record.run_id,
                seed=run.record.spec.seed,
                command=run.record.provenance.command,
                device=_made_by(run.record.provenance),
                seconds=run.record.train_seconds,
            )
            for run in runs
        ),
    )


def _made_by(provenance: records.Provenance) -> str:
    """The device, and the engines of the meta-steps where it was not the learner alone."""
    engines = provenance.engine
    return provenance.device + (f", {', then '.join(engines)}" if {*engines} - {"eager"} else "")


def _facts(record: records.RunRecord) -> dict[str, str]:
    spec = record.spec
    protocol = spec.protocol.model_dump(exclude_none=True)
    steps, batch = spec.training.meta_steps, spec.training.meta_batch
    training = f"{counted(steps, 'meta-step')} with {counted(batch, 'episode')} each"
    if record.phases:
        training = ", then ".join(map(str, record.phases))
    facts = {
        "suite": f"{spec.suite}, version {spec.suite_version}",
        "learner": f"{spec.learner}, version {spec.learner.version}",
        "network": str(spec.space or ""),
        "strategy": str(spec.strategy or ""),
        "training": training,
        "protocol": ", ".join(f"{name.replace('_', ' ')} {v}" for name, v in protocol.items()),
        "data": f"{spec.data}, fingerprint {spec.data_fingerprint}",
    }
    return {name: text for name, text in facts.items() if text}


def _environments(runs: Iterable[FinishedRun]) -> list[Environment]:
    groups: dict[tuple[str, ...], list[records.RunRecord]] = defaultdict(list)
    for run in runs:
        one = run.record.provenance
        packages = (f"{name} {version}" for name, version in one.packages.items() if version)
        place = (
            f"{one.device}, {counted(one.threads, 'thread')}",
            f"Python {one.python}, {one.platform}",
            ", ".join(packages),
        )
        groups[place].append(run.record)
    return [
        Environment(
            device=device,
            platform=where,
            packages=packages,
            revisions=_distinct(record.provenance.git for record in group),
            n_runs=len(group),
            learners=_distinct(record.spec.learner.name for record in group),
            suites=_distinct(record.spec.suite for record in group),
        )
        for (device, where, packages), group in sorted(groups.items())
    ]


def _data(runs: Sequence[FinishedRun]) -> list[DataOrigin]:
    learners: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for run in runs:
        spec = run.record.spec
        told: Mapping[str, Any] = run.record.data
        for choice in spec.sources:
            facts = told.get(choice.source)
            facts = facts if isinstance(facts, dict) else {}
            place = (
                spec.suite,
                choice.source,
                str(facts.get("dataset", choice)),
                str(facts.get("fingerprint", "")),
                str(facts.get("licence", "")),
            )
            learners[place].append(spec.learner.name)
    return [
        DataOrigin(
            suite=suite,
            source=source,
            dataset=dataset,
            fingerprint=fingerprint,
            licence=licence,
            n_runs=len(names),
            learners=_distinct(names),
        )
        for (suite, source, dataset, fingerprint, licence), names in sorted(learners.items())
    ]


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, texts)))
