"""Weights in files: what a test of them gives, and what does not fit."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from test_loops import CPU, planned, run

from metabench.errors import DataError, UsageError
from metabench.planning.evaluating import WeightsTest, plan_foreign, plan_test
from metabench.planning.networks import build_space
from metabench.planning.plan import RunRequest
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.architecture import Params
from metabench.plugin.contracts.episode import TaskShape
from metabench.reports.build import build_report
from metabench.results.reading import read_runs
from metabench.results.schema import RunRecord
from metabench.running import checkpoint, weights_file
from metabench.running.run import RunExecution
from metabench.running.trained_learner import restore
from metabench.sampling.seeding import generator

TASK = TaskShape("regression", (1,), 1)


def trained(catalog: Catalog, out: Path, learner: str = "maml", **changes: object) -> RunExecution:
    execution = run(planned(catalog, learner, **changes), catalog, out)
    execution()
    return execution


def evaluated(
    catalog: Catalog, path: Path, out: Path, request: WeightsTest | None = None
) -> tuple[RunRecord, Path]:
    weights = weights_file.read_trained(path)
    assert weights is not None
    execution = run(plan_test(weights, request or WeightsTest(), catalog), catalog, out)
    return execution(), execution.store.folder


@pytest.mark.parametrize(
    ("learner", "changes"),
    [
        ("maml", {}),
        ("reptile", {}),
        ("maml", {"budget": {"meta_steps": 40, "meta_batch": 3, "val_every": 10, "ensemble": 2}}),
        pytest.param(
            "mnas",
            {"space": {}, "budget": {"meta_steps": 2, "meta_batch": 1}},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "mnas-shared",
            {"space": {}, "budget": {"meta_steps": 4, "meta_batch": 1}},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["maml", "reptile", "ensemble", "mnas", "mnas-shared"],
)
def test_where_nothing_is_changed_the_bytes_are_those_of_the_training(
    catalog: Catalog, tmp_path: Path, learner: str, changes: dict[str, object]
) -> None:
    selection = "meta-val" if "ensemble" in str(changes) else "last"
    protocol = {"episodes": 6, "val_episodes": 3, "selection": selection}
    first = trained(catalog, tmp_path / "a", learner, **changes, protocol=protocol)
    exported = tmp_path / "weights.safetensors"
    weights_file.export_weights(first.store.folder, exported)
    whole = first.store.read_record()
    assert whole is not None
    ids = set()
    searched = ["genotypes.jsonl"] if learner.startswith("mnas") else []
    for path in (exported, first.store.folder):  # a file and its run are the same weights
        record, folder = evaluated(catalog, path, tmp_path / f"of-{path.name}")
        for name in ("episodes.jsonl", "evaluations/extrapolation.jsonl", *searched):
            assert (folder / name).read_bytes() == (first.store.folder / name).read_bytes()
        assert record.run_id != whole.run_id
        assert record.training_from == whole.run_id
        assert record.selected_step == whole.selected_step
        assert record.val_score == whole.val_score
        assert record.stamps == whole.stamps
        assert record.train_seconds == whole.train_seconds
        assert not (folder / "metrics.jsonl").exists()
        ids.add(record.run_id)
    assert len(ids) == 1


def test_names_in_an_exported_file_are_those_of_the_network(
    catalog: Catalog, tmp_path: Path
) -> None:
    first = trained(catalog, tmp_path)
    path = tmp_path / "weights.safetensors"
    weights_file.export_weights(first.store.folder, path)
    kept = restore(first.store.folder, catalog, device=CPU).built.learner.state_dict()["weights"]
    with safe_open(path, framework="pt") as file:
        assert {*file.keys()} == {f"learner.weights.{name}" for name in kept}
        assert torch.equal(file.get_tensor("learner.weights.head.bias"), kept["head.bias"])
        record = RunRecord.model_validate_json(file.metadata()["record"])
    assert record == first.store.read_record()


def test_other_shots_and_steps_make_rows_of_their_own(catalog: Catalog, tmp_path: Path) -> None:
    protocol = {"episodes": 6, "selection": "last", "train_shots": 10}
    own = tmp_path / "own"
    first = trained(catalog, own, protocol=protocol)
    direct = {**protocol, "shots": 3, "steps_at_test": 2}
    wanted = trained(catalog, tmp_path / "direct", protocol=direct)
    request = WeightsTest(changes={"protocol": {"shots": 3, "steps_at_test": 2}})
    record, folder = evaluated(catalog, first.store.folder, own, request)
    assert (folder / "episodes.jsonl").read_bytes() == wanted.store.episodes_of().read_bytes()
    assert (record.train_shots, record.spec.protocol.shots) == (10, 3)
    assert "cross-domain" not in record.stamps
    again, _ = evaluated(catalog, first.store.folder, own)
    assert again.spec.config_id != record.spec.config_id
    table = build_report(read_runs(own)).tables[0]
    names = sorted(row.name for row in table.rows)
    assert len(names) == 3
    assert sum("trained on toy-regression@10-shot" in name for name in names) == 2


def test_seeds_of_one_training_make_one_row(catalog: Catalog, tmp_path: Path) -> None:
    for seed in (0, 1):
        made = planned(catalog)
        own = replace(made, spec=made.spec.model_copy(update={"seed": seed}))
        execution = run(own, catalog, tmp_path / "trained")
        execution()
        evaluated(catalog, execution.store.folder, tmp_path / "tested")
    (row,) = build_report(read_runs(tmp_path / "tested")).tables[0].rows
    assert row.seeds == (0, 1)
    assert row.name == "maml (trained on toy-regression@10-shot)"


def test_other_data_is_stamped(catalog: Catalog, tmp_path: Path) -> None:
    first = trained(catalog, tmp_path)
    request = WeightsTest(changes={"data": {"center": 2.0}})
    record, _ = evaluated(catalog, first.store.folder, tmp_path, request)
    assert record.stamps[-1] == "cross-domain"
    assert record.spec.weights is not None
    assert record.spec.weights.data_fingerprint != record.spec.data_fingerprint


def test_a_setting_of_the_suite_brings_its_protocol(catalog: Catalog, tmp_path: Path) -> None:
    first = trained(catalog, tmp_path)
    request = WeightsTest(setting="5-shot", limit=2)
    record, _ = evaluated(catalog, first.store.folder, tmp_path, request)
    assert (record.spec.setting, record.spec.protocol.shots) == ("5-shot", 5)
    assert "limit" in record.stamps


def test_on_another_suite_the_record_says_how_the_weights_were_chosen(
    catalog: Catalog, tmp_path: Path
) -> None:
    """Its own protocol selects by meta-validation, and has other shots in meta-training."""
    protocol = {"selection": "last", "train_shots": 7, "val_queries": 9, "val_episodes": 3}
    first = trained(catalog, tmp_path, protocol={**protocol, "episodes": 2})
    text = Path(str(catalog.suites["toy-regression"])).read_text(encoding="utf-8")
    other = tmp_path / "other-toy.yaml"
    other.write_text(text.replace("name: toy-regression", "name: other-toy", 1), encoding="utf-8")
    record, _ = evaluated(
        catalog, first.store.folder, tmp_path, WeightsTest(suite=str(other), limit=2)
    )
    found = record.spec.protocol.model_dump()
    assert record.spec.suite == "other-toy"
    assert {name: found[name] for name in protocol} == protocol
    assert found["train_queries"] is None


@pytest.mark.parametrize("request_", [WeightsTest(), WeightsTest(setting="5-shot")])
def test_what_is_not_said_of_the_data_is_as_in_the_training(
    catalog: Catalog, tmp_path: Path, request_: WeightsTest
) -> None:
    own = {"center": 2.0, "noise_std": 0.5}
    first = trained(catalog, tmp_path, data=own, budget={"meta_steps": 1, "meta_batch": 1})
    weights = weights_file.read_trained(first.store.folder)
    assert weights is not None
    for changes, wanted in (({}, own), ({"noise_std": 0.1}, {**own, "noise_std": 0.1})):
        asked = replace(request_, changes={"data": changes}, limit=2)
        spec = plan_test(weights, asked, catalog).spec
        for before, now in zip(first.store.read_record().spec.sources, spec.sources, strict=True):
            assert now.params == {**before.params, **wanted}


def test_a_test_says_the_versions_of_metric_and_data_that_it_uses(
    catalog: Catalog, tmp_path: Path
) -> None:
    first = trained(catalog, tmp_path, budget={"meta_steps": 1, "meta_batch": 1})
    weights = weights_file.read_trained(first.store.folder)
    assert weights is not None
    newer = replace(
        catalog,
        metrics={**catalog.metrics, "mse": replace(catalog.metric("mse"), version=7)},
        datasets={
            **catalog.datasets,
            "toy-regression": replace(catalog.dataset("toy-regression"), version=8),
        },
    )
    spec = plan_test(weights, WeightsTest(), newer).spec
    assert spec.metric_version == 7
    assert {source.version for source in spec.sources} == {8}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learner": {"inner_lr": 0.1}}, "learner.inner_lr belongs to the training of maml"),
        ({"learner": {"inner_rl": 0.1}}, "inner_rl"),
        ({"space": {"width": 3}}, "--set network.width belongs to the training"),
        ({"budget": {"meta_steps": 3}}, "--set budget.meta_steps belongs to the training"),
        ({"protocol": {"selection": "meta-val"}}, "--set protocol.selection belongs to a training"),
        ({"protocol": {"shots": 2, "train_shots": 3}}, "--set protocol.train_shots belongs to a"),
        ({"protocol": {"val_episodes": 3}}, "--set protocol.val_episodes belongs to a training"),
    ],
)
def test_what_concerns_the_training_cannot_be_set(
    catalog: Catalog, tmp_path: Path, changes: dict[str, dict[str, object]], said: str
) -> None:
    first = trained(catalog, tmp_path, budget={"meta_steps": 1, "meta_batch": 1})
    with pytest.raises(UsageError, match=said):
        evaluated(catalog, first.store.folder, tmp_path, WeightsTest(changes=changes))


def test_another_kind_of_task_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    first = trained(catalog, tmp_path, budget={"meta_steps": 1, "meta_batch": 1})
    with pytest.raises(UsageError, match="weights are for regression, but suite omniglot is"):
        evaluated(catalog, first.store.folder, tmp_path, WeightsTest(suite="omniglot"))


def test_weights_of_another_shape_are_refused_in_a_sentence(
    catalog: Catalog, tmp_path: Path
) -> None:
    first = trained(catalog, tmp_path, budget={"meta_steps": 1, "meta_batch": 1})
    state = checkpoint.load(first.store.weights)
    learner = restore(first.store.folder, catalog, device=CPU).built.learner
    for bias in (torch.zeros(3), None):
        weights = {**state["learner"]["weights"], "head.bias": bias}
        weights = {name: tensor for name, tensor in weights.items() if tensor is not None}
        with pytest.raises(DataError, match="The weights do not fit a-suite@5w1s: "):
            weights_file.load_given(learner, {"weights": weights}, place="a-suite@5w1s")


def test_a_learner_that_takes_any_shape_refuses_another_one(
    catalog: Catalog, tmp_path: Path
) -> None:
    first = trained(catalog, tmp_path, "reptile", budget={"meta_steps": 1, "meta_batch": 1})
    state = checkpoint.load(first.store.weights)["learner"]
    learner = restore(first.store.folder, catalog, device=CPU).built.learner
    weights = {**state["weights"], "head.bias": torch.zeros(3)}
    with pytest.raises(DataError, match=r"head\.bias is \[3\]"):
        weights_file.load_given(learner, {**state, "weights": weights}, place="a-suite@5w1s")


def test_weights_that_are_gone_are_made_again_in_a_new_folder(
    catalog: Catalog, tmp_path: Path
) -> None:
    first = trained(catalog, tmp_path, budget={"meta_steps": 1, "meta_batch": 1})
    first.store.weights.unlink()
    with pytest.raises(DataError, match="No weights are left") as found:
        weights_file.export_weights(first.store.folder, tmp_path / "w.safetensors")
    assert (found.value.hint or "").endswith(" --out NEW")
    assert str(tmp_path) not in (found.value.hint or "")


def test_weights_that_have_changed_since_planning_are_refused(
    catalog: Catalog, tmp_path: Path
) -> None:
    first = trained(catalog, tmp_path, budget={"meta_steps": 1, "meta_batch": 1})
    path = tmp_path / "weights.safetensors"
    weights_file.export_weights(first.store.folder, path)
    weights = weights_file.read_trained(path)
    assert weights is not None
    made = plan_test(weights, WeightsTest(), catalog)
    state = checkpoint.load(path)
    state["learner"]["weights"]["head.bias"] += 1
    checkpoint.save(path, state)
    with pytest.raises(DataError, match="have changed since this run was planned"):
        run(made, catalog, tmp_path / "out")()
    path.unlink()
    with pytest.raises(DataError, match="There is no file"):
        run(made, catalog, tmp_path / "out")()


def test_a_file_cannot_lead_out_of_the_results_folder(catalog: Catalog, tmp_path: Path) -> None:
    first = trained(catalog, tmp_path, budget={"meta_steps": 1, "meta_batch": 1})
    weights = weights_file.read_trained(first.store.folder)
    assert weights is not None
    for name in ("suite", "setting"):
        spec = weights.spec.model_copy(update={name: "../../elsewhere"})
        with pytest.raises(DataError, match="which is not allowed"):
            plan_test(replace(weights, spec=spec), WeightsTest(), catalog)


def test_a_run_without_weights_has_none_to_export(catalog: Catalog, tmp_path: Path) -> None:
    untrained = trained(catalog, tmp_path, budget={"meta_steps": 0, "meta_batch": 1})
    with pytest.raises(DataError, match="trained nothing, so it has no weights"):
        weights_file.export_weights(untrained.store.folder, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="no finished run"):
        weights_file.export_weights(tmp_path, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="There is no file"):
        weights_file.read_trained(tmp_path / "nothing.safetensors")


# Weights from elsewhere ---------------------------------------------------------------------------


def drawn(catalog: Catalog, seed: int = 3) -> Params:
    spec = planned(catalog).spec
    assert spec.space is not None
    return build_space(spec.space, TASK, catalog).init_weights(rng=generator(seed))


def evaluated_foreign(catalog: Catalog, path: Path, out: Path) -> RunRecord:
    request = RunRequest(
        learners=("maml",), suite="toy-regression", budget="smoke",
        changes={"space": {"width": 8, "hidden": 2}, "protocol": {"episodes": 5}},
    )  # fmt: skip
    digest = weights_file.digest_of_foreign(path)
    (made,) = plan_foreign(path, digest, request, catalog)
    return run(made, catalog, out)()


@pytest.mark.parametrize("name", ["elsewhere.pt", "elsewhere.safetensors", "checkpoint.pt"])
def test_weights_from_elsewhere_are_the_initial_weights(
    catalog: Catalog, tmp_path: Path, name: str
) -> None:
    weights, path = drawn(catalog), tmp_path / name
    if name.endswith(".pt"):
        torch.save({"state_dict": weights} if name == "checkpoint.pt" else weights, path)
    else:
        save_file(weights, path)
    record = evaluated_foreign(catalog, path, tmp_path)
    assert record.stamps == ("smoke", "custom", "foreign-weights")
    assert record.spec.training.meta_steps == 0
    assert record.train_shots is None
    (found,) = read_runs(tmp_path).runs
    kept = restore(found.folder, catalog, device=CPU).built.learner.state_dict()["weights"]
    assert all(torch.equal(kept[name], weights[name]) for name in weights)
    table = build_report(read_runs(tmp_path)).tables[0]
    (row,) = table.rows
    assert row.name == f"maml (weights of {name})"
    assert "Tested weights: those of a file from elsewhere." in str(table.caption)


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": {"meta_steps": 3}},
        {"budget[maml]": {"val_every": 3}},
        {"protocol": {"selection": "last"}},
    ],
)
def test_what_concerns_a_training_cannot_be_set_for_weights_from_elsewhere(
    catalog: Catalog, tmp_path: Path, changes: dict[str, dict[str, object]]
) -> None:
    request = RunRequest(
        learners=("maml",), suite="toy-regression", budget="smoke", changes=changes
    )
    with pytest.raises(UsageError, match="belongs to a training"):
        plan_foreign(tmp_path / "elsewhere.pt", "0", request, catalog)


def test_what_does_not_fit_a_network_is_named(catalog: Catalog, tmp_path: Path) -> None:
    weights, path = drawn(catalog), tmp_path / "elsewhere.pt"
    weights["fc.bias"] = weights.pop("head.bias")
    weights["head.weight"] = weights["head.weight"].T.contiguous()
    torch.save(weights, path)
    with pytest.raises(DataError) as caught:
        evaluated_foreign(catalog, path, tmp_path)
    assert caught.value.message == (
        f"The weights in {path} do not fit network mlp(hidden=2, width=8): missing: head.bias; "
        "unexpected: fc.bias; of another shape: head.weight [1, 8] in place of [8, 1]."
    )
    assert "head.weight [8, 1]" in caught.value.hint


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_nothing_in_a_foreign_file_is_executed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"weights": Evil()}, path)
    with pytest.raises(DataError, match="cannot be read as a file of tensors"):
        weights_file.read_foreign(path)
    assert "executed" not in capsys.readouterr().out
    torch.save({"a": 1}, path)
    with pytest.raises(DataError, match="holds more than tensors by name"):
        weights_file.read_foreign(path)
    path.write_text("no tensors")
    with pytest.raises(DataError, match="cannot be read as a file of tensors"):
        weights_file.read_foreign(path)


def test_a_tensor_that_poses_as_a_large_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, path)
    with pytest.raises(DataError, match="holds more than tensors by name"):
        weights_file.digest_of_foreign(path)


def test_a_packed_file_and_what_is_no_plain_file_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "sound.pt")
    packed = tmp_path / "packed.pt"
    with (
        zipfile.ZipFile(tmp_path / "sound.pt") as sound,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in sound.namelist():
            archive.writestr(name, sound.read(name))
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "zero.safetensors").symlink_to("/dev/zero")
    for path in (packed, tmp_path / "pipe.pt", tmp_path / "zero.safetensors"):
        with pytest.raises(DataError, match="cannot be read as a file of tensors"):
            weights_file.digest_of_foreign(path)
