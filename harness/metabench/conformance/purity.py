"""A pretended accelerator, to find tensors made on the wrong device on a machine without one.

PyTorch's own fake tensors cannot differentiate on CUDA in a build without CUDA, and carry no
values. Here a tensor of the pretended device says it lives on ``meta`` and holds a CPU tensor that
does the work: factories, ``.to``, autograd, optimizers and ``.item()`` behave as on a real device,
results can be compared with a run on the CPU, and an operation on two devices raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only

from metabench.errors import PluginError

FAKE = torch.device("meta")
"""What tensors of the pretended accelerator answer when asked for their device."""

_aten = torch.ops.aten
_MOVES = (_aten._to_copy.default, _aten.copy_.default)
# As on CUDA, indices may stay on the CPU.
_INDEXING = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default)
# As on CUDA, a number that lies on the CPU cannot be joined with tensors of the accelerator.
_JOINING = (_aten.cat.default, _aten.stack.default)


@contextmanager
def fake_accelerator() -> Iterator[torch.device]:
    """Pretend that there is an accelerator, and yield its device.

    Inside, ``tensor.to(device)`` and factories with ``device=device`` give tensors of the
    pretended accelerator. An operation that mixes them with CPU tensors raises ``RuntimeError``,
    as on a real one; CPU tensors without dimensions count as numbers. So does one that draws on it
    from a generator of the CPU.
    """
    with _Factories(), _Dispatch():  # type: ignore[no-untyped-call]
        yield FAKE


def assert_on(device: torch.device, tree: Any) -> None:
    """Check that all tensors in nested lists, tuples and dicts live on ``device``.

    Raises:
        PluginError: if one does not, or if there is none.
    """
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
    if not tensors:
        raise PluginError(f"Expected tensors on {device}, found no tensor.")
    for tensor in tensors:
        if tensor.device.type != device.type:
            raise PluginError(
                f"Expected a tensor on {device}, found one of shape {list(tensor.shape)} on "
                f"{tensor.device}.",
                hint="Make tensors with device=x.device, or move them with .to(x.device).",
            )


class _Accelerated(Tensor):
    """A tensor of the pretended accelerator; ``held`` is the CPU tensor that does the work."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> _Accelerated:
        made: _Accelerated = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=FAKE,
        )
        made.held = held
        return made

    def data_ptr(self) -> int:
        """Where it lies, to tell a tensor from a copy."""
        return self.held.data_ptr()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class _Dispatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class _Factories(TorchFunctionMode):
    """What PyTorch does with a tensor outside of the dispatcher."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and _is_fake(device):
            return func(*args, **{**kwargs, "device": None}).to(FAKE)
        if func is Tensor.tolist:
            return args[0].cpu().tolist()
        return func(*args, **kwargs)


def _is_fake(device: Any) -> bool:
    return device is not None and torch.device(device).type == FAKE.type


def _run(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Do the work on the CPU, and give the result to the device it belongs to."""
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
    on_fake = [isinstance(t, _Accelerated) for t in tensors]
    _refuse_empty(func, tensors)
    if func not in _MOVES:
        _refuse_mixing(func, tensors)
    if kwargs.get("device") is not None:
        to_fake = _is_fake(kwargs["device"])
        kwargs = {**kwargs, "device": torch.device("cpu")}
    else:
        to_fake = on_fake[0] if func in _MOVES else any(on_fake)
    if to_fake:
        _refuse_as_cuda(func, args, kwargs)
    cpu_args, cpu_kwargs = tree_map_only(_Accelerated, lambda t: t.held, (args, dict(kwargs)))
    result = func(*cpu_args, **cpu_kwargs)
    if not to_fake:
        return result
    result = tree_map_only(Tensor, _Accelerated, result)
    return return_and_correct_aliasing(  # type: ignore[no-untyped-call]
        func, args, dict(kwargs), result
    )


def _refuse_empty(func: Any, tensors: list[Tensor]) -> None:
    """PyTorch turns a list used as an index into a tensor behind the dispatcher's back."""
    if any(t.device.type == FAKE.type and not isinstance(t, _Accelerated) for t in tensors):
        raise RuntimeError(
            f"{func} got a tensor that was not created on the pretended accelerator; index with "
            "a tensor, not with a list."
        )


def _refuse_mixing(func: Any, tensors: list[Tensor]) -> None:
    if func in _INDEXING:
        tensors = tensors[:1] + [t for t in tensors[1:] if not _is_cpu_index(t)]
    joins = func in _JOINING
    solid = [t for t in tensors if joins or t.dim() > 0 or isinstance(t, _Accelerated)]
    devices = {isinstance(t, _Accelerated) for t in solid}
    if len(devices) > 1:
        raise RuntimeError(
            f"Expected all tensors on the same device, but {func} got some on the CPU and some "
            "on the accelerator."
        )


def _refuse_as_cuda(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse what CUDA's kernels do, and a CPU's do not."""
    generator = kwargs.get("generator")
    if isinstance(generator, torch.Generator):
        raise RuntimeError(
            f"Expected a generator of the accelerator, but {func} got one of {generator.device}; "
            "draw on the CPU, and move what was drawn."
        )
    if func is _aten.native_batch_norm_backward.default:
        weight, asked = args[2], args[9]
        if weight is None and any(asked[1:]):
            raise RuntimeError("A norm without a scale has no derivative to scale and shift.")


def _is_cpu_index(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.int64, torch.bool) and not isinstance(tensor, _Accelerated)
