"""Specs of the built-in strategies; the code of a strategy is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator

from metabench import NasStrategySpec


def strategy_specs() -> Iterator[NasStrategySpec]:
    """The ways from architecture logits to an architecture."""
    for name, version, target, summary, reads_logits, reference in (
        (
            "darts",
            1,
            "darts:Darts",
            "DARTS: a softmax over the operations of each edge, decoded to one "
            "architecture at the end.",
            True,
            "Liu, Simonyan and Yang, ICLR 2019",
        ),
        (
            "fair-darts",
            1,
            "fair_darts:FairDarts",
            "FairDARTS: a sigmoid for each operation, so that operations do not compete, and a "
            "loss term that drives them to 0 or 1.",
            True,
            "Chu, Zhou, Zhang and Li, ECCV 2020",
        ),
        (
            "darts-edge-norm",
            1,
            "edge_norm:EdgeNorm",
            "DARTS with the edge normalization of PC-DARTS: logits of each edge besides those of "
            "its operations. Its partial channels are network.partial.",
            True,
            "Xu et al., PC-DARTS, ICLR 2020",
        ),
        (
            "soft-pruning",
            2,
            "soft_pruning:SoftPruning",
            "Soft pruning of MetaNAS: a softmax with a falling temperature over "
            "operations and, if set, over pairs of input nodes.",
            True,
            "Elsken et al., MetaNAS, CVPR 2020",
        ),
        (
            "gumbel",
            3,
            "gumbel:Gumbel",
            "Gumbel-softmax sampling of operations: one per edge with straight-through "
            "gradients (GDAS), or relaxed (SNAS).",
            True,
            "Xie et al., SNAS, ICLR 2019; Dong and Yang, GDAS, CVPR 2019",
        ),
        (
            "random",
            1,
            "random:Random",
            "Random search: architectures are drawn uniformly and not learned.",
            False,
            "Li and Talwalkar, UAI 2019",
        ),
        ("fixed", 2, "fixed:Fixed", "One given architecture, without a search.", False, ""),
    ):
        yield NasStrategySpec(
            name=name,
            version=version,
            summary=summary,
            params=f"metabench_plugins.strategies.{target}Params",
            factory=f"metabench_plugins.strategies.{target}",
            reads_logits=reads_logits,
            reference=reference,
        )
