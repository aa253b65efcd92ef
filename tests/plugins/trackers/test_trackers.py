"""The contract of trackers, held by each that metabench brings and whose package is here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from metabench import conformance
from metabench.errors import UsageError
from metabench.plugin.catalog import load_catalog
from metabench.plugin.specs import resolve

CATALOG = load_catalog()
QUICK = ("csv",)
"""The trackers that need no package of others."""


def outcomes(name: str) -> dict[str, conformance.Outcome]:
    checks = conformance.checks(CATALOG.tracker(name))
    return {check.name: conformance.run_check(check) for check in checks}


@pytest.mark.parametrize("name", QUICK)
def test_the_contract(name: str) -> None:
    found = outcomes(name)
    assert len(found) >= 10
    assert {outcome.status for outcome in found.values()} == {"ok"}, found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # packages of packages warn about their own future
@pytest.mark.parametrize("name", sorted(CATALOG.trackers.keys() - set(QUICK)))
def test_the_contract_with_a_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(name)
    for variable in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(variable, raising=False)
    found = outcomes(name)
    assert {outcome.status for outcome in found.values()} == {"ok"}, found


@pytest.mark.parametrize(
    ("name", "module"),
    [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")],
)
def test_a_missing_package_is_said_before_any_run(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    spec = CATALOG.tracker(name)
    with pytest.raises(UsageError, match=f"needs the package {name}") as caught:
        resolve(spec.factory)(spec.params_model()(), tmp_path)
    assert caught.value.hint == f'pip install "metabench[{name}]"'
    skipped = outcomes(name)["two runs at a time are kept apart"]
    assert (skipped.status, name in skipped.reason) == ("skipped", True)
