"""Weights in files: written from a finished run, read back, or read as tensors from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from metabench.data.plain_files import require_plain
from metabench.errors import DataError, UsageError
from metabench.planning.evaluating import TrainedWeights
from metabench.planning.learners import check_learner
from metabench.planning.networks import describe_network
from metabench.planning.source_data import load_data
from metabench.planning.starting_weights import (
    RECORD,
    read_foreign,
    starting_at,
    texts_of_weights,
)
from metabench.plugin.contracts.learner import Learner
from metabench.results.figure_data import command_again
from metabench.results.schema import RunRecord
from metabench.results.store import RunStore
from metabench.running import checkpoint
from metabench.running.build import build
from metabench.running.checkpoint import named_tensors, without_training
from metabench.running.engines.states import copied
from metabench.running.kept_states import tensors_to_fit
from metabench.values import digest

if TYPE_CHECKING:
    from metabench.planning.plan import PlannedRun
    from metabench.plugin.catalog import Catalog

OF_TRAINING = (
    "conditions",
    "phases",
    "train_classes",
    "train_queries",
    "train_seconds",
    "train_shots",
    "train_ways",
)
"""Fields of a record that are about the training."""
_STATES = ("learner", "others")


def export_weights(folder: Path, out: Path) -> None:
    """Write the weights that a finished run tested, and its record, to one safetensors file.

    Args:
        folder: of the run.
        out: the file to write.

    Raises:
        DataError: when the run is not trained, or its weights are gone.
    """
    record, path = _of_run(folder)
    checkpoint.save(out, checkpoint.load(path), about={RECORD: record.model_dump_json()})


def read_trained(path: Path) -> TrainedWeights | None:
    """The weights of an exported file or of the folder of a run; None for a file from elsewhere.

    Raises:
        DataError: when there is no such file, it is damaged, or the run has no weights.
    """
    if path.is_dir():
        record, file = _of_run(path)
    else:
        file, text = path, _texts(path).get(RECORD)
        if text is None:
            return None
        try:
            record = RunRecord.model_validate_json(text)
        except ValueError as error:
            raise DataError(
                f"The record in {path} cannot be read.",
                hint="Export the run again, with the metabench that made it.",
            ) from error
    facts = {name: getattr(record, name) for name in OF_TRAINING}
    return TrainedWeights(
        path=path,
        spec=record.spec.with_files(record.provenance.files or {}),
        digest=digest_of(checkpoint.load(file)),
        train_classes=record.train_classes,
        stamps=record.stamps,
        facts={**facts, "training_from": record.training_from or record.run_id},
    )


def digest_of(state: Mapping[str, Any]) -> str:
    """A digest of the tensors of a state of training that adaptation needs."""
    return _digest(named_tensors({name: state.get(name) for name in _STATES}))


def _digest(tensors: Mapping[str, Tensor]) -> str:
    return digest(
        {
            name: [str(tensor.dtype), list(tensor.shape), _bytes(tensor)]
            for name, tensor in tensors.items()
        }
    )


def _bytes(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(flat.numpy().tobytes()).hexdigest()


def _of_run(folder: Path) -> tuple[RunRecord, Path]:
    """The record of a trained run and the file of its weights."""
    store = RunStore(folder)
    record = store.read_record()
    if record is None or record.status not in ("done", "trained"):
        raise DataError(
            f"There is no finished run in {folder}.", hint="Run its command again to finish it."
        )
    if not record.spec.has_weights:
        raise DataError(
            f"The run in {folder} trained nothing, so it has no weights.",
            hint="Choose a run with meta-steps.",
        )
    path = store.tested_weights(record.spec.protocol.selection)
    if not path.exists():
        raise DataError(
            f"No weights are left in {folder}.",
            hint=f"Train again into another folder: {command_again(record)}",
        )
    return record, path


def _texts(path: Path) -> Mapping[str, str]:
    """The texts beside the tensors of a safetensors file; {} for another file.

    Raises:
        DataError: when there is no such file, or it is a run's own checkpoint.
    """
    if not path.is_file():
        raise DataError(
            f"There is no file {path}.", hint="Name exported weights, or the folder of a run."
        )
    try:
        require_plain(path)
        return texts_of_weights(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except SafetensorError as error:
        if path.suffix == ".safetensors":
            raise DataError(f"{path} is damaged: {error}.", hint="Export it again.") from error
        return {}


# Weights from elsewhere ---------------------------------------------------------------------------


def digest_of_foreign(path: Path) -> str:
    """A digest of the tensors of a file from elsewhere; raises as :func:`read_foreign`."""
    return _digest(read_foreign(path))


def check_foreign(planned: PlannedRun, catalog: Catalog) -> None:
    """Refuse weights from elsewhere that do not fit the network of a run, before it is made.

    Raises:
        UsageError: when the learner has its own network, or refuses such a start.
        DataError: as :func:`starting_at`.
    """
    spec, path = planned.spec, planned.weights
    assert path is not None
    if spec.space is None:
        raise UsageError(
            f"Learner {spec.learner.name} has its own network, so it takes no weights of one.",
            hint="Choose another learner with --learner.",
        )
    loaded = [load_data(choice, catalog, data=spec.data) for choice in spec.sources]
    weights, named = read_foreign(path), describe_network(spec, catalog)
    start = partial(starting_at, weights=weights, named=named, file=path)
    check_learner(spec, loaded, catalog, start=start)


# The weights of a run that does not train ---------------------------------------------------------


def place_weights(
    store: RunStore, planned: PlannedRun, catalog: Catalog, *, device: torch.device
) -> None:
    """Write the weights that a run is to test into its folder.

    Raises:
        DataError: when their file is gone, has changed since the run was planned, or does not fit.
    """
    spec, path = planned.spec, planned.weights
    assert spec.weights is not None
    if path is None:
        raise DataError(f"The weights of the run in {store.folder} are gone.")
    if spec.weights.training:
        file = _of_run(path)[1] if path.is_dir() else path
        if not file.is_file():
            raise DataError(f"There is no file {path} any more.", hint="Put it back.")
        state = checkpoint.load(file)
        now = digest_of(state)
    else:
        weights = read_foreign(path)
        now = _digest(weights)
        built = build(
            spec,
            catalog,
            device=device,
            start=partial(
                starting_at, weights=weights, named=describe_network(spec, catalog), file=path
            ),
        )
        learner = without_training(built.learner.state_dict())
        state = {"step": 0, "skipped": None, "score": None, "learner": learner}
    if now != spec.weights.digest:
        raise DataError(
            f"The weights in {path} have changed since this run was planned.",
            hint="Run the command again: it is then another run.",
        )
    kept = {"step": state["step"], "skipped": state.get("skipped"), "score": state.get("score")}
    kept |= {name: state[name] for name in _STATES if name in state}
    checkpoint.save(store.weights, kept)


def load_given(learner: Learner, state: Mapping[str, Any], *, place: str) -> None:
    """Load weights that were trained on other tasks, which may not fit.

    Args:
        learner: gets them.
        state: of the learner that trained them.
        place: suite and setting of the test.

    Raises:
        DataError: when they do not fit.
    """
    fresh = copied(without_training(learner.state_dict()))
    try:
        learner.load_state_dict(state)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = _other_shape(named_tensors(fresh), state) or " ".join(str(error).split())
        raise _misfit(place, reason) from error
    after, kept = without_training(learner.state_dict()), without_training(state)
    if reason := _other_shape(tensors_to_fit(fresh, after, kept), state):
        raise _misfit(place, reason)


def _other_shape(own: Mapping[str, Tensor], state: Mapping[str, Any]) -> str:
    """The first tensor that has another shape in a state, in words; "" for none."""
    for name, tensor in named_tensors(without_training(state)).items():
        if name in own and own[name].shape != tensor.shape:
            there = list(own[name].shape)
            return f"{name} is {list(tensor.shape)}, and the network there has {there}"
    return ""


def _misfit(place: str, reason: str) -> DataError:
    return DataError(
        f"The weights do not fit {place}: {reason.rstrip('.')}.",
        hint="A network takes as many classes, and examples of the same shape, as in its training.",
    )
