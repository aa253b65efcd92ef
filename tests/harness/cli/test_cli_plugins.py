import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from conformance_specs import CLAIMS
from full_disk import full_disk
from typer.testing import CliRunner

from metabench.cli import app
from metabench.plugin.catalog import load_catalog

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "metabench-proto"

HEAD = """
from metabench.plugin.hookspecs import hookimpl
from metabench.plugin.specs import DatasetSpec
from metabench.errors import DataError
from metabench_plugins.datasets.toy_regression import ToyRegression, ToyRegressionParams

class Constant(ToyRegression):
    def sample(self, words, shape, *, split):
        x, y = super().sample(words, shape, split=split)
        return x, 0 * y

def absent(params):
    raise DataError("The pond is dry.", hint="Wait for rain.")
"""
HOOK = """
@hookimpl
def metabench_datasets():
    yield DatasetSpec(name="pond", version=1, summary="Frogs.", params=ToyRegressionParams,
                      kind="functions", factory=FACTORY)
"""


def plugin(folder: Path, factory: str) -> Path:
    file = folder / "mine.py"
    file.write_text(HEAD + HOOK.replace("FACTORY", factory))
    return file


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.stdout, result.stderr


def sources(folder: Path) -> dict[str, bytes]:
    """What is in a folder, caches aside."""
    found = {f.relative_to(folder): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    return {
        path.as_posix(): content
        for path, content in found.items()
        if not any(part.startswith((".", "__pycache__")) for part in path.parts)
    }


def install(root: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real distribution on sys.path."""
    (root / "broken_by_design.py").write_text(source)
    info = root / "broken_package-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-package\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[metabench]\nbroken = broken_by_design\n")
    monkeypatch.syspath_prepend(str(root))


def test_list_names_a_broken_package_and_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "import no_such_module_at_all", monkeypatch)
    code, out, _ = call("plugins", "list")
    assert code == 0
    (line,) = [line for line in out.splitlines() if "broken-package" in line]
    assert line.split()[:4] == ["broken", "broken-package", "0.3", "error"]
    assert "no_such_module_at_all" in line
    listed = json.loads(call("plugins", "list", "--json")[1])
    assert (listed[0]["name"], listed[0]["status"]) == ("builtin", "ok")
    assert Path(listed[0]["root"]).name == "metabench_plugins"
    assert {p["name"]: p["status"] for p in listed}["broken"] == "error"
    assert call("show", "maml")[0] == 0


def test_list_counts_what_is_provided(tmp_path: Path) -> None:
    _, out, _ = call("--plugin", plugin(tmp_path, "ToyRegression"), "plugins", "list")
    (line,) = [line for line in out.splitlines() if line.startswith("mine")]
    assert line.endswith("1 dataset")


def test_networks_are_called_so() -> None:
    (line,) = [line for line in call("plugins", "list")[1].splitlines() if "builtin" in line]
    assert " networks, " in line
    (plugin,) = [p for p in json.loads(call("plugins", "list", "--json")[1]) if p["error"] == ""]
    assert "conv4" in plugin["provides"]["network"]
    assert "space" not in plugin["provides"]


def test_check_of_a_sound_file(tmp_path: Path) -> None:
    code, out, _ = call("plugins", "check", plugin(tmp_path, "ToyRegression"))
    assert code == 0
    assert out.startswith("dataset pond\n  ok ")
    assert "FAILED" not in out
    assert "maml" not in out


def test_check_of_a_broken_file_prints_every_check_and_exits_4(tmp_path: Path) -> None:
    code, out, err = call("plugins", "check", plugin(tmp_path, "Constant"))
    assert code == 4
    assert (
        "  FAILED   real: all randomness comes from the words: different words give the same" in out
    )
    assert "  ok       real: the fingerprint is stable" in out
    assert "2 checks failed" in err


def test_check_says_why_it_skips(tmp_path: Path) -> None:
    code, out, _ = call("plugins", "check", plugin(tmp_path, "absent"))
    assert code == 0
    assert "  skipped  real: the data is available: The pond is dry. Wait for rain." in out


def test_what_keeps_many_checks_from_running_is_told_once(tmp_path: Path) -> None:
    code, out, _ = call("plugins", "check", plugin(tmp_path, "absent"))
    assert code == 0
    assert "  skipped  6 checks: the data is not available." in out
    assert out.count("skipped") == 2


STRATEGY = """
from metabench import NasStrategySpec, hookimpl
from metabench_plugins.strategies.darts import Darts, DartsParams

@hookimpl
def metabench_nas_strategies():
    yield NasStrategySpec(name="neighbor", version=1, summary="Near.", params=DartsParams,
                          factory=Darts)
"""
CLAIM = """
from pathlib import Path
from metabench import hookimpl

@hookimpl
def metabench_suites():
    return [Path(__file__).parent / "frogs.yaml"]
"""
FROGS = """
name: frogs
version: 1
task: regression
metric: mse
space: mlp
sources: [{name: sine, dataset: toy-regression, params: {family: sine}}]
backends: {metanas: {space: toy-cell, strategy: neighbor}}
protocol: {shots: 5, queries: 5}
settings: {5-shot: {}}
budgets: {smoke: {meta_steps: 2, meta_batch: 2}}
"""


def test_check_of_a_file_sees_the_plugins_of_other_files(tmp_path: Path) -> None:
    other, mine = tmp_path / "other.py", tmp_path / "mine.py"
    other.write_text(STRATEGY)
    mine.write_text(CLAIM)
    (tmp_path / "frogs.yaml").write_text(FROGS)
    code, alone, _ = call("plugins", "check", mine)
    assert code == 0
    assert "neighbor" in alone
    code, beside, _ = call("plugins", "check", mine, "--plugin", other)
    assert code == 0
    assert "neighbor" not in beside
    assert "FAILED" not in beside


def test_check_of_a_plugin_that_does_not_load_exits_4(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("1 / 0")
    code, out, _ = call("plugins", "check", file)
    assert code == 4
    assert "division by zero (mine.py, line 1)" in out


@pytest.mark.parametrize("target", ["mine", "pond"])
def test_check_takes_the_name_of_a_plugin_or_of_what_it_provides(
    tmp_path: Path, target: str
) -> None:
    file = plugin(tmp_path, "ToyRegression")
    code, out, _ = call("--plugin", file, "plugins", "check", target)
    assert code == 0
    assert out.startswith("dataset pond\n")


def test_check_of_an_unknown_name_suggests() -> None:
    code, _, err = call("plugins", "check", "mamll")
    assert code == 2
    assert "Did you mean maml" in err


def test_check_of_a_missing_file() -> None:
    code, _, err = call("plugins", "check", "absent.py")
    assert code == 2
    assert "no plugin file" in err


def test_new_renders_the_example_byte_for_byte(tmp_path: Path) -> None:
    """But for what the example provides besides: files of its own, and lines that name them."""
    from metabench.plugin.template import render

    made, example = sources(render("proto", tmp_path)), sources(EXAMPLE)
    assert len(made) == 5
    assert example.keys() - made.keys() == {
        "src/metabench_proto/more.py",
        "src/metabench_proto/classes.py",
        "tests/test_more.py",
    }
    for name in ("pyproject.toml", "README.md"):
        lines = iter(example.pop(name).splitlines())
        assert all(line in lines for line in made.pop(name).splitlines()), name
    assert made == {name: example[name] for name in made}


def test_new_makes_a_plugin_that_loads(tmp_path: Path) -> None:
    code, out, err = call("plugins", "new", "two-frogs", "--dir", tmp_path)
    folder = tmp_path / "metabench-two-frogs"
    assert (code, out) == (0, f"{folder}\n")
    assert "pip install -e" in err
    assert (folder / "tests" / "test_two_frogs.py").is_file()
    text = "".join(f.read_text() for f in folder.rglob("*") if f.is_file())
    assert "class TwoFrogsParams(BaseModel)" in text
    assert "{{" not in text
    assert "proto = " not in text
    module = folder / "src" / "metabench_two_frogs" / "__init__.py"
    listed = json.loads(call("--plugin", module, "list", "learners", "--json")[1])["learners"]
    assert "two-frogs" in [entry["name"] for entry in listed]


KINDS = {
    "learner": ("learners", "class TwoFrogs:"),
    "dataset": ("datasets", "class TwoFrogs:"),
    "network": ("networks", "class TwoFrogs:"),
    "strategy": ("strategies", "class TwoFrogs:"),
    "metric": ("metrics", "def score("),
    "tracker": ("trackers", "class TwoFrogs:"),
    "suite": ("suites", "name: two-frogs"),
    "executor": ("executors", "class TwoFrogs:"),
}


def test_new_knows_every_kind() -> None:
    from metabench.cli.plugins import NewKind
    from metabench.plugin.template import Kind

    assert list(KINDS) == list(get_args(Kind)) == [kind.value for kind in NewKind]


@pytest.mark.parametrize("kind", KINDS)
def test_new_makes_each_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    plural, source = KINDS[kind]
    assert call("plugins", "new", "two-frogs", "--kind", kind, "--dir", tmp_path)[0] == 0
    folder = tmp_path / "metabench-two-frogs"
    text = "".join(file.read_text() for file in folder.rglob("*") if file.is_file())
    assert source in text
    assert f"The {kind} two-frogs for metabench." in text
    assert "{{" not in text
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["metabench"] == {"two-frogs": "metabench_two_frogs"}
    monkeypatch.syspath_prepend(folder / "src")
    module = folder / "src" / "metabench_two_frogs" / "__init__.py"
    listed = json.loads(call("--plugin", module, "list", plural, "--json")[1])[plural]
    assert "two-frogs" in [entry["name"] for entry in listed]
    if kind not in ("learner", "executor"):  # which take long
        code, out, _ = call("--plugin", module, "plugins", "check", "two-frogs")
        assert code == 0, out
        assert out.count("\n  ok  ") >= 7
    for name in set(sys.modules):
        if name.startswith("metabench_two_frogs"):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in ("learner", "executor") else pytest.mark.exhaustive)
        for kind in KINDS
    ],
)
def test_new_makes_packages_that_pass_their_own_tests(tmp_path: Path, kind: str) -> None:
    assert call("plugins", "new", "two-frogs", "--kind", kind, "--dir", tmp_path)[0] == 0
    folder = tmp_path / "metabench-two-frogs"
    path = os.pathsep.join([str(folder / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(folder / "tests")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed(, \d+ skipped)? in", done.stdout, re.M), done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_new_makes_tidy_code(tmp_path: Path, kind: str) -> None:
    """Formatted and free of lint under the package's own configuration."""
    pytest.importorskip("ruff")
    code, out, _ = call("plugins", "new", "two-frogs", "--kind", kind, "--dir", tmp_path)
    assert code == 0
    ruff = [sys.executable, "-m", "ruff"]
    for words in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run([*ruff, *words, out.strip()], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("kind", "taken"), [("network", "conv4"), ("metric", "ece")])
def test_new_refuses_a_name_of_the_same_kind(tmp_path: Path, kind: str, taken: str) -> None:
    code, _, err = call("plugins", "new", taken, "--kind", kind, "--dir", tmp_path)
    assert code == 2
    assert f"There is already a {kind} {taken!r}." in err
    assert call("plugins", "new", taken, "--dir", tmp_path)[0] == 0  # no learner has the name


def test_new_refuses_to_overwrite(tmp_path: Path) -> None:
    (tmp_path / "metabench-frog").mkdir()
    code, out, err = call("plugins", "new", "frog", "--dir", tmp_path)
    assert (code, out) == (2, "")
    assert "already exists" in err
    assert not list((tmp_path / "metabench-frog").iterdir())


def test_new_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    code, out, err = call("plugins", "new", "frog", "--dir", tmp_path / "file")
    assert (code, out) == (2, "")
    assert f"Cannot write to {tmp_path / 'file' / 'metabench-frog'}: Not a directory." in err


def test_new_leaves_nothing_on_a_full_disk(tmp_path: Path) -> None:
    with full_disk(1000):
        code, _, err = call("plugins", "new", "frog", "--dir", tmp_path)
    assert code == 2
    assert f"Cannot write to {tmp_path / 'metabench-frog'}: File too large." in err
    assert "Free some space there." in err
    assert not list(tmp_path.iterdir())
    assert call("plugins", "new", "frog", "--dir", tmp_path / "deeper" / "down")[0] == 0


@pytest.mark.parametrize("name", ["Frog", "9frogs", "frog_", "two--frogs", "frog-", "../frog"])
def test_new_refuses_what_cannot_be_a_name(tmp_path: Path, name: str) -> None:
    code, _, err = call("plugins", "new", name, "--dir", tmp_path)
    assert code == 2
    assert "cannot be the name" in err
    assert not list(tmp_path.iterdir())


def test_new_refuses_the_name_of_a_learner(tmp_path: Path) -> None:
    code, _, err = call("plugins", "new", "maml", "--dir", tmp_path)
    assert code == 2
    assert "There is already a learner 'maml'." in err


SUITE = """
name: pond
version: 1
task: regression
metric: mse
space: mlp
sources: [{name: sine, dataset: toy-regression, params: {family: sine}}]
learners: {malm: {inner_lr: 0.1}}
settings: {five: {protocol: {shots: 5, queries: 5}}}
budgets: {smoke: {meta_steps: 1, meta_batch: 1}}
"""
FILES = """
from pathlib import Path
from metabench.plugin.hookspecs import hookimpl

@hookimpl
def metabench_KINDs():
    return sorted(Path(__file__).parent.glob("*.yaml"))
"""


def file_plugin(folder: Path, kind: str, name: str, text: str) -> Path:
    """A plugin that brings one YAML file."""
    (folder / name).write_text(text)
    file = folder / "mine.py"
    file.write_text(FILES.replace("KINDs", f"{kind.removesuffix('s')}s"))
    return file


def test_check_warns_of_a_name_that_nobody_provides(tmp_path: Path) -> None:
    code, out, _ = call("plugins", "check", file_plugin(tmp_path, "suite", "pond.yaml", SUITE))
    assert code == 0
    assert "  warning  the plugins that it names are installed: Unknown learner 'malm'." in out
    assert "Did you mean maml" in out


RUN = ("run", "--learner", "maml", "--suite", "toy-regression", "--dry-run")


@pytest.mark.parametrize("command", [RUN, ("list",), ("show", "maml")])
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bad.py", "def broken(:\n", "SyntaxError"),
        ("notes.txt", "Buy milk.", "is not a Python file"),
        ("typo.py", FILES.replace("KINDs", "learnerz"), "no hook 'metabench_learnerz'"),
    ],
)
def test_a_broken_plugin_file_stops_what_would_use_it(
    tmp_path: Path, command: tuple[str, ...], name: str, text: str, said: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    code, out, err = call("--plugin", file, *command)
    assert (code, out) == (4, "")
    assert f"The plugin file {str(file)!r} cannot be used." in err
    assert said in err


def test_a_broken_plugin_file_is_shown_where_plugins_are(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("def broken(:\n")
    for command, wanted in ((("plugins", "list"), 0), (("plugins", "check", "bad"), 4)):
        code, out, _ = call("--plugin", file, *command)
        assert code == wanted
        assert "SyntaxError" in out
    code, out, _ = call("--plugin", file, "doctor", "--json")
    assert code == 4
    assert "SyntaxError" in json.loads(out)["broken plugins"]["bad"]


def test_a_broken_installed_plugin_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "import no_such_module_at_all", monkeypatch)
    file = plugin(tmp_path, "ToyRegression")
    assert call("--plugin", file, *RUN)[0] == 0


def test_the_same_plugin_file_given_twice_is_one(tmp_path: Path) -> None:
    file = plugin(tmp_path, "ToyRegression")
    assert call("--plugin", file, *RUN, "--plugin", file)[0] == 0


def test_check_reads_claims(tmp_path: Path) -> None:
    file = file_plugin(tmp_path, "claims", "doe.yaml", CLAIMS)
    code, out, _ = call("plugins", "check", file)
    assert (code, out.splitlines()[:2]) == (0, ["claims doe", "  ok       it can be read"])
    (tmp_path / "doe.yaml").write_text(CLAIMS.replace("relation", "relatoin"))
    code, out, _ = call("plugins", "check", file)
    assert code == 4
    assert "  FAILED   it can be read: " in out
    assert "'relatoin'" in out
    (tmp_path / "doe.yaml").write_text(CLAIMS.replace("reptile", "reptlie"))
    code, out, _ = call("plugins", "check", file)
    assert code == 0
    assert "  warning  the plugins that it names are installed: Unknown learner" in out


def test_check_reads_references(tmp_path: Path) -> None:
    text = load_catalog().references["m-nas-table-1"].read_text(encoding="utf-8")
    text = text.replace("m-nas/table-1", "doe/table-1")
    file = file_plugin(tmp_path, "reference", "doe-table-1.yaml", text)
    code, out, _ = call("plugins", "check", file)
    assert code == 0
    assert out.splitlines() == [
        "reference doe-table-1",
        "  ok       it can be read",
        "  ok       it is consistent in itself and with the suites",
        "  ok       the plugins that it names are installed",
    ]
    (tmp_path / "doe-table-1.yaml").write_text(text.replace("learner: maml", "learner: malm"))
    code, out, _ = call("plugins", "check", file)
    assert code == 0
    assert (
        "  warning  the plugins that it names are installed: The learner 'malm' is not installed. "
        "Did you mean maml" in out
    )
    (tmp_path / "doe-table-1.yaml").write_text(text.replace("suite: toy", "suite: tyo"))
    code, out, _ = call("plugins", "check", file)
    assert code == 4
    assert "  FAILED   it is consistent in itself and with the suites: Unknown suite 'tyo" in out


def test_check_of_a_plugin_without_anything_fails(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("X = 1\n")
    code, out, _ = call("plugins", "check", file)
    assert (code, out) == (
        4,
        "plugin mine\n  FAILED   it provides something: it provides nothing.\n",
    )
    (line,) = [
        line
        for line in call("--plugin", file, "plugins", "list")[1].splitlines()
        if line.startswith("mine")
    ]
    assert line.endswith("nothing")


def test_check_of_a_plugin_that_only_listens_passes(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from metabench import hookimpl\n\n@hookimpl\ndef metabench_on_event(event):\n    pass\n"
    )
    code, out, _ = call("plugins", "check", file)
    assert (code, out) == (0, "plugin mine\n  ok       it listens to events\n")
    assert "listens to events" in call("--plugin", file, "plugins", "list")[1]


def test_list_counts_files_of_claims() -> None:
    (line,) = [line for line in call("plugins", "list")[1].splitlines() if "builtin" in line]
    assert line.endswith(" files of claims")


def test_what_is_known_is_said_once() -> None:
    code, _, err = call("plugins", "check", "qqqqqq")
    known = err.partition("Known: ")[2].strip().removesuffix(".").split(", ")
    assert code == 2
    assert {"maml", "metanas"} <= set(known)
    assert len(known) == len(set(known))
