"""A finished run whose scores were edited is tested again by its own command."""

from __future__ import annotations

from pathlib import Path

import pytest
from result_factory import edit_json, with_score
from test_loops import Killed, kill_at, planned, run

from metabench.planning.plan import PlannedRun
from metabench.plugin.catalog import Catalog
from metabench.plugin.specs import RunEvent
from metabench.results.schema import RunRecord
from metabench.results.store import RunStore

pytestmark = pytest.mark.slow  # they make runs

FILES = ("episodes.jsonl", "evaluations/extrapolation.jsonl", "genotypes.jsonl")


def again(one: PlannedRun, catalog: Catalog, out: Path) -> tuple[RunRecord, RunStore, list[str]]:
    events: list[RunEvent] = []
    execution = run(one, catalog, out, emit=events.append)
    record = execution()
    return record, execution.store, [event.text for event in events if event.kind == "message"]


def test_the_same_command_gives_the_former_bytes(catalog: Catalog, tmp_path: Path) -> None:
    sizes = {"budget": {"meta_steps": 2, "meta_batch": 2}, "protocol": {"episodes": 8}}
    one = planned(catalog, "tnas", space={"width": 4}, **sizes)
    first, store, _ = again(one, catalog, tmp_path)
    assert first.digests == store.digests()
    assert {*FILES, "metrics.jsonl"} <= {*first.digests}
    before = {name: (store.folder / name).read_bytes() for name in FILES}
    for name in FILES:
        with_score(store.folder, 0.125, file=name)
        record, _, said = again(one, catalog, tmp_path)
        assert {file: (store.folder / file).read_bytes() for file in FILES} == before
        assert record.digests == first.digests
        if not name.startswith("evaluations"):
            assert f"({name} was changed since the run wrote it" in said[0]
            assert "its meta-test is repeated" in said[0]
    assert again(one, catalog, tmp_path)[2] == []


def test_a_kill_before_the_digest_of_an_evaluation_does_not_lose_it(
    catalog: Catalog, tmp_path: Path
) -> None:
    sizes = {"budget": {"meta_steps": 2, "meta_batch": 2}, "protocol": {"episodes": 2}}
    one = planned(catalog, **sizes)
    with pytest.raises(Killed):
        run(one, catalog, tmp_path, emit=kill_at("extrapolation", 8))()
    record, store, said = again(one, catalog, tmp_path)
    assert said == []
    assert "evaluations/extrapolation.jsonl" in record.digests
    assert record.digests == store.digests()


def test_an_older_record_gets_no_digests(catalog: Catalog, tmp_path: Path) -> None:
    sizes = {"budget": {"meta_steps": 2, "meta_batch": 2}, "protocol": {"episodes": 2}}
    one = planned(catalog, **sizes)
    _, store, _ = again(one, catalog, tmp_path)
    edit_json(store.folder / "run.json", digests={})
    (store.folder / "evaluations" / "extrapolation.jsonl").unlink()
    record, _, _ = again(one, catalog, tmp_path)
    assert (store.folder / "evaluations" / "extrapolation.jsonl").exists()
    assert record.digests == {}
