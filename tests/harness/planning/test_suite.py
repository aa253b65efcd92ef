from itertools import product
from pathlib import Path

import pytest

from metabench.errors import UsageError
from metabench.planning.suite import TABLE_COLUMNS, Budget, load_suite
from metabench.planning.validation import QUOTES
from metabench.planning.yaml_files import read_yaml
from metabench.plugin.catalog import load_catalog

SUITE = """
name: tiny
version: 1
task: regression
metric: mse
space: mlp
sources: [{name: sine, dataset: toy-regression, params: {family: sine}}]
protocol: {queries: 10, episodes: 30}
learners: {maml: {inner_lr: 1e-3, inner_steps: 5}}
settings:
  10-shot: {protocol: {shots: 10}, learners: {maml: {inner_steps: 3}}}
budgets:
  smoke:
    meta_steps: 10
    meta_batch: 4
    protocol: {episodes: 3}
    training: {reptile: {meta_steps: 20}}
"""


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(SUITE)
    return file


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        ("-.5", -0.5),
        ("3", 3),
        ("off", "off"),
        ("no", "no"),
        ("true", True),
        ("null", None),
        ("1.5.2", "1.5.2"),
        ("[1, 2]", [1, 2]),
    ],
)
def test_scalars_mean_what_people_mean(text: str, value: object) -> None:
    read = read_yaml(text)
    assert read == value
    assert type(read) is type(value)


def test_layers_win_over_earlier_layers(suite_file: Path) -> None:
    suite = load_suite(suite_file)
    protocol = suite.protocol_of("10-shot", "smoke", {"queries": 7})
    assert (protocol.shots, protocol.queries, protocol.episodes) == (10, 7, 3)
    params = suite.params_of("learners", "maml", setting="10-shot", budget="smoke")
    assert params == {"inner_lr": 1e-3, "inner_steps": 3}
    assert suite.budget("smoke").training_of("reptile", {}).meta_steps == 20
    assert suite.budget("smoke").training_of("maml", {"meta_batch": 2}).meta_batch == 2


def test_a_setting_may_train_longer_and_a_learner_wins() -> None:
    values = {"meta_steps": 60, "meta_batch": 4, "settings": {"5w5s": {"meta_steps": 50}}}
    budget = Budget.model_validate({**values, "training": {"reptile": {"meta_steps": 100}}})
    steps = {
        (learner, setting): budget.training_of(learner, {}, setting=setting).meta_steps
        for learner in ("maml", "reptile")
        for setting in ("5w1s", "5w5s")
    }
    assert list(steps.values()) == [60, 50, 100, 100]
    own = {"5w5s": {"meta_steps": 50, "training": {"reptile": {"meta_steps": 70}}}}
    both = Budget.model_validate({**budget.model_dump(), "settings": own})
    assert both.training_of("reptile", {}, setting="5w5s").meta_steps == 70
    assert both.training_of("reptile", {}, setting="5w1s").meta_steps == 100
    assert both.training_of("maml", {}, setting="5w5s").meta_steps == 50
    assert budget.training_of("maml", {"meta_steps": 7}, setting="5w5s").meta_steps == 7


def test_a_budget_that_names_no_setting_is_refused(suite_file: Path) -> None:
    text = suite_file.read_text()
    suite_file.write_text(text.replace("meta_batch: 4", "meta_batch: 4\n    settings: {9w: {}}", 1))
    with pytest.raises(UsageError, match="names '9w', which is not a setting of the suite"):
        load_suite(suite_file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1", "version: 1\nversion: 2", "stands twice"),
        ("metric: mse", "metric: Mse", "metric"),
        ("space: mlp", "space: mlp\nspcae: mlp", "spcae"),
        ("name: sine", "name: average", "average"),
        ("meta_steps: 10\n", "meta_steps: -1\n", "meta_steps"),
    ],
)
def test_a_wrong_suite_file_is_named(suite_file: Path, old: str, new: str, message: str) -> None:
    suite_file.write_text(SUITE.replace(old, new))
    with pytest.raises(UsageError, match=message):
        load_suite(suite_file)


def test_a_value_out_of_bounds_names_field_and_bounds(suite_file: Path) -> None:
    suite = load_suite(suite_file)
    with pytest.raises(UsageError, match=r"protocol\.shots=0 is not valid") as caught:
        suite.protocol_of("10-shot", "smoke", {"shots": 0})
    assert ">= 1" in caught.value.hint
    with pytest.raises(UsageError, match="protocol parameter 'shotz'") as caught:
        suite.protocol_of("10-shot", "smoke", {"shotz": 1})
    assert "shots" in caught.value.hint


def test_every_built_in_suite_loads_and_resolves_every_setting_at_every_budget() -> None:
    catalog = load_catalog()
    assert {"toy-regression", "omniglot"} <= set(catalog.suites)
    for name, file in catalog.suites.items():
        suite = load_suite(file)
        assert suite.name == name
        assert {"smoke", "lite", "paper"} <= set(suite.budgets)
        for setting in suite.settings:
            for budget in suite.budgets:
                suite.protocol_of(setting, budget, {})
                for learner, spec in catalog.learners.items():
                    params = suite.params_of("learners", learner, setting=setting, budget=budget)
                    spec.params_model(searched=True).model_validate(params)
                    suite.budget(budget).training_of(learner, {}, setting=setting)
                space = catalog.space(suite.space)
                params = suite.params_of("spaces", suite.space, setting=setting, budget=budget)
                space.params_model().model_validate(params)


def test_at_every_budget_the_learners_with_inner_gradients_are_of_one_order() -> None:
    """So that a difference between two of them is not one between first and second order."""
    catalog = load_catalog()
    for name, file in catalog.suites.items():
        suite = load_suite(file)
        for setting, budget in product(suite.settings, suite.budgets):
            orders: dict[str, set[str]] = {}
            for learner, spec in catalog.learners.items():
                params = suite.params_of("learners", learner, setting=setting, budget=budget)
                model = spec.params_model(searched=spec.searches)
                values = model.model_validate({**spec.preset, **params}).model_dump()
                # T-NAS is of first order by itself, and the one-shot model has no inner loop.
                others = {"tnas", "tnas++", "auto-maml", "one-shot"}
                if "order" in values and learner not in others:
                    orders.setdefault(values["order"], set()).add(learner)
            assert len(orders) == 1, (name, setting, budget, orders)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("name: tiny", "name: ../../OUTSIDE", "name='../../OUTSIDE'"),
        ("name: tiny", "name: /tmp/tiny", "name='/tmp/tiny'"),
        ("name: tiny", "name: Tiny", "name='Tiny'"),
        ("  10-shot:", "  a b/c:", "settings.'a b/c'"),
        ("  10-shot:", "  ..:", "settings.'..'"),
        ("name: sine", "name: a/b", "sources.0.name='a/b'"),
    ],
)
def test_names_that_could_lead_out_of_the_results_folder_are_refused(
    suite_file: Path, old: str, new: str, where: str
) -> None:
    suite_file.write_text(SUITE.replace(old, new))
    with pytest.raises(UsageError, match="lower-case letters, digits and hyphens") as caught:
        load_suite(suite_file)
    assert where in caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        (
            "version: 1",
            "vresion: 1",
            "Suite file tiny.yaml: unknown field 'vresion'.",
            "Did you mean version?",
        ),
        (
            "dataset: toy",
            "datset: toy",
            "Suite file tiny.yaml: unknown field 'datset' in sources.0.",
            "Did you mean dataset?",
        ),
        (
            "meta_batch: 4",
            "meta_btach: 4",
            "Suite file tiny.yaml: unknown field 'meta_btach' in budgets.smoke.",
            "Did you mean meta_batch or meta_steps?",
        ),
        (
            "dataset: toy",
            "'da ta': toy",
            "Suite file tiny.yaml: unknown field 'da ta' in sources.0.",
            "Did you mean dataset?",
        ),
        ("version: 1", "", "Suite file tiny.yaml: version is required.", "version: >= 1."),
        (
            "meta_steps: 10\n",
            "meta_steps: -1\n",
            "Suite file tiny.yaml: budgets.smoke.meta_steps=-1 is not valid: "
            "input should be greater than or equal to 0.",
            "budgets.smoke.meta_steps: >= 0.",
        ),
        *(
            (
                "name: sine",
                f"name: {name}",
                f"Suite file tiny.yaml: no source may be called {name!r}, since tables have "
                "another column of that name.",
                "",
            )
            for name in TABLE_COLUMNS
        ),
        (
            "metric: mse",
            "metric: mse\nevaluations: {far: {grid: {points: 5, low: 2, high: 1}}}",
            "Suite file tiny.yaml: evaluations.far.grid={'points': 5, 'low': 2, 'high': 1} "
            "is not valid: a grid must go from a lower to a higher point.",
            "evaluations.far.grid: The query inputs of every episode.",
        ),
        (
            "protocol: {queries: 10, episodes: 30}",
            "protocol: [a, list, which, is, so, long, that, nobody, wants, to, read, it, again]",
            "Suite file tiny.yaml: protocol is not valid: input should be a mapping.",
            "",
        ),
        (
            "name: tiny",
            "name: 12",
            "Suite file tiny.yaml: name=12 is not valid: input should be a valid string.",
            QUOTES,
        ),
        (
            "  10-shot: {",
            "  10: {",
            "Suite file tiny.yaml: settings.10 is not valid: input should be a valid string.",
            QUOTES,
        ),
        (
            "name: tiny",
            "name: true",
            "Suite file tiny.yaml: name is true or false, where a number or text is meant.",
            QUOTES,
        ),
        (
            "metric: mse",
            "metric: null",
            "Suite file tiny.yaml: metric=None is not valid: input should be a valid string.",
            f"{QUOTES} metric: The metric of the headline, which selects weights too.",
        ),
        (
            "[{name: sine, dataset: toy-regression, params: {family: sine}}]",
            "[]",
            "Suite file tiny.yaml: sources=[] is not valid: input should have at least 1 item.",
            "",
        ),
    ],
)
def test_a_complaint_is_one_sentence_and_a_hint(
    suite_file: Path, old: str, new: str, message: str, hint: str
) -> None:
    suite_file.write_text(SUITE.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load_suite(suite_file)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_misspelt_field_is_named_before_what_it_leaves_out(suite_file: Path) -> None:
    suite_file.write_text(SUITE.replace("protocol: {shots: 10}", "protocol: {shotz: 10}"))
    suite = load_suite(suite_file)
    with pytest.raises(UsageError, match=r"^Unknown protocol parameter 'shotz'\.$") as caught:
        suite.protocol_of("10-shot", "smoke", {})
    assert caught.value.hint == "Did you mean shots?"
    suite_file.write_text(SUITE.replace("protocol: {shots: 10}", "protocol: {}"))
    with pytest.raises(UsageError, match=r"^protocol\.shots is required\.$"):
        load_suite(suite_file).protocol_of("10-shot", "smoke", {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: Übung".encode("latin-1"), "is not a text file in UTF-8"),
        (b"? [1]\n: 2", "the key \\[1\\] is not text or a number"),
        (b"- 1", "does not describe a suite: it is not a mapping"),
    ],
)
def test_a_file_that_is_no_mapping_in_utf_8_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load_suite(file)
