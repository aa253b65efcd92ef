"""What an error about an unknown name suggests."""

import pytest

from metabench.errors import unknown


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("MAML", ["maml", "bmaml", "maml++"], "Did you mean maml?"),
        ("malm", ["MAML", "reptile"], "Did you mean MAML?"),
        ("nonsense", ["average", "sine"], "Known: average, sine."),
        ("x", [], "Known: none."),
        ("ab", ["AB", "Ab", "aB", "zz", "abc"], "Did you mean AB or Ab or aB?"),
    ],
)
def test_only_near_names_are_suggested(name: str, known: list[str], hint: str) -> None:
    assert unknown("thing", name, known).hint == hint
