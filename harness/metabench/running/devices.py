"""From ``--device`` to a device that exists and gives the same numbers each time."""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from typing import TYPE_CHECKING

from metabench.errors import UsageError
from metabench.text import counted

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_HINT = "Use auto, cpu, cuda or cuda:N."


def pick_device(name: str) -> str:
    """Resolve ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: when there is no such device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name!r} is not a device.", hint=_HINT) from error
    if device.type == "cuda" and not (
        torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    ):
        raise UsageError(
            f"--device {name} does not exist: this machine has "
            f"{counted(torch.cuda.device_count(), 'CUDA device')}.",
            hint="Use --device auto or cpu.",
        )
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name!r} is not supported.", hint=_HINT)
    return str(device)


def check_lent(name: str, *, executor: str) -> None:
    """Refuse a device that an executor on other machines cannot mean.

    There, CUDA counts the GPUs that a run is lent, from 0: a number of this machine says nothing.

    Args:
        name: the value of ``--device``.
        executor: its name.

    Raises:
        UsageError: for all but ``auto``, ``cpu`` and ``cuda``.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(
            f"--device {name!r} is none that the executor {executor} can give to a run.",
            hint="Use auto, cpu or cuda; which of its GPUs a run is lent, the cluster decides.",
        )


def prepare(device: torch.device, threads: int) -> None:
    """Set this process up for computing runs on a device, with so many CPU threads."""
    import torch

    torch.set_num_threads(threads)
    reuse_freed_memory()
    if device.type == "cuda":
        make_repeatable()


def visible_gpus() -> list[str]:
    """The GPUs that this process sees, as ``CUDA_VISIBLE_DEVICES`` of another process names them.

    A list that the user set there is kept to: it may hold numbers and UUIDs.
    """
    import torch

    n = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return named[:n] if any(named) else [str(number) for number in range(n)]


def make_repeatable() -> None:
    """Let CUDA compute float32 in float32, and the same bits each time; call it before any kernel.

    Convolutions would otherwise round their inputs to the 10 bits of TF32, and sum in an order that
    differs between two runs. The backward pass of average pooling has no other algorithm by
    PyTorch's account, though it gives the same bits; the warning is not passed on.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
    # It would otherwise write NaN into all new memory, one kernel more for each tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


_ONE_GIB = 2**30


def reuse_freed_memory() -> bool:
    """Make glibc keep freed memory for the next tensor instead of handing it back to the kernel.

    Every step of training frees and allocates the same large tensors; by default each of them is
    mapped and faulted in anew, a fifth of the time of a convolutional meta-step on a CPU. The
    process then never shrinks, so call this once at the start of a process that does one job.

    Returns:
        Whether the setting was made; False where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _ONE_GIB) and mallopt(_M_TRIM_THRESHOLD, _ONE_GIB))
