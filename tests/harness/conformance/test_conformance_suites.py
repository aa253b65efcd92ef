"""Every check of a suite passes on a sound one, and fails on one that is broken on purpose."""

import pytest
from conformance_specs import assert_fails, outcomes

from metabench import conformance
from metabench.plugin.catalog import Catalog

SUITE = """
name: pond
version: 1
task: regression
metric: mse
space: mlp
sources:
  - {name: sine, dataset: toy-regression, params: {family: sine}}
settings:
  five: {protocol: {shots: 5, queries: 5}}
budgets:
  smoke: {meta_steps: 1, meta_batch: 1}
"""


BACKENDS = "learners can train the networks that it gives them"


@pytest.mark.parametrize(
    ("old", "new", "name", "said"),
    [
        ("metric: mse", "metric: Speed", "it can be read", "metric"),
        ("metric: mse", "metric: mes", "its metrics score its tasks", "Did you mean mse"),
        ("name: pond", "name: lake", "its name is that of its file", "named 'lake'"),
        ("space: mlp", "space: mpl", "its sources and its network are installed", "'mpl'"),
        ("space: mlp", "space: conv4", "its sources and its network are installed", "regression"),
        (
            "dataset: toy-regression, params: {family: sine}",
            "dataset: omniglot",
            "its sources and its network are installed",
            "omniglot, which holds classes; regression needs functions",
        ),
        (
            "meta_batch: 1",
            "meta_batch: 1, training: {reptile: {meta_stepz: 9}}",
            "every setting at every budget is valid",
            "Unknown budget parameter 'meta_stepz'. Did you mean meta_steps",
        ),
        (
            "meta_batch: 1",
            "meta_batch: 1, data: {nose_std: 1}",
            "its sources and its network are installed",
            "'nose_std' of source sine. Did you mean noise_std",
        ),
        (
            "metric: mse",
            "metric: accuracy",
            "its metrics score its tasks",
            "Metric accuracy is for classification",
        ),
        (
            "metric: mse",
            "metric: mse\nmetrics: [nll]",
            "its metrics score its tasks",
            "Metrics for regression: mse",
        ),
        ("family: sine", "family: cosine", "its sources and its network are installed", "cosine"),
        ("shots: 5", "shots: 0", "every setting at every budget is valid", "shots"),
        (
            "metric: mse",
            "metric: mse\ndeviations: [{source: a, here: b, why: c}]",
            "it can be read",
            "deviations.0.where is required",
        ),
        (
            "metric: mse",
            "metric: mse\ndeviations: [{source: a, here: b, why: c, where: d, when: {norm: x}}]",
            "it can be read",
            "`when` names 'norm'",
        ),
        ("space: mlp", "space: mlp\nbackends: {mnas: {space: mlp}}", BACKENDS, "mlp"),
        (
            "space: mlp",
            "space: mlp\nbackends: {mnas: {space: toy-cell}}",
            BACKENDS,
            "the network toy-cell of mnas is a search space, and no strategy is named.",
        ),
        (
            "space: mlp",
            "space: mlp\nbackends: {mnas: {space: tnas, strategy: darts}}",
            BACKENDS,
            "the network of mnas for regression is tnas, but",
        ),
        (
            "space: mlp",
            "space: mlp\nbackends: {mnas: {space: toy-cell, strategy: random}}",
            BACKENDS,
            "random",
        ),
        (
            "metric: mse",
            "metric: mse\nlearners: {maml: {inner_rl: 1}}",
            "the parameters of plugins are valid",
            "inner_rl",
        ),
    ],
)
def test_broken_suite_fails_its_check(
    catalog: Catalog, tmp_path, old: str, new: str, name: str, said: str
) -> None:
    file = tmp_path / "pond.yaml"
    file.write_text(SUITE.replace(old, new))
    assert_fails(file, catalog, name, said)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("learners: {malm: {inner_lr: 1}}", "Unknown learner 'malm'. Did you mean maml"),
        ("spaces: {mpl: {width: 4}}", "Unknown network 'mpl'. Did you mean mlp"),
        ("strategies: {dartz: {}}", "Unknown strategy 'dartz'. Did you mean darts"),
        ("backends: {mnaz: {space: mlp}}", "Unknown learner 'mnaz'. Did you mean mnas"),
        ("backends: {mnas: {space: toy-cel}}", "Unknown network 'toy-cel'. Did you mean toy-cell"),
        (
            "backends: {mnas: {space: toy-cell, strategy: dartz}}",
            "Unknown strategy 'dartz'. Did you mean darts",
        ),
        ("TRAINING: {reptlie: {meta_steps: 2}}", "Unknown learner 'reptlie'. Did you mean reptile"),
        (
            "deviations: [{source: a, here: b, why: c, where: d, learners: [malm]}]",
            "Unknown learner 'malm'. Did you mean maml",
        ),
        (
            "TRAINING: {}, settings: {five: {training: {reptlie: {meta_steps: 2}}}}",
            "Unknown learner 'reptlie'. Did you mean reptile",
        ),
    ],
)
def test_a_name_that_nobody_provides_is_a_warning(
    catalog: Catalog, tmp_path, more: str, said: str
) -> None:
    file = tmp_path / "pond.yaml"
    text = f"{SUITE}{more}\n"
    if more.startswith("TRAINING"):
        inside = more.replace("TRAINING", "training")
        text = SUITE.replace("meta_batch: 1", f"meta_batch: 1, {inside}")
    file.write_text(text)
    found = outcomes(file, catalog)
    outcome = found.pop("the plugins that it names are installed")
    assert outcome.status == "warning"
    assert said in outcome.reason
    assert {other.status for other in found.values()} == {"ok"}, found


def test_sound_suites_pass(catalog: Catalog, tmp_path) -> None:
    file = tmp_path / "pond.yaml"
    file.write_text(SUITE)
    for suite in (file, *catalog.suites.values()):
        found = [
            conformance.run_check(check) for check in conformance.checks(suite, catalog=catalog)
        ]
        assert {outcome.status for outcome in found} == {"ok"}, (suite, found)


def test_checks_are_skipped_in_pytest_terms() -> None:
    import unittest

    assert issubclass(conformance.Skip, unittest.SkipTest)
    assert issubclass(conformance.Doubt, conformance.Skip)


def test_a_deviation_on_a_parameter_that_no_learner_has_is_a_warning(
    catalog: Catalog, tmp_path
) -> None:
    name, file = "its deviations name parameters and values", tmp_path / "pond.yaml"
    for learners, parameter, status in (
        ("[maml]", "inner_lr", "ok"),
        ("[maml]", "tree", "warning"),
        ("[]", "tree", "ok"),
    ):
        one = f"source: a, here: b, why: c, where: d, learners: {learners}"
        file.write_text(f"{SUITE}deviations: [{{{one}, when: {{learner.{parameter}: 1}}}}]\n")
        assert outcomes(file, catalog, name)[name].status == status


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (
            "{network: toy-cel}",
            "Unknown network 'toy-cel' of a deviation's `when`. Did you mean to",
        ),
        ("{strategy: dartz}", "Unknown strategy 'dartz'"),
        ("{strategy: [null, darts]}", ""),
        ("{setting: fiv}", "Unknown setting 'fiv'"),
        ("{budget: [smoke, paper]}", "Unknown budget 'paper'"),
        ("{task: classification}", "Unknown task 'classification'"),
        ("{suite: lake}", "Unknown suite 'lake'"),
        # Any text is fulfilled where a run lacks the parameter: this would hold for all runs.
        ("{network: toy-cell, network.nrom: none}", "Unknown network parameter 'nrom'"),
        ("{network: mlp, network.filters: 32}", "Unknown network parameter 'filters'"),
        ("{network.filters: 32}", ""),
        ("{strategy: soft-pruning, strategy.t_mni: 0.1}", "Unknown strategy parameter 't_mni'"),
        ("{data.species: sine}", "Unknown data parameter 'species'"),
        ("{data.family: sine, network: mlp, network.norm: none, setting: five}", ""),
    ],
)
def test_a_deviation_under_a_condition_that_no_run_meets_is_a_warning(
    catalog: Catalog, tmp_path, when: str, said: str
) -> None:
    name, file = "its deviations name parameters and values", tmp_path / "pond.yaml"
    one = "source: a, here: b, why: c, where: d"
    file.write_text(f"{SUITE}deviations: [{{{one}, when: {when}}}]\n")
    found = outcomes(file, catalog, name)[name]
    assert found.status == ("warning" if said else "ok")
    assert said in found.reason
