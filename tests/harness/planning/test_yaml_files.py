"""YAML is read as people mean it, within bounds, and truth values are not numbers."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import UsageError
from metabench.papers.claims.schema import load_claims
from metabench.papers.reference_files import load_reference
from metabench.planning import yaml_files
from metabench.planning.grid import read_grid
from metabench.planning.overrides import read_value, written
from metabench.planning.suite import load_suite
from metabench.planning.validation import truth_for_a_number
from metabench.planning.yaml_files import read_yaml
from metabench.reports.entries import read_entry
from metabench.text import readable


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("+3", 3),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2001-99-99", "2001-99-99"),
        ("2001-01-01", "2001-01-01"),
        ("on", "on"),
        ("No", "No"),
        ("TRUE", True),
        ("~", None),
        ("", None),
        ("1e-4", 1e-4),
        ("5.", 5.0),
        ("-.inf", -math.inf),
        ("'1'", "1"),
        ("{<<: 1}", {"<<": 1}),
    ],
)
def test_scalars_are_those_of_the_core_schema(text: str, value: object) -> None:
    found = read_yaml(text)
    assert (type(found), found) == (type(value), value)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("!!int x", "the tag"),
        ("!!python/name:os.system x", "the tag"),
        ("[" * 1000 + "]" * 1000, "inside each other"),
        ("1" * 5000, "a number of 5,000 characters"),
        ("1." + "1" * 5000, "a number of 5,002 characters"),
        (BOMB, "more than 200,000 values"),
        ("{a: 1, a: 2}", "stands twice"),
        ("x" * (4 * 2**20 + 1), "4,194,305 characters"),
    ],
)
def test_what_is_out_of_bounds_is_refused(text: str, words: str) -> None:
    with pytest.raises(yaml.YAMLError, match=words):
        read_yaml(text)


READERS = {
    "suite": load_suite,
    "plan": read_grid,
    "claims": load_claims,
    "reference": load_reference,
    "entry": read_entry,
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!int x", "line 1, column 4: the tag tag:yaml.org,2002:int is not read; leave it out"),
        ("a: !!timestamp x", "the tag tag:yaml.org,2002:timestamp is not read"),
        ("a: " + "[" * 1000, "more than 50 lists or mappings inside each other"),
        ("a: " + "1" * 5000, "a number of 5,000 characters"),
        ("a: 1\na: 2", "line 2, column 1: the key 'a' stands twice"),
    ],
)
def test_every_kind_of_file_refuses_it_in_one_sentence(
    tmp_path: Path, kind: str, text: str, words: str
) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        READERS[kind](file)
    assert len(caught.value.message) < 300 + len(str(file))


def test_an_error_of_yaml_shows_the_line_and_the_place(tmp_path: Path) -> None:
    file = tmp_path / "suite.yaml"
    file.write_text("name: x\nversion: 1: 2\n")
    done = CliRunner().invoke(app, ["run", "--suite", str(file), "--learner", "maml"])
    assert done.exit_code == 2
    assert done.stderr == (
        f"Error: {file} is not valid YAML: line 2, column 11: "
        "mapping values are not allowed here.\n"
        "    version: 1: 2\n"
        "              ^\n"
    )


@pytest.mark.parametrize("kind", READERS)
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "file.yaml")
    with pytest.raises(UsageError):
        READERS[kind](tmp_path / "file.yaml")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_yaml(text)
    except yaml.YAMLError:
        return


BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def read_in_python(text: str) -> Any:
    try:
        return yaml.load(text, Loader=yaml_files._LoaderInPython)
    except yaml.YAMLError:
        return "refused"


def test_libyaml_reads_our_files_as_the_parser_in_python() -> None:
    files = sorted(BENCHMARKS.rglob("*.yaml"))
    assert len(files) > 40
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert read_yaml(text) == read_in_python(text) != "refused", file


@given(st.lists(st.sampled_from([*"\n \t-:?{}[],#&*!'\"%@`a1.~\ufeffé", "a: ", "- ", "\n  "])))
def test_libyaml_reads_any_text_as_the_parser_in_python(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        found = read_yaml(text)
    except yaml.YAMLError:
        found = "refused"
    assert found == read_in_python(text)


def test_text_that_no_encoding_has_is_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="not allowed"):
        read_yaml("a\udcff")


class Inner(BaseModel):
    rate: Annotated[float, Field(gt=0)] = 1.0
    flag: bool = False


class Outer(BaseModel):
    steps: int | None = None
    mode: Literal["a", True] = "a"
    rates: tuple[float, ...] = ()
    pair: tuple[bool, float] = (True, 1.0)
    inner: Inner = Inner()
    by_name: dict[str, list[int]] = {}
    anything: Any = None
    switches: dict[str, bool] | None = None
    bounded: Annotated[list[float], Field(max_length=3)] = []


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"steps": True}, "steps"),
        ({"mode": True, "anything": True, "inner": {"flag": True}}, None),
        ({"rates": [0.1, False]}, "rates.1"),
        ({"pair": [True, 1]}, None),
        ({"pair": [True, True]}, "pair.1"),
        ({"inner": {"rate": True}}, "inner.rate"),
        ({"by_name": {"x": [1, True]}}, "by_name.x.1"),
        ({"unknown": True}, None),
        ({"switches": {"x": True}}, None),
        ({"bounded": [1.0, True]}, "bounded.1"),
    ],
)
def test_a_truth_value_is_found_where_none_is_meant(
    values: dict[str, object], place: str | None
) -> None:
    found = truth_for_a_number(Outer, values)
    assert (found and ".".join(map(str, found))) == place


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "--set learner.inner_lr=true",
            "learner.inner_lr is true or false, where a number or text is meant.\n"
            "learner.inner_lr: > 0",
        ),
        ("--set protocol.episodes=1:30", "protocol.episodes='1:30' is not valid"),
        ("--set learner.inner_lr=1 --set learner.inner_lr=2", "is given twice"),
        *(
            (f"--set learner.inner_lr=!!{tag}", f"the tag tag:yaml.org,2002:{tag} is not read")
            for tag in ("int", "bool", "timestamp")
        ),
        ("--set learner.inner_lr=2001-99-99", "learner.inner_lr='2001-99-99' is not valid"),
        ("--set learner.inner_lr=" + "[" * 1000, "more than 50 lists or mappings"),
        ("--set learner.inner_lr=" + "1" * 5000, "a number of 5,000 characters"),
        ("--seed " + "," * 100_000, "is not a list of seeds"),
        ("--learner " + "x" * 100_000, "Unknown learner"),
    ],
)
def test_a_bad_value_is_one_short_sentence(words: str, said: str) -> None:
    learner = [] if "--learner" in words else ["--learner", "maml"]
    command = ["run", "--suite", "toy-regression", *learner, *words.split(" ")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr) < 1000
    assert "Traceback" not in done.stderr


@given(
    st.text("0123456789eE+-._oxab~:,[]{}'\" #") | st.integers() | st.booleans() | st.none()
    | st.floats(allow_nan=False)
)  # fmt: skip
@example("1e-3")
@example("0o7")
@example("010")
@example("1.e5")
@example("1,5")
@example('0",')
@example("it's,")
@example("]],")
def test_what_is_written_is_read_as_the_same_value(value: Any) -> None:
    """A number for text would make the command of a record another run."""
    for wanted in (value, {"name": [value]}):
        found = read_value("--set a.b=", written(wanted))
        assert (type(found), found) == (type(wanted), wanted)
        assert repr(read_yaml(yaml_files.file_text({"a": wanted}))) == repr({"a": wanted})


def test_the_same_value_may_be_given_twice() -> None:
    words = ["--set", "learner.inner_lr=0.01", "--set", "learner.inner_lr=1e-2", "--dry-run"]
    command = ["run", "--suite", "toy-regression", "--learner", "maml", *words]
    assert CliRunner().invoke(app, command).exit_code == 0


def test_control_characters_are_shown_as_text() -> None:
    assert readable("a\x1b[31m\nb") == "a\\x1b[31m\nb"
    long = readable("x" * 1000 + " end")
    assert long.endswith("x end")
    assert "[800 characters]" in long
