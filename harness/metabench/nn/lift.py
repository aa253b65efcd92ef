"""Any ``torch.nn.Module`` as a network: its weights by name, and a pure function with a task axis.

:func:`lift` computes each task by ``torch.func.functional_call``. ``torch.func.vmap`` is not used:
through affine batch norm its second-order gradients are silently wrong.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from metabench.errors import PluginError
from metabench.nn.layers import batch_norm, linear, per_task
from metabench.nn.lifted_state import (
    PARTS,
    BatchNormMode,
    NormCall,
    UpdatedStatistics,
    join_tasks,
    norms_with_state,
    of_each_task,
)
from metabench.nn.statistics import first_examples
from metabench.plugin.contracts.architecture import CellChoices, Mixture, Params
from metabench.plugin.contracts.genotype import Genotype
from metabench.plugin.contracts.space import LayeredSpace, Training

Factory = Callable[[], nn.Module]


Norm = Literal["batch", "running"]


def lift(network: nn.Module | Factory, *, head: str, norm: Norm = "batch") -> LayeredSpace:
    """Turn a module into a fixed network, for the ``factory`` of a ``SearchSpaceSpec``.

    Names of weights are those of PyTorch (``layer1.0.conv1.weight``), with ``norm`` before the last
    part for a normalization layer (``layer1.0.bn1.norm.weight``), so that learners can leave these
    out of the inner loop. The head's weight is transposed: ``<head>.weight [inputs, outputs]``.

    What the network is:

    - Batch norm uses the statistics of the examples that it is given, per task. Running statistics
      are neither read nor written. With ``norm="running"`` they are: the network is a
      :class:`metabench.StatefulSpace` whose state is ``<path>.norm.mean`` and
      ``<path>.norm.variance`` of each norm, and begins as in the module. See
      :func:`metabench.nn.running_batch_norm` for the update.
    - Everything else runs as after ``eval()``.
    - Tied weights are one weight. A parameter with ``requires_grad=False``, and a buffer, is a
      constant, the same for all seeds.
    - The head is the only listed layer, see :class:`metabench.LayeredSpace`: learners that need
      hidden layers refuse the network.

    Tasks are computed one after another. They are computed in one call where they share their
    weights, unless there is batch norm. Python objects that a module changes while it computes
    cannot be seen from outside, so do not lift a module that does.

    Args:
        network: a function that makes the module, such as ``lambda: resnet18(num_classes=5)``. Each
            seed calls it with random generators of its own. Or a module, whose weights are the
            initial weights of every seed, as after pre-training.
        head: path of the last layer, such as ``fc``: an ``nn.Linear`` whose outputs are the
            outputs of the module.
        norm: statistics that normalize at meta-test. batch: those of the examples; running:
            averages from meta-training, for learners that train a state.

    Raises:
        PluginError: the module cannot be lifted: there is no such head, dropout or stochastic depth
            is on, activations are recomputed in the backward pass, weights are not real numbers
            yet, or with ``norm="running"`` a batch norm keeps no running statistics or there is
            none. ``forward`` raises it if the head is not the last layer, or if the module changes
            a weight, a buffer or its input in place.

    >>> space = lift(lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), head="2")
    >>> weights = space.init_weights(rng=torch.Generator())
    >>> {name: tuple(weight.shape) for name, weight in weights.items()}
    {'0.weight': (8, 3), '0.bias': (8,), '2.weight': (8, 2), '2.bias': (2,)}
    """
    kind = _LiftedWithState if norm == "running" else _Lifted
    if isinstance(network, nn.Module):
        return kind(lambda: copy.deepcopy(network), head)
    return kind(network, head)


class _Lifted:
    """A module as a pure function; see :func:`lift`."""

    def __init__(self, factory: Factory, head: str) -> None:
        self._factory = factory
        self._head = head
        module = _made(factory, seed=0)
        _check(module)
        self._outputs = _linear_at(module, head).out_features
        self._shapes = _shapes(module)
        self._end = _HeadInput()
        self._module = _without_head(module, head, self._end)
        self._norms = {
            path: _weight_name(self._module, f"{path}.mean").removesuffix(".mean")
            for path in self._kept_norms(self._module)
        }
        self.batch_statistics = _use_batch_statistics(self._module, but=self._norms)
        self._names = {
            name: _weight_name(self._module, name)
            for name, weight in self._module.named_parameters()
            if weight.requires_grad
        }
        state = {
            f"{path}.{buffer}": f"{norm}.{part}"
            for path, norm in self._norms.items()
            for buffer, part in PARTS.items()
        }
        buffers = dict(self._module.named_buffers())
        self._initial_state = {stable: buffers.pop(name) for name, stable in state.items()}
        self._names |= state
        self._constants = buffers | {
            name: weight.detach()
            for name, weight in self._module.named_parameters()
            if not weight.requires_grad
        }
        self._moved: dict[tuple[torch.device, torch.dtype], Params] = {}

    def init_weights(self, *, rng: torch.Generator) -> Params:
        """Draw weights; see :meth:`metabench.SearchSpace.init_weights`."""
        seed = int(torch.randint(2**32, (), generator=rng))
        module = _made(self._factory, seed=seed)
        shapes = _shapes(module)
        if shapes != self._shapes:
            odd = {name for name, _ in shapes.items() ^ self._shapes.items()}
            raise PluginError(
                f"The function that makes the module made another one: {', '.join(sorted(odd))}.",
                hint="It must give the same weights, by name and shape, each time.",
            )
        return {
            _weight_name(module, name): _oriented(name, weight, self._head)
            for name, weight in module.named_parameters()
            if weight.requires_grad
        }

    def forward(self, weights: Params, mixture: Mixture, x: Tensor) -> Tensor:
        """Map ``x [tasks, n, *inputs]`` to ``[tasks, n, outputs]``."""
        return self._forward(weights, x)

    def _forward(self, weights: Params, x: Tensor, training: Training | None = None) -> Tensor:
        own = {name: weights[stable] for name, stable in self._names.items()}
        constants = self._constants_like(x)
        with _unchanged({"its input": x, **constants, **own}):
            y = self._body(own, constants, x, training)
        if (matrix := weights.get(f"{self._head}.weight")) is None:
            return y
        y = linear(y, matrix, weights.get(f"{self._head}.bias"))
        transform = weights.get(f"{self._head}.transform")
        return y if transform is None else linear(y, transform)

    def choices(self) -> Mapping[str, CellChoices]:
        """Nothing to choose."""
        return {}

    def child(self, genotype: Genotype) -> _Lifted:
        """The network itself."""
        return self

    def layers(self) -> Mapping[str, int]:
        """The head alone; see :class:`metabench.LayeredSpace`."""
        return {self._head: self._outputs}

    def _kept_norms(self, module: nn.Module) -> Collection[str]:
        """Paths of the norms whose running statistics are used."""
        return ()

    def _body(self, own: Params, constants: Params, x: Tensor, training: Training | None) -> Tensor:
        """The inputs of the head, ``[tasks, n, features]``."""
        n_tasks, n = x.shape[:2]
        if not self.batch_statistics and all(len(weight) == 1 for weight in own.values()):
            shared = {name: weight[0] for name, weight in own.items()}
            return self._call(shared | constants, x.flatten(0, 1), training).view(n_tasks, n, -1)
        trainings = self._of_each_task(training, own, n_tasks)
        # Unbound, not sliced: each slice would add a gradient of the size of all tasks.
        tasks = {name: per_task(weight, n_tasks).unbind() for name, weight in own.items()}
        first = first_examples() if self.batch_statistics else None
        with nullcontext() if first is None else _FirstStatistics(n):
            y = torch.stack(
                [
                    self._call(
                        {name: rows[t] for name, rows in tasks.items()} | constants,
                        of_task,
                        trainings[t],
                    )
                    for t, of_task in enumerate(x.unbind())
                ]
            )
        if training is not None:
            training.state.update(join_tasks([one for one in trainings if one is not None]))
        return y

    def _of_each_task(
        self, training: Training | None, own: Params, n_tasks: int
    ) -> Sequence[Training | None]:
        if training is None:
            return [None] * n_tasks
        if n_tasks > 1 and any(len(own[f"{path}.running_mean"]) == 1 for path in self._norms):
            raise PluginError(
                "In a lifted network, tasks with weights of their own cannot update the running "
                "statistics of all tasks together.",
                hint="Give each task a state of its own, [tasks, *shape], or lift with "
                "norm='batch'.",
            )
        return of_each_task(training, n_tasks)

    def _call(self, tensors: Params, x: Tensor, training: Training | None = None) -> Tensor:
        # Only this kernel of attention has second derivatives.
        with sdpa_kernel(SDPBackend.MATH), self._statistics(tensors, training):
            y = functional_call(self._module, tensors, (x,))
        features, self._end.seen = self._end.seen, None
        if features is None or y is not features or len(y) != len(x) or y.dim() != 2:
            raise PluginError(
                f"The module does not return what its layer {self._head!r} computes, or gives it "
                "more than one vector per example.",
                hint="head must be the last layer, with inputs [n, features]. Wrap the module in "
                "one whose forward ends with this layer.",
            )
        return features

    def _statistics(
        self, tensors: Params, training: Training | None
    ) -> AbstractContextManager[Any]:
        if training is None:
            return nullcontext()
        means = {id(tensors[f"{path}.running_mean"]): norm for path, norm in self._norms.items()}
        return UpdatedStatistics(means, training)

    def _constants_like(self, x: Tensor) -> Params:
        key = x.device, x.dtype
        if key not in self._moved:
            self._moved[key] = {
                name: value.to(x.device, x.dtype if value.is_floating_point() else None)
                for name, value in self._constants.items()
            }
        return self._moved[key]


class _LiftedWithState(_Lifted):
    """A module whose batch norms have running statistics; see :class:`metabench.StatefulSpace`."""

    def init_state(self) -> Params:
        """The statistics that the module begins with."""
        return {
            name: one.detach().to("cpu", torch.float32, copy=True)
            for name, one in self._initial_state.items()
        }

    def forward_training(
        self, weights: Params, mixture: Mixture, x: Tensor, *, training: Training
    ) -> Tensor:
        """See :meth:`metabench.StatefulSpace.forward_training`."""
        return self._forward(weights, x, training)

    def _kept_norms(self, module: nn.Module) -> Collection[str]:
        return norms_with_state(module)


class _HeadInput(nn.Module):
    """Stands where the head was and keeps what comes in, to tell whether anything follows."""

    seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return x


class _FirstStatistics(BatchNormMode):
    """Lets batch norm use the statistics that :func:`metabench.nn.batch_norm` uses."""

    def __init__(self, n_examples: int) -> None:
        super().__init__()
        self._n_examples = n_examples

    def batch_norm(self, call: NormCall) -> Tensor:
        """Normalize by the statistics of the first examples."""
        if len(call.input) != self._n_examples:
            raise PluginError(
                "The statistics of the first examples are asked for, but a batch norm of the "
                "module does not get one row for each example.",
                hint="Choose a learner that does not ask for them.",
            )
        return batch_norm(call.input[None], *call.affine, eps=call.eps)[0]


# What can be lifted ------------------------------------------------------------------------------


def _check(module: nn.Module) -> None:
    """Refuse what would silently be another network than the module."""
    if isinstance(module, torch.jit.ScriptModule):
        raise PluginError(
            "A TorchScript module cannot be lifted.", hint="Lift the original module."
        )
    for path, part in module.named_modules():
        where = f"{type(part).__name__} at {path!r}" if path else type(part).__name__
        if _is_dropout(part):
            raise PluginError(
                f"The module draws at random while it computes: {where} is on.",
                hint="Make the module without it, for example with dropout=0 or drop_path_rate=0.",
            )
        # Both names are in use in torchvision and timm.
        if any(getattr(part, name, False) is True for name in RECOMPUTING):
            raise PluginError(
                f"{where} computes its activations again in the backward pass, where it would "
                "read other weights.",
                hint="Switch checkpointing of activations off.",
            )
    for name, weight in module.named_parameters():
        if isinstance(weight, nn.parameter.UninitializedParameter):
            raise PluginError(
                f"Weight {name!r} has no shape yet.", hint="Run a lazy module once before lifting."
            )
        if not weight.is_floating_point():
            raise PluginError(f"Weight {name!r} is {weight.dtype}; weights must be real numbers.")


RECOMPUTING = ("grad_checkpointing", "memory_efficient")
"""Attributes that say that activations are computed again in the backward pass."""


def _is_dropout(part: nn.Module) -> bool:
    """Whether a layer drops at random, with the attributes of PyTorch, torchvision and timm."""
    named = isinstance(part, nn.modules.dropout._DropoutNd) or type(part).__name__ in DROPPING
    return named and any(getattr(part, name, 0) for name in ("p", "drop_prob"))


DROPPING = ("StochasticDepth", "DropPath", "DropBlock2d", "PatchDropout")


def _linear_at(module: nn.Module, path: str) -> nn.Linear:
    """The head.

    Raises:
        PluginError: there is none, or it cannot be given to learners as a layer.
    """
    found = {path: part for path, part in module.named_modules() if path}
    head = found.get(path)
    if not isinstance(head, nn.Linear):
        linears = [repr(p) for p, part in found.items() if isinstance(part, nn.Linear)]
        raise PluginError(
            f"The module has no linear layer {path!r}.",
            hint=f"Its linear layers are {', '.join(linears) or 'none'}.",
        )
    mine = {f"{path}.{name}" for name, _ in head.named_parameters()}
    others = {id(w): n for n, w in module.named_parameters(remove_duplicate=False) if n not in mine}
    tied = [others[id(w)] for w in head.parameters() if id(w) in others]
    if tied or not all(w.requires_grad for w in head.parameters()):
        raise PluginError(
            f"The head {path!r} shares weights with {tied[0]!r}."
            if tied
            else f"The weights of the head {path!r} are constants (requires_grad=False).",
            hint="The head must have weights of its own that are trained.",
        )
    if mine - {f"{path}.weight", f"{path}.bias"} or not _is_affine(head):
        raise PluginError(
            f"The head {path!r} computes something else than a linear layer.",
            hint="It must multiply by its weight and add its bias.",
        )
    return head


@torch.no_grad()
def _is_affine(head: nn.Linear) -> bool:
    """Whether a layer computes what its class promises; subclasses may do anything."""
    x = torch.linspace(-1, 1, 2 * head.in_features, dtype=head.weight.dtype)
    x = x.view(2, -1).to(head.weight.device)
    return torch.allclose(head(x), functional.linear(x, head.weight, head.bias))


# What a module is made into ----------------------------------------------------------------------


def _made(factory: Factory, *, seed: int) -> nn.Module:
    """Make the module with generators of its own; those of the process stay as they are."""
    with _own_randomness(seed):
        module = factory()
    if not isinstance(module, nn.Module):
        raise PluginError(
            f"lift needs a torch.nn.Module, but was given {type(module).__name__}.",
            hint="Give it a module, or a function without arguments that makes one.",
        )
    return module


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    # Not torch.manual_seed, which also seeds every other device.
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])  # noqa: NPY002


def _without_head(module: nn.Module, head: str, end: _HeadInput) -> nn.Module:
    """The module without its head, in evaluation mode."""
    module = copy.deepcopy(module)
    parent, _, name = head.rpartition(".")
    setattr(module.get_submodule(parent), name, end)
    for part in module.modules():
        # A subclass with a forward of its own stays as it is.
        if isinstance(part, nn.Conv2d) and _overflows(part):
            part.forward = partial(_strided_pixels, part)  # type: ignore[method-assign]
    return module.eval()


def _overflows(conv: nn.Conv2d) -> bool:
    """As :func:`metabench.nn.conv2d`, whose note says what PyTorch would do."""
    narrow = conv.in_channels // conv.groups < 16
    pointwise = conv.kernel_size == (1, 1) and conv.padding in ((0, 0), "valid")
    own = type(conv).forward is nn.Conv2d.forward
    return own and narrow and pointwise and max(conv.stride) > 1


def _strided_pixels(conv: nn.Conv2d, x: Tensor) -> Tensor:
    down, right = conv.stride
    return functional.conv2d(x[..., ::down, ::right], conv.weight, conv.bias, groups=conv.groups)


def _use_batch_statistics(module: nn.Module, *, but: Collection[str]) -> bool:
    """Take running statistics away; what has none uses those of its input. Says if any is left.

    Args:
        module: is changed.
        but: paths of the norms that keep theirs.
    """
    found = False
    for path, part in module.named_modules():
        if isinstance(part, _NormBase) and path not in but:
            part.track_running_stats = False
            part.running_mean = part.running_var = part.num_batches_tracked = None
            found = found or isinstance(part, _BatchNorm)
    return found


def _weight_name(module: nn.Module, name: str) -> str:
    """The name of a weight, with ``norm`` before the last part if it belongs to such a layer."""
    path, _, own = name.rpartition(".")
    parts = path.split(".") if path else []
    if "norm" in type(module.get_submodule(path)).__name__.lower() and "norm" not in parts:
        parts.append("norm")
    return ".".join([*parts, own])


def _oriented(name: str, weight: Tensor, head: str) -> Tensor:
    drawn = weight.detach().to("cpu", torch.float32, copy=True)
    return drawn.T.contiguous() if name == f"{head}.weight" else drawn


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {n: tuple(w.shape) for n, w in module.named_parameters() if w.requires_grad}


@contextmanager
def _unchanged(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Refuse a module that changes what it is given.

    Raises:
        PluginError: with the first name.
    """
    before = {name: _edits(tensor) for name, tensor in tensors.items()}
    yield
    for name, tensor in tensors.items():
        if _edits(tensor) != before[name]:
            raise PluginError(
                f"The module changes {name} in place while it computes.",
                hint="A network must be a pure function of its weights and input.",
            )


def _edits(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
