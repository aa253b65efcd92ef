"""Folders that are damaged or made to harm: what is wrong is named, and names are text."""

import json
from pathlib import Path

import pytest
from html_outline import Outline
from result_factory import make_spec, write_run

from metabench.planning.runspec import SourceChoice
from metabench.plugin.catalog import Catalog
from metabench.render.page import read_page
from metabench.render.page.html import render_page
from metabench.results.schema import SCHEMA
from metabench.text import plain

SCRIPT_NAME = "<script>alert(1)</script>"
QUOTE_NAME = '"\' onload="alert(1)" </title></style><b>'


def html(folder: Path, catalog: Catalog) -> str:
    return render_page(read_page(folder, catalog, paper=None)[1])


@pytest.mark.parametrize("name", [SCRIPT_NAME, QUOTE_NAME, "\x1b[2J\u202e", "{{ 7 * 7 }}", "&lt;"])
def test_hostile_names_are_text(tmp_path, catalog, name):
    sources = tuple(SourceChoice(source=s, name=name, version=1) for s in (name, "b"))
    specs = [make_spec(learner, suite=name, setting=name, budget=name) for learner in (name, "m")]
    for i, spec in enumerate(specs):
        spec = spec.model_copy(update={"sources": sources})
        run = write_run(tmp_path / "fresh", make_spec(), backend=name, stamps=(name,))
        raw = json.loads((run / "run.json").read_text())
        raw |= {"run_id": spec.run_id, "spec": spec.model_dump(mode="json")}
        raw["provenance"] |= {"command": name, "device": name, "packages": {name: name}}
        raw["data"] = {name: {"dataset": name, "fingerprint": name, "licence": name}}
        (run / "run.json").write_text(json.dumps(raw))
        lines = [json.loads(line) for line in (run / "episodes.jsonl").read_text().splitlines()]
        for line in lines:
            line["source"] = {"bird": name, "texture": "b"}[line["source"]]
        (run / "episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
        (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
        (tmp_path / "fresh").rename(tmp_path / str(i))
    text = html(tmp_path, catalog)
    outline = Outline(text)
    assert outline.open == []
    assert len(outline.tags("script")) == len(outline.tags("style")) == len(outline.tags("b")) + 1
    assert not [n for _, found in outline.elements for n in found if n.startswith("on")]
    assert outline.text.count(plain(name)) >= 15
    assert all(c == "\n" or c.isprintable() for c in text)


def test_what_is_wrong_with_a_folder_is_named_and_the_rest_reported(tmp_path, catalog):
    good = write_run(tmp_path / "a", make_spec("maml"))
    torn = write_run(tmp_path / "b", make_spec("reptile"))
    lines = (torn / "episodes.jsonl").read_text()
    (torn / "episodes.jsonl").write_text(lines[:-20])
    missing = write_run(tmp_path / "c", make_spec("mnas"))
    (missing / "run.json").unlink()
    newer = write_run(tmp_path / "d", make_spec("hsml"))
    raw = json.loads((newer / "run.json").read_text())
    (newer / "run.json").write_text(json.dumps({**raw, "schema_number": SCHEMA + 1}))
    other = make_spec("bmaml").model_copy(update={"data_fingerprint": "fedcba9876543210"})
    write_run(tmp_path / "e", other)
    text = Outline(html(tmp_path, catalog)).text
    for path in (torn, missing, newer):
        assert str(path) in text
    assert str(good) not in text
    assert "this metabench reads schemas up to" in text
    assert "run.json is missing" in text
    assert "data fingerprint fedcba9876543210 or 0123456789abcdef" in text
    assert "50.00 ± 0.00" in text


def test_an_unfinished_folder_gives_a_page_with_its_problems(tmp_path, catalog):
    write_run(tmp_path, make_spec(), status="running")
    text = Outline(html(tmp_path, catalog)).text
    assert "No run in this folder is finished and readable." in text
    assert "the run is unfinished" in text
