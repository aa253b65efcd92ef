"""The catalog is tested with real distributions: dist-info folders on sys.path."""

import logging
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from metabench.errors import PluginError, UsageError
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.plugin.specs import RunEvent

GOOD = """
from metabench.plugin.hookspecs import hookimpl
from metabench.plugin.specs import LearnerSpec

METABENCH_API = 1

@hookimpl
def metabench_learners():
    yield LearnerSpec(
        name="tortoise", version=1, summary="Slow.", params="missing:Params", factory="missing:make"
    )
"""


class Site:
    """A folder on sys.path into which distributions are installed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    def install(
        self, distribution: str, source: str | None, *, target: str = "", version: str = "1.2"
    ) -> None:
        self.count += 1
        module = f"plugin_{self.root.name.replace('-', '_')}_{self.count}"
        if source is not None:
            (self.root / f"{module}.py").write_text(source)
        info = self.root / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(
            f"[metabench]\n{distribution}-point = {target or module}\n"
        )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("METABENCH_STRICT_PLUGINS", raising=False)
    return Site(tmp_path)


def errors(catalog: Catalog) -> dict[str, str]:
    return {p.distribution: p.error for p in catalog.plugins if p.status == "error"}


def test_builtin_comes_first_and_others_by_distribution(site: Site) -> None:
    site.install("zebra", "")
    site.install("aardvark", "")
    names = [plugin.distribution for plugin in load_catalog().plugins]
    assert names[0] == "metabench"
    assert names.index("aardvark") < names.index("zebra")


def test_good_plugin_is_found_with_its_origin(site: Site) -> None:
    site.install("good", GOOD)
    catalog = load_catalog()
    assert catalog.learner("tortoise").summary == "Slow."
    origin = catalog.origin("learner", "tortoise")
    assert (origin.name, origin.distribution, origin.version) == ("good-point", "good", "1.2")
    assert origin.provides == {"learner": ("tortoise",)}
    assert errors(catalog) == {}


BROKEN = {
    "import error": ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
    "syntax error": ("def broken(:\n", "SyntaxError"),
    "exception without a text": (
        "class Mute(Exception):\n    def __str__(self): raise Mute\nraise Mute",
        "Mute: a Mute without a text",
    ),
    "attributes that cannot be listed": (
        GOOD + "\ndef __dir__(): raise RuntimeError('no list')\n",
        "It cannot be read: RuntimeError: no list (plugin_",
    ),
    "exit when it is looked into": (
        GOOD.replace("METABENCH_API", "OTHER") + "\ndef __getattr__(name): raise SystemExit(0)\n",
        "It cannot be read: SystemExit",
    ),
    "own exception in a hook": (
        GOOD.replace("yield", "raise GeneratorExit; yield"),
        "metabench_learners() failed: GeneratorExit",
    ),
    "object that cannot be shown": (
        "from metabench.plugin.hookspecs import hookimpl\n"
        "class Mute:\n    def __repr__(self): raise SystemExit\n"
        "@hookimpl\ndef metabench_learners():\n    return [Mute()]\n",
        "returned a Mute without a text in its iterable",
    ),
    "exit at import": ("raise SystemExit(3)", "SystemExit: 3"),
    "exception of its own kind": (
        "class Stop(BaseException): pass\nraise Stop('now')",
        "It cannot be imported: Stop: now (plugin_",
    ),
    "a kind of task as a text": (
        GOOD.replace('"Slow."', '"Slow.", kinds="classification"'),
        "The kinds of 'tortoise' is 'classification'; it must be a tuple with one or both of "
        "'classification' and 'regression'.",
    ),
    "no kind of task": (GOOD.replace('"Slow."', '"Slow.", kinds=()'), "The kinds of 'tortoise'"),
    "unknown kind of task": (
        GOOD.replace('"Slow."', '"Slow.", kinds=("clustering",)'),
        "is ('clustering',); it must be a tuple",
    ),
    "summary that is missing": (
        GOOD.replace('summary="Slow.",', ""),
        "metabench_learners() failed: TypeError: LearnerSpec.__init__() missing 1 required "
        "keyword-only argument: 'summary' (plugin_",
    ),
    "summary that is no text": (
        GOOD.replace('"Slow."', "None"),
        "The summary of 'tortoise' is None; it must be a text of one line that is not empty.",
    ),
    "summary of two lines": (GOOD.replace('"Slow."', '"Slow.\\nBut steady."'), "one line"),
    "text for a truth": (
        GOOD.replace('"Slow."', '"Slow.", transductive="no"'),
        "The transductive of 'tortoise' is 'no'; it must be True or False.",
    ),
    "list as preset": (
        GOOD.replace('"Slow."', '"Slow.", preset=["a"]'),
        "it must be a mapping by the name of a parameter",
    ),
    "one name as several": (
        GOOD.replace('"Slow."', '"Slow.", test_only="inner_lr"'),
        "it must be a tuple of names",
    ),
    "exception with its place": ("\n\n1 / 0", "division by zero (plugin_"),
    "wrong API": (GOOD.replace("API = 1", "API = 2"), "plugin API 2, but this metabench has API 1"),
    "typo in a hook": (
        GOOD.replace("def metabench_learners", "def metabench_learner"),
        "no hook 'metabench_learner'; did you mean metabench_learners?",
    ),
    "unmarked hook": (GOOD.replace("@hookimpl", ""), "metabench_learners is not marked"),
    "wrong signature": (
        GOOD + "\n@hookimpl\ndef metabench_on_event(evnt): pass\n",
        "'evnt'",
    ),
    "renamed to an unknown hook": (
        GOOD + "\n@hookimpl(specname='metabench_x')\ndef other(): pass\n",
        "metabench_x",
    ),
    "exception in a hook": (GOOD.replace("yield", "1 / 0; yield"), "metabench_learners() failed"),
    "one instead of several": (
        GOOD.replace("yield", "return"),
        "must return an iterable of LearnerSpec",
    ),
    "hook without a return": (
        GOOD.replace("yield LearnerSpec", "LearnerSpec"),
        "metabench_learners() returned nothing; it must return an iterable of LearnerSpec objects",
    ),
    "wrong type": (
        "from metabench.plugin.hookspecs import hookimpl\n"
        "@hookimpl\ndef metabench_learners():\n    return ['text']\n",
        "returned 'text' in its iterable; it must return LearnerSpec objects",
    ),
    "path as name": (GOOD.replace('"tortoise"', '"maml/.."'), "The name 'maml/..' must consist of"),
    "only plus signs": (GOOD.replace('"tortoise"', '"++"'), "The name '++' must consist of"),
    "bad name": (GOOD.replace('"tortoise"', '"Tortoise!"'), "The name 'Tortoise!' must consist of"),
    "bad version": (
        GOOD.replace("version=1", "version=0"),
        "'tortoise' is 0; it must be an integer of at least 1",
    ),
    "boolean version": (
        GOOD.replace("version=1", "version=True"),
        "True; it must be an integer of at least 1",
    ),
    "bad target": (GOOD.replace("missing:make", "missing.make"), "The factory of 'tortoise'"),
    "same name twice": (
        GOOD + GOOD[GOOD.index("    yield") :],
        "the learner 'tortoise' twice",
    ),
    "name of a built-in or another": (GOOD.replace("tortoise", "hare"), "which fast provides"),
    "suite that is no file": (
        "from pathlib import Path\nfrom metabench.plugin.hookspecs import hookimpl\n"
        "@hookimpl\ndef metabench_suites():\n    return [Path('nowhere.yaml')]\n",
        "the file 'nowhere.yaml', which does not exist",
    ),
    "suite as text": (
        "from metabench.plugin.hookspecs import hookimpl\n"
        "@hookimpl\ndef metabench_suites():\n    return 'nowhere.yaml'\n",
        "must return an iterable of Traversable",
    ),
}


@pytest.mark.parametrize(("source", "said"), BROKEN.values(), ids=BROKEN)
def test_broken_plugin_is_named_and_harms_nobody(site: Site, source: str, said: str) -> None:
    site.install("fast", GOOD.replace("tortoise", "hare"))
    site.install("middle-broken", source)
    site.install("zebra", GOOD.replace("tortoise", "zebra"))
    catalog = load_catalog()
    assert list(errors(catalog)) == ["middle-broken"]
    assert said in errors(catalog)["middle-broken"]
    assert "\n" not in errors(catalog)["middle-broken"]
    assert {"hare", "zebra"} <= catalog.learners.keys()
    assert "tortoise" not in catalog.learners  # refused as a whole


def test_entry_point_to_a_missing_module_is_named(site: Site) -> None:
    site.install("lost", None, target="no_such_module_either")
    assert "No module named 'no_such_module_either'" in errors(load_catalog())["lost"]


def test_malformed_entry_point_is_named(site: Site) -> None:
    site.install("bent", None, target="not a module !")
    assert "cannot be imported" in errors(load_catalog())["bent"]


def test_plugin_without_metadata_is_named_after_its_entry_point(site: Site) -> None:
    site.install("bare", "import no_such_module_at_all")
    (site.root / "bare-1.2.dist-info" / "METADATA").unlink()
    assert "bare-point" in errors(load_catalog())


def test_submodules_of_that_prefix_are_no_hooks(site: Site) -> None:
    (site.root / "metabench_helper_of_good.py").write_text("")
    site.install("good", "import metabench_helper_of_good\n" + GOOD)
    assert "tortoise" in load_catalog().learners


def test_strict_environment_raises(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("broken", "1 / 0")
    monkeypatch.setenv("METABENCH_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError, match="broken") as caught:
        load_catalog()
    assert caught.value.exit_code == 4


def test_unknown_name_suggests_and_mentions_refused_plugins(site: Site) -> None:
    site.install("good", GOOD)
    site.install("broken", "1 / 0")
    with pytest.raises(UsageError, match="Unknown learner 'tortois'") as caught:
        load_catalog().learner("tortois")
    assert "Did you mean tortoise" in caught.value.hint
    assert "broken-point" in caught.value.hint


def test_plugin_file_needs_no_packaging(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(GOOD + "\nclass Thing: pass\n")
    catalog = load_catalog([file])
    assert catalog.origin("learner", "tortoise").distribution == str(file)
    thing = next(
        m.Thing()
        for n, m in sys.modules.items()
        if n.startswith("metabench_file_") and hasattr(m, "Thing")
    )
    assert type(pickle.loads(pickle.dumps(thing))) is type(thing)


def test_two_plugin_files_of_one_name_live_side_by_side(tmp_path: Path) -> None:
    files = []
    for folder, name in (("a", "one"), ("b", "two")):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / "plugin.py")
        files[-1].write_text(GOOD.replace("tortoise", name))
    assert {"one", "two"} <= load_catalog(files).learners.keys()


def test_broken_plugin_file_is_listed_and_leaves_no_module(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import no_such_module_at_all")
    before = set(sys.modules)
    assert "no_such_module_at_all" in errors(load_catalog([file]))[str(file)]
    assert not [name for name in set(sys.modules) - before if name.startswith("metabench_file_")]


def test_missing_plugin_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no plugin file"):
        load_catalog([tmp_path / "absent.py"])


def test_events_reach_every_plugin_and_failures_are_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good, heard = tmp_path / "bad.py", tmp_path / "good.py", tmp_path / "heard.txt"
    head = "from metabench import hookimpl\n@hookimpl\ndef metabench_on_event(event):\n"
    bad.write_text(head + "    raise type('Own', (BaseException,), {})('tracker is down')\n")
    good.write_text(
        "from pathlib import Path\n"
        + head
        + f"    p = Path({str(heard)!r}); p.touch(); p.write_text(p.read_text() + event.label)\n"
    )
    catalog = load_catalog([bad, good])
    with caplog.at_level(logging.ERROR):
        for label in "ab":
            for _, hear in catalog.listeners():
                hear(RunEvent(kind="progress", run_id="0", label=label))
    assert heard.read_text() == "ab"
    assert [record.message.split()[1] for record in caplog.records] == ["bad"]


def test_suites_are_known_by_file_stem(tmp_path: Path) -> None:
    (tmp_path / "pond.yaml").write_text("{}")
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from pathlib import Path\nfrom metabench.plugin.hookspecs import hookimpl\n"
        "@hookimpl\ndef metabench_suites():\n    return [Path(__file__).parent / 'pond.yaml']\n"
    )
    assert load_catalog([plugin]).suite("pond").read_text() == "{}"


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys; from metabench.plugin.catalog import load_catalog; load_catalog();"
        "print([m for m in ('torch', 'pandas', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
