"""What keeps our runs from standing beside a paper's number, whatever the numbers are."""

from __future__ import annotations

from collections.abc import Iterator

from metabench.errors import MetabenchError
from metabench.papers.deviations import Departure, Departures
from metabench.papers.reference import PrintedRow, Reference
from metabench.reports.tables import Row
from metabench.results.configurations import Pooled


def obstacles(
    reference: Reference, printed: PrintedRow, row: Row, config: Pooled, departures: Departures
) -> list[str]:
    """Stamps, budget, substitutes, protocol, and changed parameters, in words.

    Args:
        reference: the table.
        printed: its row.
        row: ours that stands in it.
        config: the runs behind ours.
        departures: looks up what their suite gives.
    """
    found = [f"our runs are stamped {', '.join(row.stamps)}"] if row.stamps else []
    if row.budget != reference.budget and row.budget not in row.stamps:
        found.append(f"our budget is {row.budget}, and {reference.budget} stands for the paper")
    if config.spec.suite in reference.substitutes:
        found.append(f"{config.spec.suite} is not {reference.substitutes[config.spec.suite]}")
    said = reference.settings[config.spec.setting].model_dump(exclude_none=True)
    for name, theirs in said.items():
        if (mine := getattr(config.spec.protocol, name)) != theirs:
            found.append(f"{name.replace('_', ' ')}: {mine} here, {theirs} in the paper")
    return [*found, *_changes(printed, config, departures)]


def unasked(printed: PrintedRow, config: Pooled, departures: Departures) -> tuple[Departure, ...]:
    """Departures from the suite but those that the row asks for.

    Raises:
        MetabenchError: as :meth:`metabench.papers.deviations.Departures.of`.
    """
    asked = {f"learner.{name}" for name in printed.learner_params}
    return tuple(found for found in departures.of(config) if found.name not in asked)


def _changes(printed: PrintedRow, config: Pooled, departures: Departures) -> Iterator[str]:
    try:
        yield from (found.reason for found in unasked(printed, config, departures))
    except MetabenchError as error:
        why = error.message.rstrip(".")
        yield f"whether our parameters are those of the suite cannot be told ({why})"
