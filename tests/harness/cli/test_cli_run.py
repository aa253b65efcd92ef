"""Options of ``metabench run`` that take one name."""

import pytest
from typer.testing import CliRunner

from metabench.cli import app


@pytest.mark.parametrize(
    ("option", "value"),
    [("--network", "mlp,toy-cell"), ("--strategy", "darts,fixed"), ("--budget", "smoke,lite")],
)
def test_an_option_that_takes_one_name_refuses_a_list(option: str, value: str) -> None:
    base = ["run", "--learner", "maml", "--suite", "toy-regression", "--dry-run"]
    result = CliRunner().invoke(app, [*base, option, value])
    assert result.exit_code == 2
    assert f"{option} takes one name, but {value!r} is a list." in result.stderr
    assert f"Give one command for each {option.removeprefix('--')}." in result.stderr
