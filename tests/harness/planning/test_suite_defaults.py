"""Values that a plugin brings for suites of others: who wins, what is said, and what is shown."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conformance_specs import learner_spec, outcomes
from plugin_texts import maml_named_mine
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import UsageError
from metabench.planning.overrides import parse_changes
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.planning.suite_defaults import all_doubts, doubts_about, own_defaults
from metabench.plugin.catalog import Catalog
from metabench.plugin.specs import LearnerSpec
from metabench_plugins.learners.maml import Maml, MamlSearchParams

SUITE = "toy-regression"


def with_values(catalog: Catalog, values: Any, *, name: str = "mine", **changes: object) -> Catalog:
    """The catalog and a learner that brings values, or a built-in thing that now brings some."""
    if name in catalog.learners:
        spec = dataclasses.replace(catalog.learners[name], suite_defaults=values)
    else:
        spec = learner_spec(
            Maml, search_params=MamlSearchParams, **{"suite_defaults": values, **changes}
        )
        spec = dataclasses.replace(spec, name=name)
    return dataclasses.replace(catalog, learners={**catalog.learners, name: spec})


def planned(catalog: Catalog, *sets: str, **changes: object) -> PlannedRun:
    values: dict[str, Any] = {"learners": ("mine",), "suite": SUITE, "budget": "smoke", **changes}
    (run,) = plan(RunRequest(**values, changes=parse_changes(sets)), catalog)
    return run


VALUES: Mapping[str, Any] = {
    SUITE: {
        "learners": {"mine": {"inner_lr": 0.1, "inner_steps": 2, "clip": 3}},
        "settings": {"5-shot": {"learners": {"mine": {"inner_steps": 3}}}},
        "budgets": {
            "smoke": {
                "learners": {"mine": {"outer_lr": 0.5}},
                "training": {"mine": {"meta_steps": 11}},
                "settings": {"5-shot": {"training": {"mine": {"meta_batch": 7}}}},
            }
        },
    }
}


def test_layers_of_a_plugin_win_over_defaults_and_later_layers_over_earlier(
    catalog: Catalog,
) -> None:
    catalog = with_values(catalog, VALUES)
    found = planned(catalog)
    params, training = found.spec.learner.params, found.spec.training
    assert (params["inner_lr"], params["inner_steps"], params["outer_lr"]) == (0.1, 2, 0.5)
    assert (training.meta_steps, training.meta_batch) == (11, 25)
    other = planned(catalog, settings=("5-shot",)).spec
    assert (other.learner.params["inner_steps"], other.training.meta_batch) == (3, 7)
    longer = planned(catalog, budget="lite").spec
    assert (longer.learner.params["outer_lr"], longer.training.meta_steps) == (0.001, 10000)
    assert found.stamps == ("smoke",)


def test_the_preset_and_the_user_win_over_the_plugins_values(catalog: Catalog) -> None:
    catalog = with_values(catalog, VALUES, preset={"inner_lr": 0.2})
    found = planned(catalog, "learner.inner_steps=9", "budget.meta_steps=5").spec
    params = found.learner.params
    assert (params["inner_lr"], params["inner_steps"], params["clip"]) == (0.2, 9, 3)
    assert found.training.meta_steps == 5


def test_the_suite_wins_over_the_plugins_values_parameter_by_parameter(catalog: Catalog) -> None:
    brought = {
        SUITE: {
            "learners": {"maml": {"inner_lr": 9.0, "clip": 4}},
            "budgets": {
                "smoke": {
                    "learners": {"maml": {"outer_lr": 0.9}},
                    "training": {"mnas-shared": {"meta_steps": 3}},
                }
            },
        }
    }
    changed = with_values(catalog, brought, name="maml")
    before = planned(catalog, learners=("maml",)).spec.learner.params
    params = planned(changed, learners=("maml",)).spec.learner.params
    assert params == {**before, "clip": 4}
    changed = with_values(catalog, brought, name="mnas-shared")
    assert planned(changed, learners=("mnas-shared",)).spec.training.meta_steps == 1000


def test_what_brings_no_values_keeps_its_identity(catalog: Catalog) -> None:
    before = planned(catalog, learners=("maml",)).spec.run_id
    assert planned(with_values(catalog, VALUES), learners=("maml",)).spec.run_id == before
    elsewhere = {"omniglot": VALUES[SUITE]}
    mine = planned(with_values(catalog, None)).spec
    assert planned(with_values(catalog, elsewhere)).spec.run_id == mine.run_id
    assert mine.learner.params["inner_lr"] == 0.01


def test_a_network_and_a_strategy_of_a_learner_may_be_brought(catalog: Catalog) -> None:
    values = {SUITE: {"backends": {"mine": {"space": "toy-cell", "strategy": "gumbel"}}}}
    found = planned(with_values(catalog, values)).spec
    assert found.space is not None
    assert found.strategy is not None
    assert (found.space.name, found.strategy.name) == ("toy-cell", "gumbel")


def test_values_of_networks_and_strategies_are_used(catalog: Catalog) -> None:
    cell = dataclasses.replace(
        catalog.search_spaces["toy-cell"],
        suite_defaults={SUITE: {"spaces": {"toy-cell": {"width": 6, "norm": "batch"}}}},
    )
    gumbel = dataclasses.replace(
        catalog.nas_strategies["gumbel"],
        suite_defaults={
            SUITE: {"settings": {"10-shot": {"strategies": {"gumbel": {"hard": False}}}}}
        },
    )
    catalog = dataclasses.replace(
        catalog,
        search_spaces={**catalog.search_spaces, "toy-cell": cell},
        nas_strategies={**catalog.nas_strategies, "gumbel": gumbel},
    )
    found = planned(catalog, learners=("maml",), space="toy-cell", strategy="gumbel").spec
    assert found.space is not None
    assert found.strategy is not None
    assert found.space.params["width"] == 6
    assert found.space.params["norm"] == "none"  # the suite says so
    assert found.strategy.params["hard"] is False


def test_a_file_is_read_as_a_mapping_is(catalog: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps(VALUES), encoding="utf-8")
    from_file, inline = (planned(with_values(catalog, v)).spec.run_id for v in (file, VALUES))
    assert from_file == inline


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {SUITE: {"learnres": {}}},
            "The values of learner mine for suite toy-regression: unknown field 'learnres'.",
        ),
        (
            {SUITE: {"protocol": {"shots": 3}}},
            "The values of learner mine for suite toy-regression: unknown field 'protocol'.",
        ),
        (
            {SUITE: {"learners": {"mine": {"inner_rl": 1}}}},
            "Unknown learner parameter 'inner_rl' of mine.",
        ),
        (
            {SUITE: {"budgets": {"smoke": {"training": {"mine": {"meta_stpes": 1}}}}}},
            "Unknown budget parameter 'meta_stpes'.",
        ),
        (3, "The learner mine brings values for suites that are neither a mapping nor a file."),
    ],
)
def test_wrong_values_are_said_and_stop_their_learner_alone(
    catalog: Catalog, values: Any, message: str
) -> None:
    catalog = with_values(catalog, values)
    with pytest.raises(UsageError) as caught:
        planned(catalog)
    assert caught.value.message == message
    assert planned(catalog, learners=("maml",)).spec.learner.name == "maml"
    name = "its values for suites are valid"
    outcome = outcomes(catalog.learners["mine"], catalog, name)[name]
    assert outcome.status == "FAILED"
    assert message in outcome.reason


STRANGE = {
    "toy-regresion": {},
    SUITE: {
        "learners": {"maml": {"inner_lr": 1.0}},
        "settings": {"10shot": {}},
        "budgets": {"lit": {}, "smoke": {"settings": {"20-shot": {}}}},
    },
}
SAID = [
    "In the values of learner mine for suites: Unknown suite 'toy-regresion'. "
    "Did you mean toy-regression?",
    "In the values of learner mine for suite toy-regression: Unknown setting '10shot'. "
    "Did you mean 10-shot",
    "Unknown setting '20-shot'",
    "Unknown budget 'lit'. Did you mean lite?",
    "The plugin does not provide the learner 'maml'; its values are not used.",
]


def test_names_that_lead_nowhere_are_said_once_and_stop_nothing(catalog: Catalog) -> None:
    catalog = with_values(catalog, STRANGE)
    spec = catalog.learners["mine"]
    doubts = doubts_about(spec, catalog)
    assert len(doubts) == len(SAID)
    assert all(said in doubt for said, doubt in zip(SAID, doubts, strict=True))
    assert all_doubts(catalog) == {"learner mine": " ".join(doubts)}
    name = "its values for suites name suites, settings and budgets"
    outcome = outcomes(spec, catalog, name)[name]
    assert (outcome.status, outcome.reason) == ("warning", " ".join(doubts))
    assert planned(catalog).spec.learner.params["inner_lr"] == 0.01
    assert planned(catalog, learners=("maml",)).spec.learner.params["inner_lr"] == 0.001


def test_values_for_another_thing_of_the_plugin_are_used_or_doubted(catalog: Catalog) -> None:
    values = {SUITE: {"learners": {"anil": {"skip_above": 4.0}}, "spaces": {"mlp": {"width": 7}}}}
    for sharing in (False, True):
        changed = with_values(catalog, values, name="maml")
        if sharing:
            changed = with_values(changed, values, name="anil")
            mlp = dataclasses.replace(catalog.search_spaces["mlp"], suite_defaults=values)
            spaces = {**changed.search_spaces, "mlp": mlp}
            changed = dataclasses.replace(changed, search_spaces=spaces)
        found = planned(changed, learners=("anil",)).spec
        assert found.space is not None
        used = found.learner.params["skip_above"] == 4, found.space.params["width"] == 7
        doubts = doubts_about(changed.learners["maml"], changed)
        doubted = ["The learner 'anil'" in " ".join(doubts), "The network 'mlp'" in str(doubts)]
        assert [*used] == [not one for one in doubted] == [sharing, sharing]


def test_built_in_things_bring_no_values(catalog: Catalog) -> None:
    assert all_doubts(catalog) == {}
    assert own_defaults(catalog.learners["maml"]) == {}


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "my_plugin.py"
    values = {**VALUES, "toy-regresion": {"learners": {"mine": {}}}}
    file.write_text(maml_named_mine(values), encoding="utf-8")
    return file


def invoke(plugin: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["--plugin", str(plugin), *words], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_a_plugin_file_brings_values_and_show_says_where_they_are_from(plugin: Path) -> None:
    shown = invoke(plugin, "show", "mine")
    assert "values for suites:" in shown
    rows = [" ".join(line.split()) for line in shown.splitlines()]
    assert f"{SUITE} suite inner_lr=0.1 inner_steps=2 clip=3 plugin" in rows
    assert f"{SUITE} budget smoke outer_lr=0.5 meta_steps=11 plugin" in rows
    assert f"{SUITE} budget smoke, setting 5-shot meta_batch=7 plugin" in rows
    assert "toy-regresion not installed" in rows
    of_suite = [" ".join(line.split()) for line in invoke(plugin, "show", SUITE).splitlines()]
    assert "mine setting 5-shot inner_steps=3" in of_suite
    described = json.loads(invoke(plugin, "show", SUITE, "--json"))[0]
    assert described["values of plugins"][0] == {
        "of": "mine",
        "where": "suite",
        "values": {"inner_lr": 0.1, "inner_steps": 2, "clip": 3},
    }
    assert "Unknown suite 'toy-regresion'" in invoke(plugin, "doctor")
    assert "Unknown suite 'toy-regresion'" in invoke(plugin, "plugins", "check", "mine")


def test_the_suites_own_values_are_shown_beside_the_plugins(catalog: Catalog) -> None:
    from metabench.cli.suite_values import values_for_suites

    spec: LearnerSpec = with_values(catalog, VALUES, name="maml").learners["maml"]
    rows = values_for_suites(spec, catalog)
    (own,) = [row for row in rows if row["from"] == "suite file"]
    assert own["values"]["inner_clip"] == 10
    assert own["where"] == "suite"
