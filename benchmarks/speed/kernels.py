"""How many kernels a GPU launches in one meta-step, counted without a GPU.

The meta-steps run on the ``meta`` device, whose tensors have shapes and no values, so that the
papers' sizes need neither memory nor time. It is not a CPU, so the convolution of all tasks is one
call whose groups are the tasks, as on CUDA. What counts:

- an operation of ATen that computes on the device is one kernel; a view, an empty tensor, and what
  happens on the host are none;
- a gradient of a convolution is one kernel for each of its parts (inputs, filters, biases);
- an operation on a list of tensors (``_foreach_*``, fused optimizers) takes as many launches as
  CUDA's lists of tensors and blocks are long, and one for each tensor where they lie in memory
  otherwise than those beside them;
- PyTorch's own second derivative of a convolution loops over the groups. Every task is a group, and
  every channel of a depthwise filter too; each has a convolution and copies, which are seen here.

What the model leaves out: cuDNN may take several kernels for a convolution, reductions may take
two, and a recurrent network is one call of cuDNN on CUDA where its steps are counted here. To
compare two revisions, run the same file with either in ``PYTHONPATH``. ``--json`` keeps the counts.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from meta_steps import meta_steps
from torch import Tensor
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metabench.planning.plan import RunRequest
from metabench.plugin.catalog import Catalog, load_catalog

CASES = [
    ("toy-regression", "10-shot", "maml", 25),
    ("omniglot", "20w1s", "maml", 16),
    ("miniimagenet", "5w1s", "maml", 4),
    ("omniglot", "20w1s", "reptile", 5),
    ("omniglot", "20w1s", "metanas", 5),
    ("toy-regression", "10-shot", "mnas", 25),
    ("multidataset", "5w1s", "mnas", 4),
]
"""Suite, setting, learner, and tasks in a meta-batch."""

_FREE = {"_unsafe_view", "detach", "empty", "empty_like", "empty_strided", "new_empty"}
_LISTS = (110, 64, 48, 36, 30)
"""Tensors of a launch, by how many lists an operation reads and writes."""
_BLOCKS, _BLOCK = 320, 65536
"""Blocks of a launch, and elements of a block."""


class Counting(TorchDispatchMode):
    """Counts kernels by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        there = any(
            isinstance(leaf, Tensor) and leaf.device.type != "cpu"
            for leaf in tree_leaves((args, kwargs, found))
        )
        name = func._schema.name.removeprefix("aten::")
        if there and name not in _FREE and not _is_view(func):
            self.kernels[name] += launches(name, args, found)
        return found


def launches(name: str, args: tuple[Any, ...], found: Any) -> int:
    """How many kernels one call of an operation takes."""
    if name == "convolution_backward":
        return sum(args[-1])
    if name == "convolution":
        return 1 if args[2] is None else 2
    if name.startswith(("_foreach_", "_fused_")):
        lists = [one for one in args if isinstance(one, list | tuple) and one]
        lists = [one for one in lists if isinstance(one[0], Tensor)]
        written = len(lists) + (0 if name.endswith("_") else 1)
        sizes = [tensor.numel() for tensor in lists[0]]
        if not all(map(_alike, zip(*lists, strict=False))):
            return len(sizes)
        blocks = sum(math.ceil(size / _BLOCK) for size in sizes)
        tensors = _LISTS[min(written, len(_LISTS)) - 1]
        return max(math.ceil(len(sizes) / tensors), math.ceil(blocks / _BLOCKS))
    return 1


def _alike(tensors: tuple[Any, ...]) -> bool:
    """Whether tensors lie in memory alike and without gaps; CUDA takes only such in one launch."""
    first = tensors[0]
    strided = [one for one in tensors if isinstance(one, Tensor) and one.dim()]
    same = all(one.stride() == first.stride() and one.dtype == first.dtype for one in strided)
    reach = 1 + sum((n - 1) * stride for n, stride in zip(first.shape, first.stride(), strict=True))
    return same and reach == first.numel()


def _is_view(func: Any) -> bool:
    aliases = [one.alias_info for one in func._schema.returns]
    return bool(aliases) and all(one is not None and not one.is_write for one in aliases)


def count(catalog: Catalog, case: tuple[str, str, str, int]) -> Counter[str]:
    """The kernels of one meta-step, by operation."""
    suite, setting, learner, n_tasks = case
    request = RunRequest(
        learners=(learner,), suite=suite, settings=(setting,), budget="paper", data="synthetic"
    )
    steps = meta_steps(request, catalog, n_tasks=n_tasks, progress=0.5, device=torch.device("meta"))
    steps[learner]()  # the first step makes what later ones find
    with Counting() as counting:
        steps[learner]()
    return counting.kernels


def pretend_fused() -> None:
    """Let optimizers of PyTorch be fused, as they are on CUDA."""
    known = _foreach_utils._get_fused_kernels_supported_devices()
    optimizer: Any = sys.modules["torch.optim.optimizer"]
    optimizer._get_fused_kernels_supported_devices = lambda: [*known, "meta"]
    plain = torch.optim.Adam.__init__

    def fused(self: torch.optim.Adam, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **{**kwargs, "fused": True})

    torch.optim.Adam.__init__ = fused  # type: ignore[method-assign]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="parts of rows, separated by commas")
    parser.add_argument("--by-operation", type=int, default=0, help="list so many operations")
    parser.add_argument("--json", type=Path, help="file to write the counts to")
    given = parser.parse_args()
    torch.set_num_threads(1)
    pretend_fused()
    catalog = load_catalog()
    written = {}
    print(f"{'':44}{'tasks':>6}{'kernels':>10}{'convolutions':>14}")
    for case in CASES:
        label = " ".join(case[:3])
        if given.only and not any(part in label for part in given.only.split(",")):
            continue
        kernels = count(catalog, case)
        written[label] = dict(kernels.most_common())
        total = sum(kernels.values())
        convolutions = kernels["convolution"] + kernels["convolution_backward"]
        print(f"{label:44}{case[3]:6}{total:10,}{convolutions:14,}", flush=True)
        for name, n in kernels.most_common(given.by_operation):
            print(f"    {name:60}{n:10,}")
    if given.json:
        given.json.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
