import json
import logging
import os
from pathlib import Path

import pytest
from result_factory import PROVENANCE, edit_json, make_spec, write_run

from metabench.errors import DataError
from metabench.results.reading import load_results, read_runs
from metabench.values import digest


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A run that counts, beside which others are damaged."""
    return write_run(tmp_path, make_spec("maml"))


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    return write_run(tmp_path, make_spec("reptile"))


def counted(folder: Path) -> set[str]:
    return {run.record.spec.learner.name for run in read_runs(folder).runs}


def only_problem(folder: Path) -> str:
    (problem,) = read_runs(folder).problems
    assert problem.endswith(".")
    return problem


def lines_of(run: Path) -> list[str]:
    return (run / "episodes.jsonl").read_text().splitlines()


def write_lines(run: Path, lines: list[str]) -> None:
    (run / "episodes.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_reads_every_column(tmp_path):
    write_run(tmp_path, make_spec(episodes=1), [0.25, 0.75])
    (run,) = read_runs(tmp_path).runs
    episodes = run.episodes
    assert episodes.index.tolist() == [0, 1]
    assert episodes.source.tolist() == ["bird", "texture"]
    assert episodes.score.tolist() == [0.25, 0.75]
    assert episodes.n_params.tolist() == [32901, 32901]
    assert episodes.key.tolist() == [digest(["multidataset", "5w1s", i]) for i in (0, 1)]


@pytest.mark.parametrize("up", [0, 1, 2, 3])
def test_finds_runs_at_any_depth(good, up):
    folder = [good, *good.parents][up]
    results = read_runs(folder)
    assert [run.folder for run in results.runs] == [good]
    assert results.problems == ()


def test_a_folder_without_runs_is_a_data_error_with_a_hint(tmp_path):
    with pytest.raises(DataError, match="no run below") as caught:
        read_runs(tmp_path)
    assert "metabench run" in caught.value.hint
    with pytest.raises(DataError, match="no folder"):
        read_runs(tmp_path / "absent")


def test_a_torn_last_line_is_named_and_the_other_episodes_stay(good, damaged, tmp_path):
    path = damaged / "episodes.jsonl"
    path.write_text(path.read_text()[:-20])
    results = read_runs(tmp_path)
    assert {len(run.episodes) for run in results.runs} == {7, 8}
    torn, few = results.problems
    assert str(damaged) in torn
    assert "the last line of episodes.jsonl is incomplete" in torn
    assert "7 of the 8 episodes" in few


def test_a_last_line_that_lacks_its_end_only_is_read(damaged):
    path = damaged / "episodes.jsonl"
    path.write_text(path.read_text().rstrip("\n"))
    assert read_runs(damaged).problems == ()


def test_lines_that_are_not_episodes_are_counted_in_one_problem(damaged):
    lines = lines_of(damaged)
    write_lines(damaged, [lines[0], "{}", "garbage", *lines[3:]])
    found, few = read_runs(damaged).problems
    assert (
        "2 lines are not episodes and are not counted in episodes.jsonl; the first is line 2"
        in found
    )
    assert "6 of the 8" in few


def test_missing_episodes_are_named(good, damaged, tmp_path):
    (damaged / "episodes.jsonl").unlink()
    assert counted(tmp_path) == {"maml"}
    problem = only_problem(tmp_path)
    assert "episodes.jsonl cannot be read" in problem
    assert str(damaged) in problem


def test_empty_episodes_are_named(good, damaged, tmp_path):
    (damaged / "episodes.jsonl").write_text("")
    assert counted(tmp_path) == {"maml"}
    assert "has none of the 8 episodes" in only_problem(tmp_path)


def test_a_missing_record_is_named(good, damaged, tmp_path):
    (damaged / "run.json").unlink()
    assert counted(tmp_path) == {"maml"}
    assert "run.json is missing" in only_problem(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"text"', "null", "{}", "\x00\xff", '{"schema_number": 1}']
)
def test_an_unreadable_record_is_named(good, damaged, tmp_path, text):
    (damaged / "run.json").write_text(text, encoding="latin-1")
    assert counted(tmp_path) == {"maml"}
    assert "run.json is not readable" in only_problem(tmp_path)


def test_a_newer_schema_is_named(good, damaged, tmp_path):
    edit_json(damaged / "run.json", schema_number=99, invented_later=True)
    assert counted(tmp_path) == {"maml"}
    assert "schema 99" in only_problem(tmp_path)


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_a_run_that_is_not_done_is_kept_named_and_not_counted(good, tmp_path, status):
    write_run(tmp_path, make_spec("reptile"), status=status, error="loss is nan\nat step 3.")
    results = read_runs(tmp_path)
    assert counted(tmp_path) == {"maml"}
    assert [record.status for record in results.others] == [status]
    problem = only_problem(tmp_path)
    assert ("its process was killed" if status == "running" else status) in problem
    assert "loss is nan at step 3, so it is not counted" in problem


def test_fewer_episodes_than_asked_are_named_and_counted(damaged):
    write_lines(damaged, lines_of(damaged)[:5])
    assert "only 5 of the 8 episodes of the protocol" in only_problem(damaged)
    assert len(read_runs(damaged).runs[0].episodes) == 5


def test_a_repeated_index_is_named_and_the_first_counts(damaged):
    lines = lines_of(damaged)
    write_lines(damaged, [*lines, json.dumps({**json.loads(lines[2]), "score": 0.125})])
    assert (
        "1 line repeats the index of an earlier episode in episodes.jsonl and is not counted"
        in only_problem(damaged)
    )
    assert read_runs(damaged).runs[0].episodes.score.tolist() == [0.5] * 8


def test_an_episode_of_an_unknown_source_is_named(damaged):
    lines = lines_of(damaged)
    write_lines(damaged, [*lines, json.dumps({**json.loads(lines[0]), "index": 8, "source": "x"})])
    assert "1 episode has a source that is not in the spec and is not counted" in only_problem(
        damaged
    )


@pytest.mark.parametrize("score", ["null", "NaN", "Infinity"])
def test_a_score_that_is_not_finite_keeps_the_run_out(good, damaged, tmp_path, score):
    lines = lines_of(damaged)
    write_lines(damaged, [lines[0].replace("0.5", score), *lines[1:]])
    assert counted(tmp_path) == {"maml"}
    assert "1 episode has no finite score" in only_problem(tmp_path)


def test_a_spec_that_was_changed_by_hand_is_named(good, damaged, tmp_path):
    spec = json.loads((damaged / "run.json").read_text())["spec"]
    edit_json(damaged / "run.json", spec={**spec, "budget": "paper"})
    assert counted(tmp_path) == {"maml"}
    assert "is not the digest of the spec" in only_problem(tmp_path)


def test_a_record_from_before_a_field_was_added_still_counts(damaged):
    spec = json.loads((damaged / "run.json").read_text())["spec"]
    del spec["protocol"]["episode_seed"]  # has a default, as an added field must
    edit_json(damaged / "run.json", spec=spec, run_id=digest(spec))
    assert read_runs(damaged).problems == ()


def test_a_copied_run_is_counted_once(good, tmp_path):
    copy = write_run(tmp_path / "copy", make_spec("maml"))
    results = read_runs(tmp_path)
    assert len(results.runs) == 1
    (problem,) = results.problems
    assert str(good) in problem
    assert str(copy) in problem


@pytest.mark.parametrize(
    ("field", "value"),
    [("index", 2**63), ("index", -1), ("index", 10**400), ("n_params", 10**400), ("n_params", -1)],
)
def test_a_number_out_of_range_is_named_and_the_other_runs_are_read(
    good, damaged, tmp_path, field, value
):
    lines = lines_of(damaged)
    write_lines(damaged, [json.dumps({**json.loads(lines[0]), field: value}), *lines[1:]])
    problems = read_runs(tmp_path).problems
    assert counted(tmp_path) == {"maml", "reptile"}
    assert all(str(damaged) in problem for problem in problems)
    assert "1 line is not an episode and is not counted in episodes.jsonl" in problems[0]
    assert len(load_results(tmp_path)) == 15


@pytest.mark.parametrize("field", ["n_params", "steps_at_test", "train_classes", "selected_step"])
def test_a_record_with_a_number_out_of_range_is_named(good, damaged, tmp_path, field):
    edit_json(damaged / "run.json", **{field: 10**400})
    assert counted(tmp_path) == {"maml"}
    assert f"run.json is not readable: {field}" in only_problem(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("field", "wrap"),
    [
        ("val_score", lambda value: value),
        ("train_seconds", lambda value: value),
        ("measures", lambda value: {"genotypes": value}),
        (
            "provenance",
            lambda value: {**PROVENANCE.model_dump(mode="json"), "peak_memory_mib": value},
        ),
    ],
)
def test_a_record_with_what_is_no_number_is_named(good, damaged, tmp_path, field, wrap, value):
    edit_json(damaged / "run.json", **{field: wrap(value)})
    assert counted(tmp_path) == {"maml"}
    assert f"run.json is not readable: {field}" in only_problem(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "episodes.jsonl"])
@pytest.mark.parametrize("odd", ["pipe", "zero", "folder", "huge"])
def test_what_is_no_plain_file_is_named_and_not_waited_for(good, damaged, tmp_path, name, odd):
    path = damaged / name
    path.unlink()
    if odd == "pipe":
        os.mkfifo(path)
    elif odd == "zero":
        path.symlink_to("/dev/zero")
    elif odd == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 2**40)
    assert counted(tmp_path) == {"maml"}
    said = {"huge": "it has more than", "zero": "it is a link"}
    assert said.get(odd, "it is not a plain file") in only_problem(tmp_path)


def test_load_results_has_one_row_per_episode(tmp_path):
    spec = make_spec("maml", seed=3)
    write_run(tmp_path, spec, [i / 8 for i in range(8)], stamps=("smoke", "synthetic"))
    write_run(tmp_path, make_spec("reptile"), n_params=None)
    frame = load_results(tmp_path)
    assert ",".join(frame.columns) == (
        "suite,setting,budget,learner,backend,space,strategy,seed,run_id,config_id,source,index,"
        "key,score,n_params,stamps,metric"
    )
    assert len(frame) == 16
    maml = frame[frame.learner == "maml"]
    assert maml.score.tolist() == [i / 8 for i in range(8)]
    assert maml["index"].tolist() == list(range(8))
    assert set(maml.stamps) == {"smoke, synthetic"}
    assert set(maml.seed) == {3}
    assert set(maml.n_params) == {32901}
    assert set(maml.run_id) == {spec.run_id}
    assert set(maml.config_id) == {spec.config_id}
    assert frame[frame.learner == "reptile"].n_params.isna().all()
    assert maml.groupby("source").score.mean().to_dict() == pytest.approx(
        {"bird": 0.375, "texture": 0.5}
    )


def test_load_results_counts_done_runs_only_and_logs_the_others(good, tmp_path, caplog):
    write_run(tmp_path, make_spec("reptile"), status="failed", error="no memory")
    with caplog.at_level(logging.WARNING):
        frame = load_results(tmp_path)
    assert set(frame.learner) == {"maml"}
    assert "no memory" in caplog.text


def test_load_results_without_a_finished_run_has_its_columns(tmp_path):
    write_run(tmp_path, make_spec(), status="failed")
    frame = load_results(tmp_path)
    assert frame.shape == (0, 17)
    assert str(frame.score.dtype) == "float64"


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ("bbbbbtttt", "5 of bird, 4 of texture"),
        ("bbbbbttt", "5 of bird, 3 of texture"),  # as many as the protocol has, in all
    ],
)
def test_more_episodes_of_a_source_than_the_protocol_has_are_named(tmp_path, sources, said):
    path = write_run(tmp_path, make_spec(episodes=4)) / "episodes.jsonl"
    names = {"b": "bird", "t": "texture"}
    lines = [
        {"index": i, "source": names[letter], "key": f"{i}", "score": 0.5}
        for i, letter in enumerate(sources)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (problem,) = read_runs(tmp_path).problems
    assert f"{said}, but the protocol has 4 episodes of each source" in problem
