import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from result_factory import GOLDEN
from typer.testing import CliRunner

from metabench.cli import app
from metabench.cli.listing import page_of
from metabench.cli.parameters import parameters
from metabench.papers.conditions import FACTS
from metabench.plugin.catalog import load_catalog
from metabench.render.columns import columns

KINDS = (
    "learners",
    "suites",
    "datasets",
    "networks",
    "strategies",
    "metrics",
    "executors",
    "trackers",
    "references",
)

PLUGIN = """
from metabench import Frozen
from metabench.plugin.hookspecs import hookimpl
from metabench.plugin.specs import DatasetSpec, LearnerSpec
from pathlib import Path
from pydantic import Field
from typing import Literal

class Params(Frozen):
    rate: float = Field(0.5, gt=0, le=1, description="How fast.")
    mode: Literal["a", "b"] = Field("a", description="Which way.")
    bound: float | None = Field(None, ge=0, description="How far.")
    steps: list[int] = Field(default_factory=lambda: [1, 2], description="How often.")
    must: int = Field(description="No default.")

@hookimpl
def metabench_learners():
    yield LearnerSpec(name="pond", version=3, summary="A learner.", params=Params, factory=dict,
                      preset={"mode": "b"}, reference="Frog 2020")

@hookimpl
def metabench_datasets():
    yield DatasetSpec(name="pond", version=1, summary="A dataset.", params=Params, factory=dict,
                      kind="classes", licence="CC0")

@hookimpl
def metabench_suites():
    return [Path(__file__).with_name("broken-suite.yaml")]
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    (tmp_path / "broken-suite.yaml").write_text("name: [")
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    return file


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_as_json_and_text(kind: str) -> None:
    listed = json.loads(call("list", kind, "--json"))
    assert list(listed) == [kind]
    text = call("list", kind)
    for entry in listed[kind]:
        assert {"name", "version", "summary", "plugin", "from"} <= entry.keys()
        assert entry["name"] in text
        assert entry["summary"] in text


@pytest.mark.parametrize(
    ("word", "kind"),
    [("learner", "learners"), ("strategy", "strategies"), ("network", "networks")],
)
def test_singular_is_understood(word: str, kind: str) -> None:
    assert call("list", word, "--json") == call("list", kind, "--json")


@pytest.mark.parametrize("former", ["space", "spaces"])
def test_the_former_word_for_networks_is_understood(former: str) -> None:
    assert call("list", former, "--json") == call("list", "networks", "--json")
    assert call("list", former) == call("list", "networks")
    code, _, err = failed("list", "frogs")
    assert code == 2
    assert "networks" in err
    assert "space" not in err


def test_a_network_is_shown_as_one() -> None:
    (detail,) = json.loads(call("show", "conv4", "--json"))
    assert detail["kind"] == "network"
    assert call("show", "conv4").split()[:2] == ["network", "conv4"]


def test_without_kind_everything_is_listed() -> None:
    assert list(json.loads(call("list", "--json"))) == list(KINDS)
    assert "maml" in call("list")


def test_unknown_kind_suggests() -> None:
    code, out, err = failed("list", "lerners")
    assert (code, out) == (2, "")
    assert "Did you mean learners" in err


def test_listed_things_name_their_origin(plugin: Path) -> None:
    (entry,) = [
        e
        for e in json.loads(call("--plugin", plugin, "list", "learners", "--json"))["learners"]
        if e["name"] == "pond"
    ]
    assert entry["from"] == str(plugin)
    assert entry["kinds"] == ["classification", "regression"]
    assert entry["searches"] is False


def test_broken_suite_does_not_hide_the_others(plugin: Path) -> None:
    text = call("--plugin", plugin, "list", "suites")
    assert "cannot be read" in text
    assert "toy-regression" in text


def test_show_gives_default_bounds_and_help() -> None:
    (detail,) = json.loads(call("show", "maml", "--json"))
    assert (detail["kind"], detail["plugin"]) == ("learner", "builtin")
    rate = detail["parameters"]["inner_lr"]
    assert (rate["default"], rate["exclusiveMinimum"], rate["maximum"]) == (0.01, 0, 100)
    assert rate["description"] in call("show", "maml")


@pytest.mark.parametrize("name", sorted(load_catalog().learners))
def test_show_gives_the_defaults_that_a_run_has(name: str) -> None:
    spec = load_catalog().learner(name)
    fixed, searched = (
        spec.params_model(searched=on).model_validate(spec.preset) for on in (False, True)
    )
    shown = parameters(spec)
    everywhere = {key: entry["default"] for key, entry in shown.items() if hasattr(fixed, key)}
    assert spec.params_model().model_validate(everywhere) == fixed
    assert {*shown} == {*type(searched).model_fields}
    for key, entry in shown.items():
        if key not in everywhere:
            assert entry["description"].startswith("On a searched network: ")
            continue
        differs = getattr(fixed, key) != getattr(searched, key)
        said = "On a searched network the default is " in entry["description"]
        assert said == differs, key


def test_show_says_parameters_in_words(plugin: Path) -> None:
    lines = {
        line.split()[0]: line.split()
        for line in call("--plugin", plugin, "show", "pond").partition("\n\ndataset")[0].split("\n")
        if line
    }
    assert lines["rate"] == ["rate", "0.5", "number", ">", "0", "and", "<=", "1", "How", "fast."]
    assert lines["mode"] == ["mode", "b", "a", "|", "b", "Which", "way."]
    assert lines["bound"] == ["bound", "null", "number", ">=", "0", "or", "null", "How", "far."]
    assert lines["steps"] == ["steps", "[1,", "2]", "array", "How", "often."]
    assert lines["must"] == ["must", "required", "integer", "No", "default."]
    assert lines["reference"] == ["reference", "Frog", "2020"]


def test_name_of_several_kinds_is_shown_once_for_each(plugin: Path) -> None:
    details = json.loads(call("--plugin", plugin, "show", "pond", "--json"))
    assert [(d["kind"], d["version"]) for d in details] == [("learner", 3), ("dataset", 1)]
    assert (details[1]["holds"], details[1]["licence"]) == ("classes", "CC0")


def test_show_suite_gives_settings_and_budgets() -> None:
    suite = next(
        d for d in json.loads(call("show", "toy-regression", "--json")) if d["kind"] == "suite"
    )
    assert suite["settings"]
    assert suite["budgets"]
    assert suite["version"] >= 1
    text = call("show", "toy-regression")
    for name in (*suite["settings"], *suite["budgets"], *(s["name"] for s in suite["sources"])):
        assert name in text


def test_show_prints_values_in_the_words_of_a_suite_file_and_leaves_out_absent_ones() -> None:
    catalog = load_catalog()
    for kind in ("learner", "suite", "dataset", "space", "strategy", "metric", "executor"):
        for name, thing in catalog.named(kind).items():
            page = page_of(catalog, kind, name, thing, None)
            assert not re.search(r"(=| {2})(None|True|False)\b", page), (kind, name)


def test_show_says_null_where_a_suite_sets_it_and_nothing_where_a_network_is_not_searched() -> None:
    lines = [" ".join(line.split()) for line in call("show", "omniglot").splitlines()]
    assert "mumomaml inner_clip=20 max_norm=null" in lines
    assert "auto-meta network=auto-meta" in lines


def test_show_suite_has_a_line_for_each_learner_that_it_sets() -> None:
    lines = call("show", "toy-regression").splitlines()
    assert "hsml" in [line.split()[0] for line in lines if "inner_lr=0.001" in line]
    assert any(line.split() == ["toy-cell", "norm=none"] for line in lines)
    assert any(line.split() == ["mnas", "network=toy-cell", "strategy=darts"] for line in lines)


def test_show_tells_what_a_learner_and_a_suite_do_otherwise_than_their_sources() -> None:
    text = call("show", "bmaml")
    listed = text.partition("\n\nDeviations from the sources:\n- ")[2].splitlines()
    assert listed[-1].startswith("- BMAML, released code: the repulsion")
    (detail,) = json.loads(call("show", "bmaml", "--json"))
    assert detail["deviations"][-1]["here"] == "it has the factor 2/h"
    assert len(detail["deviations"]) == len(listed)
    assert "Deviations" not in call("show", "support-mean")
    suite = call("show", "omniglot").partition("\n\ndataset")[0]
    assert "\n- (maml; only with protocol.ways=5, protocol.steps_at_test=5) MAML, Omnigl" in suite
    assert "deviations  " not in suite


def test_unknown_name_suggests_over_all_kinds() -> None:
    code, out, err = failed("show", "convv4")
    assert (code, out) == (2, "")
    assert "Did you mean conv4?" in err


def test_unknown_name_mentions_plugins_that_did_not_load(tmp_path: Path) -> None:
    file = tmp_path / "sunk.py"
    file.write_text("1 / 0")
    assert "could not be loaded: sunk" in failed("--plugin", file, "plugins", "check", "pond")[2]


def test_columns_of_nothing_but_a_header() -> None:
    assert columns(["a", "b"], []) == "a  b"


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["plugins", "list"]])
def test_listing_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom metabench.cli import app\n"
        f"try: app({arguments!r})\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_papers_table_is_shown_with_its_numbers_and_the_protocol_of_each_row() -> None:
    numbers, protocols = call("show", "metanas/table-2-sources").split("\n\n")[1:]
    (line,) = (line for line in numbers.splitlines() if line.startswith("LEO"))
    assert "61.76 ± 0.08" in line
    assert "(missing)" in line
    head, *lines = protocols.splitlines()
    for fact in FACTS.values():
        assert fact in head
    (leo, *_) = (line for line in lines if line.startswith("LEO"))
    assert "meta-train and meta-val" in leo
    assert "over seeds" in leo
    (plus, *_) = (line for line in lines if line.startswith("MAML++"))
    assert "n = 3 seeds" in plus


def test_a_papers_table_is_shown_as_json_with_resolved_facts() -> None:
    (detail,) = json.loads(call("show", "maml/omniglot", "--json"))
    assert (detail["kind"], detail["key"]) == ("reference", "maml/omniglot")
    protocol = detail["rows"][0]["protocol"]
    assert {name: facts["steps_at_test"] for name, facts in protocol.items()} == {
        "5w1s": 3,
        "5w5s": 3,
        "20w1s": 5,
        "20w5s": 5,
    }
    assert all(facts["episodes"] == 600 for facts in protocol.values())


def test_the_file_of_a_suite_is_shown_as_the_suite_is() -> None:
    file = GOLDEN / "suites" / "toy-regression.yaml"
    (detail,) = json.loads(call("show", file, "--json"))
    assert (detail["kind"], detail["name"], detail["from"]) == (
        "suite",
        "toy-regression",
        str(file),
    )
    assert detail["settings"].keys() <= set(call("show", file).split())


def test_the_file_of_a_papers_table_is_shown() -> None:
    file = GOLDEN / "references" / "example-table-1.yaml"
    assert call("show", file).split()[:2] == ["reference", "example/table-1"]


def test_other_files_are_answered_by_what_can_be_shown(tmp_path: Path) -> None:
    code, out, err = failed("show", tmp_path / "absent.yaml")
    assert (code, out) == (2, "")
    assert "There is no file" in err
    assert "the file of a suite or of a paper's table" in err
    claims = tmp_path / "claims.yaml"
    claims.write_text("paper: m-nas\nclaims: []\n")
    code, out, err = failed("show", claims)
    assert (code, out) == (2, "")
    assert "is a file of claims" in err
