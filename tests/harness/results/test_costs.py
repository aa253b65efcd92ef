"""What a run costs follows from the costs of its parts and from how many it has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.results.cache import Cache
from metabench.results.costs import Costs, KnownCosts, Stretch, costs_of_records, machine
from metabench.results.schema import Provenance, RunRecord


def planned(catalog: Catalog, budget: str = "smoke", **others: object) -> PlannedRun:
    request = RunRequest(learners=("maml",), suite="toy-regression", budget=budget, **others)  # type: ignore[misc]
    (run,) = plan(request, catalog)
    return run


SEARCH = Costs(
    stretches=(
        Stretch(start=0, stop=0.5, step_seconds=0.3, validates=False),
        Stretch(start=0.5, stop=1, step_seconds=0.1),
    ),
    val_seconds=0.01,
    test_seconds=0.02,
    setup_seconds=1,
    checkpoint_bytes=1000,
    episode_bytes=10,
)


def test_time_is_that_of_steps_validations_and_episodes(catalog: Catalog) -> None:
    spec = planned(catalog).spec
    assert (spec.training.meta_steps, spec.protocol.episodes, spec.protocol.val_episodes) == (
        *(500, 100, 25),
    )
    # 500 steps, validated every 25 from the middle on, on 25 episodes of four sources.
    training = 250 * 0.3 + 250 * 0.1 + 10 * 25 * 4 * 0.01
    assert SEARCH.train_seconds(spec) == pytest.approx(training)
    assert SEARCH.seconds(spec) == pytest.approx(1 + training + 400 * 0.02)
    assert SEARCH.disk_bytes(spec) == pytest.approx(2 * 1000 + 400 * 10)


def test_weights_that_are_tested_together_cost_as_many_tests_and_states(catalog: Catalog) -> None:
    spec = planned(catalog).spec
    three = spec.model_copy(update={"training": spec.training.model_copy(update={"ensemble": 3})})
    assert SEARCH.seconds(three) - SEARCH.seconds(spec) == pytest.approx(2 * 400 * 0.02)
    assert SEARCH.disk_bytes(three) - SEARCH.disk_bytes(spec) == pytest.approx(2 * 1000)


def test_without_selection_nothing_is_validated_and_no_best_state_kept(catalog: Catalog) -> None:
    spec = planned(catalog, changes={"protocol": {"selection": "last"}}).spec
    assert SEARCH.train_seconds(spec) == pytest.approx(250 * 0.3 + 250 * 0.1)
    assert SEARCH.disk_bytes(spec) == pytest.approx(1000 + 400 * 10)


def test_what_is_done_costs_nothing_more(catalog: Catalog) -> None:
    spec = planned(catalog).spec
    half = 250 * 0.1 + 10 * 25 * 4 * 0.01
    assert SEARCH.train_seconds(spec, done=250) == pytest.approx(half)
    assert SEARCH.seconds(spec, steps=500, episodes=390) == pytest.approx(1 + 10 * 0.02)


def test_costs_are_known_for_all_lengths_of_a_configuration(
    catalog: Catalog, tmp_path: Path
) -> None:
    cache = Cache(tmp_path)
    known = KnownCosts(device="cpu", engine="eager", threads=1, cache=cache)
    known.put(planned(catalog).spec, SEARCH)
    assert known.get(planned(catalog, "paper", seeds=(7,)).spec) == SEARCH
    for others in ({"strategy": None, "space": "mlp", "changes": {"space": {"width": 7}}},):
        assert known.get(planned(catalog, **others).spec) is None
    elsewhere = KnownCosts(device="cuda", engine="eager", threads=1, cache=cache)
    assert elsewhere.get(planned(catalog).spec) is None


def record(run: PlannedRun) -> RunRecord:
    made_with = Provenance(
        command=run.command,
        started="2026-01-01T00:00:00+00:00",
        device="cpu",
        threads=1,
        python="3",
        platform="",
        packages={},
        git="",
        peak_memory_mib=300,
    )
    spec = run.spec
    return RunRecord(run_id=spec.run_id, spec=spec, status="done", provenance=made_with)


def write(folder: Path, notes: list[dict[str, object]]) -> None:
    folder.mkdir()
    text = "".join(f"{json.dumps(note)}\n" for note in notes)
    (folder / "timings.jsonl").write_text(text)


def test_runs_that_this_machine_timed_tell_the_costs(catalog: Catalog, tmp_path: Path) -> None:
    run = planned(catalog)
    ours = {"machine": machine()}
    train = {"phase": "meta-train", "count": 250, "seconds": 50, "cpu_seconds": 25}
    test = {"phase": "meta-test", "count": 400, "seconds": 8, "cpu_seconds": 4}
    beside = {"phase": "extrapolation", "count": 400, "seconds": 4, "cpu_seconds": 4}
    write(tmp_path / "ours", [train | ours, train | ours, test | ours, beside | ours])
    write(tmp_path / "theirs", [train | {"machine": "0" * 16}, train, test])
    runs = {folder: record(run) for folder in (tmp_path / "ours", tmp_path / "theirs")}
    costs = costs_of_records(runs, device="cpu")
    assert costs is not None
    # What other programs took of the time is left out.
    assert costs.train_seconds(run.spec) == pytest.approx(50)
    assert costs.test_seconds == pytest.approx(8 / 400)
    assert (costs.origin, costs.memory_mib) == ("records", 300)
    assert costs_of_records({tmp_path / "theirs": record(run)}, device="cpu") is None
    write(tmp_path / "only tested", [test | ours])
    assert costs_of_records({tmp_path / "only tested": record(run)}, device="cpu") is None
    by_wall = costs_of_records(runs, device="cuda")
    assert by_wall is not None
    assert by_wall.train_seconds(run.spec) == pytest.approx(100)
