"""A setting of the C library that saves a training process from page faults."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
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
