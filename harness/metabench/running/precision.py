"""In which precision a run multiplies: float32, TF32 or bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from metabench.errors import UsageError

if TYPE_CHECKING:
    from metabench.planning.runspec import Precision


def check_precision(precision: Precision, device: str) -> None:
    """Refuse TF32 where the device has none.

    Args:
        precision: of the run.
        device: where it computes.

    Raises:
        UsageError: when a run in TF32 is not on CUDA. It would compute in float32, and its stamp
            would be wrong.
    """
    if precision == "tf32" and not device.startswith("cuda"):
        raise UsageError(
            f"--precision tf32 needs a CUDA device, and this run is on {device}.",
            hint="Leave it out for float32.",
        )


@contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Compute in a precision, and as before after it."""
    import torch

    from metabench.nn.products import products_in_bf16

    if precision == "bf16":
        with products_in_bf16():
            yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    if precision == "tf32":
        matmul.allow_tf32 = cudnn.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
