"""Weights from a file as the initial weights of a network: read, checked against it, put in."""

from __future__ import annotations

import shlex
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor

from metabench.data.plain_files import open_plain, require_plain
from metabench.data.zips import open_zip
from metabench.errors import DataError, UsageError
from metabench.planning.networks import describe_network
from metabench.planning.runspec import RunSpec
from metabench.plugin.contracts.architecture import Params
from metabench.plugin.contracts.space import SearchSpace, StatefulSpace
from metabench.sampling.seeding import generator

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

RECORD = "record"
"""The text beside exported tensors that holds the record of their run."""
STATE = "skeleton"
"""The text beside tensors in a file of ours that says what state they make up."""
_OF_LEARNER = "learner.weights."
"""How the weights of a network begin in a file of ``metabench export``."""
MOST_NAMED = 5
"""Tensors that do not fit, of each kind, that one sentence names."""


def check_start(spec: RunSpec) -> None:
    """Refuse a file of weights for a run that has no network for it, or does not train.

    Args:
        spec: of the run; without such a file there is nothing to check.

    Raises:
        UsageError: with what to do instead.
    """
    if spec.start is None:
        return
    if spec.space is None:
        raise UsageError(
            f"Learner {spec.learner.name} takes no weights of a network: it has its own, or none.",
            hint="Leave out --weights, or choose another learner with --learner.",
        )
    if not spec.training.meta_steps:
        raise UsageError(
            f"Learner {spec.learner.name} does not train here, and --weights is where a training "
            "starts.",
            hint="Test the weights as they are with metabench evaluate FILE --learner NAME.",
        )


def start_of(spec: RunSpec, catalog: Catalog) -> Callable[[SearchSpace], SearchSpace] | None:
    """What gives the network of a run its initial weights; None where the network draws them.

    Raises:
        DataError: when the file is gone, or has changed since the run was planned.
    """
    if spec.start is None or spec.weights is not None:
        return None
    file = spec.start.path
    weights, named = read_start(file), describe_network(spec, catalog)
    return lambda space: starting_at(space, weights, named=named, file=file)


def read_start(path: Path) -> Params:
    """The weights of a network in a file from elsewhere, or in one of ``metabench export``.

    Raises:
        DataError: when there are none.
    """
    found = read_foreign(path)
    if path.suffix != ".safetensors" or RECORD not in texts_of_weights(path):
        return found
    own = {
        name.removeprefix(_OF_LEARNER): tensor
        for name, tensor in found.items()
        if name.startswith(_OF_LEARNER)
    }
    if not own:
        raise DataError(
            f"{path} holds the state of a learner, and no weights of a network by name.",
            hint="Test it with metabench evaluate.",
        )
    return own


def texts_of_weights(path: Path) -> Mapping[str, str]:
    """The texts beside the tensors of a file of safetensors, by name.

    Raises:
        DataError: when it is a run's own checkpoint, which does not say how its weights are used.
    """
    with safe_open(path, framework="pt") as file:
        texts: Mapping[str, str] = file.metadata() or {}
    if STATE in texts and RECORD not in texts:
        raise DataError(
            f"{path} is a checkpoint of a run, for this run alone.",
            hint="Export its weights, and name that file: "
            f"metabench export {shlex.quote(str(path.parent.parent))} --out FILE.safetensors",
        )
    return texts


def read_foreign(path: Path) -> Params:
    """The tensors of a file of safetensors, or of one that ``torch.save`` wrote.

    A checkpoint that holds them under ``state_dict`` is taken apart. Nothing in the file is
    executed.

    Raises:
        DataError: when the file holds anything else.
    """
    try:
        require_plain(path)
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                found: Any = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        else:
            _refuse_packed(path)
            found = torch.load(path, map_location="cpu", weights_only=True)
    # Readers of damaged files raise whatever they stumble over.
    except Exception as error:
        raise DataError(
            f"{path} cannot be read as a file of tensors.",
            hint="Write it with torch.save(module.state_dict(), FILE), or as safetensors.",
        ) from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(map(_is_plain_tensor, found.values())):
        raise DataError(
            f"{path} holds more than tensors by name.",
            hint="Write it with torch.save(module.state_dict(), FILE).",
        )
    return {str(name): tensor.detach() for name, tensor in found.items()}


def _refuse_packed(path: Path) -> None:
    """Refuse a file whose parts are packed: ``torch.save`` packs none, and few bytes may be many.

    Raises:
        ValueError: when one is.
    """
    if not zipfile.is_zipfile(path):
        return  # a file of an older torch
    with open_plain(path) as file, open_zip(file, path=path) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise ValueError("a part of it is packed")


def _is_plain_tensor(value: object) -> bool:
    """Whether it is a tensor that holds all of its numbers: of a view, few may pose as many."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
        return False
    size = value.numel() * value.element_size()
    return value.device.type == "cpu" and size <= value.untyped_storage().nbytes()


def starting_at(space: SearchSpace, weights: Params, *, named: str, file: Path) -> SearchSpace:
    """The network, with these initial weights.

    Args:
        space: the network.
        weights: all that it draws and its state, by name.
        named: the network in words.
        file: where the weights are from.

    Raises:
        DataError: when a weight is missing, unexpected or of another shape; it names them.
    """
    drawn = space.init_weights(rng=generator("shapes"))
    state = space.init_state() if isinstance(space, StatefulSpace) else {}
    _check_fit({**drawn, **state}, weights, named=named, file=file)
    given_weights = {name: weights[name].to(tensor.dtype) for name, tensor in drawn.items()}
    given_state = {name: weights[name].to(tensor.dtype) for name, tensor in state.items()}

    def init_weights(self: Any, *, rng: torch.Generator) -> Params:
        base.init_weights(self, rng=rng)  # what is drawn after it is drawn as without a file
        return {name: tensor.clone() for name, tensor in given_weights.items()}

    def init_state(self: Any) -> Params:
        return {name: tensor.clone() for name, tensor in given_state.items()}

    base: Any = type(space)
    methods: dict[str, Any] = {"init_weights": init_weights, "__slots__": ()}
    if isinstance(space, StatefulSpace):
        methods["init_state"] = init_state
    # A subclass, since the network may have any of the optional capabilities.
    object.__setattr__(space, "__class__", type(base.__name__, (base,), methods))
    return space


def _check_fit(wanted: Params, found: Params, *, named: str, file: Path) -> None:
    shapes = [
        f"{name} {list(found[name].shape)} in place of {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    kinds = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": shapes,
    }
    said = [f"{words}: {_few(names)}" for words, names in kinds.items() if names]
    if said:
        raise DataError(
            f"The weights in {file} do not fit network {named}: {'; '.join(said)}.",
            hint=f"The network has {_few([f'{n} {list(t.shape)}' for n, t in wanted.items()])}.",
        )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
