"""Results folders of several people become one: equal runs once, others told, nothing lost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from result_factory import PROVENANCE, edit_json, make_spec, seal, with_score, write_run
from state_factory import at_work

import metabench
from metabench.durable import locked
from metabench.errors import DataError, MetabenchError, UsageError
from metabench.planning.runspec import EpisodeProtocol
from metabench.results.merging import writing
from metabench.results.reading import read_runs

SPEC = make_spec()
PLACE = f"multidataset@5w1s/maml/{SPEC.run_id}"
SCORES = [0.5, 0.25, 0.75, 0.5, 0.5, 0.25, 0.75, 0.5]
DENSE = {"grid": {"low": 0.0, "high": 1.0, "points": 10}}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders are named as a user does, from where they are."""
    monkeypatch.chdir(tmp_path)


def made(out: str, scores: list[float] = SCORES, seed: int = 0, **changes: Any) -> Path:
    made_with = {
        name: changes.pop(name) for name in ("packages", "device", "code") if name in changes
    }
    provenance = PROVENANCE.model_copy(update=made_with)
    spec = changes.pop("spec", make_spec(seed=seed))
    folder = write_run(Path(out), spec, scores, provenance=provenance, **changes)
    return seal(folder) if changes.get("status", "done") == "done" else folder


def with_files(folder: Path, **contents: str) -> Path:
    for name, content in contents.items():
        path = folder / name.replace("__", "/").replace("_jsonl", ".jsonl").replace("_st", ".st")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return folder


def tree(folder: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_runs_of_both_are_there_and_equal_ones_once() -> None:
    made("A")
    made("A", seed=1), made("B"), made("B", seed=2)
    before = tree("A"), tree("B")
    merged = metabench.merge("A", "B", out="C")
    assert (tree("A"), tree("B")) == before
    assert tree("C") == {**before[1], **before[0]}
    assert merged.new == 3
    assert str(merged) == "C has 3 runs (2 from A, 1 from B); 3 of them are new."
    assert (merged.conflicts, merged.left_out, merged.notes) == ((), (), ())
    assert {run.seed for run in merged.runs} == {0, 1, 2}
    assert len(read_runs("C").runs) == 3
    assert read_runs("C").problems == ()


def test_the_same_again_changes_nothing() -> None:
    made("A")
    made("B", seed=1)
    metabench.merge("A", "B", out="C")
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in Path("C").rglob("*")}
    merged = metabench.merge("A", "B", out="C")
    assert merged.new == 0
    after = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in Path("C").rglob("*")}
    assert after == before


def test_a_dry_run_writes_nothing() -> None:
    made("A")
    merged = metabench.merge("A", out="C", dry_run=True)
    assert merged.new is None
    assert str(merged) == "C would have 1 run (1 from A)."
    assert not Path("C").exists()


def test_other_scores_are_a_conflict_and_nothing_is_written() -> None:
    made("A", packages={"torch": "2.5.0"})
    made("A", seed=1)
    made("B", [0.5, 0.5, *SCORES[2:]], packages={"torch": "2.6.0"}, device="cuda:0 (NVIDIA H200)")
    words = (
        f"{PLACE}: A and B disagree: 1 of 8 episodes has other scores, by 25 at most (the mean of "
        "all is 50.00 or 53.12); they were made with torch 2.5.0 or 2.6.0, device cpu or cuda "
        "(NVIDIA H200)."
    )
    with pytest.raises(DataError, match="1 disagreement, so nothing was written") as caught:
        metabench.merge("A", "B", out="C")
    assert words in caught.value.message
    assert "--prefer" in caught.value.hint
    assert not Path("C").exists()
    assert metabench.merge("A", "B", out="C", check=False).conflicts == (words,)
    assert not Path("C").exists()


@pytest.mark.parametrize("preferred", ["A", "B", "./B/"])
def test_the_user_may_say_whose_scores_count(preferred: str) -> None:
    folders = {"A": made("A"), "B": made("B", SCORES[::-1])}
    merged = metabench.merge("A", "B", out="C", prefer=preferred)
    name = preferred.strip("./")
    assert (Path("C") / PLACE / "episodes.jsonl").read_bytes() == (
        folders[name] / "episodes.jsonl"
    ).read_bytes()
    (note,) = merged.notes
    assert "A and B disagree" in note
    assert note.endswith(f" That of {name} is taken.")
    assert metabench.merge("A", "B", out="C", prefer=preferred).new == 0


def test_what_is_there_is_never_replaced_by_other_scores() -> None:
    made("A")
    made("B", SCORES[::-1])
    metabench.merge("A", out="C")
    before = tree("C")
    with pytest.raises(DataError, match="C and B disagree"):
        metabench.merge("B", out="C", prefer="B")
    metabench.merge("B", out="C", prefer="C")
    assert tree("C") == before


def test_equal_scores_made_otherwise_are_told_of() -> None:
    made("A", code={"harness": "metabench 1 aa"})
    made("B", code={"harness": "metabench 1 bb"})
    merged = metabench.merge("A", "B", out="C")
    assert merged.notes == (
        f"{PLACE}: A and B have the same scores, made with other code of harness.",
    )


def test_seeds_of_one_row_that_unlike_code_made_are_told_of() -> None:
    made("A", packages={"torch": "2.5.0"})
    made("B", packages={"torch": "2.6.0"}, seed=1)
    assert metabench.merge("A", "B", out="C").notes == (
        "maml on multidataset@5w1s, budget lite: torch 2.5.0 for seed 0, torch 2.6.0 for seed 1.",
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_fingerprint": "f" * 16}, "data_fingerprint 0123456789abcdef or ffffffffffffffff"),
        (
            {"protocol": EpisodeProtocol(ways=5, shots=1, queries=15, episodes=4)},
            "queries 1 or 15",
        ),
        ({"suite_version": 2}, "suite version 1 or 2"),
    ],
)
def test_suites_and_data_that_are_unlike_are_told_of(change: dict[str, Any], words: str) -> None:
    made("A")
    made("B", spec=make_spec("reptile", **change))
    (note,) = metabench.merge("A", "B", out="C").notes
    assert note == (
        f"multidataset@5w1s, budget lite, is not the same in A and B: {words}. Such runs are not "
        "compared."
    )


def test_a_stamped_change_is_no_other_suite() -> None:
    made("A")
    protocol = EpisodeProtocol(ways=5, shots=1, queries=1, episodes=2)
    made("B", SCORES[:4], spec=make_spec(protocol=protocol), stamps=("limit",))
    assert metabench.merge("A", "B", out="C").notes == ()


def test_a_finished_run_comes_before_a_half_done_one() -> None:
    half = made("A", status="interrupted")
    with_files(half, checkpoints__last_st="state", metrics_jsonl="{}\n")
    whole = made("B")
    merged = metabench.merge("A", "B", out="C")
    assert merged.notes == (f"{PLACE}: the run of B is done, and is taken; that of A is not.",)
    assert tree("C") == {f"{PLACE}/{name}": data for name, data in tree(str(whole)).items()}


def test_of_half_done_runs_the_furthest_is_taken_and_later_its_end() -> None:
    for name, lines in (("A", 2), ("B", 4)):
        with_files(made(name, SCORES[:lines], status="interrupted"), checkpoints__last_st=name)
    merged = metabench.merge("A", "B", out="C")
    assert [run.taken_from for run in merged.runs] == ["B"]
    (note,) = merged.notes
    assert note == (
        f"{PLACE}: the run is not finished; that of B is taken, which is further than that of A."
    )
    checkpoint = Path("C") / PLACE / "checkpoints" / "last.st"
    assert checkpoint.read_text() == "B"
    checkpoint.rename(checkpoint.with_suffix(".safetensors"))
    with_files(Path("B") / PLACE, metrics_jsonl="{}\n")
    edit_json(Path("A") / PLACE / "run.json", status="done")
    (Path("A") / PLACE / "episodes.jsonl").unlink()
    (Path("A") / PLACE / "run.json").unlink()
    Path("A", PLACE, "checkpoints", "last.st").unlink()
    Path("A", PLACE, "checkpoints").rmdir()
    Path("A", PLACE).rmdir()
    whole = made("A")
    assert metabench.merge("A", "B", out="C").new == 1
    # The state of a training that is over would be taken for the weights that were tested.
    assert not checkpoint.with_suffix(".safetensors").exists()
    assert read_runs("C").runs[0].record == read_runs(whole).runs[0].record


def test_files_that_only_one_has_are_added() -> None:
    first = with_files(made("A"), fits_jsonl="{}\n")
    second = with_files(made("B"), checkpoints__weights_st="weights", timings_jsonl="{}\n")
    dense = (second / "episodes.jsonl").read_text()
    with_files(second, evaluations__dense_jsonl=dense)
    edit_json(second / "run.json", evaluations={"dense": DENSE})
    seal(second)
    metabench.merge("A", "B", out="C")
    merged = Path("C") / PLACE
    files = {*tree(str(first)), *tree(str(second))}
    assert {*tree(str(merged))} == files
    (run,) = read_runs("C").runs
    assert "dense" in run.evaluations
    assert read_runs("C").problems == ()
    assert run.record.digests.keys() == {"episodes.jsonl", "evaluations/dense.jsonl"}
    assert metabench.merge("A", "B", out="C").new == 0


def test_a_lacking_metric_is_told_of() -> None:
    made("A")
    second = made("B")
    lines = [json.loads(line) for line in (second / "episodes.jsonl").read_text().splitlines()]
    rows = (json.dumps({**line, "metrics": {"nll": 1.5}}) for line in lines)
    (second / "episodes.jsonl").write_text("".join(f"{row}\n" for row in rows))
    nll = {"name": "nll", "title": "nll", "better": "smaller", "kinds": ["classification"]}
    accuracy = {**nll, "name": "accuracy", "better": "larger", "percent": True}
    edit_json(second / "run.json", metrics={"accuracy": accuracy, "nll": nll})
    seal(second)
    merged = metabench.merge("A", "B", out="C")
    assert [run.taken_from for run in merged.runs] == ["B"]
    metabench.merge("A", out="D")
    (note,) = metabench.merge("B", out="D").notes
    assert note == (
        f"{PLACE}: the scores are those of D, which lack nll. The command of the run computes it "
        "with --metric nll."
    )


def test_checkpoints_are_linked_and_files_that_grow_are_copied() -> None:
    folder = with_files(made("A"), checkpoints__weights_st="weights", metrics_jsonl="{}\n")
    seal(folder)
    metabench.merge("A", out="C")
    merged = Path("C") / PLACE
    linked = [name for name in tree(str(folder)) if (folder / name).samefile(merged / name)]
    assert linked == ["checkpoints/weights.st"]


def test_where_files_cannot_be_linked_they_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    folder = with_files(made("A"), checkpoints__weights_st="weights")
    metabench.merge("A", out="C")
    assert tree(str(Path("C") / PLACE)) == tree(str(folder))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: with_score(run, 0.125), "episodes.jsonl was changed since the run wrote it."),
        (lambda run: (run / "run.json").write_text("{"), "run.json is not readable"),
        (lambda run: edit_json(run / "run.json", run_id="0" * 16), "is not the digest of the spec"),
        (lambda run: (run / "run.json").unlink(), "run.json is missing."),
        (lambda run: (run / "episodes.jsonl").unlink(), "episodes.jsonl is missing."),
        (lambda run: write_link(run / "episodes.jsonl"), "episodes.jsonl is a link"),
        (lambda run: write_link(run / "run.json"), "run.json is a link"),
        (lambda run: edit_spec(run, suite="../../up"), "the names in its record make no path"),
        (lambda run: edit_spec(run, suite="/up"), "the names in its record make no path"),
    ],
)
def test_a_damaged_run_is_left_out_and_named(damage: Any, words: str) -> None:
    run = made("A")
    made("B", seed=1)
    damage(run)
    merged = metabench.merge("A", "B", out="C")
    assert [one.seed for one in merged.runs] == [1]
    assert words in " ".join(merged.left_out)
    assert str(run) in " ".join(merged.left_out)
    assert len(read_runs("C").runs) == 1
    assert {path.name for path in Path().iterdir()} <= {"A", "B", "C", "elsewhere"}


def write_link(path: Path) -> None:
    path.rename("elsewhere")
    path.symlink_to(Path("elsewhere").absolute())


def edit_spec(run: Path, **changes: Any) -> None:
    spec = SPEC.model_copy(update=changes)
    edit_json(run / "run.json", spec=spec.model_dump(mode="json"), run_id=spec.run_id)


def test_a_damaged_copy_gives_way_to_a_whole_one() -> None:
    with_score(made("A"), 0.125)
    whole = made("B")
    merged = metabench.merge("A", "B", out="C")
    assert [run.taken_from for run in merged.runs] == ["B"]
    assert len(merged.left_out) == 1
    assert tree(str(Path("C") / PLACE)) == tree(str(whole))


def test_a_damaged_run_that_is_there_is_not_replaced() -> None:
    made("A")
    there = made("C")
    with_score(there, 0.125)
    before = tree("C")
    made("A", seed=1)
    merged = metabench.merge("A", out="C")
    words = f"A/{PLACE}: the run in C is damaged or under way, and is not replaced."
    assert merged.left_out == (words,)
    assert {name: data for name, data in tree("C").items() if name in before} == before
    assert len(read_runs("C").runs) == 1


def test_a_run_under_way_is_left_out_until_it_is_done() -> None:
    run = made("A")
    made("A", seed=1)
    with at_work(run):
        merged = metabench.merge("A", out="C")
    assert merged.left_out == (f"{run}: the run is under way; merge again when it is done.",)
    assert [one.seed for one in merged.runs] == [1]
    assert metabench.merge("A", out="C").new == 1


def test_links_are_not_followed() -> None:
    Path("secret").mkdir()
    Path("secret/weights.st").write_text("secret")
    run = made("A")
    (run / "checkpoints").symlink_to(Path("secret").absolute())
    made("B", seed=1)
    Path("A/more").symlink_to(Path("B").absolute())
    merged = metabench.merge("A", out="C")
    assert len(merged.runs) == 1
    assert {*merged.left_out} == {
        f"{run / 'checkpoints'} is a link or no plain file, so it stays.",
        "A/more is a link or no plain file, so it stays.",
    }
    assert b"secret" not in tree("C").values()


def test_files_of_others_stay_and_are_told_of() -> None:
    made("A")
    Path("A/README.md").write_text("mine")
    assert metabench.merge("A", out="C").notes == (
        "A: not of metabench and not taken: 1 file, such as README.md.",
    )


def test_folders_below_keep_their_names() -> None:
    made("A/cpu")
    made("A/gpu", SCORES[::-1])
    run = made("B")
    run.rename(run.with_name("renamed"))
    merged = metabench.merge("A", "B/multidataset@5w1s", out="C")
    assert {run.place for run in merged.runs} == {f"cpu/{PLACE}", f"gpu/{PLACE}", PLACE}
    disagree, same = sorted(merged.notes)
    assert f"cpu/{PLACE} and gpu/{PLACE} are one run, and disagree: 4 of 8" in disagree
    assert f"cpu/{PLACE} and {PLACE} are one run, and have the same scores." in same


@pytest.mark.parametrize("half_done", [False, True])
@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_merge_that_was_cut_off_is_finished(
    monkeypatch: pytest.MonkeyPatch, fails_at: int, *, half_done: bool
) -> None:
    run = with_files(made("A"), checkpoints__weights_st="weights", metrics_jsonl="{}\n")
    seal(run)
    if half_done:
        there = with_files(made("C", SCORES[:2], status="interrupted"), metrics_jsonl="{}\n")
        (there / "checkpoints").mkdir()
        (there / "checkpoints" / "last.safetensors").write_text("state")
    put, left = writing._copy, fails_at

    def cut(source: Path, target: Path) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(28, "No space left on device", str(target))
        put(source, target)

    monkeypatch.setattr(writing, "_copy", cut)
    with pytest.raises(OSError, match="No space left"):
        metabench.merge("A", out="C")
    assert not [*Path("C").rglob("run.json")]  # what has one is whole
    metabench.merge("A", out="C")
    assert tree("C") == tree("A")


def test_a_run_that_is_at_work_in_the_merged_folder_is_not_touched() -> None:
    made("A")
    there = made("C", status="running")
    with at_work(there):
        merged = metabench.merge("A", out="C")
    assert "the run in C is damaged or under way" in merged.left_out[0]
    assert json.loads((there / "run.json").read_text())["status"] == "running"


@pytest.mark.parametrize(
    ("folders", "out", "prefer", "words"),
    [
        (("A", "B"), "A/C", None, "A/C lies in A, so a merge would read what it writes"),
        (("A/multidataset@5w1s",), "A", None, "lies in A, so a merge would read"),
        (("A", "B"), "A", None, "A and A are the same folder"),
        (("A", "B", "./A"), "C", None, "A and A are the same folder"),
        (("A", "A/multidataset@5w1s"), "C", None, "whose runs are merged anyway"),
        (("A", "B"), "C", "D", "--prefer D is none of the folders"),
        ((), "C", None, "No folder is named"),
    ],
)
def test_folders_that_make_no_sense_are_refused(
    folders: tuple[str, ...], out: str, prefer: str | None, words: str
) -> None:
    made("A")
    made("B", seed=1)
    before = tree(".")
    with pytest.raises(UsageError, match=words):
        metabench.merge(*folders, out=out, prefer=prefer)
    assert tree(".") == before


def test_folders_without_runs_are_named() -> None:
    made("A")
    Path("B").mkdir()
    for folder, words in (("B", "There is no run below B"), ("D", "There is no folder D")):
        with pytest.raises(MetabenchError, match=words):
            metabench.merge("A", folder, out="C")
    assert not Path("C").exists()


def test_a_run_that_begins_during_the_merge_is_named() -> None:
    made("A")
    store = Path("C") / PLACE
    store.mkdir(parents=True)
    with locked(store / ".lock"), pytest.raises(MetabenchError, match="Another process is working"):
        metabench.merge("A", out="C")
    assert not (store / "run.json").exists()
