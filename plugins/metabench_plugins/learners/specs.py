"""What the harness is told of each learner; its code is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator

from metabench import LearnerSpec


def learner_specs() -> Iterator[LearnerSpec]:
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
        search_params="metabench_plugins.learners.metanas.params:MetanasParams",
        factory="metabench_plugins.learners.metanas.learner:reptile",
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
        one_task=True,
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


def _task_aware() -> Iterator[LearnerSpec]:
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


def _searching() -> Iterator[LearnerSpec]:
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
            params="metabench_plugins.learners.metanas.params:MetanasParams",
            factory="metabench_plugins.learners.metanas.learner:Metanas",
            searches=True,
            train_shape="metabench_plugins.learners.reptile:train_shape",
            reference=metanas,
        )
    yield LearnerSpec(
        name="random-search-maml",
        version=1,
        summary="MAML on random architectures; meant for the strategy random, beside M-NAS.",
        params="metabench_plugins.learners.maml:MamlSearchParams",
        factory="metabench_plugins.learners.maml:Maml",
        preset={"adapt_norm": True},
        searches=True,
        reference="Finn, Abbeel and Levine, ICML 2017",
    )
    yield LearnerSpec(
        name="metanas-maml",
        version=2,
        summary="MAML on weights and architecture with annealing: our extension of MetaNAS.",
        params="metabench_plugins.learners.maml:MamlSearchParams",
        factory="metabench_plugins.learners.maml:Maml",
        preset={
            "adapt_norm": True,
            "arch_at_test": "soft",
            "threshold": 0.01,
            "threshold_at_test": 0.05,
        },
        searches=True,
        reference=metanas,
    )
    yield LearnerSpec(
        name="tnas",
        version=3,
        summary="First-order MAML on weights and logits; common decoded networks are retrained.",
        params="metabench_plugins.learners.tnas:TnasParams",
        factory="metabench_plugins.learners.tnas:Tnas",
        preset={
            "order": "first",
            "inner_lr": 0.1,
            "reduction": "mean",
            "adapt_norm": True,
            "arch_inner_lr": 30.0,
            "arch_beta1": 0.5,
            "arch_decay": 1e-3,
        },
        searches=True,
        reference="Lian et al., T-NAS, ICLR 2020",
    )
    for name, summary, reference in (
        ("metanas-retrain", "Reptile with DropPath and decay, for cells that were found.", metanas),
        ("auto-meta", "As metanas-retrain, for the published cell.", "Kim et al., Auto-Meta, 2018"),
    ):
        yield LearnerSpec(
            name=name,
            version=1,
            summary=summary,
            params="metabench_plugins.learners.metanas.retrain:RetrainParams",
            factory="metabench_plugins.learners.metanas.retrain:Retrain",
            train_shape="metabench_plugins.learners.reptile:train_shape",
            reference=reference,
        )
