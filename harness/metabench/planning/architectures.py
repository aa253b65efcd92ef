"""What logits, mixtures and genotypes of a strategy must be on a network: each flaw a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from metabench.plugin.contracts.architecture import INPUTS, NEEDED, ZERO, CellChoices
from metabench.plugin.contracts.genotype import Genotype

Choices = Mapping[str, CellChoices]


def flaw_of_logits(arch: Any, choices: Choices) -> str:
    """What is wrong with shared logits, in a sentence; "" if nothing is.

    Args:
        arch: what ``init_arch`` returned.
        choices: of the network.
    """
    if not isinstance(arch, Mapping):
        return f"init_arch returned a {type(arch).__name__}; it must be a mapping by cell."
    for key, logits in arch.items():
        if not (isinstance(logits, Tensor) and logits.is_floating_point()):
            return f"the logits {key!r} are no tensor of floating point."
    found = {key: tuple(logits.shape) for key, logits in arch.items()}
    wanted: dict[str, tuple[int, ...]] = {}
    for cell, c in choices.items():
        wanted[cell] = (len(c.edges), len(c.primitives))
        if c.input_pairs and cell + INPUTS in found:
            wanted[cell + INPUTS] = (sum(map(len, c.pairs().values())),)
    rows = {key: shape for key, shape in found.items() if not is_own(key, wanted)}
    return "" if rows == wanted else f"logits have shapes {rows}; they must be {wanted}."


def is_own(key: str, cells: Mapping[str, object]) -> bool:
    """Whether logits are a strategy's own, ``<cell>.<name>``, as far as their key tells."""
    cell, _, name = key.rpartition(".")
    return cell in cells and f".{name}" not in (INPUTS, NEEDED)


def flaw_of_mixture(mixture: Any, choices: Choices) -> str:
    """What is wrong with the weights of operations, of logits that are shared.

    Args:
        mixture: what ``mixture`` returned.
        choices: of the network.
    """
    if not isinstance(mixture, Mapping):
        return f"mixture returned a {type(mixture).__name__}; it must be a mapping by cell."
    for key, weights in mixture.items():
        if not isinstance(weights, Tensor):
            return f"the mixture of {key!r} is a {type(weights).__name__}; it must be a tensor."
    cells = [key for key in mixture if not key.endswith((INPUTS, NEEDED))]
    if cells != list(choices):
        return f"the mixture has cells {cells}; it must have {list(choices)}."
    for cell, c in choices.items():
        for key in (cell, cell + NEEDED):
            if key not in mixture:
                continue
            shape = tuple(mixture[key].shape)
            if shape != (1, len(c.edges), len(c.primitives)):
                return (
                    f"the mixture of {key!r} has shape {shape}; "
                    "it must be [tasks or 1, edges, operations]."
                )
    return ""


def flaw_of_genotype(genotype: Any, choices: Choices) -> str:
    """What is wrong with an architecture."""
    if not isinstance(genotype, Genotype):
        return f"the genotype is a {type(genotype).__name__}; it must be a metabench.Genotype."
    found = dict(genotype.cells)
    for cell in found:
        if cell not in choices:
            return f"the genotype has a cell {cell!r} that the network lacks."
    for cell, known in choices.items():
        if not found.get(cell):
            return f"the genotype has no edge in cell {cell!r}, so nothing reaches its output."
        for edge in found[cell]:
            if edge.primitive == ZERO:
                return f"the genotype keeps {ZERO!r} in cell {cell!r}, which is no operation."
            if edge.primitive not in known.primitives:
                return f"the genotype has a primitive {edge.primitive!r} that cell {cell!r} lacks."
            if (edge.source, edge.target) not in known.edges:
                return (
                    f"the genotype has an edge from {edge.source} to {edge.target} that cell "
                    f"{cell!r} lacks."
                )
    return ""
