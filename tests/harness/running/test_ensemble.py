"""Several weights on meta-validation, tested together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from tests.harness.running.test_loops import Killed, kill_at, planned, run
from tests.helpers.small_tasks import batch, context, generator

from metabench.errors import UsageError
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.episode import Adapted
from metabench.plugin.contracts.learner import Learner
from metabench.results.configurations import configurations
from metabench.results.reading import read_runs
from metabench.results.store import RunStore
from metabench.running import checkpoint
from metabench.running.ensemble import Ensemble, keep, kept
from metabench.running.trained_learner import restore
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.metric import ProtoNet, ProtoNetParams


def learners(kind: str) -> list[Learner]:
    """The same learner with three initial weights."""
    made: list[Learner] = []
    for seed in range(3):
        own = context(MamlParams(), kind=kind, rng=generator(seed))
        made.append(Maml(own))
        if kind == "classification":
            made[-1] = ProtoNet(replace(own, params=ProtoNetParams()))
    return made


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_the_prediction_is_the_mean_of_the_members(kind: str) -> None:
    made, tasks = learners(kind), batch(kind)
    support = replace(tasks.support, x=tasks.support.x.float())
    if kind == "regression":
        support = replace(support, y=support.y.float())
    x = tasks.query.x.float()
    alone = [one.adapt(support, rng=generator()).predict(x) for one in made]
    states = [one.state_dict() for one in made]
    holder = learners(kind)[0]
    together = Ensemble(holder, states, kind, n_params=10)  # type: ignore[arg-type]
    adapted = together.adapt(support, rng=generator())
    found = adapted.predict(x)
    if kind == "regression":
        assert torch.allclose(found, torch.stack(alone).mean(dim=0), atol=1e-6)
        assert adapted.n_params == [30] * len(tasks)
        assert adapted.curve is not None
        assert torch.equal(adapted.curve[3](x), found)
    else:
        mean = torch.stack([one.softmax(dim=-1) for one in alone]).mean(dim=0)
        assert torch.allclose(found.exp(), mean, atol=1e-6)


def test_one_member_predicts_as_it_does_alone() -> None:
    (made, *_), tasks = learners("regression"), batch()
    support = replace(tasks.support, x=tasks.support.x.float(), y=tasks.support.y.float())
    together = Ensemble(made, [made.state_dict()], "regression", n_params=None)
    x = tasks.query.x.float()
    alone = made.adapt(support, rng=generator()).predict(x)
    assert torch.equal(together.adapt(support, rng=generator()).predict(x), alone)


def test_members_adapt_with_the_same_random_numbers() -> None:
    drawn: list[float] = []

    class Drawing:
        def load_state_dict(self, state: Any) -> None:
            pass

        def adapt(self, support: Any, *, rng: torch.Generator) -> Adapted:
            drawn.append(float(torch.rand((), generator=rng)))
            return Adapted(predict=lambda x: x)

    together = Ensemble(cast(Learner, Drawing()), [{}] * 3, "regression", n_params=None)
    together.adapt(batch().support, rng=generator())
    assert len(drawn) == 3
    assert len(set(drawn)) == 1


def test_the_best_states_are_kept_in_order(tmp_path: Path) -> None:
    path, best = tmp_path / "best.safetensors", None
    for step, score in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 2.0)):
        best = keep(path, {"at": step}, step=step, score=score, best=best, sign=1.0, most=3)
        assert best == 3.0
    assert [(one["step"], one["learner"]["at"]) for one in kept(path)] == [(1, 1), (3, 3), (4, 4)]
    # An earlier checkpoint resumes: what came after it is made again.
    keep(path, {"at": 3}, step=3, score=5.0, best=3.0, sign=1.0, most=3)
    assert [one["step"] for one in kept(path)] == [3, 1]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_single_state_is_that_of_the_best_score_and_the_earliest_of_equals(
    tmp_path: Path, sign: float
) -> None:
    path, best, written = tmp_path / "best.safetensors", None, []
    for step, score in ((1, 2.0), (2, 1.0), (3, 3.0), (4, 3.0), (5, 2.5)):
        before = path.stat().st_ino if path.exists() else None
        best = keep(path, {"at": step}, step=step, score=sign * score, best=best, sign=sign, most=1)
        if path.stat().st_ino != before:
            written.append(step)
    assert (best, written) == (sign * 3.0, [1, 3])
    (one,) = kept(path)
    assert (one["step"], one["learner"]["at"]) == (3, 3)


def test_a_file_from_before_the_scores_were_kept_is_read_and_replaced(tmp_path: Path) -> None:
    """Runs without an ensemble wrote a step and a state alone."""
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, {"step": 7, "learner": {"at": 7}})
    assert kept(path) == [{"step": 7, "learner": {"at": 7}}]
    assert keep(path, {"at": 9}, step=9, score=0.4, best=0.5, sign=1.0, most=1) == 0.5
    assert kept(path)[0]["step"] == 7
    assert keep(path, {"at": 11}, step=11, score=0.6, best=0.5, sign=1.0, most=1) == 0.6
    assert kept(path)[0]["step"] == 11


def test_a_run_with_such_a_file_resumes_and_is_restored(catalog: Catalog, tmp_path: Path) -> None:
    without = changes()
    del without["budget"]["ensemble"]
    made = planned(catalog, **without)
    whole = run(made, catalog, tmp_path / "whole")
    record = whole()
    name = whole.store.folder.relative_to(tmp_path / "whole")
    with pytest.raises(Killed):
        run(made, catalog, tmp_path / "cut", emit=kill_at("meta-train", 25))()
    cut = tmp_path / "cut" / name
    for path in (RunStore(cut).best_checkpoint, whole.store.weights):
        now = checkpoint.load(path)
        path.unlink()
        older = RunStore(path.parents[1]).best_checkpoint
        checkpoint.save(older, {"step": now["step"], "learner": now["learner"]})
    resumed = run(made, catalog, tmp_path / "cut")()
    assert resumed.selected_step == record.selected_step
    files = [(folder / "episodes.jsonl").read_bytes() for folder in (cut, whole.store.folder)]
    assert files[0] == files[1]
    restored = restore(whole.store.folder, catalog, device=torch.device("cpu"))
    assert not isinstance(restored.tested, Ensemble)


def changes() -> dict[str, Any]:
    return {
        "budget": {"meta_steps": 40, "meta_batch": 3, "val_every": 10, "ensemble": 3},
        "protocol": {"episodes": 20, "val_episodes": 5, "selection": "meta-val"},
    }


def test_a_run_tests_its_best_weights_together(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog, **changes())
    whole = run(made, catalog, tmp_path / "whole")
    record = whole()
    members = kept(whole.store.weights)
    assert len(members) == 3
    assert record.selected_step == members[0]["step"]
    (found,) = read_runs(tmp_path / "whole").runs
    assert record.n_params is not None
    assert set(found.episodes.n_params) == {3 * record.n_params}
    (config,) = configurations([found])
    assert config.training_conditions["weights tested together"] == "3"

    restored = restore(whole.store.folder, catalog, device=torch.device("cpu"))
    tasks = restored.episodes(range(4))
    assert isinstance(restored.tested, Ensemble)
    assert len(restored.tested.states) == 3
    assert (
        restored.tested.adapt(tasks.support, rng=generator())
        .predict(tasks.query.x)
        .isfinite()
        .all()
    )

    with pytest.raises(Killed):
        run(made, catalog, tmp_path / "cut", emit=kill_at("meta-train", 25))()
    run(made, catalog, tmp_path / "cut")()
    name = whole.store.folder.relative_to(tmp_path / "whole") / "episodes.jsonl"
    first, second = ((tmp_path / folder / name).read_bytes() for folder in ("whole", "cut"))
    assert first == second


def test_an_ensemble_needs_scores_to_choose_by(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="needs their meta-validation scores"):
        planned(catalog, budget={"ensemble": 3})


def test_meta_validation_may_have_other_shots(catalog: Catalog) -> None:
    made = planned(catalog, protocol={"selection": "meta-val", "val_shots": 7, "val_queries": 2})
    from metabench.planning.compatibility import episode_shapes

    shapes = episode_shapes(made.spec, catalog)
    assert (shapes["meta-val"].shots, shapes["meta-val"].queries) == (7, 2)
    assert shapes["meta-test"].shots == made.spec.protocol.shots


def test_fields_that_nobody_set_leave_the_run_id_as_it_was(catalog: Catalog) -> None:
    written = planned(catalog).spec.model_dump(mode="json")
    assert not {"val_shots", "val_queries"} & written["protocol"].keys()
    assert "ensemble" not in written["training"]
    assert "val_every" in written["training"]
