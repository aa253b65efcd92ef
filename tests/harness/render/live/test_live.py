"""The live page and what it is told, without a browser."""

import json
import re
from dataclasses import replace

import pytest
from result_factory import make_spec, write_run
from state_factory import at_work, make_plan, write_going

from metabench.errors import DataError
from metabench.planning.runspec import Training
from metabench.render.figures.palette import learner_style
from metabench.render.live import MOST_CURVES, MOST_POINTS, live_page, live_values
from metabench.render.live.service import LiveService
from metabench.results.overview import OverviewReader
from metabench.results.plans import announced

LONG = Training(meta_steps=1000, meta_batch=4)
POINTS = [{"step": 100 * i, "loss": 2.0 / i, "val_score": 0.1 * i} for i in range(1, 6)]


def values_of(folder, **asked):
    return live_values(OverviewReader(folder)(), **asked)


@pytest.fixture
def folder(tmp_path):
    """A run that goes on, a finished one and a failed one."""
    write_run(tmp_path, make_spec("maml", training=LONG))
    broken = make_spec("<script>", training=LONG)
    write_going(tmp_path, broken, POINTS[:2], status="failed", error="no\x1b memory")
    with at_work(write_going(tmp_path, make_spec("mnas", training=LONG), POINTS)):
        yield tmp_path


def test_the_page_is_told_what_the_terminal_is_told(folder):
    values = values_of(folder)
    assert values["counts"] == "1 running, 1 failed, 1 done"
    (group,) = values["groups"]
    assert (group["place"], group["meta_steps"]) == ("multidataset@5w1s, lite", 1000)
    running, failed, done = group["runs"]
    assert (running["learner"], running["state"], running["loss"]) == ("mnas", "running", "0.4")
    assert running["curves"]["loss"][-1] == (500, 0.4)
    assert running["curves"]["val"][-1] == (500, 50.0)
    assert running["command"] == ""
    assert (failed["error"], failed["command"]) == ("no\\x1b memory", "metabench run")
    assert done["share"] == "100 %"
    assert len({run["key"] for run in group["runs"]}) == 3
    assert len({(run["color"], run["dash"]) for run in group["runs"]}) == 3
    json.dumps(values, allow_nan=False)


def test_configurations_of_a_learner_are_told_apart_as_in_figures(tmp_path):
    """They share its color and have lines of their own; seeds of one share both."""
    configs = {"slow": ("maml", 0.1), "fast": ("maml", 0.2), "other": ("anil", 0.1)}
    specs = {
        (name, seed): make_spec(learner, training=LONG, params={"inner_lr": rate}, seed=seed)
        for name, (learner, rate) in configs.items()
        for seed in range(3)
    }
    waiting = [spec for (_, seed), spec in specs.items() if seed == 2]
    for spec in specs.values():
        if spec not in waiting:
            write_going(tmp_path, spec, POINTS)
    write_going(tmp_path, make_spec("maml", training=LONG, setting="5w5s"), POINTS)
    with announced(make_plan(*waiting), tmp_path):
        one, five = values_of(tmp_path)["groups"]
    drawn = {run["key"].rpartition("/")[2]: (run["color"], run["dash"]) for run in one["runs"]}
    looks = {name: {drawn[specs[name, seed].run_id] for seed in range(3)} for name in configs}
    assert {len(seen) for seen in looks.values()} == {1}
    (slow,), (fast,), (other,) = looks.values()
    assert len({slow, fast, other}) == 3
    own = learner_style("maml").color, ""
    assert own in (slow, fast)
    assert slow[0] == fast[0]
    (alone,) = five["runs"]
    assert (alone["color"], alone["dash"]) == own


def test_only_curves_that_have_changed_are_sent_again(folder):
    first = values_of(folder)
    going = next(folder.rglob("mnas/*/metrics.jsonl"))
    with going.open("a") as file:
        file.write('{"step": 600, "loss": 0.1}\n')
    again = values_of(folder, since=int(first["now"]) + 1)
    assert int(again["now"]) > int(first["now"])
    sent = [run["learner"] for group in again["groups"] for run in group["runs"] if "curves" in run]
    assert sent == ["mnas"]
    none = values_of(folder, since=int(again["now"]) + 1)
    assert not [run for group in none["groups"] for run in group["runs"] if "curves" in run]
    assert none["groups"][0]["runs"][0]["loss"] == "0.1"


def test_what_is_sent_is_bounded(folder):
    points = [{"step": step, "loss": 1.23456789 / step} for step in range(1, 1000)]
    for seed in range(MOST_CURVES + 5):
        spec = make_spec("mnas", training=LONG, seed=100 + seed)
        write_going(folder, spec, points if seed == 0 else POINTS)
    (group,) = values_of(folder)["groups"]
    drawn = [run["curves"]["loss"] for run in group["runs"] if "curves" in run]
    assert len(group["runs"]) == MOST_CURVES + 8
    assert len(drawn) == MOST_CURVES
    longest = max(drawn, key=len)
    assert MOST_POINTS // 2 < len(longest) <= MOST_POINTS
    assert longest[-1] == (999, 0.001236)


def test_a_run_that_has_gone_since_it_was_read_has_no_curve_file(folder):
    overview = OverviewReader(folder)()
    gone = tuple(replace(run, folder=folder / "gone") for run in overview.runs)
    assert live_values(replace(overview, runs=gone))["counts"] == "1 running, 1 failed, 1 done"


def test_the_page_allows_itself_and_its_own_server_alone():
    text = live_page()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "connect-src 'self'" in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "innerHTML" not in text
    assert "@" not in re.sub(r"@media", "", text)


def test_the_service_reads_what_the_page_asks_for(folder):
    pages = LiveService(folder).pages()
    assert pages["/live"].make("") == live_page()
    status = pages["/status.json"]
    assert status.kind == "application/json"
    for asked in ("", "since=0", "since=x", "since=-1", "since=9" + "9" * 30, "since=\u0663"):
        assert len([*curves(json.loads(status.make(asked)))]) == 2, asked
    assert [*curves(json.loads(status.make("since=" + "9" * 19)))] == []


def curves(values):
    return (
        run["learner"] for group in values["groups"] for run in group["runs"] if "curves" in run
    )


def test_runs_that_have_not_begun_are_told(tmp_path):
    service = LiveService(tmp_path)
    with pytest.raises(DataError, match="There is no run"):
        service.overview()
    assert not service.under_way()
    with announced(make_plan(make_spec(seed=0), make_spec(seed=1)), tmp_path):
        values = json.loads(service.pages()["/status.json"].make(""))
    assert (values["counts"], values["under_way"]) == ("2 planned", True)


def test_runs_of_one_learner_and_seed_have_names_of_their_own(tmp_path):
    for rate in (0.1, 0.2):
        write_run(tmp_path, make_spec("maml", params={"inner_lr": rate}))
    write_run(tmp_path, make_spec("maml", params={"inner_lr": 0.1}, seed=1))
    (group,) = values_of(tmp_path)["groups"]
    names = sorted((run["learner"], run["seed"]) for run in group["runs"])
    assert len(set(names)) == 3
    assert names[0] == ("maml", "1")
    ids = sorted(f"maml {run['run'][:6]}" for run in group["runs"] if run["seed"] == "0")
    assert [name for name, seed in names if seed == "0"] == ids


@pytest.mark.parametrize(
    ("logged", "said"),
    [
        ({"maml": "query_loss", "mnas": "query_loss"}, "Query loss of meta-training"),
        ({"maml": "loss", "mnas": "loss"}, "Training loss, each learner's own"),
        (
            {"maml": "query_loss", "mnas": "loss", "reptile": ""},
            "Query loss of meta-training, but of mnas its own loss",
        ),
    ],
)
def test_losses_that_are_not_the_same_are_not_called_so(tmp_path, logged, said):
    for learner, name in logged.items():
        points = [{"step": 10, name: 1.0}] if name else []
        write_going(tmp_path, make_spec(learner, training=LONG), points)
    (group,) = values_of(tmp_path)["groups"]
    assert group["loss"] == said
