"""Whether the derivatives of what is computed are themselves differentiated."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar

from metabench.nn.holding import holding

_twice: ContextVar[bool] = ContextVar("differentiated_twice", default=False)


def differentiated_twice(*, on: bool = True) -> AbstractContextManager[None]:
    """Let convolutions and norms of maps have fast second derivatives, and no third ones.

    Compute the loss of an inner step within it if its gradient is taken with ``create_graph=True``.
    Values are the same without it. PyTorch's own operators compute them then: they are faster
    where the first derivative is enough, and have derivatives of any order. Do not ask for third
    derivatives of what is computed within it: ``backward`` raises, but ``torch.autograd.grad``
    returns them without the terms that go through a convolution or a norm.

    Args:
        on: False leaves it to PyTorch.
    """
    return holding(_twice, on)


def is_differentiated_twice() -> bool:
    """Whether :func:`differentiated_twice` is on."""
    return _twice.get()
