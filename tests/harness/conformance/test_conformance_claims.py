"""Every check of a file of claims passes on a sound one, and fails on one that is broken."""

from pathlib import Path

import pytest
from conformance_specs import CLAIMS, assert_fails, outcomes

from metabench.plugin.catalog import Catalog

NAMED = "its settings, budgets and columns are those of its suites"


@pytest.mark.parametrize(
    ("old", "new", "name", "said"),
    [
        ("relation", "relatoin", "it can be read", "'relatoin'"),
        ("10-shot", "10-shots", NAMED, "Unknown setting '10-shots' of suite toy-regression."),
        ("setting:", "budget: papr\n    setting:", NAMED, "Unknown budget 'papr'"),
        ("setting:", "columns: [harmonic]\n    setting:", NAMED, "Unknown column 'harmonic'"),
    ],
)
def test_broken_claims_fail_their_check(
    catalog: Catalog, tmp_path: Path, old: str, new: str, name: str, said: str
) -> None:
    file = tmp_path / "doe.yaml"
    file.write_text(CLAIMS.replace(old, new))
    assert_fails(file, catalog, name, said, file="claims")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("toy-regression\n    setting: 10-shot", "later\n    setting: any"),
        ("reptile", "reptlie"),
        ("reptile", "{learner: reptile, network: resnet21}"),
        ("reptile", "{learner: reptile, strategy: soft-prune}"),
    ],
)
def test_what_no_plugin_provides_is_a_warning(
    catalog: Catalog, tmp_path: Path, old: str, new: str
) -> None:
    file = tmp_path / "doe.yaml"
    file.write_text(CLAIMS.replace(old, new))
    found = outcomes(file, catalog, file="claims")
    assert found.pop("the plugins that it names are installed").status == "warning"
    assert {outcome.status for outcome in found.values()} == {"ok"}, found


def test_the_claims_of_the_papers_are_sound(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "doe.yaml").write_text(CLAIMS)
    for file in (tmp_path / "doe.yaml", *catalog.claims.values()):
        found = outcomes(file, catalog, file="claims")
        assert {outcome.status for outcome in found.values()} == {"ok"}, (file, found)
