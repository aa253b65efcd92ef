"""Networks with a state: what learners keep or refuse, what records and tables say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.small_tasks import IMAGES, batch, context, generator, in_double, train

from metabench import Labelled, Params, PluginError, TaskBatch, Training, UsageError
from metabench.planning.compatibility import training_conditions
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import load_catalog
from metabench.render import Format, render
from metabench.reports.build import build_report
from metabench.results.reading import read_runs
from metabench.results.schema import RunRecord
from metabench.running.loops import Control
from metabench.running.run import RunExecution
from metabench_plugins.learners.metric import (
    MatchingNet,
    MatchingNetParams,
    MetricLearner,
    ProtoNet,
    ProtoNetParams,
)
from metabench_plugins.learners.parts.network_state import NetworkState
from metabench_plugins.spaces.conv4 import Conv4Params, conv4

CATALOG = load_catalog()
KIND = "classification"
LEARNERS = [(ProtoNet, ProtoNetParams), (MatchingNet, MatchingNetParams)]
EVERY = pytest.mark.parametrize(("learner", "params"), LEARNERS)


def made(learner: Any = ProtoNet, params: Any = ProtoNetParams, **options: Any) -> MetricLearner:
    chosen = {"filters": 4, "norm": "running", "momentum": 0.5, **options}
    space = conv4(Conv4Params(**chosen), IMAGES)
    built: MetricLearner = in_double(learner(context(params(), kind=KIND, space=space)))
    state = built.embed.network._state
    built.embed.network._state = {name: one.double() for name, one in state.items()}
    return built


def state_of(learner: MetricLearner) -> Params:
    found: Params = learner.state_dict()["network_state"]
    return {name: one.clone() for name, one in found.items()}


def test_a_meta_step_updates_the_state_once_for_each_pass() -> None:
    """The support sets of all tasks are one batch, then the query sets are one."""
    learner, tasks = made(), batch(KIND)
    before, weights = state_of(learner), {n: w.detach() for n, w in learner.embed.weights.items()}
    expected = {n: one[None] for n, one in before.items()}
    for x in (tasks.support.x, tasks.query.x):
        given = Training(rng=generator(), progress=0.0)
        shared = {n: w[None].clone() for n, w in weights.items()} | expected
        learner.embed.network._space.forward_training(  # type: ignore[attr-defined]
            shared, {}, x.flatten(0, 1)[None], training=given
        )
        expected = given.state
    learner.meta_step(tasks, progress=0.0, rng=generator())
    after = state_of(learner)
    assert after.keys() == before.keys() == expected.keys()
    for name, one in after.items():
        assert not torch.equal(one, before[name])
        torch.testing.assert_close(one, expected[name][0])


@EVERY
def test_a_query_has_its_own_prediction_also_where_the_protocol_allows_more(
    learner: Any, params: Any
) -> None:
    trained, tasks = made(learner, params), batch(KIND)
    train(trained, 2, kind=KIND)
    predict = trained.adapt(tasks.support, rng=generator()).predict
    together, alone = predict(tasks.query.x), predict(tasks.query.x[:, :1])
    torch.testing.assert_close(together[:, :1], alone)
    order = torch.arange(tasks.query.x.shape[1]).flip(0)
    torch.testing.assert_close(predict(tasks.query.x[:, order]), together[:, order])


def test_the_state_is_part_of_the_checkpoint() -> None:
    first, second = made(dropout=(0.2,) * 4), made(dropout=(0.2,) * 4)
    train(first, 3, kind=KIND)
    kept = first.state_dict()
    second.load_state_dict(kept)
    train(second, 1, kind=KIND)
    assert not torch.equal(
        second.embed.network._state["layer1.norm.mean"], kept["network_state"]["layer1.norm.mean"]
    )
    train(first, 1, kind=KIND)
    for name, one in state_of(first).items():
        assert torch.equal(one, second.embed.network._state[name])


def test_a_skipped_step_leaves_the_state() -> None:
    learner, tasks = made(), batch(KIND)
    before = state_of(learner)
    broken = Labelled(tasks.support.x * float("nan"), tasks.support.y)
    logged = learner.meta_step(
        TaskBatch(broken, tasks.query, tasks.sources, tasks.keys), progress=0.0, rng=generator()
    )
    assert float(logged["skipped"]) == 1
    for name, one in state_of(learner).items():
        assert torch.equal(one, before[name])


def test_dropout_follows_the_generator_of_the_step() -> None:
    tasks = batch(KIND)
    losses = [
        float(made(dropout=(0.5,) * 4).meta_step(tasks, progress=0.0, rng=generator(seed))["loss"])
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_a_network_without_a_state_is_run_as_it_is() -> None:
    space = conv4(Conv4Params(filters=4), IMAGES)
    network = NetworkState(space, torch.device("cpu"))
    weights = {n: w[None].double() for n, w in space.init_weights(rng=generator()).items()}
    x, given = batch(KIND).query.x, Training(rng=generator(), progress=0.0)
    expected = space.forward(weights, {}, x)
    assert torch.equal(network.forward(weights, {}, x, training=given), expected)
    assert torch.equal(network.forward(weights, {}, x), expected)
    network.keep(given)
    assert network.state_dict() == {}


# Planning, records and tables ------------------------------------------------------------------


def planned(learner: str, space: dict[str, Any], **changes: Any) -> PlannedRun:
    request = RunRequest(
        learners=(learner,), suite="omniglot", settings=("5w1s",), budget="smoke",
        data="synthetic",
        changes={
            "space": space,
            "budget": {"meta_steps": 2, "meta_batch": 2},
            "protocol": {"episodes": 4},
        },
        **changes,
    )  # fmt: skip
    (found,) = plan(request, CATALOG)
    return found


@pytest.mark.parametrize(
    ("learner", "space", "said"),
    [
        ("maml", {"norm": "running"}, "pool=stride) has running statistics, which learner maml"),
        ("reptile", {"dropout": [0, 0, 0, 0.1]}, "has parts such as dropout, which learner"),
    ],
)
def test_learners_that_would_not_train_the_state_are_refused(
    learner: str, space: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        planned(learner, space)
    assert said in caught.value.message
    able = [name for name, spec in CATALOG.learners.items() if spec.takes_state]
    assert {"protonet", "tadam"} <= set(able)
    assert caught.value.hint.endswith(f"{', '.join(sorted(able))}.")


def test_resnet12_is_refused_for_them_too() -> None:
    with pytest.raises(UsageError, match="Network resnet12 has running statistics"):
        plan(
            RunRequest(
                learners=("maml",), suite="omniglot", budget="smoke", data="synthetic",
                space="resnet12",
            ),
            CATALOG,
        )  # fmt: skip


SMALL = {"filters": 4, "head": "flatten", "pool": "max"}
"""Makes the suite's network small; the names of these networks are then short."""


def run(made_plan: PlannedRun, out: Path) -> RunRecord:
    control = Control(emit=lambda event: None, stopped=lambda: False, checkpoint_seconds=0.0)
    return RunExecution(made_plan, CATALOG, out=out, device=torch.device("cpu"), control=control)()


def test_records_and_tables_say_whose_statistics_normalize(tmp_path: Path) -> None:
    batch_norm = run(planned("protonet", SMALL), tmp_path)
    assert (batch_norm.normalization, batch_norm.transductive) == ("transductive", True)
    running = run(planned("protonet", SMALL | {"norm": "running"}), tmp_path)
    assert (running.normalization, running.transductive) == ("running", False)
    assert running.backend == "conv4(filters=4, norm=running)"
    report = build_report(read_runs(tmp_path))
    (table,) = report.tables
    assert {row.normalization for row in table.rows} == {"transductive", "running"}
    assert (
        "only predictions of protonet on conv4(filters=4) use the statistics of the query set. "
        "Predictions of protonet on conv4(filters=4, norm=running) use running statistics, "
        "averages from meta-training."
    ) in table.caption
    text = render(report, Format.md)
    assert "| protonet ¶ |" in text
    assert "¶: predictions use running statistics" in text
    assert r"$\ddag$~uses running statistics." in render(report, Format.tex)
    assert '"normalization": "running"' in render(report, Format.json)
    lines = render(report, Format.csv).splitlines()
    assert {line.rsplit(",", 1)[1] for line in lines} == {
        "normalization",
        "transductive",
        "running",
    }


def test_a_row_says_that_its_network_drops(tmp_path: Path) -> None:
    """The network's words join the learner's own, or stand where it has none."""
    dropping = {**SMALL, "dropout": [0, 0, 0.1, 0.3]}
    plain, dropped = (run(planned("protonet", one), tmp_path) for one in (SMALL, dropping))
    assert plain.conditions is not None
    assert dropped.conditions is not None
    assert plain.conditions.regularization == "none"
    words = "network dropout 0, 0, 0.1, 0.3 after its blocks"
    assert dropped.conditions.regularization == words
    (table,) = build_report(read_runs(tmp_path)).tables
    networks = ("conv4(dropout=[0.0, 0.0, 0.1, 0.3], filters=4)", "conv4(filters=4)")
    first, second = (f"protonet on {network}" for network in networks)
    assert f"regularization ({first} {words}, {second} none)" in table.caption
    own = training_conditions(planned("metaoptnet", dropping).spec, CATALOG)
    assert own is not None
    assert own.regularization == f"weight decay 0.0005, {words}"


def resnet_conditions(**space: Any) -> str:
    request = RunRequest(
        learners=("metaoptnet",), suite="cifar-fs", budget="smoke", data="synthetic",
        space="resnet12", changes={"space": {"width": 0.1, **space}},
    )  # fmt: skip
    found = training_conditions(plan(request, CATALOG)[0].spec, CATALOG)
    assert found is not None
    return found.regularization


def test_drop_block_of_resnet12_is_said_where_it_is_on() -> None:
    assert resnet_conditions(drop_size=2).endswith(
        "network dropout 0.1 in blocks 1 and 2, DropBlock up to 0.1 of 2x2 in blocks 3 and 4"
    )
    for off in ({"drop": 0.0}, {"variant": "tadam"}):
        assert "drop" not in resnet_conditions(**off)


def test_a_network_may_say_it_where_the_learner_states_nothing() -> None:
    spec = planned("protonet", {**SMALL, "dropout": [0, 0, 0, 0.5]}).spec
    silent = replace(CATALOG.learner("protonet"), conditions=None)
    catalog = replace(CATALOG, learners={**CATALOG.learners, "protonet": silent})
    found = training_conditions(spec, catalog)
    assert found is not None
    assert found.regularization == "network dropout 0, 0, 0, 0.5 after its blocks"
    assert found.outer_optimizer == ""
    wrong = replace(catalog.space("conv4"), regularization=lambda params: 0.5)
    catalog = replace(catalog, search_spaces={**catalog.search_spaces, "conv4": wrong})
    with pytest.raises(PluginError, match="regularization of network conv4 returned a float"):
        training_conditions(spec, catalog)


def test_resnet12_trains_and_resumes(tmp_path: Path) -> None:
    request = RunRequest(
        learners=("protonet",), suite="omniglot", settings=("5w1s",), budget="smoke",
        data="synthetic", space="resnet12",
        changes={
            "space": {"width": 0.0625, "drop_size": 2},
            "budget": {"meta_steps": 2, "meta_batch": 2},
            "protocol": {"episodes": 4},
        },
    )  # fmt: skip
    (made_plan,) = plan(request, CATALOG)
    record = run(made_plan, tmp_path)
    assert (record.status, record.normalization) == ("done", "running")
    (found,) = read_runs(tmp_path).runs
    (found.folder / "episodes.jsonl").rename(tmp_path / "first")
    again = run(made_plan, tmp_path)
    assert again.status == "done"
    assert (found.folder / "episodes.jsonl").read_bytes() == (tmp_path / "first").read_bytes()
