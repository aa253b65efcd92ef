"""The executor of this machine keeps the contract."""

from __future__ import annotations

import pytest

from metabench import conformance
from metabench.plugin.catalog import load_catalog

LOCAL = load_catalog().executor("local")


@pytest.mark.parametrize("check", conformance.checks(LOCAL), ids=str)
def test_one_after_another(check: conformance.Check) -> None:
    check()


@pytest.mark.slow
@pytest.mark.parametrize("check", conformance.checks(LOCAL, params={"jobs": 2}), ids=str)
def test_in_processes(check: conformance.Check) -> None:
    check()
