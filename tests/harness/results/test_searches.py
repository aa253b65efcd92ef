"""Searches of a folder put together, and as the command prints them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from result_factory import edit_json, make_spec, write_run
from search_factory import A, B, write_search
from typer.testing import CliRunner

from metabench.cli import app
from metabench.plugin.contracts.genotype import Edge, Genotype
from metabench.render.searches_text import searches_text
from metabench.results.configurations import pool
from metabench.results.reading import read_runs
from metabench.results.searches import Cost, SizeRange, agreement, equal_edges, find_searches


def test_agreement_of_seeds(tmp_path: Path) -> None:
    for seed, genotypes in enumerate(([A] * 4, [A, A, A, B], [B] * 4)):
        write_search(tmp_path, genotypes, seed=seed)
    runs = read_runs(tmp_path).runs
    found = agreement(pool(runs))
    assert found is not None
    assert found.same == pytest.approx(2 / 3)
    assert found.equal_edges == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert agreement(pool(runs[:1])) is None


def test_equal_edges_mind_the_operation_and_the_cell() -> None:
    one = Genotype.of({"normal": [Edge(0, 2, "skip")], "reduction": [Edge(0, 2, "skip")]})
    other = Genotype.of({"normal": [Edge(0, 2, "skip")], "reduction": [Edge(0, 2, "pool")]})
    assert equal_edges(one, one) == 1.0
    assert equal_edges(one, other) == 0.5
    assert equal_edges(one, Genotype.of({"normal": [Edge(0, 2, "skip")]})) == 0.5


def test_what_a_search_found_and_what_it_took(tmp_path: Path) -> None:
    for seed, genotypes in enumerate(([A] * 30 + [B] * 10, [B] * 40)):
        folder = write_search(tmp_path, genotypes, seed=seed, embedded=40)
        record = json.loads((folder / "run.json").read_text())
        made_with = {**record["provenance"], "peak_memory_mib": 100.0 * (seed + 1)}
        edit_json(folder / "run.json", train_seconds=10.0 + seed, provenance=made_with)
    write_run(tmp_path, make_spec("maml"))
    ((label, found),) = find_searches(read_runs(tmp_path)).items()
    assert (label, found.seeds) == ("mnas", (0, 1))
    assert found.cost == Cost(10, 4, 10.5, 200.0)
    assert found.n_params == SizeRange(pytest.approx(8.125), 7, 10)  # type: ignore[arg-type]
    assert [one.count for one in found.architectures] == [50, 30]
    assert [measures["genotypes"] for measures in found.measures] == [2, 1]
    assert found.agreement is not None


def test_the_command_prints_architectures_agreement_and_cost(tmp_path: Path) -> None:
    for seed, genotypes in enumerate(([A] * 30 + [B] * 10, [B] * 40)):
        write_search(tmp_path, genotypes, seed=seed, embedded=40)
    done = CliRunner().invoke(app, ["genotypes", str(tmp_path), "--top", "1"])
    assert done.exit_code == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[0] == "mnas: multidataset@5w1s, budget lite, seeds 0, 1"
    assert lines[1] == "cost: 10 meta-steps with 4 tasks each"
    assert lines[2].startswith("task embeddings of seed 0: silhouette 0.")
    assert lines[4] == (
        "2 architectures in 80 tasks with 8 weights on average (7 to 10); each of the 2 seeds has "
        "a different most common architecture, and the most common architectures of two seeds "
        "share 50 % of their edges on average"
    )
    assert lines[5].split() == ["tasks", "share", "weights", "cell", "edges"]
    assert lines[6].split(maxsplit=5) == ["50", "62.5", "%", "7", "cell", "0-2 skip, 1-2 skip"]
    assert lines[8].startswith("Silhouette: near 1 if")
    assert len(lines) == 11


def test_architectures_that_each_task_has_of_its_own_are_not_called_common(tmp_path: Path) -> None:
    others = [{"cell": [[0, 2, name], [1, 2, "linear"]]} for name in ("a", "b")]
    write_search(tmp_path, [A, B], seed=0)
    write_search(tmp_path, others, seed=1)
    done = CliRunner().invoke(app, ["genotypes", str(tmp_path)])
    said = " ".join(done.stdout.split())
    assert "; each task has its own, and the first are shown" in said
    assert "most common" not in said


def test_json_holds_every_number(tmp_path: Path) -> None:
    write_search(tmp_path, [A] * 3 + [B])
    done = CliRunner().invoke(app, ["genotypes", str(tmp_path), "--json"])
    (found,) = json.loads(done.stdout)["searches"]
    assert [one["genotype"] for one in found["architectures"]] == [A, B]
    assert found["architectures"][0]["by_source"] == {"bird": 2, "texture": 1}
    assert found["measures"] == [{"genotypes": 2.0, "genotype_share": 0.75}]
    assert (found["agreement"], found["n_tasks"]) == (None, 4)


def test_without_a_search_there_is_nothing_to_print(tmp_path: Path) -> None:
    write_run(tmp_path, make_spec())
    done = CliRunner().invoke(app, ["genotypes", str(tmp_path)])
    assert done.exit_code == 3
    assert "holds architectures or task embeddings" in done.output


def test_the_command_prints_for_how_many_tasks_their_own_architecture_was_trained(
    tmp_path: Path,
) -> None:
    for seed, own in enumerate(([A] * 8, [A, A, A, B] * 2)):
        write_search(tmp_path, [A] * 8, learner="tnas", seed=seed, own=own)
    done = CliRunner().invoke(app, ["genotypes", str(tmp_path)])
    assert done.exit_code == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    said = "own architecture trained: {} of the tasks of seed {}"
    assert said.format("100.0 %", 0) in lines
    assert said.format("75.0 %", 1) + "; the others have the nearest trained one" in lines
    printed = json.loads(CliRunner().invoke(app, ["genotypes", str(tmp_path), "--json"]).stdout)
    shares = [one["own_genotype_trained"] for one in printed["searches"][0]["measures"]]
    assert shares == [1.0, 0.75]


def test_seeds_without_architectures_do_not_agree_with_others(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_search(tmp_path, [A] * 4, seed=seed)
    (write_search(tmp_path, [A] * 4, seed=2) / "genotypes.jsonl").unlink()
    text = searches_text(find_searches(read_runs(tmp_path)), top=1)
    assert "2 of the 2 seeds have the same most common architecture" in text
