"""The command that makes a run once more."""

from __future__ import annotations

import pytest
from result_factory import PROVENANCE, make_spec

from metabench.results.figure_data import command_again
from metabench.results.schema import RunRecord


@pytest.mark.parametrize(
    ("command", "again"),
    [
        (
            "metabench run --learner maml --suite toy --out results/local",
            "metabench run --learner maml --suite toy --out NEW",
        ),
        (
            "metabench run --out 'my --out folder' --learner maml --set 'learner.cell=[[0, 1]]'",
            "metabench run --learner maml --set 'learner.cell=[[0, 1]]' --out NEW",
        ),
        ("metabench run --out=R --learner maml", "metabench run --learner maml --out NEW"),
        ("metabench run --learner maml", "metabench run --learner maml --out NEW"),
    ],
)
def test_only_the_folder_is_another(command: str, again: str) -> None:
    spec = make_spec()
    record = RunRecord(
        run_id=spec.run_id,
        spec=spec,
        status="done",
        backend="conv4",
        provenance=PROVENANCE.model_copy(update={"command": command}),
    )
    assert command_again(record) == again
