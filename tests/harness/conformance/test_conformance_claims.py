"""Every check of a file of claims passes on a sound one, and fails on one that is broken."""

from pathlib import Path

import pytest
from conformance_specs import CLAIMS, assert_fails, outcomes

from metabench.plugin.catalog import Catalog

NAMED = "its settings, budgets and columns are those of its suites"
EVALUATED = "its evaluations are those of its suites and learners"
PARAMS = "the parameters of its learners are valid"


@pytest.mark.parametrize(
    ("old", "new", "name", "said"),
    [
        ("relation", "relatoin", "it can be read", "'relatoin'"),
        ("10-shot", "10-shots", NAMED, "Unknown setting '10-shots' of suite toy-regression."),
        ("setting:", "budget: papr\n    setting:", NAMED, "Unknown budget 'papr'"),
        ("setting:", "columns: [harmonic]\n    setting:", NAMED, "Unknown column 'harmonic'"),
        (
            "setting:",
            "evaluation: extrapolatoin\n    setting:",
            EVALUATED,
            "Unknown evaluation or prediction 'extrapolatoin' of learner maml on suite "
            "toy-regression. Did you mean extrapolation?",
        ),
        (
            "right: [reptile]",
            "baseline: haedline",
            EVALUATED,
            "'haedline' of learner maml on suite toy-regression. Did you mean headline?",
        ),
        (  # a prediction of another learner
            "setting:",
            "evaluation: pruned\n    setting:",
            EVALUATED,
            "Unknown evaluation or prediction 'pruned' of learner maml on suite toy-regression.",
        ),
        (
            "reptile",
            "{learner: reptile, params: {inner_setps: 1}}",
            PARAMS,
            "Unknown parameter 'inner_setps' of learner reptile. Did you mean inner_steps",
        ),
        (
            "[maml]",
            "[{learner: maml, params: {order: secnod}}]",
            PARAMS,
            "order",
        ),
        (  # an invalid value hides no other fault
            "[maml]",
            "[{learner: maml, params: {order: secnod}}, {learner: maml, params: {ordre: first}}]",
            PARAMS,
            "Unknown parameter 'ordre' of learner maml.",
        ),
        (  # no record would be equal to it
            "[maml]",
            '[{learner: maml, params: {inner_lr: "0.01"}}]',
            PARAMS,
            "Runs of learner maml record inner_lr as 0.01, not '0.01'.",
        ),
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
        (  # whose predictions are not known
            "[maml]\n    relation: better\n    right: [reptile]",
            "[malm]\n    relation: better\n    evaluation: prunned\n    baseline: headline",
        ),
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
