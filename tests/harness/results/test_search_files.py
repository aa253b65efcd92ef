"""What searches found, as runs write it and as it is read back."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from result_factory import make_spec, write_run
from search_factory import A, B, write_search

from metabench.errors import DataError
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import load_catalog
from metabench.plugin.contracts.genotype import Genotype
from metabench.plugin.specs import RunEvent
from metabench.results.configurations import pool
from metabench.results.reading import read_runs
from metabench.results.search_files import (
    architectures,
    measure,
    measures_of,
    read_embeddings,
    read_genotypes,
    read_own_genotypes,
)
from metabench.results.store import RunStore
from metabench.running.loops import Control
from metabench.running.run import RunExecution

N = 40
FILES = ("episodes.jsonl", "genotypes.jsonl", "embeddings.jsonl")


def test_a_killed_search_ends_with_the_same_bytes(tmp_path: Path) -> None:
    catalog = load_catalog()
    request = RunRequest(
        learners=("mnas",),
        suite="toy-regression",
        budget="smoke",
        changes={"budget": {"meta_steps": 2, "meta_batch": 1}, "protocol": {"episodes": 26}},
    )
    (made,) = plan(request, catalog)

    def kill(event: RunEvent) -> None:
        if event.kind == "progress" and event.phase == "meta-test" and event.done >= 100:
            raise KeyboardInterrupt

    def run(out: Path, emit: Any) -> RunExecution:
        control = Control(emit=emit, stopped=lambda: False)
        return RunExecution(made, catalog, out=out, device=torch.device("cpu"), control=control)

    whole, resumed = (run(tmp_path / name, lambda event: None) for name in ("whole", "cut"))
    record = whole()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", kill)()
    with (resumed.store.folder / "embeddings.jsonl").open("a") as file:
        file.write('{"embedding":[0.1')  # torn in the middle of a line
    assert resumed().measures == record.measures
    for name in FILES:
        there, again = (one.store.folder / name for one in (whole, resumed))
        assert there.read_bytes() == again.read_bytes()
    assert record.measures.keys() >= {"genotypes", "embedding_probe", "embedding_silhouette"}
    assert record.measures["embeddings"] == 104
    assert record.provenance.peak_memory_mib is not None
    assert record.provenance.peak_memory_mib > 50
    (read,) = read_runs(whole.store.folder).runs
    assert read.record == record
    assert measure(read.folder, read.episodes) == record.measures
    digits = {len(str(abs(v)).partition("e")[0].replace(".", "").lstrip("0").rstrip("0"))
              for line in (read.folder / "embeddings.jsonl").read_text().splitlines()
              for v in json.loads(line)["embedding"]}  # fmt: skip
    assert max(digits) == 4


def test_an_embedding_is_written_once_and_torn_or_infinite_ones_are_no_harm(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.append_embeddings(0, [[1.0, 2.0], [3.0, 4.0]])
    store.append_embeddings(0, [[9.0, 9.0], [9.0, 9.0], [5.0, None]])
    lines = [json.loads(x) for x in (tmp_path / "embeddings.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert [line["embedding"] for line in lines] == [[1.0, 2.0], [3.0, 4.0], [5.0, None]]
    folder = write_search(tmp_path, [A] * N)
    (tmp_path / "embeddings.jsonl").rename(folder / "embeddings.jsonl")
    (run,) = read_runs(folder).runs
    found = read_embeddings(folder, run.episodes)
    assert found is not None
    assert found.x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert found.sources == ("bird", "texture")
    assert found.measures == {}


def test_older_records_are_measured_from_their_files(tmp_path: Path) -> None:
    folder = write_search(tmp_path, [A] * 30 + [B] * 10, embedded=N)
    (run,) = read_runs(folder).runs
    assert run.record.measures == {}
    found = measures_of(run)
    assert found["genotypes"] == 2
    assert found["genotype_share"] == 0.75
    assert found["embedding_probe"] > 0.9
    raw = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**raw, "measures": {"genotypes": 7.0}}))
    (run,) = read_runs(folder).runs
    assert measures_of(run) == {"genotypes": 7.0}


def test_an_architecture_per_episode_or_no_measure(tmp_path: Path) -> None:
    folder = write_search(tmp_path, [A] * N)
    path = folder / "genotypes.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    (run,) = read_runs(folder).runs
    assert measures_of(run) == {}
    path.write_text('{"index": 0, "genotype": 3}\n')
    with pytest.raises(DataError, match="a line that is not a valid genotype"):
        measures_of(run)


def test_the_share_of_tasks_whose_own_architecture_was_trained(tmp_path: Path) -> None:
    folder = write_search(tmp_path, [A] * N, learner="tnas", own=[A] * 30 + [B] * 10)
    (run,) = read_runs(folder).runs
    assert measures_of(run)["own_genotype_trained"] == 0.75
    assert Counter(read_own_genotypes(folder).values())[Genotype.from_json(B)] == 10
    # Architectures are counted by what predicts, and a line without its own has no measure.
    assert measures_of(run)["genotypes"] == 1
    path = folder / "genotypes.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    del lines[3]["own"]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert "own_genotype_trained" not in measures_of(run)
    lines[3]["own"] = 3
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(DataError, match="a line that is not a valid genotype"):
        measures_of(run)


def test_architectures_are_counted_over_seeds_and_by_source(tmp_path: Path) -> None:
    write_search(tmp_path, [A, B, A, A] * 5, seed=0)
    write_search(tmp_path, [B, B, A, A] * 5, seed=1)
    first, second = architectures(pool(read_runs(tmp_path).runs))
    assert first.genotype == Genotype.from_json(A)
    assert (first.count, second.count) == (25, 15)
    assert first.by_source == {"bird": 15, "texture": 10}
    assert (first.n_params, second.n_params) == ((10, 10), (7, 7))


def test_a_run_without_a_search_has_no_measures(tmp_path: Path) -> None:
    folder = write_run(tmp_path, make_spec())
    (run,) = read_runs(folder).runs
    assert measures_of(run) == {}
    assert read_genotypes(folder) == {}
