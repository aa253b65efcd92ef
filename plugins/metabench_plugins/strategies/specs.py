"""What the harness is told of each strategy; its code is imported when it is used."""

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
            "Softmax over operations, decoded at the end.",
            True,
            "Liu, Simonyan and Yang, ICLR 2019",
        ),
        (
            "soft-pruning",
            1,
            "soft_pruning:SoftPruning",
            "Softmax that cools down within a task, over operations or inputs too.",
            True,
            "Elsken et al., MetaNAS, CVPR 2020",
        ),
        (
            "gumbel",
            3,
            "gumbel:Gumbel",
            "Samples one operation per edge, straight through.",
            True,
            "Xie et al., SNAS, ICLR 2019; Dong and Yang, GDAS, CVPR 2019",
        ),
        (
            "random",
            1,
            "random:Random",
            "Random architectures: the baseline of every search.",
            False,
            "Li and Talwalkar, UAI 2019",
        ),
        ("fixed", 1, "fixed:Fixed", "One given architecture.", False, ""),
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
