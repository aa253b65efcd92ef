"""What runs keep for figures, and the command that makes a run once more."""

from __future__ import annotations

import json

import numpy as np
import pytest
from result_factory import PROVENANCE, make_spec

from metabench.results.figure_data import MixturePanel, MixturePath, command_again
from metabench.results.schema import RunRecord
from metabench.values import canonical_json


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


def test_weights_that_are_not_finite_are_kept_as_such() -> None:
    weights = np.array([[0.25, 0.75], [np.nan, np.inf]])
    panel = MixturePanel("normal", 0, 1, ("skip", "linear"), weights)
    line = MixturePath(0, (0, 1), (panel,)).to_json()
    assert json.loads(canonical_json(line))["panels"][0]["weights"] == [[0.25, 0.75], [None, None]]
    again = MixturePath.from_json(line).panels[0].weights
    assert np.isnan(again[1]).all()
    assert again[0].tolist() == [0.25, 0.75]
