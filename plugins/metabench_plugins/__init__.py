"""The built-in plugins, registered through the same entry point as everybody else's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from metabench.hookspecs import hookimpl
from metabench.specs import (
    DatasetSpec,
    ExecutorSpec,
    LearnerSpec,
    NasStrategySpec,
    SearchSpaceSpec,
)

METABENCH_API = 1


@hookimpl
def metabench_datasets() -> Iterable[DatasetSpec]:
    """Toy regression and images."""
    from metabench_plugins.datasets import (
        aircraft,
        birds,
        cifar10,
        cifar100,
        four_domains,
        fungi,
        image_folder,
        miniimagenet,
        omniglot,
        textures,
        torchmeta_classes,
        torchmeta_toy,
    )

    yield DatasetSpec(
        name="toy-regression",
        version=1,
        summary="Four families of functions of one variable.",
        params="metabench_plugins.datasets.toy_regression:ToyRegressionParams",
        kind="functions",
        factory="metabench_plugins.datasets.toy_regression:ToyRegression",
        reference="Wang et al., M-NAS, AAAI 2020",
        licence="generated",
    )
    yield omniglot.SPEC
    yield four_domains.SPEC
    yield birds.SPEC
    yield textures.SPEC
    yield aircraft.SPEC
    yield fungi.SPEC
    yield miniimagenet.SPEC
    yield cifar10.SPEC
    yield from cifar100.SPECS
    yield image_folder.SPEC
    yield torchmeta_classes.SPEC
    yield torchmeta_toy.SPEC


@hookimpl
def metabench_learners() -> Iterable[LearnerSpec]:
    """The meta-learners."""
    yield LearnerSpec(
        name="maml",
        version=1,
        summary="Model-agnostic meta-learning, second or first order.",
        params="metabench_plugins.learners.maml:MamlParams",
        search_params="metabench_plugins.learners.maml:MamlSearchParams",
        factory="metabench_plugins.learners.maml:Maml",
        reference="Finn, Abbeel and Levine, ICML 2017",
    )
    yield LearnerSpec(
        name="reptile",
        version=1,
        summary="Moves the start weights towards the weights that tasks end at.",
        params="metabench_plugins.learners.reptile:ReptileParams",
        search_params="metabench_plugins.learners.metanas:MetanasParams",
        factory="metabench_plugins.learners.metanas:reptile",
        train_shape="metabench_plugins.learners.reptile:train_shape",
        reference="Nichol, Achiam and Schulman, 2018",
    )
    yield LearnerSpec(
        name="mtnet",
        version=1,
        summary="MAML on the units that a mask draws, between meta-learned matrices.",
        params="metabench_plugins.learners.mtnet:MtNetParams",
        factory="metabench_plugins.learners.mtnet:MtNet",
        reference="Lee and Choi, ICML 2018",
    )
    yield LearnerSpec(
        name="mumomaml",
        version=1,
        summary="MAML on units that a reader of the support set scales and shifts.",
        params="metabench_plugins.learners.mumomaml:MumoMamlParams",
        factory="metabench_plugins.learners.mumomaml:MumoMaml",
        reference="Vuorio et al., NeurIPS 2019",
    )
    yield LearnerSpec(
        name="one-shot",
        version=1,
        summary="Architecture search on one task, without meta-learning.",
        params="metabench_plugins.learners.one_shot:OneShotParams",
        factory="metabench_plugins.learners.one_shot:OneShot",
        kinds=("classification",),
        searches=True,
        reference="Liu, Simonyan and Yang, ICLR 2019",
    )
    yield LearnerSpec(
        name="bmaml",
        version=1,
        summary="Bayesian MAML: particles by Stein gradients, and a chaser loss.",
        params="metabench_plugins.learners.bmaml:BmamlParams",
        factory="metabench_plugins.learners.bmaml:Bmaml",
        reference="Yoon et al., NeurIPS 2018",
    )
    yield from _task_aware()
    yield from _searching()


def _task_aware() -> Iterable[LearnerSpec]:
    """Learners that embed the task: HSML and M-NAS, with their ablations as presets."""
    for name, summary, tree in (
        ("hsml", "Gates the weights by a tree of task clusters.", True),
        ("hsml-notree", "HSML without its tree: the baseline of M-NAS's tables.", False),
    ):
        yield LearnerSpec(
            name=name,
            version=1,
            summary=summary,
            params="metabench_plugins.learners.hsml:HsmlParams",
            factory="metabench_plugins.learners.hsml:Hsml",
            preset={"tree": tree},
            reference="Yao, Wei, Huang and Li, ICML 2019",
        )
    for name, summary, preset in (
        ("mnas", "Generates an architecture and gates weights per task.", {}),
        ("mnas-shared", "M-NAS with one architecture, retrained.", {"architecture": "shared"}),
        ("mnas-shared-m", "As mnas-shared: how we read its row.", {"architecture": "shared"}),
        (
            "mnas-shared-nm",
            "M-NAS-Shared without modulation.",
            {"architecture": "shared", "modulate": False},
        ),
        ("mnas-nm", "M-NAS without modulation.", {"modulate": False}),
        ("mnas-low-rank", "M-NAS with gates of low rank, for large networks.", {}),
    ):
        model = "LowRankParams" if name == "mnas-low-rank" else "MnasParams"
        yield LearnerSpec(
            name=name,
            version=1,
            summary=summary,
            params=f"metabench_plugins.learners.mnas:{model}",
            factory="metabench_plugins.learners.mnas:Mnas",
            preset=preset,
            searches=True,
            makes_logits="architecture" not in preset,
            reference="Wang et al., M-NAS, AAAI 2020",
        )


def _searching() -> Iterable[LearnerSpec]:
    """MetaNAS and T-NAS, and what trains the cells that a search has found."""
    metanas = "Elsken et al., MetaNAS, CVPR 2020"
    for name, summary in (
        ("metanas", "Reptile on weights and architecture; each task prunes its own softly."),
        ("random-search", "As metanas; meant for the strategy random, beside which it stands."),
    ):
        yield LearnerSpec(
            name=name,
            version=1,
            summary=summary,
            params="metabench_plugins.learners.metanas:MetanasParams",
            factory="metabench_plugins.learners.metanas:Metanas",
            searches=True,
            train_shape="metabench_plugins.learners.reptile:train_shape",
            reference=metanas,
        )
    for name, summary, preset, reference in (
        (
            "metanas-maml",
            "MAML on weights and architecture with annealing: our extension of MetaNAS.",
            {"arch_at_test": "soft", "threshold": 0.01, "threshold_at_test": 0.05},
            metanas,
        ),
        (
            "tnas",
            "First-order MAML on weights and architecture; each task decodes its own.",
            {
                "order": "first",
                "inner_lr": 0.1,
                "adapt_norm": True,
                "arch_inner_lr": 30.0,
                "arch_beta1": 0.5,
                "arch_decay": 1e-3,
            },
            "Lian et al., T-NAS, ICLR 2020",
        ),
    ):
        yield LearnerSpec(
            name=name,
            version=1,
            summary=summary,
            params="metabench_plugins.learners.maml:MamlSearchParams",
            factory="metabench_plugins.learners.maml:Maml",
            preset=preset,
            searches=True,
            reference=reference,
        )
    for name, summary, reference in (
        ("metanas-retrain", "Reptile with DropPath and decay, for cells that were found.", metanas),
        ("auto-meta", "As metanas-retrain, for the published cell.", "Kim et al., Auto-Meta, 2018"),
    ):
        yield LearnerSpec(
            name=name,
            version=1,
            summary=summary,
            params="metabench_plugins.learners.metanas_retrain:RetrainParams",
            factory="metabench_plugins.learners.metanas_retrain:Retrain",
            train_shape="metabench_plugins.learners.reptile:train_shape",
            reference=reference,
        )


@hookimpl
def metabench_search_spaces() -> Iterable[SearchSpaceSpec]:
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


@hookimpl
def metabench_nas_strategies() -> Iterable[NasStrategySpec]:
    """The ways from architecture logits to an architecture."""
    for name, target, summary, reads_logits, reference in (
        (
            "darts",
            "darts:Darts",
            "Softmax over operations, decoded at the end.",
            True,
            "Liu, Simonyan and Yang, ICLR 2019",
        ),
        (
            "soft-pruning",
            "soft_pruning:SoftPruning",
            "Softmax that cools down within a task, over operations or inputs too.",
            True,
            "Elsken et al., MetaNAS, CVPR 2020",
        ),
        (
            "gumbel",
            "gumbel:Gumbel",
            "Samples one operation per edge, straight through.",
            True,
            "Xie et al., SNAS, ICLR 2019; Dong and Yang, GDAS, CVPR 2019",
        ),
        (
            "random",
            "random:Random",
            "Random architectures: the baseline of every search.",
            False,
            "Li and Talwalkar, UAI 2019",
        ),
        ("fixed", "fixed:Fixed", "One given architecture.", False, ""),
    ):
        yield NasStrategySpec(
            name=name,
            version=1,
            summary=summary,
            params=f"metabench_plugins.strategies.{target}Params",
            factory=f"metabench_plugins.strategies.{target}",
            reads_logits=reads_logits,
            reference=reference,
        )


@hookimpl
def metabench_suites() -> Iterable[Traversable]:
    """The suite files: inside an installed package, or in ``benchmarks/`` of a checkout."""
    return list(_yaml_files(files(__name__).joinpath("suite_files")))


@hookimpl
def metabench_references() -> Iterable[Traversable]:
    """The papers' tables."""
    return list(_yaml_files(files(__name__).joinpath("suite_files", "references")))


@hookimpl
def metabench_claims() -> Iterable[Traversable]:
    """What the papers say of their results."""
    return list(_yaml_files(files(__name__).joinpath("suite_files", "claims")))


@hookimpl
def metabench_executors() -> Iterable[ExecutorSpec]:
    """Processes on this machine, or a Ray cluster."""
    yield ExecutorSpec(
        name="local",
        version=1,
        summary="Processes on this machine, one cell each.",
        params="metabench.executors.local:LocalParams",
        factory="metabench.executors.local:LocalExecutor",
    )
    yield ExecutorSpec(
        name="ray",
        version=1,
        summary="A Ray cluster, one task per cell.",
        params="metabench_plugins.executors.on_ray:RayParams",
        factory="metabench_plugins.executors.on_ray:RayExecutor",
        reference="Moritz et al., OSDI 2018",
    )


def _yaml_files(folder: Traversable) -> Iterator[Traversable]:
    if not folder.is_dir():
        checkout = Path(__file__).resolve().parents[2] / "benchmarks"
        folder = checkout if folder.name == "suite_files" else checkout / folder.name
    if folder.is_dir():
        yield from sorted(
            (file for file in folder.iterdir() if file.name.endswith(".yaml")),
            key=lambda file: file.name,
        )
