"""One given architecture: a published one, one from a file or a search, or one in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from metabench import (
    Arch,
    CellChoices,
    FileParam,
    Frozen,
    Genotype,
    Mixture,
    SearchSpace,
    UsageError,
)
from metabench_plugins.spaces.parts.given_genotype import (
    Cells,
    cells_in,
    genotype_of,
    read_given,
)
from metabench_plugins.strategies.parts.decoding import decode, one_hot, place

FIRST = "first"


class FixedParams(Frozen):
    """Parameters of :class:`Fixed`."""

    genotype: str | Cells = Field(
        default=FIRST,
        description="`first` (the first inputs of each node with the first operation), the name "
        "of a published genotype, a .json file, {cell: [[source, target, primitive], ...]}, "
        "or a genotypes.jsonl file or a results folder, whose most common genotype is used.",
    )
    file: FileParam | None = Field(
        default=None,
        description="In place of `genotype`, a .json or genotypes.jsonl file that the run is to "
        "name: its identity holds the file's name and checksum, where that of `genotype` holds the "
        "architecture; null for none.",
    )

    @field_validator("genotype", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        """Read a file here, so that the run's identity holds what is in it."""
        return value if value == FIRST else read_given(value)

    @model_validator(mode="after")
    def _one_source(self) -> FixedParams:
        if self.file is not None and self.genotype != FIRST:
            raise ValueError("give a genotype or a file, not both")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Runs without a file keep the identity that they had before there were files."""
        values: dict[str, Any] = handler(self)
        return {key: value for key, value in values.items() if (key, value) != ("file", None)}


class Fixed:
    """A strategy that learns nothing: the given architecture, whatever the logits."""

    def __init__(self, params: FixedParams) -> None:
        self._given = params.genotype if params.file is None else _in_file(params.file)

    def init_arch(self, space: SearchSpace, *, rng: torch.Generator) -> Arch:
        """The weights of the architecture, in place of logits.

        Raises:
            UsageError: when the genotype is none of this space.
        """
        return {cell: hard[0] for cell, hard in self._one_hot(space).items()}

    def mixture(
        self, space: SearchSpace, arch: Arch, *, sharpness: float, rng: torch.Generator | None
    ) -> Mixture:
        """1 for what the architecture has, 0 for the rest."""
        (like, *_) = arch.values()
        return place(self._one_hot(space), like)

    def discretize(self, space: SearchSpace, arch: Arch) -> Genotype:
        """The architecture."""
        return self._genotype(space.choices())

    def _one_hot(self, space: SearchSpace) -> Mixture:
        choices = space.choices()
        return one_hot(self._genotype(choices), choices)

    def _genotype(self, choices: Mapping[str, CellChoices]) -> Genotype:
        if self._given == FIRST:
            even = {c: torch.ones(1, len(f.edges), len(f.primitives)) for c, f in choices.items()}
            return decode(even, choices)
        genotype = genotype_of(self._given)
        _check_genotype(genotype, choices)
        return genotype


def _in_file(file: FileParam) -> Cells:
    """The architecture in a file.

    Raises:
        UsageError: when there is none.
    """
    try:
        return cells_in(file.read_text(), file.name)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"The file {file.name} holds no genotype ({error}).",
            hint='It must hold {"cell": [[source, target, "primitive"], ...]}, or be the '
            "genotypes.jsonl of a search.",
        ) from error


def _check_genotype(genotype: Genotype, choices: Mapping[str, CellChoices]) -> None:
    """Refuse a genotype with cells, edges or operations that the space lacks, by name."""
    hint = "Give another genotype with --set strategy.genotype, or another network with --network."
    cells = dict(genotype.cells)
    if cells.keys() != choices.keys():
        raise UsageError(
            f"The genotype has cells {sorted(cells)}; this network has {sorted(choices)}.",
            hint=hint,
        )
    for cell, edges in cells.items():
        for edge in edges:
            for what, item, known in (
                ("edge", (edge.source, edge.target), choices[cell].edges),
                ("operation", edge.primitive, choices[cell].primitives),
            ):
                if item not in known:
                    raise UsageError(
                        f"The genotype has the {what} {item} in cell {cell!r}, but this network "
                        f"has only {', '.join(map(str, known))}.",
                        hint=hint,
                    )
