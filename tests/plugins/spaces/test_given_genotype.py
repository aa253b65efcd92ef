"""A genotype given by a user is read strictly, and all its spellings are one value."""

import json
from pathlib import Path

import pytest

from metabench.errors import UsageError
from metabench.planning.grid import parse_seeds
from metabench.planning.overrides import parse_changes
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench_plugins.spaces.parts.given_genotype import genotype_of, read_given

EDGES = [[0, 2, "skip"], [1, 2, "linear"], [0, 3, "skip"], [2, 3, "linear"]]
FULL = [*EDGES, [0, 4, "linear"], [1, 4, "skip"]]


def request_of(genotype: object) -> RunRequest:
    text = json.dumps(genotype)
    return RunRequest(
        learners=("maml",),
        suite="toy-regression",
        budget="smoke",
        space="toy-cell",
        strategy="fixed",
        seeds=parse_seeds("0"),
        changes=parse_changes([f"strategy.genotype={text}"]),
    )


def test_the_order_of_edges_does_not_change_the_run(catalog: Catalog) -> None:
    (first,) = plan(request_of({"cell": FULL}), catalog)
    (second,) = plan(request_of({"cell": FULL[::-1]}), catalog)
    assert first.spec.run_id == second.spec.run_id
    (other,) = plan(request_of({"cell": [[0, 2, "linear"], *FULL[1:]]}), catalog)
    assert other.spec.run_id != first.spec.run_id


def test_the_order_in_a_file_does_not_matter_either(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"b": EDGES[::-1], "a": EDGES}))
    given = read_given(str(file))
    assert given == read_given({"a": EDGES, "b": EDGES})
    assert list(given) == ["a", "b"]
    assert genotype_of(given).to_json() == {"a": sorted_edges(), "b": sorted_edges()}


def sorted_edges() -> list[list[object]]:
    return sorted(EDGES, key=lambda edge: (edge[1], edge[0], edge[2]))


@pytest.mark.parametrize(
    ("genotype", "words"),
    [
        ([1], "it is neither a name nor {cell: [[source, target, primitive], ...]}"),
        ({"cell": 3}, "cell 'cell' is not a list of edges"),
        ({"cell": [0, 2, "skip"]}, "in cell 'cell', 0 is not an edge"),
        ({"cell": [[0, 2]]}, "in cell 'cell', [0, 2] is not an edge [source, target, primitive]"),
        ({"cell": [[0, "two", "skip"]]}, "[0, 'two', 'skip'] is not an edge"),
        ({"cell": [[0, 2, "skip", "x"]]}, "[0, 2, 'skip', 'x'] is not an edge"),
        ({"cell": [[0, True, "skip"]]}, "[0, True, 'skip'] is not an edge"),
        ({1: [[0, 2, "skip"]]}, "the name of cell 1 is not text"),
    ],
)
def test_what_is_malformed_is_named(genotype: object, words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are tested below
        read_given(genotype)
    assert words in str(caught.value)


def test_the_place_of_the_error_is_the_parameter_and_the_hint_says_what_fits(
    catalog: Catalog,
) -> None:
    with pytest.raises(UsageError) as caught:
        plan(request_of({"cell": [[0, 2]]}), catalog)
    assert caught.value.message.startswith("strategy.genotype=")
    assert "[0, 2] is not an edge" in caught.value.message
    assert "{cell: [[source, target, primitive], ...]}" in caught.value.hint
