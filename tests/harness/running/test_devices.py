"""Freed memory is used again without new page faults, and GPUs have names."""

import platform
import subprocess
import sys

import pytest
import torch

from metabench.running.devices import visible_gpus

PROGRAM = """
import ctypes, resource, sys
from metabench.running.devices import reuse_freed_memory
assert "torch" not in sys.modules
if sys.argv[1] == "reuse":
    assert reuse_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
size = 64 * 2**20
def fill():
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    command = [sys.executable, "-c", PROGRAM, mode]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_filling_the_same_amount_again_faults_no_page() -> None:
    assert page_faults("reuse") < 100 < page_faults("as it is")


@pytest.mark.parametrize(
    ("named", "n", "found"),
    [
        (None, 2, ["0", "1"]),
        ("", 0, []),
        ("3,5", 2, ["3", "5"]),
        ("GPU-8f2a, GPU-1b7c", 2, ["GPU-8f2a", "GPU-1b7c"]),
        ("2,-1,3", 1, ["2"]),  # CUDA reads up to the first that does not exist
    ],
)
def test_gpus_are_those_that_the_user_lets_it_see(
    monkeypatch: pytest.MonkeyPatch, named: str | None, n: int, found: list[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
    assert visible_gpus() == found
