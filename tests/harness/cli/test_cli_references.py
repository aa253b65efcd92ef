import json
from pathlib import Path

import pytest
from result_factory import GOLDEN
from typer.testing import CliRunner

from metabench.cli import app

PLUGIN = """
from pathlib import Path
from metabench import hookimpl

@hookimpl
def metabench_references():
    return sorted(Path(__file__).parent.glob("*.yaml"))
"""


def run(*arguments: str):
    return CliRunner().invoke(app, ["references", *arguments])


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin with the table of the golden files, whose averages a test may spoil."""
    (tmp_path / "tables.py").write_text(PLUGIN)
    text = (GOLDEN / "references" / "example-table-1.yaml").read_text(encoding="utf-8")
    (tmp_path / "example-table-1.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "tables.py"


def test_list_tells_what_is_known():
    result = run("list")
    assert result.exit_code == 0
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("m-nas/table-2"))
    assert "74 of 80" in line
    assert "multidataset" in line
    assert "AAAI 2020" in line
    (full,) = (line for line in result.stdout.splitlines() if line.startswith("maml/omniglot"))
    assert "24 of 24" in full


def test_list_as_json_has_every_cell_with_the_spread_it_implies():
    found = {table["key"]: table for table in json.loads(run("list", "--json").stdout)}
    maml = found["m-nas/table-1"]["rows"][0]
    assert maml["method"] == "MAML"
    assert maml["cells"]["harmonics"]["implied_std"] == pytest.approx(5.873, abs=0.001)
    assert maml["cells"]["average"]["implied_std"] is None
    assert maml["cells"]["harmonics"]["setting"] == "10-shot"
    lost = found["metanas/table-1"]["rows"][2]["cells"]["omniglot-20w1s"]
    assert (lost["value"], lost["status"]) == (None, "missing")


def test_check_of_all_names_each_and_ends_well():
    result = run("check")
    assert result.exit_code == 0
    assert "m-nas/table-1: ok" in result.stdout.splitlines()


def test_check_tells_of_a_learner_that_is_not_installed(plugin):
    table = plugin.with_name("example-table-1.yaml")
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("learner: maml", "learner: malm"), encoding="utf-8")
    result = run("check", "example/table-1", "--json", "--plugin", str(plugin))
    assert "In example/table-1: The learner 'malm' is not installed. Did you mean" in result.stderr
    assert "malm" not in result.stdout


def test_check_of_one():
    result = run("check", "m-nas/table-1", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"m-nas/table-1": []}


def test_check_exits_with_3_where_something_is_wrong(plugin):
    broken = plugin.with_name("broken.yaml")
    broken.write_text("key: [")
    result = run("check", "--plugin", str(plugin))
    assert result.exit_code == 3
    # The suite of the golden records has a source and a setting of its own.
    assert "example/table-1:\n  sinusoid: the suite toy-regression has no source" in result.stdout
    assert "broken:\n" in result.stdout
    assert "is not valid YAML" in result.stdout
    assert "m-nas/table-1: ok" in result.stdout
    assert " problems in the papers' tables." in result.stderr


def test_an_unknown_key_is_a_usage_error_with_the_nearest():
    result = run("check", "m-nas/tabel-1")
    assert result.exit_code == 2
    assert "Did you mean" in result.stderr
