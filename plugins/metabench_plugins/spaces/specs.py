"""Specs of the built-in networks; the code of a network is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator

from metabench import SearchSpaceSpec


def space_specs() -> Iterator[SearchSpaceSpec]:
    """The networks."""
    yield SearchSpaceSpec(
        name="conv4",
        title="Conv-4",
        version=1,
        summary="Conv-4: four 3x3 convolutions with batch norm, ReLU and downsampling, then "
        "a linear layer; its options make R2D2's embedding.",
        params="metabench_plugins.spaces.conv4:Conv4Params",
        factory="metabench_plugins.spaces.conv4:conv4",
        regularization="metabench_plugins.spaces.conv4:regularization",
        reference="Vinyals et al., NeurIPS 2016; Finn et al., ICML 2017",
    )
    yield SearchSpaceSpec(
        name="resnet12",
        title="ResNet-12",
        version=1,
        summary="ResNet-12 with running statistics: four residual blocks of three convolutions, as "
        "in MetaOptNet or as in TADAM, then a linear layer.",
        params="metabench_plugins.spaces.resnet12:ResNet12Params",
        factory="metabench_plugins.spaces.resnet12:ResNet12",
        regularization="metabench_plugins.spaces.resnet12:regularization",
        reference="Lee et al., MetaOptNet, CVPR 2019; Oreshkin et al., TADAM, NeurIPS 2018",
    )
    yield SearchSpaceSpec(
        name="mlp",
        title="MLP",
        version=1,
        summary="Multilayer perceptron with ReLU; by default four hidden layers of 50 units.",
        params="metabench_plugins.spaces.mlp:MlpParams",
        factory="metabench_plugins.spaces.mlp:Mlp",
        kinds=("classification", "regression"),
        reference="Wang et al., M-NAS, AAAI 2020",
    )
    yield SearchSpaceSpec(
        name="toy-cell",
        title="M-NAS cell",
        version=2,
        summary="Searched network of M-NAS for toy regression: one cell between two linear layers.",
        params="metabench_plugins.spaces.toy_cell:ToyCellParams",
        factory="metabench_plugins.spaces.toy_cell:ToyCell",
        kinds=("classification", "regression"),
        searched=True,
        reference="Wang et al., M-NAS, AAAI 2020",
    )
    yield SearchSpaceSpec(
        name="darts",
        title="DARTS",
        version=2,
        summary="Searched network of DARTS: 8 cells of 4 nodes, with 8 candidate operations "
        "per edge.",
        params="metabench_plugins.spaces.darts:DartsSpaceParams",
        factory="metabench_plugins.spaces.darts:darts",
        searched=True,
        reference="Liu, Simonyan and Yang, ICLR 2019",
    )
    yield SearchSpaceSpec(
        name="metanas",
        title="MetaNAS",
        version=2,
        summary="Searched network of MetaNAS: 4 cells of 3 nodes and equal width, with 7 "
        "candidate operations per edge.",
        params="metabench_plugins.spaces.metanas:MetaNasParams",
        factory="metabench_plugins.spaces.metanas:metanas",
        searched=True,
        reference="Elsken et al., MetaNAS, CVPR 2020",
    )
    yield SearchSpaceSpec(
        name="metanas-child",
        title="MetaNAS child",
        version=3,
        summary="Network that MetaNAS builds from one genotype: a published one, or one "
        "that a search found.",
        params="metabench_plugins.spaces.metanas:ChildParams",
        factory="metabench_plugins.spaces.metanas:child",
        reference="Elsken et al., MetaNAS, CVPR 2020",
    )
    yield SearchSpaceSpec(
        name="auto-meta",
        title="Auto-Meta",
        version=2,
        summary="Network that MetaNAS builds from the published cell of Auto-Meta.",
        params="metabench_plugins.spaces.metanas:AutoMetaParams",
        factory="metabench_plugins.spaces.metanas:child",
        reference="Kim et al., Auto-Meta, 2018",
    )
    yield SearchSpaceSpec(
        name="tnas",
        title="T-NAS",
        version=2,
        summary="Searched network of T-NAS, used for M-NAS on images: a normal and a "
        "reduction cell of 4 nodes each, with 8 candidate operations per edge.",
        params="metabench_plugins.spaces.tnas:TnasParams",
        factory="metabench_plugins.spaces.tnas:tnas",
        searched=True,
        reference="Lian et al., T-NAS, ICLR 2020",
    )
