"""Architecture logits: how they are drawn, and the softmax with temperature over them.

Operations: ``a_o = exp(alpha_o / tau) / sum exp(alpha_o' / tau)`` per edge (MetaNAS, equation 5);
the softmax over input pairs is per node (equation 7).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from metabench import INPUTS, Arch, CellChoices, Mixture


def draw_logits(
    choices: Mapping[str, CellChoices],
    *,
    std: float,
    rng: torch.Generator,
    input_pairs: bool = False,
) -> Arch:
    """Draw logits from N(0, std^2) for every operation, and if asked for every input pair.

    Args:
        choices: of the space.
        std: deviation of each logit.
        rng: a CPU generator.
        input_pairs: whether pairs get logits ``<cell>.inputs``; the cells must have them.
    """
    arch: Arch = {
        cell: std * torch.randn(len(c.edges), len(c.primitives), generator=rng)
        for cell, c in choices.items()
    }
    if input_pairs:
        arch |= {
            cell + INPUTS: std * torch.randn(sum(pairs_per_node(c)), generator=rng)
            for cell, c in choices.items()
        }
    return arch


def soften(arch: Arch, choices: Mapping[str, CellChoices], *, temperature: float) -> Mixture:
    """Softmax over the operations of each edge and the input pairs of each node.

    Args:
        arch: ``<cell> [edges, operations]`` and ``<cell>.inputs [pairs]``, or with a task axis.
        choices: of the space.
        temperature: tau; 1 is the plain softmax.

    Returns:
        Weights with a task axis, of length 1 for shared logits.
    """
    mixture: Mixture = {}
    for cell, c in choices.items():
        logits = arch[cell] / temperature if temperature != 1 else arch[cell]
        mixture[cell] = _per_task(logits, shared=2).softmax(dim=-1)
        if cell + INPUTS in arch:
            pairs = arch[cell + INPUTS] / temperature
            pairs = _per_task(pairs, shared=1)
            nodes = torch.split(pairs, pairs_per_node(c), dim=1)
            mixture[cell + INPUTS] = torch.cat([node.softmax(dim=1) for node in nodes], dim=1)
    return mixture


def log_odds(arch: Arch, choices: Mapping[str, CellChoices], *, temperature: float) -> Mixture:
    """Log-odds ``log a / (1 - a)`` of the weights of operations, in float64; logits of input pairs.

    Both rank as the weights of :func:`soften` do. Edges whose best operations all weigh 1 in
    float32, as at a low temperature, still differ in log-odds.

    Args:
        arch: as of :func:`soften`.
        choices: of the space.
        temperature: tau.
    """
    odds: Mixture = {}
    for cell, c in choices.items():
        logits = _per_task(arch[cell].detach().double() / temperature, shared=2)
        itself = torch.eye(len(c.primitives), dtype=torch.bool).to(logits.device)
        others = logits.unsqueeze(-2).masked_fill(itself, -torch.inf)
        odds[cell] = logits - others.logsumexp(dim=-1)
        if cell + INPUTS in arch:
            odds[cell + INPUTS] = _per_task(arch[cell + INPUTS].detach().double(), shared=1)
    return odds


def _per_task(logits: torch.Tensor, *, shared: int) -> torch.Tensor:
    """Logits with a task axis, of length 1 for shared ones, which have ``shared`` axes."""
    return logits[None] if logits.dim() == shared else logits


def pairs_per_node(choices: CellChoices) -> list[int]:
    """How many input pairs each node has, in order.

    >>> pairs_per_node(CellChoices(((0, 2), (1, 2), (0, 3), (1, 3), (2, 3)), ("skip",)))
    [1, 3]
    """
    return [len(pairs) for pairs in choices.pairs().values()]
