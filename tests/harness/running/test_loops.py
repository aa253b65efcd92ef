"""The two loops: same bytes however often a run is cut, and honest ends."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from metabench.conformance.purity import fake_accelerator
from metabench.errors import DataError, DivergedError
from metabench.planning.networks import build_space
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.episode import Adapted, Labelled, TaskBatch, TaskShape
from metabench.plugin.contracts.learner import SKIPPED
from metabench.plugin.contracts.space import CanonicalSpace
from metabench.plugin.specs import RunEvent
from metabench.results.reading import read_runs
from metabench.results.schema import EpisodeRecord, RunRecord
from metabench.results.search_files import read_genotypes
from metabench.results.store import Elsewhere
from metabench.running import checkpoint
from metabench.running.loops import Control, Interrupted, _means
from metabench.running.run import RunExecution
from metabench_plugins.learners.maml import Maml

CPU = torch.device("cpu")


def planned(catalog: Catalog, name: str = "maml", /, **changes: dict[str, object]) -> PlannedRun:
    changes.setdefault("budget", {"meta_steps": 40, "meta_batch": 3})
    changes.setdefault("protocol", {"episodes": 60, "selection": "last"})
    changes.setdefault("space", {"width": 8, "hidden": 2})
    request = RunRequest(learners=(name,), suite="toy-regression", budget="smoke", changes=changes)
    return plan(request, catalog)[0]


def never() -> bool:
    return False


def quiet(event: RunEvent) -> None:
    pass


def run(
    made: PlannedRun,
    catalog: Catalog,
    out: Path,
    *,
    emit: Callable[[RunEvent], None] = quiet,
    stopped: Callable[[], bool] = never,
) -> RunExecution:
    control = Control(emit=emit, stopped=stopped, checkpoint_seconds=0.0)
    return RunExecution(made, catalog, out=out, device=CPU, control=control)


def test_records_hold_canonical_genotypes(catalog: Catalog, tmp_path: Path) -> None:
    """Nodes 0 and 1 of the toy cell are one tensor: where there is one edge, it leaves node 0."""
    request = RunRequest(
        learners=("random-search-maml",), suite="toy-regression", budget="smoke",
        settings=("10-shot",), space="toy-cell", strategy="random",
        changes={"budget": {"meta_steps": 2, "meta_batch": 2}, "protocol": {"episodes": 8}},
    )  # fmt: skip
    made = plan(request, catalog)[0]
    run(made, catalog, tmp_path)()
    (found,) = read_runs(tmp_path).runs
    genotypes = read_genotypes(found.folder)
    space = build_space(made.spec.space, TaskShape("regression", (1,), 1), catalog)
    assert isinstance(space, CanonicalSpace)
    assert len(set(genotypes.values())) > 1
    assert all(space.canonical(genotype) == genotype for genotype in genotypes.values())
    assert found.record.measures["genotypes"] == len(set(genotypes.values()))


class Killed(BaseException):
    """Stands for a SIGKILL: nothing gets a chance to save."""


def kill_at(phase: str, done: int) -> Callable[[RunEvent], None]:
    def emit(event: RunEvent) -> None:
        if event.kind == "progress" and event.phase == phase and event.done >= done:
            raise Killed

    return emit


def test_records_hold_what_was_run(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog)
    whole = run(made, catalog, tmp_path)
    record = whole()
    folder = tmp_path / "toy-regression@10-shot" / "maml" / made.spec.run_id
    assert whole.store.folder == folder
    assert RunRecord.model_validate_json((folder / "run.json").read_text()) == record
    assert record.status == "done"
    assert record.n_params == 1 * 8 + 8 + 8 * 8 + 8 + 8 + 1
    assert record.selected_step == 40
    assert checkpoint.load(whole.store.weights)[checkpoint.TRAINING_ID] == record.training_id
    assert record.steps_at_test == made.spec.protocol.steps_at_test
    assert not record.transductive
    assert record.data["line"]["dataset"].startswith("toy-regression(center=4.0, family=line")
    assert len({data["fingerprint"] for data in record.data.values()}) == 4
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    episodes = [EpisodeRecord.model_validate_json(line) for line in lines]
    assert [e.index for e in episodes] == list(range(240))
    assert {e.source for e in episodes} == {"sine", "line", "quadratic", "harmonics"}
    assert len({e.key for e in episodes}) == 240
    for episode in episodes:
        assert episode.curve is not None
        assert len(episode.curve) == 11
        assert episode.curve[5] == episode.score
    metrics = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [m["step"] for m in metrics] == list(range(1, 41))


@pytest.mark.parametrize(
    ("learner", "changes", "steps"),
    [
        ("reptile", {"learner": {"test_steps": 7}}, 7),
        ("metanas", {"learner": {"test_steps": 7, "test_steps_arch": 4}, "space": {}}, 11),
    ],
)
def test_a_record_holds_the_steps_that_the_learner_takes_at_test(
    catalog: Catalog, tmp_path: Path, learner: str, changes: dict[str, object], steps: int
) -> None:
    space = {"space": "toy-cell", "strategy": "soft-pruning"} if learner == "metanas" else {}
    request = RunRequest(
        learners=(learner,),
        suite="toy-regression",
        budget="smoke",
        limit=1,
        changes={"budget": {"meta_steps": 1, "meta_batch": 1}, **changes},
        **space,
    )
    (made,) = plan(request, catalog)
    record = run(made, catalog, tmp_path)()
    assert record.steps_at_test == steps != made.spec.protocol.steps_at_test


def test_the_same_run_twice_gives_the_same_bytes(catalog: Catalog, tmp_path: Path) -> None:
    for learner in ("maml", "reptile"):
        made = planned(catalog, learner)
        texts = []
        for name in "ab":
            once = run(made, catalog, tmp_path / name)
            once()
            texts.append((once.store.folder / "episodes.jsonl").read_bytes())
        assert texts[0] == texts[1]


SELECTING: dict[str, object] = {"episodes": 60, "selection": "meta-val"}


@pytest.fixture(scope="module")
def undisturbed(
    catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Makes the run of a learner that nothing cuts, once, and gives its folder."""
    out = tmp_path_factory.mktemp("undisturbed")

    @cache
    def made_by(learner: str) -> Path:
        whole = run(planned(catalog, learner, protocol=SELECTING), catalog, out)
        whole()
        return whole.store.folder

    return made_by


@pytest.mark.parametrize("learner", ["maml", "reptile"])
@pytest.mark.parametrize(
    ("phase", "done"), [("meta-train", 1), ("meta-train", 17), ("meta-test", 100)]
)
def test_a_killed_run_ends_with_the_same_bytes(
    catalog: Catalog,
    tmp_path: Path,
    undisturbed: Callable[[str], Path],
    learner: str,
    phase: str,
    done: int,
) -> None:
    made, whole = planned(catalog, learner, protocol=SELECTING), undisturbed(learner)
    with pytest.raises(Killed):
        run(made, catalog, tmp_path / "cut", emit=kill_at(phase, done))()
    resumed = run(made, catalog, tmp_path / "cut")
    episodes = resumed.store.folder / "episodes.jsonl"
    if phase == "meta-test":  # torn within a chunk, in the middle of a line
        lines = episodes.read_text().splitlines(keepends=True)
        episodes.write_text("".join([*lines[:50], lines[50][:20]]))
    record = resumed()
    assert episodes.read_bytes() == (whole / "episodes.jsonl").read_bytes()
    assert (resumed.store.folder / "metrics.jsonl").read_bytes() == (
        whole / "metrics.jsonl"
    ).read_bytes()
    assert record.status == "done"


def test_a_kill_after_the_last_episode_loses_nothing_of_the_record(
    catalog: Catalog, tmp_path: Path
) -> None:
    made = planned(
        catalog,
        budget={"meta_steps": 1, "meta_batch": 1},
        protocol={"episodes": 1, "selection": "last"},
    )
    with pytest.raises(Killed):
        run(made, catalog, tmp_path / "cut", emit=kill_at("meta-test", 4))()
    records = [run(made, catalog, tmp_path / name)() for name in ("cut", "whole")]
    assert records[0].provenance.test_engine == records[1].provenance.test_engine == ("eager",)


def test_stopping_saves_and_the_next_start_goes_on(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog)
    asked = iter([False] * 10 + [True])
    stopped = run(made, catalog, tmp_path, stopped=lambda: next(asked))
    with pytest.raises(Interrupted):
        stopped()
    record = stopped.store.read_record()
    assert record is not None
    assert record.status == "interrupted"
    assert checkpoint.load(stopped.store.checkpoint)["step"] == 11
    events: list[RunEvent] = []
    run(made, catalog, tmp_path, emit=events.append)()
    assert min(event.done for event in events if event.kind == "progress") == 12


@pytest.mark.parametrize("learner", ["maml", "reptile"])
def test_a_stop_between_two_points_of_the_curve_changes_no_byte(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learner: str
) -> None:
    monkeypatch.setattr("metabench.running.loops.LOG_POINTS", 2)
    made = planned(catalog, learner, budget={"meta_steps": 8, "meta_batch": 2})
    asked = iter([False] * 5 + [True])  # two steps after the first point
    cut = run(made, catalog, tmp_path / "cut", stopped=lambda: next(asked))
    with pytest.raises(Interrupted):
        cut()
    assert checkpoint.load(cut.store.checkpoint)["step"] == 6
    run(made, catalog, tmp_path / "cut")()
    whole = run(made, catalog, tmp_path / "whole")
    whole()
    for name in ("episodes.jsonl", "metrics.jsonl", "checkpoints/weights.safetensors"):
        assert (cut.store.folder / name).read_bytes() == (whole.store.folder / name).read_bytes()


@pytest.mark.parametrize("stop_at", [2, 3, 5])
def test_a_stop_within_meta_validation_loses_no_step(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    monkeypatch.setattr("metabench.running.loops.TEST_ELEMENTS", 10 * 20)  # ten episodes at once
    changes = {
        "budget": {"meta_steps": 6, "meta_batch": 2, "val_every": 1},
        "protocol": {"episodes": 5, "val_episodes": 6, "selection": "meta-val"},
    }
    made = planned(catalog, **changes)
    # A meta-validation asks after each of its three batches, and then the step does.
    asked = iter([False] * (stop_at - 1) + [True])
    cut = run(made, catalog, tmp_path / "cut", stopped=lambda: next(asked))
    with pytest.raises(Interrupted):
        cut()
    assert checkpoint.load(cut.store.checkpoint)["step"] == 1 + (stop_at > 4)
    run(made, catalog, tmp_path / "cut")()
    whole = run(made, catalog, tmp_path / "whole")
    whole()
    for name in ("episodes.jsonl", "metrics.jsonl", "checkpoints/weights.safetensors"):
        assert (cut.store.folder / name).read_bytes() == (whole.store.folder / name).read_bytes()


def test_a_kill_after_a_meta_validation_that_was_made_up_for_repeats_no_point(
    catalog: Catalog, tmp_path: Path
) -> None:
    changes = {
        "budget": {"meta_steps": 6, "meta_batch": 2, "val_every": 2},
        "protocol": {"episodes": 5, "val_episodes": 6, "selection": "meta-val"},
    }
    made = planned(catalog, **changes)
    asked = iter([False, True])  # within the meta-validation after step 2
    with pytest.raises(Interrupted):
        run(made, catalog, tmp_path / "cut", stopped=lambda: next(asked))()
    with pytest.raises(Killed):  # once its score is written, and before any step is saved
        run(made, catalog, tmp_path / "cut", emit=kill_at("meta-val", 2))()
    cut, whole = (run(made, catalog, tmp_path / name) for name in ("cut", "whole"))
    cut()
    whole()
    for name in ("episodes.jsonl", "metrics.jsonl", "checkpoints/weights.safetensors"):
        assert (cut.store.folder / name).read_bytes() == (whole.store.folder / name).read_bytes()


@pytest.mark.parametrize("damaged", [True, False])
def test_episodes_of_weights_that_are_gone_are_tested_again(
    catalog: Catalog, tmp_path: Path, damaged: bool
) -> None:
    """Other code may have trained them; then the file would hold scores of two trainings."""
    made = planned(catalog, protocol={"episodes": 60, "selection": "last"})
    with pytest.raises(Killed):
        run(made, catalog, tmp_path / "cut", emit=kill_at("meta-test", 100))()
    cut, whole = (run(made, catalog, tmp_path / name) for name in ("cut", "whole"))
    path = cut.store.episodes_of()
    first, *others = path.read_text().splitlines(keepends=True)
    other_code = json.dumps({**json.loads(first), "score": 123.0})
    path.write_text("".join([f"{other_code}\n", *others]))
    if damaged:
        cut.store.weights.write_bytes(b"nothing")
    else:
        cut.store.weights.unlink()
    cut()
    whole()
    for name in ("episodes.jsonl", "evaluations/extrapolation.jsonl", "fits.jsonl"):
        assert (cut.store.folder / name).read_bytes() == (whole.store.folder / name).read_bytes()


def test_the_record_says_why_a_run_was_interrupted(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog)
    control = Control(emit=quiet, stopped=lambda: True, why=lambda: "time limit")
    cut = RunExecution(made, catalog, out=tmp_path, device=CPU, control=control)
    with pytest.raises(Interrupted):
        cut()
    record = cut.store.read_record()
    assert record is not None
    assert (record.status, record.error) == ("interrupted", "time limit")
    assert run(made, catalog, tmp_path)().error == ""


def test_the_recorded_command_names_a_folder_with_a_space(catalog: Catalog, tmp_path: Path) -> None:
    record = run(planned(catalog), catalog, tmp_path / "V S")()
    words = shlex.split(record.provenance.command)
    assert words[words.index("--out") :] == ["--out", str(tmp_path / "V S")]


def test_the_record_holds_what_the_user_set_and_the_command_gives_the_same(
    catalog: Catalog, tmp_path: Path
) -> None:
    made = planned(catalog, learner={"inner_lr": 1e-3, "order": "first"})
    record = run(made, catalog, tmp_path)()
    assert record.provenance.changes == made.changes
    older = record.provenance.model_copy(update={"changes": None})
    assert older.user_changes() == made.changes


def test_a_finished_run_is_not_run_again(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog)
    first = run(made, catalog, tmp_path)()
    events: list[RunEvent] = []
    assert run(made, catalog, tmp_path, emit=events.append)() == first
    assert [(e.kind, e.text) for e in events] == [("run-done", "was done already")]


def test_a_finished_run_tells_of_other_code(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog)
    execution = run(made, catalog, tmp_path)
    record = execution()
    before = record.provenance
    assert before.code["learner maml"] == catalog.origin("learner", "maml").code
    other = before.model_copy(update={"code": {**before.code, "learner maml": "mine 1 aa"}})
    execution.store.write_record(record.model_copy(update={"provenance": other}))
    events: list[RunEvent] = []
    run(made, catalog, tmp_path, emit=events.append)()
    assert [e.text for e in events] == ["was done already by other code of learner maml"]


def test_a_diverging_run_keeps_its_last_good_checkpoint(catalog: Catalog, tmp_path: Path) -> None:
    rates = {"outer_lr": 1.0, "inner_lr": 100.0, "inner_clip": None}
    made = planned(catalog, learner=rates)
    bad = run(made, catalog, tmp_path)
    with pytest.raises(DivergedError, match=r"diverged: \d+ meta-steps in a row") as caught:
        bad()
    record = bad.store.read_record()
    assert record is not None
    assert record.status == "failed"
    assert "diverged" in record.error
    assert str(bad.store.checkpoint) in caught.value.hint
    weights = checkpoint.load(bad.store.checkpoint)["learner"]["weights"]
    assert all(weight.isfinite().all() for weight in weights.values())
    assert not (bad.store.folder / "episodes.jsonl").exists()


@pytest.mark.parametrize("stop_at", [None, 7])
def test_no_state_is_saved_before_the_losses_up_to_it_are_known(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int | None
) -> None:
    monkeypatch.setattr("metabench.running.loops.LOG_POINTS", 2)  # of 8 steps: 4 and 8
    original, steps, good = Maml.meta_step, [], {}

    def not_finite_at_six(self: Maml, tasks: TaskBatch, **given: Any) -> dict[str, Any]:
        logged = dict(original(self, tasks, **given))
        steps.append(given["progress"])
        if len(steps) == 4:
            good.update({name: w.detach().clone() for name, w in self.outer.weights.items()})
        return logged | ({"loss": torch.tensor(math.nan)} if len(steps) == 6 else {})

    monkeypatch.setattr(Maml, "meta_step", not_finite_at_six)
    made = planned(catalog, budget={"meta_steps": 8, "meta_batch": 2})
    bad = run(made, catalog, tmp_path, stopped=lambda: len(steps) == stop_at)
    with pytest.raises(DivergedError, match=f"loss is nan at meta-step {stop_at or 8}"):
        bad()
    kept = checkpoint.load(bad.store.checkpoint)
    assert kept["step"] == 4
    assert kept["learner"]["weights"].keys() == good.keys()
    assert all(torch.equal(kept["learner"]["weights"][name], w) for name, w in good.items())


def test_a_loss_that_is_not_finite_ends_a_run_without_a_guard(
    catalog: Catalog, tmp_path: Path
) -> None:
    rates = {"outer_lr": 1.0, "inner_lr": 50.0, "inner_clip": None, "skip_above": None}
    with pytest.raises(DivergedError, match=r"diverged: loss is (nan|inf) at meta-step"):
        run(planned(catalog, learner=rates), catalog, tmp_path)()


@pytest.mark.parametrize("suite", ["toy-regression", "omniglot"])
@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("last", "meta-test episode 1 is nan."),
        ("meta-val", "meta-val episode 1 is nan at meta-step 1."),
    ],
)
def test_outputs_that_are_no_numbers_end_a_run_and_the_episode_is_named(
    catalog: Catalog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suite: str,
    selection: str,
    said: str,
) -> None:
    """The class of the largest output would be the first one, which is right in many episodes."""
    adapt = Maml.adapt

    def no_number(self: Maml, support: Labelled, *, rng: torch.Generator) -> Adapted:
        right = adapt(self, support, rng=rng).predict

        def predict(x: torch.Tensor) -> torch.Tensor:
            outputs = right(x).clone()
            outputs[1, 2, 0] = torch.nan  # of the second episode, and one example of it
            return outputs

        return Adapted(predict=predict)

    monkeypatch.setattr(Maml, "adapt", no_number)
    protocol = {"episodes": 4, "val_episodes": 4, "selection": selection, "curve_steps": 0}
    request = RunRequest(
        learners=("maml",),
        suite=suite,
        budget="smoke",
        data="synthetic",
        changes={"budget": {"meta_steps": 1, "meta_batch": 1}, "protocol": protocol},
    )
    (made,) = plan(request, catalog)
    failing = run(made, catalog, tmp_path)
    with pytest.raises(DivergedError) as caught:
        failing()
    assert caught.value.message.endswith(f"diverged: its {made.spec.metric} on {said}")
    assert "metabench show maml" in caught.value.hint
    record = failing.store.read_record()
    assert record is not None
    assert record.status == "failed"
    assert not (failing.store.folder / "episodes.jsonl").exists()


def test_a_score_too_large_to_compute_with_ends_a_run(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def far_off(self: Maml, support: Labelled, *, rng: torch.Generator) -> Adapted:
        return Adapted(predict=lambda x: torch.full((*x.shape[:2], 1), 1e100, dtype=torch.float64))

    monkeypatch.setattr(Maml, "adapt", far_off)
    made = planned(catalog, budget={"meta_steps": 1, "meta_batch": 1})
    with pytest.raises(DivergedError, match=r"its mse on meta-test episode 0 is 1e\+200\."):
        run(made, catalog, tmp_path)()


def test_scalars_of_a_checkpoint_join_those_of_later_steps() -> None:
    """A checkpoint is loaded to the device of the learner, with what was computed beside it."""
    with fake_accelerator() as device:
        loss = torch.tensor(3.0, device=device)
        steps = [
            {"loss": loss, "rate": loss - 1.0},
            {"loss": loss + 1.0, "rate": torch.tensor(1.0)},
        ]
        assert _means(steps) == {"loss": 3.5, "rate": 1.5}


def test_scalars_that_only_some_of_the_steps_have_are_left_out() -> None:
    """A learner may log others once it enters another phase."""
    assert _means([{"loss": 1.0, "penalty": 5.0}, {"loss": 3.0}]) == {"loss": 2.0}


def test_skipped_steps_are_counted_over_all_starts_and_left_out_of_the_loss(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, steps = Maml.meta_step, []

    def with_skips(self: Maml, tasks: TaskBatch, **given: Any) -> dict[str, Any]:
        logged = dict(original(self, tasks, **given))
        steps.append(given["progress"])
        if len(steps) in (2, 7):
            logged |= {"loss": torch.tensor(float("inf")), SKIPPED: torch.tensor(1.0)}
        return logged

    monkeypatch.setattr(Maml, "meta_step", with_skips)
    made = planned(catalog, budget={"meta_steps": 400, "meta_batch": 2})
    stopping = run(made, catalog, tmp_path, stopped=lambda: len(steps) == 5)
    with pytest.raises(Interrupted):
        stopping()
    events: list[RunEvent] = []
    record = run(made, catalog, tmp_path, emit=events.append)()
    assert record.skipped_steps == 2
    in_training = [event for event in events if event.phase == "meta-train" and event.values]
    assert in_training[-1].skipped == 2
    metrics = stopping.store.folder / "metrics.jsonl"
    points = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert all(math.isfinite(point["loss"]) for point in points)
    assert sum(point.get(SKIPPED, 0) for point in points) == 2


def test_selection_tests_the_best_weights_on_meta_val(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(
        catalog,
        learner={"outer_lr": 0.3},  # so large that later weights are worse than earlier ones
        protocol={"episodes": 5, "selection": "meta-val", "val_episodes": 20},
        budget={"meta_steps": 40, "meta_batch": 3, "val_every": 4},
    )
    selecting = run(made, catalog, tmp_path)
    record = selecting()
    metrics = selecting.store.folder / "metrics.jsonl"
    points = [json.loads(line) for line in metrics.read_text().splitlines()]
    scores = {p["step"]: p["val_score"] for p in points if "val_score" in p}
    assert list(scores) == list(range(4, 41, 4))
    assert record.selected_step == min(scores, key=lambda step: scores[step])
    assert record.selected_step != 40


def test_the_last_meta_step_is_logged_and_validated_whatever_their_rhythm(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metabench.running.loops.LOG_POINTS", 2)
    made = planned(
        catalog,
        protocol={"episodes": 1, "selection": "meta-val", "val_episodes": 1},
        budget={"meta_steps": 5, "meta_batch": 1, "val_every": 2},
    )
    execution = run(made, catalog, tmp_path)
    execution()
    points = map(json.loads, (execution.store.folder / "metrics.jsonl").read_text().splitlines())
    steps = [("val_score" if "val_score" in point else "loss", point["step"]) for point in points]
    for name in ("loss", "val_score"):
        assert [step for found, step in steps if found == name] == [2, 4, 5]


def test_each_chunk_of_episodes_has_random_numbers_of_its_own(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metabench.running.loops.TEST_ELEMENTS", 10 * 20)  # ten episodes at once
    adapt, seeds = Maml.adapt, []

    def noted(self: Maml, support: Labelled, *, rng: torch.Generator) -> Adapted:
        seeds.append(rng.initial_seed())
        return adapt(self, support, rng=rng)

    monkeypatch.setattr(Maml, "adapt", noted)
    made = planned(
        catalog,
        protocol={"episodes": 5, "selection": "meta-val", "val_episodes": 5},
        budget={"meta_steps": 1, "meta_batch": 1},
    )
    run(made, catalog, tmp_path)()
    assert len(set(seeds[:4])) == 4  # two of meta-validation, two of meta-test


@pytest.mark.parametrize(
    ("name", "rates"),
    [("mnas-shared", {}), ("tnas", {"inner_lr": 0.001, "arch_inner_lr": 0.001})],
)
def test_selection_takes_no_weights_of_a_search(
    name: str, rates: dict[str, float], catalog: Catalog, tmp_path: Path
) -> None:
    request = RunRequest(
        learners=(name,),
        suite="toy-regression",
        budget="smoke",
        space="toy-cell",
        strategy="darts",
        changes={
            "protocol": {"episodes": 5, "selection": "meta-val", "val_episodes": 20},
            "budget": {"meta_steps": 12, "meta_batch": 3, "val_every": 2},
            "learner": {"search_fraction": 0.5, **rates},
        },
    )
    (made,) = plan(request, catalog)
    selecting = run(made, catalog, tmp_path)
    record = selecting()
    points = map(json.loads, (selecting.store.folder / "metrics.jsonl").read_text().splitlines())
    assert [p["step"] for p in points if "val_score" in p] == [8, 10, 12]
    assert record.selected_step in {8, 10, 12}


def test_two_processes_do_not_make_the_same_run(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog)
    with (
        run(made, catalog, tmp_path).store.locked(),
        pytest.raises(Elsewhere, match="Another process is working"),
    ):
        run(made, catalog, tmp_path)()


def test_a_record_of_another_kind_is_named(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog)
    first = run(made, catalog, tmp_path)
    first.store.folder.mkdir(parents=True)
    (first.store.folder / "run.json").write_text('{"schema_number": 99}')
    with pytest.raises(DataError, match=r"run\.json is not a readable run record"):
        first()


def test_inner_steps_lower_the_error(catalog: Catalog, tmp_path: Path) -> None:
    """The curve of a trained MAML falls from step 0 to step 5."""
    made = planned(
        catalog,
        budget={"meta_steps": 150, "meta_batch": 10},
        space={"width": 40, "hidden": 2},
        learner={"inner_lr": 0.01},
    )
    trained = run(made, catalog, tmp_path)
    trained()
    lines = (trained.store.folder / "episodes.jsonl").read_text().splitlines()
    curves = torch.tensor([json.loads(line)["curve"] for line in lines])
    assert curves[:, 5].mean() < 0.8 * curves[:, 0].mean()


def test_other_predictions_of_an_adaptation_are_evaluations_of_their_own(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapt = Maml.adapt

    def with_variant(self: Maml, support: Labelled, *, rng: torch.Generator) -> Adapted:
        adapted = adapt(self, support, rng=rng)
        assert adapted.curve is not None
        return replace(adapted, variants={"not-adapted": adapted.curve[0]})

    monkeypatch.setattr(Maml, "adapt", with_variant)
    made = run(planned(catalog), catalog, tmp_path)
    made()
    (read,) = read_runs(tmp_path).runs
    variant = read.evaluations["not-adapted"]
    assert variant.score.tolist() == read.episodes.curve[:, 0].tolist()
    assert variant.score.mean() > read.episodes.score.mean()
    assert variant.key.tolist() == read.episodes.key.tolist()


def test_the_record_of_a_failed_run_keeps_the_hint(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(self: RunExecution, record: RunRecord) -> RunRecord:
        raise DataError("The checkpoint is damaged.", hint="Delete it.")

    monkeypatch.setattr(RunExecution, "_run", damaged)
    events: list[RunEvent] = []
    execution = run(planned(catalog), catalog, tmp_path, emit=events.append)
    with pytest.raises(DataError):
        execution()
    record = execution.store.read_record()
    assert record is not None
    assert record.error == "The checkpoint is damaged. Delete it."
    assert events[-1].text == "The checkpoint is damaged."
