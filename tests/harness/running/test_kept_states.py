"""Checkpoints that are damaged or of something else are never trained on: they are set aside."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file

from metabench.conformance.bench import Bench, step
from metabench.conformance.samples import same
from metabench.errors import DataError
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.plugin.contracts.learner import Learner
from metabench.plugin.specs import RunEvent
from metabench.running import checkpoint
from metabench.running.engines.states import copied
from metabench.running.kept_states import check_position, load_kept
from metabench.running.loops import Control, Interrupted
from metabench.running.run import RunExecution

CPU = torch.device("cpu")
STEPS = 6
FILES = ("episodes.jsonl", "metrics.jsonl", "checkpoints/weights.safetensors")

Damage = Callable[[Path], None]


def planned(catalog: Catalog, learner: str = "maml", seed: int = 0, width: int = 4) -> PlannedRun:
    request = RunRequest(
        learners=(learner,),
        suite="toy-regression",
        budget="smoke",
        seeds=(seed,),
        changes={
            "budget": {"meta_steps": STEPS, "meta_batch": 1, "val_every": 2},
            "protocol": {"episodes": 2, "val_episodes": 2, "selection": "meta-val"},
            "space": {"width": width},
        },
    )
    return plan(request, catalog)[0]


def make(
    run: PlannedRun, catalog: Catalog, out: Path, *, stop_at: int | None = None
) -> tuple[Path, list[str]]:
    """Make a run, or stop it at a meta-step; return its folder and the sentences."""
    events: list[RunEvent] = []
    asked = iter(range(10**6))

    def stopped() -> bool:
        # Meta-validation after every other step asks as well.
        return stop_at is not None and next(asked) >= stop_at

    control = Control(emit=events.append, stopped=stopped, checkpoint_seconds=0.0)
    execution = RunExecution(run, catalog, out=out, device=CPU, control=control)
    try:
        execution()
    except Interrupted:
        assert stop_at is not None
    return execution.store.folder, [event.text for event in events if event.kind == "message"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in its training, with its last and its best state."""
    catalog, out = load_catalog(), tmp_path_factory.mktemp("stopped")
    folder, _ = make(planned(catalog), catalog, out, stop_at=5)
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert names == {"last.safetensors", "best.safetensors"}
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same run, undisturbed."""
    catalog, out = load_catalog(), tmp_path_factory.mktemp("whole")
    return make(planned(catalog), catalog, out)[0]


def kept_by(learner: str = "maml", seed: int = 0, width: int = 4) -> Damage:
    """Put the state of another run in the place of a checkpoint."""

    def replace(path: Path) -> None:
        catalog, out = load_catalog(), path.parents[1] / "other"
        folder, _ = make(planned(catalog, learner, seed, width), catalog, out, stop_at=5)
        shutil.copy(folder / "checkpoints" / path.name, path)
        shutil.rmtree(out)

    return replace


def bytes_changed(change: Callable[[bytes], bytes]) -> Damage:
    return lambda path: path.write_bytes(change(path.read_bytes())) and None


def written_anew(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Change what a checkpoint holds, and write it as metabench does."""

    def damage(path: Path) -> None:
        state = checkpoint.load(path)
        change(state)
        checkpoint.save(path, state)

    return damage


def first_tensor(state: dict[str, Any]) -> tuple[dict[Any, Any], Any]:
    """The first mapping in a state that holds a tensor, and its key."""
    for key, value in state.items():
        if isinstance(value, torch.Tensor):
            return state, key
        if isinstance(value, dict) and value:
            return first_tensor(value)
    raise AssertionError(f"no tensor in {state}")


def tensors(change: Callable[[dict[Any, Any], Any], object]) -> Damage:
    return written_anew(lambda state: change(*first_tensor(state["learner"])))


def a_list(path: Path) -> None:
    save_file({}, path, metadata={"skeleton": '{"list": [1, 2]}'})


def nested_deep(path: Path) -> None:
    save_file({}, path, metadata={"skeleton": "[" * 100_000 + "]" * 100_000})


def foreign(path: Path) -> None:
    save_file({"w": torch.zeros(3)}, path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Damage] = {
    "empty": bytes_changed(lambda data: b""),
    "half": bytes_changed(lambda data: data[: len(data) // 2]),
    "one byte short": bytes_changed(lambda data: data[:-1]),
    "zeros": bytes_changed(lambda data: bytes(len(data))),
    "one bit": bytes_changed(lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]),
    "a list": a_list,
    "deep": nested_deep,
    "foreign": foreign,
    "a folder": a_folder,
    "no learner": written_anew(lambda state: state.pop("learner")),
    "a learner in words": written_anew(lambda state: state.update(learner="maml")),
    "no step": written_anew(lambda state: state.pop("step")),
    **{
        f"step {step!r}": written_anew(lambda state, step=step: state.update(step=step))
        for step in (-1, 10**9, 2.5, 3.0, "3", True, None, [3])
    },
    "another name": tensors(lambda group, key: group.update({f"{key}_": group.pop(key)})),
    "no tensor": tensors(lambda group, key: group.pop(key)),
    "a number for a tensor": tensors(lambda group, key: group.update({key: 0.5})),
    "another shape": tensors(lambda group, key: group.update({key: group[key].flatten()[:1]})),
    "a dimension more": tensors(lambda group, key: group.update({key: group[key][None]})),
    "another type": tensors(lambda group, key: group.update({key: group[key].double()})),
    "another learner": kept_by("reptile"),
    "another seed": kept_by(seed=1),
    "another width": kept_by(width=5),
}
OF_LAST: dict[str, Damage] = {
    "best in words": written_anew(lambda state: state.update(best="good")),
    "best not finite": written_anew(lambda state: state.update(best=float("nan"))),
    "skipped below 0": written_anew(lambda state: state.update(skipped=-1)),
    "in a row in words": written_anew(lambda state: state.update(in_a_row="many")),
    "pending in words": written_anew(lambda state: state.update(pending="loss")),
    "pending of no scalars": written_anew(lambda state: state.update(pending=[{"a": "b"}])),
}
QUICK = ("half", "one bit", "step -1", "another shape", "another learner", "another width")
"""The damages that are tried each time; all of them are tried before a release."""
EXHAUSTIVE = [pytest.mark.slow, pytest.mark.exhaustive]
CASES = [
    pytest.param(
        name,
        damage,
        id=f"{name}-{kind}",
        marks=[] if kind in QUICK and name == "last" else EXHAUSTIVE,
    )
    for name, damages in (
        ("last", {**DAMAGES, **OF_LAST}),
        ("best", DAMAGES),
    )
    for kind, damage in damages.items()
]


@pytest.mark.parametrize(("name", "damage"), CASES)
def test_a_damaged_state_is_set_aside_and_the_training_begins_anew(
    catalog: Catalog, tmp_path: Path, stopped: Path, whole: Path, name: str, damage: Damage
) -> None:
    out = shutil.copytree(stopped, tmp_path / "out")
    (path,) = out.rglob(f"{name}.safetensors")
    damage(path)
    folder, said = make(planned(catalog), catalog, out)
    about = [text for text in said if str(path) in text]
    assert len(about) == 1
    assert about[0].endswith("and the training begins anew.")
    assert "\n" not in about[0]
    assert [one.name for one in out.rglob("*.damaged")] == [f"{name}.safetensors.damaged"]
    for file in FILES:
        assert (folder / file).read_bytes() == (whole / file).read_bytes(), file


@pytest.mark.parametrize("kind", ["half", "another shape", "another seed"])
def test_damaged_weights_of_an_unfinished_test_are_trained_again(
    catalog: Catalog, tmp_path: Path, whole: Path, kind: str
) -> None:
    out = shutil.copytree(whole.parents[2], tmp_path / "out")
    (path,) = out.rglob("weights.safetensors")
    other = tmp_path / "other"
    if kind == "another seed":
        folder, _ = make(planned(catalog, seed=1), catalog, other)
        shutil.copy(folder / "checkpoints" / path.name, path)
    else:
        DAMAGES[kind](path)
    (path.parents[1] / "episodes.jsonl").unlink()
    folder, said = make(planned(catalog), catalog, out)
    assert [text for text in said if str(path) in text]
    for file in FILES:
        assert (folder / file).read_bytes() == (whole / file).read_bytes(), file


def test_best_weights_that_are_gone_are_trained_again(
    catalog: Catalog, tmp_path: Path, stopped: Path, whole: Path
) -> None:
    out = shutil.copytree(stopped, tmp_path / "out")
    next(out.rglob("best.safetensors")).unlink()
    folder, said = make(planned(catalog), catalog, out)
    assert any("The best weights of the training are gone" in text for text in said)
    for file in FILES:
        assert (folder / file).read_bytes() == (whole / file).read_bytes(), file


def test_a_state_of_an_older_version_is_used(
    catalog: Catalog, tmp_path: Path, stopped: Path, whole: Path
) -> None:
    """It has neither a digest nor the id of its training."""
    out = shutil.copytree(stopped, tmp_path / "out")
    for path in out.rglob("*.safetensors"):
        state = checkpoint.load(path)
        del state[checkpoint.TRAINING_ID]
        named: dict[str, torch.Tensor] = {}
        skeleton = checkpoint.json.dumps(checkpoint._strip(state, named, ""))
        save_file(named, path, metadata={"skeleton": skeleton})
    folder, said = make(planned(catalog), catalog, out)
    assert [text for text in said if text.startswith("resumes at meta-step")]
    assert not list(out.rglob("*.damaged"))
    assert (folder / FILES[0]).read_bytes() == (whole / FILES[0]).read_bytes()


def test_scalars_of_one_element_are_scalars(tmp_path: Path) -> None:
    pending = [{"loss": torch.ones(1), "other": torch.tensor(2.0), "third": 3.0}]
    check_position({"step": 1, "pending": pending}, path=tmp_path, most=1)


def test_a_learner_that_takes_any_shape_is_held_to_the_one_it_had(tmp_path: Path) -> None:
    bench = Bench(CATALOG.learner("reptile"), "regression", lambda: CATALOG, searched=False)
    state = bench.fresh().state_dict()
    name = next(iter(state["weights"]))
    state["weights"] = {**state["weights"], name: state["weights"][name][..., :1]}
    with pytest.raises(DataError, match=rf"weights\.{name} is float32.*, and the learner has"):
        load_kept(bench.fresh(), state, path=tmp_path)


def test_a_state_is_not_blamed_where_memory_is_too_small(tmp_path: Path) -> None:
    class Large:
        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: Any) -> None:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        load_kept(cast(Learner, Large()), {}, path=tmp_path)


CATALOG = load_catalog()
EACH_TIME = {("maml", "regression"), ("mnas-shared", "regression")}
"""Learners that are tried each time; the second one changes its network with its phase."""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[] if (name, kind) in EACH_TIME else EXHAUSTIVE)
        for name, spec in sorted(CATALOG.learners.items())
        if spec.trains
        for kind in spec.kinds
    ],
)
def test_every_learner_takes_what_it_kept_in_any_phase(
    tmp_path: Path, name: str, kind: Any
) -> None:
    spec = CATALOG.learner(name)
    bench = Bench(spec, kind, lambda: CATALOG, searched=spec.searches)
    path = tmp_path / "state.safetensors"
    trained, n = bench.fresh(), 0
    for until in (1, 6, 10):
        step(bench, trained, first=n, n_steps=until - n)
        n = until
        checkpoint.save(path, trained.state_dict())
        kept = checkpoint.load(path)
        learner = bench.fresh()
        load_kept(learner, checkpoint.without_training(kept), path=path, whole=False)
        load_kept(learner, kept, path=path)
        assert same(copied(learner.state_dict()), copied(trained.state_dict()))
