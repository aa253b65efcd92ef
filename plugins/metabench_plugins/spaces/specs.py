"""What the harness is told of each network; its code is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator

from metabench import SearchSpaceSpec


def space_specs() -> Iterator[SearchSpaceSpec]:
    """The networks."""
    yield SearchSpaceSpec(
        name="conv4",
        version=1,
        summary="Four convolutions with batch norm, and a linear head.",
        params="metabench_plugins.spaces.conv4:Conv4Params",
        factory="metabench_plugins.spaces.conv4:Conv4",
        reference="Vinyals et al., NeurIPS 2016; Finn et al., ICML 2017",
    )
    yield SearchSpaceSpec(
        name="mlp",
        version=1,
        summary="Fully connected layers, 1-50-50-50-50-1 by default.",
        params="metabench_plugins.spaces.mlp:MlpParams",
        factory="metabench_plugins.spaces.mlp:Mlp",
        kinds=("classification", "regression"),
        reference="Wang et al., M-NAS, AAAI 2020",
    )
    yield SearchSpaceSpec(
        name="toy-cell",
        version=2,
        summary="One searched cell between a linear stem and a linear head.",
        params="metabench_plugins.spaces.toy_cell:ToyCellParams",
        factory="metabench_plugins.spaces.toy_cell:ToyCell",
        kinds=("classification", "regression"),
        searched=True,
        reference="Wang et al., M-NAS, AAAI 2020",
    )
    yield SearchSpaceSpec(
        name="darts",
        version=1,
        summary="Eight cells of four nodes with eight operations, as searched on CIFAR-10.",
        params="metabench_plugins.spaces.darts:DartsSpaceParams",
        factory="metabench_plugins.spaces.darts:darts",
        searched=True,
        reference="Liu, Simonyan and Yang, ICLR 2019",
    )
    yield SearchSpaceSpec(
        name="metanas",
        version=1,
        summary="Four cells of three nodes with seven operations, all of one width.",
        params="metabench_plugins.spaces.metanas:MetaNasParams",
        factory="metabench_plugins.spaces.metanas:metanas",
        searched=True,
        reference="Elsken et al., MetaNAS, CVPR 2020",
    )
    yield SearchSpaceSpec(
        name="metanas-child",
        version=1,
        summary="A fixed network of MetaNAS's with the cells of a genotype, found or given.",
        params="metabench_plugins.spaces.metanas:ChildParams",
        factory="metabench_plugins.spaces.metanas:child",
        reference="Elsken et al., MetaNAS, CVPR 2020",
    )
    yield SearchSpaceSpec(
        name="auto-meta",
        version=1,
        summary="As metanas-child, with the published cell of Auto-Meta.",
        params="metabench_plugins.spaces.metanas:AutoMetaParams",
        factory="metabench_plugins.spaces.metanas:child",
        reference="Kim et al., Auto-Meta, 2018",
    )
    yield SearchSpaceSpec(
        name="tnas",
        version=1,
        summary="A normal and a reduction cell of four nodes: T-NAS, and M-NAS on images.",
        params="metabench_plugins.spaces.tnas:TnasParams",
        factory="metabench_plugins.spaces.tnas:tnas",
        searched=True,
        reference="Lian et al., T-NAS, ICLR 2020",
    )
