"""Attention on the support examples: classes weighted by cosines (Vinyals et al. 2016)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def log_attention(
    queries: Tensor, support: Tensor, members: Tensor, *, scale: float = 1.0
) -> Tensor:
    """The logs of the classes' shares of a softmax over the cosines.

    Args:
        queries: embeddings, ``[tasks, q, d]``.
        support: embeddings, ``[tasks, n, d]``.
        members: ``[tasks, n, ways]``, 1 where an example is of a class, else 0.
        scale: factor of the cosines before the softmax.

    Returns:
        ``[tasks, q, ways]``.
    """
    cosines = functional.normalize(queries, dim=2) @ functional.normalize(support, dim=2).mT
    attention = (scale * cosines).log_softmax(dim=2)
    of_class = members.log().mT.unsqueeze(1)  # [tasks, 1, ways, n], 0 or minus infinity
    return (attention.unsqueeze(2) + of_class).logsumexp(dim=3)
