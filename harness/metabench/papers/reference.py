"""Papers' tables as data: what was printed, cell by cell, and what is known about it.

A reference is one YAML file, found through the catalog. A cell is written as it was printed,
``2.210 ± 0.364``; what is not known is written down as missing and stays so.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from metabench.papers.conditions import NOT_STATED, Conditions, Uncertainty, known
from metabench.plugin.contracts.metric import MetricFacts
from metabench.results.metrics import FORMER
from metabench.stats import FIELD_HALF_WIDTH, Z95
from metabench.values import Frozen

Status = Literal["printed", "public copy", "derived", "missing", "not reported"]
"""Read in the paper; in a copy of its table; computed from its other cells; lost; a dash."""

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_PRINTED = re.compile(rf"(?P<value>{_NUMBER})(?: ± (?P<half_width>{_NUMBER}))?")
_ABSENT: tuple[Status, ...] = ("missing", "not reported")
_KEY = r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*"


@dataclass(frozen=True, slots=True)
class PrintedCell:
    """One cell of a paper's table, with all that the table says about it.

    Attributes:
        text: as printed, ``2.210 ± 0.364``; empty where there is nothing.
        value: None where there is nothing.
        half_width: None where none is printed.
        n: how many values the half-width rests on, where that is known.
        over: what these values are of, ``episodes`` or ``seeds`` or both, where that is known.
        formula: of the half-width, where that is known.
        unit: ``%``, or the name of the metric.
        status: where the number was read.
        note: what else is known; may be empty.
    """

    text: str
    value: float | None
    half_width: float | None
    n: int | None
    over: str | None
    formula: str | None
    unit: str
    status: Status
    note: str

    @property
    def implied_std(self) -> float | None:
        """The spread over episodes that the half-width implies: the protocol's fingerprint.

        half-width * sqrt(n) / 1.96, where n counts episodes and the formula is this one.
        """
        if self.half_width is None or self.n is None or self.over != "episodes":
            return None
        if self.formula != FIELD_HALF_WIDTH:
            return None
        return self.half_width * math.sqrt(self.n) / Z95


class CellEntry(Frozen):
    """A cell as it is written in the file: ``2.210 ± 0.364``, ``missing``, or a mapping."""

    printed: str = Field(default="", description="As printed, in quotes if it is one number.")
    status: Status | None = Field(default=None, description="The table's status if absent.")
    note: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise ValueError(f"put {value} in quotes, so that it keeps its zeros")
        if isinstance(value, str):
            return {"status": value} if value in _ABSENT else {"printed": value}
        return value

    @model_validator(mode="after")
    def _number_or_absence(self) -> CellEntry:
        if (self.status in _ABSENT) == bool(self.printed):
            raise ValueError("a cell needs a number, 'missing' or 'not reported'")
        if self.printed and _PRINTED.fullmatch(self.printed) is None:
            raise ValueError(f"{self.printed!r} is not written as '2.210 ± 0.364' or '2.210'")
        return self


class Column(Frozen):
    """A column of numbers, and which of ours belongs to it."""

    name: str
    heading: str = Field(description="As printed.")
    suite: str | None = Field(default=None, description="Null if metabench has no such suite.")
    source: str | None = Field(default=None, description="A source of the suite, or 'average'.")
    setting: str | None = Field(default=None, description="Needed if the rows do not name it.")
    evaluation: str | None = Field(
        default=None, description="The evaluation; the headline's if absent."
    )
    interval: Uncertainty | None = Field(
        default=None, description="The half-widths, if they differ from the table's."
    )


class PrintedRow(Frozen):
    """A method, and which of our learners it is."""

    method: str = Field(description="As printed.")
    learner: str | None = Field(
        default=None,
        description="Null if there is no such learner. One that is not installed has no runs.",
    )
    learner_params: dict[str, Any] = Field(
        default_factory=dict,
        description="Parameters that our runs must have to belong to this row.",
    )
    network: str | None = Field(
        default=None,
        description="The network that our runs must have to belong to this row; any if absent.",
    )
    network_params: dict[str, Any] = Field(
        default_factory=dict,
        description="Parameters of the network that our runs must have to belong to this row.",
    )
    transductive: bool | None = Field(
        default=None,
        description="Whether our runs must use the statistics of the query set; both if absent.",
    )
    arch: str = ""
    params: str = Field(default="", description="Number of weights, as printed.")
    group: str = Field(default="", description="The block of rows that it belongs to.")
    setting: str | None = Field(default=None, description="Needed if the columns do not name it.")
    protocol: Conditions = Field(
        default=Conditions(), description="Facts that differ from those of the table's settings."
    )
    by_setting: dict[str, Conditions] = Field(
        default_factory=dict, description="Facts that differ from `protocol`, by setting."
    )
    interval: Uncertainty | None = Field(
        default=None, description="The half-widths, if they differ from the table's."
    )
    note: str = ""
    cells: dict[str, CellEntry] = Field(description="A cell for every column, by name.")


class Citation(Frozen):
    """Where the table was printed."""

    authors: str
    title: str
    venue: str
    year: int | None = Field(default=None, description="Null if it is not known.")
    where: str = Field(description="``Table 1``, or whose copy of it.")

    @property
    def published(self) -> str:
        """``AAAI 2020``."""
        return self.venue if self.year is None else f"{self.venue} {self.year}"

    @property
    def short(self) -> str:
        """``Wang et al. (AAAI 2020, Table 1)``."""
        first, *others = re.split(r", | and ", self.authors)
        authors = f"{first} et al." if len(others) > 1 else self.authors
        return f"{authors} ({self.published}, {self.where})"

    def __str__(self) -> str:
        """``Wang et al. Title. AAAI 2020, Table 1``."""
        return f"{self.authors}. {self.title}. {self.published}, {self.where}"


class Reference(Frozen):
    """One table of a paper."""

    key: str = Field(pattern=rf"^{_KEY}$")
    title: str
    citation: Citation
    metric: MetricFacts = Field(
        description="`accuracy` or `mse`; of another metric its name, title and direction."
    )
    budget: str = Field(default="paper", description="The budget that trains as long as the paper.")
    protocol: Conditions = Field(
        default=Conditions(), description="Facts that all rows and settings share."
    )
    settings: dict[str, Conditions] = Field(description="Facts that differ, by setting.")
    substitutes: dict[str, str] = Field(
        default_factory=dict,
        description="Suites that are shown in place of the paper's, by name; their numbers are "
        "never comparable.",
    )
    status: Status = Field(default="printed", description="Status of cells that name none.")
    interval: Uncertainty = Uncertainty()
    note: str = ""
    columns: tuple[Column, ...] = Field(min_length=1)
    rows: tuple[PrintedRow, ...] = Field(min_length=1)

    @field_validator("metric", mode="before")
    @classmethod
    def _metric_by_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in FORMER:
                raise ValueError(
                    f"write {value!r} as a mapping that says how it is printed: "
                    f"{{name: {value}, title: ..., better: smaller, percent: false}}"
                )
            return FORMER[value]
        return value

    @model_validator(mode="after")
    def _columns_differ(self) -> Reference:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("two columns have the same name")
        return self

    @model_validator(mode="after")
    def _rows_are_complete(self) -> Reference:
        names = {column.name for column in self.columns}
        for row in self.rows:
            if odd := names ^ row.cells.keys():
                raise ValueError(
                    f"row {row.method!r} and the columns differ in {min(odd)!r}; "
                    "write 'missing' where nothing is known"
                )
        return self

    @model_validator(mode="after")
    def _settings_are_named_once(self) -> Reference:
        for row in self.rows:
            for column in self.columns:
                if (row.setting is None) == (column.setting is None):
                    raise ValueError(
                        f"the setting of row {row.method!r}, column {column.name!r} must be named "
                        "by the row or by the column, and not by both"
                    )
                if self.setting_of(row, column) not in self.settings:
                    raise ValueError(
                        f"{self.setting_of(row, column)!r} is not among the settings of the table"
                    )
        return self

    @model_validator(mode="after")
    def _unknowns_are_said_by_rows(self) -> Reference:
        """A new row must not inherit that a fact is not stated: its source may state it."""
        for place, shared in {"the table": self.protocol, **self.settings}.items():
            if unknown := shared.unknown():
                raise ValueError(
                    f"{unknown[0]} of {place} is '{NOT_STATED}'; write this in the protocol of "
                    "each row that it holds for"
                )
        return self

    @model_validator(mode="after")
    def _protocols_are_complete(self) -> Reference:
        for row in self.rows:
            if odd := row.by_setting.keys() - self.settings.keys():
                raise ValueError(
                    f"by_setting of row {row.method!r} names {min(odd)!r}, which is not among "
                    "the settings of the table"
                )
            for setting in self.settings_of(row):
                conditions = self.conditions_of(row, setting)
                _refuse(conditions.forgotten(), row, f"its protocol in {setting}")
                stated = conditions.normalization != NOT_STATED
                uses = conditions.normalization == "transductive"
                if row.transductive is not None and stated and row.transductive != uses:
                    raise ValueError(
                        f"row {row.method!r} asks for transductive={row.transductive}, but its "
                        f"normalization is {conditions.normalization}"
                    )
        return self

    @model_validator(mode="after")
    def _half_widths_are_complete(self) -> Reference:
        for row in self.rows:
            for column in self.columns:
                if self.cell(row, column).half_width is not None:
                    forgotten = self.interval_of(row, column).forgotten()
                    _refuse(forgotten, row, f"its half-width in {column.name}")
        return self

    @property
    def unit(self) -> str:
        """Of its numbers, ``%`` or the name of the metric."""
        return self.metric.unit

    def setting_of(self, row: PrintedRow, column: Column) -> str:
        """The setting of a cell."""
        return row.setting or column.setting or ""

    def table_of(self, row: PrintedRow, column: Column) -> tuple[str | None, str, str]:
        """Suite, setting and evaluation of the table of a report that has our number for a cell."""
        return column.suite, self.setting_of(row, column), column.evaluation or ""

    def settings_of(self, row: PrintedRow) -> list[str]:
        """The settings that a row has cells in, each once."""
        return list(dict.fromkeys(self.setting_of(row, column) for column in self.columns))

    def conditions_of(self, row: PrintedRow, setting: str) -> Conditions:
        """What the source says of the protocol of a row in a setting.

        A fact of the row comes before one of the setting, and this before one of the table. A row
        that asks for runs with or without transduction says so of the normalization too.
        """
        own = row.by_setting.get(setting, Conditions())
        layers = (self.protocol, self.settings[setting], row.protocol, own)
        facts = {k: v for layer in layers for k, v in layer.model_dump(exclude_none=True).items()}
        if row.transductive is not None and known(facts.get("normalization")) is None:
            facts["normalization"] = "transductive" if row.transductive else "inductive"
        return Conditions(**facts)

    def interval_of(self, row: PrintedRow, column: Column) -> Uncertainty:
        """What is known about the half-width of a cell."""
        return row.interval or column.interval or self.interval

    def cell(self, row: PrintedRow, column: Column) -> PrintedCell:
        """One cell, with what the row, the column or the table says about it."""
        entry = row.cells[column.name]
        match = _PRINTED.fullmatch(entry.printed)
        value, half_width = match.group("value", "half_width") if match else (None, None)
        interval = Uncertainty() if half_width is None else self.interval_of(row, column)
        return PrintedCell(
            text=entry.printed,
            value=None if value is None else float(value),
            half_width=None if half_width is None else float(half_width),
            n=known(interval.n),
            over=known(interval.over),
            formula=known(interval.formula),
            unit=self.unit,
            status=entry.status or self.status,
            note=entry.note or row.note,
        )


def _refuse(forgotten: list[str], row: PrintedRow, what: str) -> None:
    """Raise an error that names facts which a row leaves out."""
    if forgotten:
        where = f"row {row.method!r}{f' ({row.group})' if row.group else ''}"
        raise ValueError(
            f"{where} leaves out {', '.join(forgotten)} of {what}; write '{NOT_STATED}' for what "
            "the source does not say"
        )
