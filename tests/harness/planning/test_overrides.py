"""What --set says, and what is said where it cannot be read."""

import pytest

from metabench.errors import UsageError
from metabench.planning.overrides import parse_changes


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("{cell: [[0, 2, skip], [1, 2, linear]}", "It opens 3 brackets and closes 2."),
        ("{cell: [[0, 2, skip]]", "It opens 1 brace and closes 0."),
        ("a: b: c", "Put the value in quotes if it contains brackets, braces or colons."),
    ],
)
def test_a_value_that_is_not_yaml_gets_a_hint(value: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_changes([f"strategy.genotype={value}"])
    assert "has a value that is not valid YAML" in caught.value.message
    assert caught.value.hint == hint
