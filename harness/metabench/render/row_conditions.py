"""Under which conditions the rows of a table ran: what is usual among them, and which differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from metabench.render.print_names import PrintNames
from metabench.reports.captions import UNEQUAL_SIZES
from metabench.reports.tables import Row, Table
from metabench.results.metrics import AVERAGE, VAL
from metabench.text import counted, plain

NOT_COMPARED = "not compared with other rows"
"""The note on numbers that no other of their column can be compared with."""

NOTHING = "\N{EN DASH}"
"""Stands where a row has no network."""

NO_STAMP = "no further stamp"
"""Said of a row without a stamp besides its budget, where others have one."""

Note = tuple[str, ...]
"""What is said of a row or a number, in parts."""

_VERSION = "version of"  # how kinds begin that say another version than the installed one
_IN_CAPTION = ("budget", "stamps")
_TESTED = ("seeds", "interval")  # of these the caption says what the interval is over


class RowConditions:
    """The conditions of the rows of one table, in words by kind.

    Rows are held against those that they are compared with: all of the table, or those of their
    letter, which make a block.

    Args:
        table: whose rows.
        names: how papers print names.
        with_networks: whether the network and an unequal size are conditions too.
    """

    def __init__(self, table: Table, names: PrintNames, *, with_networks: bool) -> None:
        self._table = table
        self._names = names
        self._with_networks = with_networks
        self._only_val = table.columns == (VAL,)
        self._unequal = _unequal_sizes(table.rows)
        self._of = {row.runs: self._conditions(row) for row in table.rows}
        letters = sorted({row.conditions for row in table.rows}, key=lambda one: (not one, one))
        self._usual = {
            letter: self._usual_of([row for row in table.rows if row.conditions == letter])
            for letter in letters
        }
        self.blocks = [self._block(letter) for letter in letters] if table.conditions else []

    def _conditions(self, row: Row) -> dict[str, str]:
        """What a row ran under; a kind that does not concern it is absent."""
        stamps = [stamp for stamp in row.stamps if stamp != row.budget]
        words = {
            "budget": f"budget {row.budget}",
            "stamps": f"stamps {', '.join(stamps)}" if stamps else NO_STAMP,
            "training": _training(row),
            "seeds": counted(len(row.seeds), "seed"),
            "interval": _interval(over_seeds=row.over_seeds or self._only_val),
            "normalization": _normalization(row),
        }
        words["steps"] = f"{_steps(row)} at test"
        if self._with_networks and row.network != "none":
            words["network"] = self._names.network(row.network)
            if row.n_params is not None and self._unequal:
                words["size"] = f"{row.n_params:,} weights"
        for one in row.versions:
            words[f"{_VERSION} {one.whose}"] = f"{one.whose} version {one.number}"
        return {kind: plain(text) for kind, text in words.items()}

    def _usual_of(self, rows: Sequence[Row]) -> dict[str, str]:
        """By kind, what most of the rows have that it concerns; absent where there is no such."""
        usual = {}
        trained = [row for row in rows if row.meta_steps] or rows
        for kind in dict.fromkeys(kind for row in rows for kind in self._of[row.runs]):
            concerned = trained if kind == "training" else rows
            found = [self._of[row.runs].get(kind) for row in concerned]
            words = Counter(one for one in found if one is not None).most_common(1)
            least = (len(found) - found.count(None)) / 2
            if kind.startswith(_VERSION):  # a row without one has the version that is installed
                least = len(found) - 1
            if words and words[0][1] > least:
                usual[kind] = words[0][0]
        return usual

    def variant(self, row: Row) -> list[str]:
        """What tells a row apart from rows that would look the same and its block does not say."""
        said = self._table.conditions.get(row.conditions, "").split(", ")
        network = self._of[row.runs].get("network", "")
        versions = {one.fact for one in row.versions}
        told = (fact for fact in row.facts if fact not in versions and fact not in network)
        return [plain(fact) for fact in told if fact.replace("=", " ") not in said]

    def note(self, row: Row, *, with_variant: bool) -> Note:
        """In what a row differs from the usual of the rows that it is compared with; may be ().

        Args:
            row: of the table.
            with_variant: whether what tells it apart from rows that look the same belongs to it.
        """
        usual, own = self._usual[row.conditions], self._of[row.runs]
        said = self.variant(row) if with_variant else []
        said += [words for kind, words in own.items() if usual.get(kind) != words]
        shown = self._table.columns or row.cells
        if {row.cells[name].mark for name in shown if name in row.cells} == {"not compared"}:
            said.append(NOT_COMPARED)
        return tuple(said)

    @property
    def single(self) -> bool:
        """Whether the table has one row."""
        return len(self._table.rows) == 1

    def agrees(self, row: Row, note: Note) -> bool:
        """Whether all that a note says holds for a row."""
        return {*self._of[row.runs].values(), *self.variant(row)} >= {*note}

    def block(self, row: Row) -> str:
        """The words over the rows with the letter of this row; "" in a table without letters."""
        return self._block(row.conditions) if self.blocks else ""

    def _block(self, letter: str) -> str:
        said = self._table.conditions.get(letter, "other conditions")
        usual = self._usual[letter]
        more = [usual[kind] for kind in self._of_blocks() if kind in usual]
        told = (words for words in more if words not in said and words != NO_STAMP)
        return plain("; ".join([said, *told]))

    def _of_blocks(self) -> list[str]:
        """The kinds whose usual words differ between blocks."""
        kinds = dict.fromkeys(kind for usual in self._usual.values() for kind in usual)
        return [k for k in kinds if len({usual.get(k) for usual in self._usual.values()}) > 1]

    def network(self) -> str:
        """The network of most rows that have one; "" where there is no such."""
        rows = [row for row in self._table.rows if row.network != "none"]
        found = Counter(row.network for row in rows).most_common(1)
        return self._names.network(found[0][0]) if found and 2 * found[0][1] > len(rows) else ""

    def usual_where_noted(self, *, with_network: bool = False) -> str:
        """What rows without a note have where another has one; what the caption says aside.

        Args:
            with_network: whether the network of most rows is said in any case.
        """
        aside = {*_IN_CAPTION, *_TESTED, *self._of_blocks()}
        said: dict[str, None] = dict.fromkeys(
            filter(None, [self.network() if with_network else ""])
        )
        for row in self._table.rows:
            usual = self._usual[row.conditions]
            for kind, words in self._of[row.runs].items():
                if kind in usual and usual[kind] != words and kind not in aside:
                    said[usual[kind]] = None
        return "; ".join(said)

    def in_caption(self) -> str:
        """Budget, stamps and versions of the rows without a note, if all blocks have the same."""
        usual = self._usual_of_all()
        kinds = [*_IN_CAPTION, *(kind for kind in usual if kind.startswith(_VERSION))]
        said = [usual[kind] for kind in kinds if kind in usual]
        return ", ".join(words for words in said if words != NO_STAMP)

    def tested(self) -> str:
        """On what the rows without a note were tested, and what their interval is over."""
        usual = self._usual_of_all()
        seeds, interval = (usual.get(kind) for kind in _TESTED)
        if self._only_val:
            return f"over {seeds or 'seeds'}, on meta-validation"
        n = " or ".join(f"{n:,}" for n in self._table.episodes)
        episodes = f"{n} test episodes".strip()
        shown = {*self._table.columns} - {VAL} or {AVERAGE}
        if len(sources_of(self._table)) > 1 and (AVERAGE in shown or len(shown) > 1):
            episodes = f"{episodes} per source"
        if interval == _interval(over_seeds=True):
            return f"over {seeds or 'seeds'}, {episodes}"
        if interval is None:
            return f"on {episodes}"
        if seeds is None:
            return f"over {episodes}"
        runs = "one training run each" if seeds == "1 seed" else f"scores averaged over {seeds}"
        return f"over {episodes}, {runs}"

    def _usual_of_all(self) -> dict[str, str]:
        """What is usual in all blocks alike."""
        aside = self._of_blocks()
        first = next(iter(self._usual.values()))
        return {kind: words for kind, words in first.items() if kind not in aside}


def sources_of(table: Table) -> set[str]:
    """The sources that rows of a table have scores of, shown or not."""
    return {name for row in table.rows for name in row.cells} - {AVERAGE, VAL}


def varying_columns(tables: Sequence[Table]) -> Mapping[str, str]:
    """Headings of the network and its size, each if it varies in a table, and the row's field."""
    shown = {}
    if any(len({row.network for row in table.rows} - {"none"}) > 1 for table in tables):
        shown["Network"] = "network"
    if any(len({row.n_params for row in table.rows} - {None}) > 1 for table in tables):
        shown["Weights"] = "n_params"
    return shown


def in_column(rows: Sequence[Row], field: str, names: PrintNames) -> str:
    """The network of rows of one line, or its size; what they have in common is said once."""
    if field == "network":
        words = [names.network(row.network) for row in rows if row.network != "none"]
    else:
        words = [f"{row.n_params:,}" for row in rows if row.n_params is not None]
    return " / ".join(dict.fromkeys(words)) or NOTHING


def _interval(*, over_seeds: bool) -> str:
    return f"interval over {'seeds' if over_seeds else 'episodes'}"


def _training(row: Row) -> str:
    if not row.meta_steps:
        return "not trained"
    if phases := row.training.get("phases"):
        return f"{phases} (meta-steps x episodes)"
    return f"{row.meta_steps:,} meta-steps of {counted(row.meta_batch, 'episode')}"


def _steps(row: Row) -> str:
    if row.steps_at_test is None:
        return "unrecorded inner steps"
    return counted(row.steps_at_test, "inner step") if row.steps_at_test else "no inner step"


def _normalization(row: Row) -> str:
    if row.transductive:
        return "uses the statistics of the query set"
    if row.normalization == "running":
        return "uses running statistics"
    return "uses no statistics of the query set"


def _unequal_sizes(rows: Sequence[Row]) -> bool:
    sizes = [row.n_params for row in rows if row.n_params]
    return bool(sizes) and max(sizes) > UNEQUAL_SIZES * min(sizes)
