"""Parameters of trackers on the command line."""

from __future__ import annotations

import pytest

from metabench.errors import UsageError
from metabench.planning.tracker_params import params_by_tracker, without_trackers


def test_options_for_trackers_are_divided_from_those_for_runs() -> None:
    sets = [
        "learner.inner_lr=0.1,0.2",
        "tracker[mlflow].uri=http://localhost:5000",
        "tracker[csv].folder='a,b'",
        "tracker.folder=all",
        "tracked.x=1",
    ]
    others, params = without_trackers(sets)
    assert others == ["learner.inner_lr=0.1,0.2", "tracked.x=1"]
    assert params == {
        "mlflow": {"uri": "http://localhost:5000"},
        "csv": {"folder": "a,b"},
        "": {"folder": "all"},
    }
    assert params_by_tracker(["csv", "mlflow", "wandb"], params) == {
        "csv": {"folder": "a,b"},
        "mlflow": {"folder": "all", "uri": "http://localhost:5000"},
        "wandb": {"folder": "all"},
    }


@pytest.mark.parametrize(
    "sets", [["tracker[csv].folder=a,b"], ["tracker[csv].folder=a", "tracker[csv].folder=b"]]
)
def test_a_parameter_has_one_value(sets: list[str]) -> None:
    with pytest.raises(UsageError, match=r"--set tracker\[csv\].folder has several values"):
        without_trackers(sets)


def test_a_value_that_is_no_yaml_is_refused_by_its_own_name() -> None:
    with pytest.raises(UsageError, match=r"tracker\[csv\].folder=\[a' has a value"):
        without_trackers(["tracker[csv].folder=[a"])


def test_parameters_of_a_tracker_that_is_not_used_are_refused() -> None:
    with pytest.raises(UsageError, match="does not use") as caught:
        params_by_tracker(["mlflow"], {"mlfow": {"uri": "local"}})
    assert caught.value.hint == "Did you mean mlflow?"
    with pytest.raises(UsageError, match="does not use") as caught:
        params_by_tracker([], {"csv": {}})
    assert caught.value.hint == "Add --tracker csv."
    with pytest.raises(UsageError, match="uses no tracker"):
        params_by_tracker([], {"": {}})
