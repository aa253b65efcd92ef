"""TensorBoard, read back through its own API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tracked_runs import run_facts, short_run

from metabench import CurvePoint, RunEnd, load_results
from metabench.results.training_curve import read_training_curve

pytest.importorskip("tensorboard", reason="tensorboard is not installed: metabench[tensorboard]")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def points(found: Any, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in found.Scalars(name)]


def test_parameters_curves_and_scores_are_shown(tmp_path: Path) -> None:
    (outcome,) = short_run(tmp_path, trackers="tensorboard").outcomes
    place = Path("toy-regression@10-shot", "maml", outcome.job.planned.spec.run_id)
    found = read(tmp_path / "tensorboard" / place)
    curve = read_training_curve(tmp_path / place / "metrics.jsonl")
    for name, full in (("loss", "meta-train/loss"), ("val_score", "meta-val/val_score")):
        shown = points(found, full)
        assert [step for step, _ in shown] == [step for step, _ in curve.scalars[name]]
        assert [v for _, v in shown] == pytest.approx([v for _, v in curve.scalars[name]])
    mean = load_results(tmp_path).groupby("source")["score"].mean()["sine"]
    assert points(found, "meta-test/sine/mse") == [(20, pytest.approx(mean))]
    assert points(found, "meta-test/average/mse_half_width")[0][1] > 0
    (text,) = found.Tensors("parameters/text_summary")
    shown_text = text.tensor_proto.string_val[0].decode()
    assert "| learner.inner_lr | 0.02 |" in shown_text
    assert "| stamps | smoke, limit, custom |" in shown_text
    hparams = hparams_of(found)
    assert hparams["learner.inner_lr"].number_value == 0.02
    assert hparams["learner"].string_value == "maml"


def hparams_of(found: Any) -> Any:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    return HParamsPluginData.FromString(content).session_start_info.hparams


def test_a_run_that_goes_on_has_each_point_once(tmp_path: Path) -> None:
    from metabench_plugins.trackers.to_tensorboard import TensorBoardParams, TensorBoardTracker

    tracker = TensorBoardTracker(TensorBoardParams(), tmp_path)
    first = tracker.open(run_facts(tmp_path), key="")
    first.log([CurvePoint(1, {"meta-train/loss": 2.0})])
    first.end(RunEnd(status="interrupted", step=1))
    again = tracker.open(run_facts(tmp_path), key=first.key)
    again.log([CurvePoint(2, {"meta-train/loss": 1.0})])
    again.end(RunEnd(status="done", step=2))
    assert points(read(Path(first.key)), "meta-train/loss") == [(1, 2.0), (2, 1.0)]
    anew = tracker.open(run_facts(tmp_path), key="")  # its note was lost
    anew.log([CurvePoint(1, {"meta-train/loss": 2.0})])
    anew.end(RunEnd(status="interrupted", step=1))
    assert points(read(Path(first.key)), "meta-train/loss") == [(1, 2.0)]


def test_the_table_of_runs_has_parameters_and_scores(tmp_path: Path) -> None:
    """As the tab HParams of the server computes it from the event files."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams.backend_context import Context

    short_run(tmp_path, trackers="tensorboard")
    files = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "tensorboard")).Reload()
    provider = MultiplexerDataProvider(files, str(tmp_path))
    tab, asked = Context(TBContext(data_provider=provider)), RequestContext()
    table = tab.experiment_from_metadata(asked, "", True, tab.hparams_metadata(asked, ""), None)
    assert "learner.inner_lr" in {one.name for one in table.hparam_infos}
    assert "meta-test/average/mse" in {one.name.tag for one in table.metric_infos}
