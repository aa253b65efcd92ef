"""Specs of the built-in learners; the code of a learner is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from metabench import LearnerSpec, TaskKind
from metabench_plugins.learners.deviations import deviations_of
from metabench_plugins.learners.independence import concerning_test_alone
from metabench_plugins.learners.titles import TITLES


def learner_specs() -> Iterator[LearnerSpec]:
    """The meta-learners, as papers print them, with what they do otherwise than their sources."""
    for spec in _learners():
        yield replace(
            spec,
            title=TITLES[spec.name],
            deviations=deviations_of(spec.name),
            test_only=concerning_test_alone(spec.name),
        )


def _learners() -> Iterator[LearnerSpec]:
    yield from _without_training()
    yield LearnerSpec(
        name="maml",
        version=2,
        summary="MAML: meta-learns initial weights that a few gradient steps adapt to a "
        "task (Finn et al. 2017).",
        params="metabench_plugins.learners.maml:MamlParams",
        search_params="metabench_plugins.learners.maml:MamlSearchParams",
        adds_loss_terms=True,
        factory="metabench_plugins.learners.maml:Maml",
        splits_tasks=True,
        conditions="metabench_plugins.learners.parts.conditions:with_outer_adam",
        reference="Finn, Abbeel and Levine, ICML 2017",
    )
    yield LearnerSpec(
        name="reptile",
        version=2,
        summary="Reptile: moves the initial weights toward the mean of the weights adapted "
        "to each task (Nichol et al. 2018).",
        params="metabench_plugins.learners.reptile:ReptileParams",
        search_params="metabench_plugins.learners.metanas.params:MetanasParams",
        adds_loss_terms=True,
        factory="metabench_plugins.learners.metanas.learner:reptile",
        conditions="metabench_plugins.learners.parts.conditions:of_reptile",
        train_shape="metabench_plugins.learners.reptile:train_shape",
        steps_at_test="metabench_plugins.learners.metanas.params:steps_at_test",
        predictions=("pruned",),  # on a searched network
        reference="Nichol, Achiam and Schulman, 2018",
    )
    yield LearnerSpec(
        name="anil",
        version=1,
        summary="ANIL: MAML whose inner loop adapts the last layer alone (Raghu et al. 2020).",
        params="metabench_plugins.learners.anil:AnilParams",
        factory="metabench_plugins.learners.anil:Anil",
        splits_tasks=True,
        conditions="metabench_plugins.learners.parts.conditions:with_outer_adam",
        reference="Raghu, Raghu, Bengio and Vinyals, ICLR 2020",
    )
    yield LearnerSpec(
        name="nil",
        version=1,
        summary="NIL: trains as ANIL; at test the last layer is removed, and classes are weighted "
        "by cosines to the support examples (Raghu et al. 2020).",
        kinds=("classification",),
        params="metabench_plugins.learners.anil:AnilParams",
        factory="metabench_plugins.learners.anil:Nil",
        splits_tasks=True,
        conditions="metabench_plugins.learners.parts.conditions:with_outer_adam",
        steps_at_test="metabench_plugins.learners.without_training:no_steps",
        reference="Raghu, Raghu, Bengio and Vinyals, ICLR 2020",
    )
    yield LearnerSpec(
        name="meta-sgd",
        version=1,
        summary="Meta-SGD: MAML with a learned learning rate for every weight (Li et al. 2017).",
        params="metabench_plugins.learners.meta_sgd:MetaSgdParams",
        factory="metabench_plugins.learners.meta_sgd:MetaSgd",
        splits_tasks=True,
        conditions="metabench_plugins.learners.parts.conditions:of_meta_sgd",
        reference="Li, Zhou, Chen and Li, 2017",
    )
    yield LearnerSpec(
        name="maml++",
        version=1,
        summary="MAML++: MAML with a rate, norms and a loss of each inner step's own (Antoniou et "
        "al. 2019).",
        params="metabench_plugins.learners.maml_plus:MamlPlusParams",
        factory="metabench_plugins.learners.maml_plus:MamlPlus",
        splits_tasks=True,
        conditions="metabench_plugins.learners.parts.conditions:of_maml_plus",
        reference="Antoniou, Edwards and Storkey, ICLR 2019",
    )
    yield from _metric()
    yield from _finetuned()
    yield from _leo()
    yield from _tadam()
    yield from _linear_heads()
    yield LearnerSpec(
        name="mtnet",
        version=2,
        summary="MT-Net: MAML with a meta-learned linear transform after each layer and "
        "random masks of the units that adapt (Lee and Choi 2018).",
        params="metabench_plugins.learners.mtnet:MtNetParams",
        factory="metabench_plugins.learners.mtnet:MtNet",
        splits_tasks=True,
        conditions="metabench_plugins.learners.parts.conditions:with_outer_adam",
        reference="Lee and Choi, ICML 2018",
    )
    yield LearnerSpec(
        name="mumomaml",
        version=2,
        summary="MUMOMAML: MAML with task-conditioned FiLM modulation; an encoder of the "
        "support set scales and shifts the units of each hidden layer (Vuorio et al. 2019).",
        params="metabench_plugins.learners.mumomaml:MumoMamlParams",
        factory="metabench_plugins.learners.mumomaml:MumoMaml",
        splits_tasks=True,
        needs_hidden_layers=True,
        conditions="metabench_plugins.learners.parts.conditions:with_outer_adam",
        reference="Vuorio et al., NeurIPS 2019",
    )
    yield LearnerSpec(
        name="one-shot",
        version=2,
        summary="One-shot architecture search on a single task, without meta-learning "
        "(DARTS, Liu et al. 2019).",
        params="metabench_plugins.learners.one_shot:OneShotParams",
        factory="metabench_plugins.learners.one_shot:OneShot",
        conditions="metabench_plugins.learners.parts.conditions:of_one_shot",
        kinds=("classification",),
        searches=True,
        networks={"classification": "darts:soft-pruning"},
        adds_loss_terms=True,
        one_task=True,
        predictions=(
            "pruned",
            "pruned-soft",
            "train-statistics",
            "pruned-train-statistics",
            "pruned-soft-train-statistics",
        ),
        reference="Liu, Simonyan and Yang, ICLR 2019",
    )
    yield LearnerSpec(
        name="bmaml",
        version=2,
        summary="Bayesian MAML: particles adapt by Stein variational gradient descent, and "
        "the chaser loss trains their initial values (Yoon et al. 2018).",
        params="metabench_plugins.learners.bmaml:BmamlParams",
        factory="metabench_plugins.learners.bmaml:Bmaml",
        splits_tasks=True,
        conditions="metabench_plugins.learners.parts.conditions:with_outer_adam",
        reference="Yoon et al., NeurIPS 2018",
    )
    yield from _task_aware()
    yield from _searching()


def _task_aware() -> Iterator[LearnerSpec]:
    """Learners that embed the task: HSML and M-NAS, with their ablations as presets."""
    for name, summary, tree in (
        (
            "hsml",
            "HSML: MAML whose initial weights are gated by a task embedding and a tree "
            "of task clusters (Yao et al. 2019).",
            True,
        ),
        (
            "hsml-notree",
            "HSML without the tree of task clusters: the baseline that M-NAS's tables call HSML.",
            False,
        ),
    ):
        yield LearnerSpec(
            name=name,
            version=2,
            summary=summary,
            params="metabench_plugins.learners.hsml:HsmlParams",
            factory="metabench_plugins.learners.hsml:Hsml",
            splits_tasks=True,
            conditions="metabench_plugins.learners.parts.conditions:with_outer_adam",
            preset={"tree": tree},
            reference="Yao, Wei, Huang and Li, ICML 2019",
        )
    for name, summary, preset in (
        (
            "mnas",
            "M-NAS: a task embedding generates the architecture and gates the initial "
            "weights (Wang et al. 2020).",
            {},
        ),
        (
            "mnas-shared",
            "M-NAS-Shared: one architecture for all tasks, whose network is trained "
            "anew after the search.",
            {"architecture": "shared"},
        ),
        (
            "mnas-shared-m",
            "M-NAS-Shared-M, which the paper does not define: here it equals mnas-shared.",
            {"architecture": "shared"},
        ),
        (
            "mnas-shared-nm",
            "M-NAS-Shared without modulation: all tasks start from the same weights.",
            {"architecture": "shared", "modulate": False},
        ),
        (
            "mnas-nm",
            "M-NAS without modulation (the paper's M-NAS-NM): all tasks start from the "
            "same weights.",
            {"modulate": False},
        ),
        (
            "mnas-low-rank",
            "M-NAS with low-rank gates for large networks, a variant that the paper does not have.",
            {},
        ),
    ):
        model = "LowRankParams" if name == "mnas-low-rank" else "MnasParams"
        yield LearnerSpec(
            name=name,
            version=2,
            summary=summary,
            params=f"metabench_plugins.learners.mnas:{model}",
            factory="metabench_plugins.learners.mnas:Mnas",
            splits_tasks=True,
            conditions="metabench_plugins.learners.parts.conditions:with_outer_adam",
            preset=preset,
            searches=True,
            adds_loss_terms=True,
            makes_logits="architecture" not in preset,
            networks=_networks("tnas", "darts"),
            reference="Wang et al., M-NAS, AAAI 2020",
        )


def _searching() -> Iterator[LearnerSpec]:
    """MetaNAS and T-NAS, and what trains the cells that a search has found."""
    metanas = "Elsken et al., MetaNAS, CVPR 2020"
    for name, summary, strategy, preset in (
        (
            "metanas",
            "MetaNAS: Reptile on weights and architecture logits; each task adapts "
            "both, with soft pruning (Elsken et al. 2020).",
            "soft-pruning",
            {},
        ),
        (
            "random-search",
            "Random search, the baseline of MetaNAS: Reptile on random architectures; "
            "use it with the strategy random.",
            "random",
            {"arch_decay": 0.0},  # its logits are not learned
        ),
    ):
        yield LearnerSpec(
            name=name,
            version=2,
            summary=summary,
            params="metabench_plugins.learners.metanas.params:MetanasParams",
            factory="metabench_plugins.learners.metanas.learner:Metanas",
            conditions="metabench_plugins.learners.parts.conditions:of_reptile",
            preset=preset,
            searches=True,
            adds_loss_terms=True,
            train_shape="metabench_plugins.learners.reptile:train_shape",
            networks=_networks("metanas", strategy),
            steps_at_test="metabench_plugins.learners.metanas.params:steps_at_test",
            predictions=("pruned",),
            reference=metanas,
        )
    yield LearnerSpec(
        name="random-search-maml",
        version=2,
        summary="Random search, the baseline of M-NAS: MAML on random architectures; use it "
        "with the strategy random.",
        params="metabench_plugins.learners.maml:MamlSearchParams",
        factory="metabench_plugins.learners.maml:Maml",
        splits_tasks=True,
        conditions="metabench_plugins.learners.parts.conditions:with_outer_adam",
        preset={"adapt_norm": True},
        searches=True,
        networks=_networks("tnas", "random"),
        adds_loss_terms=True,
        reference="Finn, Abbeel and Levine, ICML 2017",
    )
    yield LearnerSpec(
        name="metanas-maml",
        version=4,
        summary="MetaNAS with MAML instead of Reptile as the meta-learner, which the paper "
        "describes without results.",
        params="metabench_plugins.learners.maml:MamlSearchParams",
        factory="metabench_plugins.learners.maml:Maml",
        splits_tasks=True,
        conditions="metabench_plugins.learners.parts.conditions:with_outer_adam",
        preset={
            "adapt_norm": True,
            "arch_at_test": "soft",
            "threshold": 0.01,
            "threshold_at_test": 0.05,
        },
        searches=True,
        networks=_networks("metanas", "soft-pruning"),
        adds_loss_terms=True,
        reference=metanas,
    )
    yield from _of_tnas()
    for name, network, summary, reference, params in (
        (
            "metanas-retrain",
            "metanas-child",
            "Reptile with DropPath, weight decay and a cosine schedule, as MetaNAS trains "
            "scaled-up networks of searched cells (section 5.2).",
            metanas,
            "RetrainParams",
        ),
        (
            "auto-meta",
            "auto-meta",
            "Reptile as MetaNAS trains the published cell of Auto-Meta (section 5.1): a constant "
            "outer step size, no decay, no DropPath (Kim et al. 2018).",
            "Kim et al., Auto-Meta, 2018",
            "AutoMetaParams",
        ),
    ):
        yield LearnerSpec(
            name=name,
            version=2,
            summary=summary,
            params=f"metabench_plugins.learners.metanas.retrain:{params}",
            factory="metabench_plugins.learners.metanas.retrain:Retrain",
            networks={"classification": network},
            conditions="metabench_plugins.learners.parts.conditions:of_reptile",
            train_shape="metabench_plugins.learners.reptile:train_shape",
            steps_at_test="metabench_plugins.learners.metanas.params:steps_at_test",
            reference=reference,
        )


def _of_tnas() -> Iterator[LearnerSpec]:
    """T-NAS and what its paper compares it with."""
    parts = "metabench_plugins.learners"
    tnas = LearnerSpec(
        name="tnas",
        version=4,
        summary="T-NAS: first-order MAML on weights and architecture logits; the most "
        "common decoded networks are trained anew (Lian et al. 2020).",
        params=f"{parts}.tnas:TnasParams",
        factory=f"{parts}.tnas:Tnas",
        splits_tasks=True,
        conditions=f"{parts}.parts.conditions:with_outer_adam",
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
        networks=_networks("tnas", "darts"),
        adds_loss_terms=True,
        predictions=("supernet",),
        reference="Lian et al., T-NAS, ICLR 2020",
    )
    yield tnas
    yield replace(
        tnas,
        name="tnas++",
        version=1,
        summary="T-NAS++: T-NAS whose decoded networks are trained by MAML++ (Lian et al. 2020).",
        params=f"{parts}.tnas_plus:TnasPlusParams",
        factory=f"{parts}.tnas_plus:TnasPlus",
        conditions=f"{parts}.parts.conditions:of_maml_plus",
        preset={**tnas.preset, "multi_step_parts": 15, "outer_lr_end": None},
    )
    yield replace(
        tnas,
        name="auto-maml",
        version=1,
        summary="Auto-MAML: first-order MAML on weights, with one architecture for all tasks, "
        "whose network is trained anew (Lian et al. 2020).",
        params=f"{parts}.auto_maml:AutoMamlParams",
        factory=f"{parts}.auto_maml:AutoMaml",
        preset={
            **tnas.preset,
            "arch_inner_lr": 0.0,
            "arch_lr": 3e-4,
            "networks": 1,
            "decode_fraction": 0.0,
        },
    )


def _metric() -> Iterator[LearnerSpec]:
    """Learners without an inner loop, which compare embeddings."""
    module = "metabench_plugins.learners.metric"
    for name, summary, learner, reference in (
        (
            "protonet",
            "Prototypical networks: the nearest class mean in a learned embedding (Snell et al. "
            "2017).",
            "ProtoNet",
            "Snell, Swersky and Zemel, NeurIPS 2017",
        ),
        (
            "matching-net",
            "Matching networks: attention on the support examples in a learned embedding, without "
            "full-context embeddings (Vinyals et al. 2016).",
            "MatchingNet",
            "Vinyals et al., NeurIPS 2016",
        ),
    ):
        yield LearnerSpec(
            name=name,
            version=1,
            summary=summary,
            kinds=("classification",),
            params=f"{module}:{learner}Params",
            factory=f"{module}:{learner}",
            conditions="metabench_plugins.learners.parts.conditions:of_metric",
            train_shape=f"{module}:train_shape",
            takes_state=True,
            splits_tasks=True,
            steps_at_test="metabench_plugins.learners.without_training:no_steps",
            reference=reference,
        )


def _finetuned() -> Iterator[LearnerSpec]:
    """Ordinary classifiers of the meta-train classes, with a new head for each task."""
    module = "metabench_plugins.learners.finetuned_classifier"
    for name, head, said in (("baseline", "linear", "linear"), ("baseline++", "cosine", "cosine")):
        yield LearnerSpec(
            name=name,
            version=1,
            summary="Ordinary training on the meta-train classes, then a new "
            f"{said} classifier for each task (Chen et al. 2019).",
            kinds=("classification",),
            params=f"{module}:FinetunedParams",
            factory=f"{module}:FinetunedClassifier",
            takes_state=True,
            conditions="metabench_plugins.learners.parts.conditions:of_finetuned",
            phases=f"{module}:phases",
            steps_at_test=f"{module}:steps_at_test",
            preset={"head": head},
            reference="Chen et al., ICLR 2019",
        )


_LEO_LENGTH: Mapping[str, Any] = {
    "budgets": {"paper": {"training": {"leo": {"meta_steps": 200_000, "meta_batch": 12}}}}
}
"""LEO's 100,000 steps, after as many that train the network: by default half of all."""


def _leo() -> Iterator[LearnerSpec]:
    """LEO, on features that it trains itself or on given ones."""
    module = "metabench_plugins.learners.leo"
    yield LearnerSpec(
        name="leo",
        version=1,
        summary="LEO: generates each task's classifier from a latent code that inner steps refine, "
        "on features of a network trained as a classifier first (Rusu et al. 2019).",
        kinds=("classification",),
        params=f"{module}:LeoParams",
        factory=f"{module}:Leo",
        takes_state=True,
        conditions="metabench_plugins.learners.parts.conditions:of_leo",
        phases=f"{module}:phases",
        steps_at_test=f"{module}:steps_at_test",
        suite_defaults={"miniimagenet": _LEO_LENGTH, "tieredimagenet": _LEO_LENGTH},
        reference="Rusu et al., ICLR 2019",
    )


def _linear_heads() -> Iterator[LearnerSpec]:
    """Learners whose inner loop solves for a linear classifier of the embedding."""
    module = "metabench_plugins.learners.linear_heads"
    conditions = "metabench_plugins.learners.parts.conditions"
    metaoptnet = ("MetaOptNet", f"{conditions}:of_metaoptnet", "Lee et al., CVPR 2019")
    for name, summary, (learner, stated, reference), preset in (
        (
            "r2d2",
            "R2-D2: ridge regression on a learned embedding, with a learned penalty (Bertinetto et "
            "al. 2019).",
            ("R2d2", f"{conditions}:of_metric", "Bertinetto et al., ICLR 2019"),
            {},
        ),
        (
            "metaoptnet",
            "MetaOptNet: a support vector machine on a learned embedding, differentiated at its "
            "solution (Lee et al. 2019).",
            metaoptnet,
            {},
        ),
        (
            "metaoptnet-ridge",
            "MetaOptNet with ridge regression instead of the support vector machine.",
            metaoptnet,
            {"head": "ridge"},
        ),
    ):
        yield LearnerSpec(
            name=name,
            version=1,
            summary=summary,
            kinds=("classification",),
            params=f"{module}:{learner}Params",
            factory=f"{module}:{learner}",
            conditions=stated,
            preset=preset,
            takes_state=True,
            splits_tasks=True,
            train_shape=f"{module}:train_shape",
            steps_at_test="metabench_plugins.learners.without_training:no_steps",
            reference=reference,
        )


def _tadam_length(batches: Mapping[int, tuple[str, ...]]) -> Mapping[str, Any]:
    """TADAM's steps, and its tasks per step in settings of 1, 5 and 10 shots."""
    settings = {
        setting: {"training": {"tadam": {"meta_batch": batch}}}
        for batch, named in batches.items()
        for setting in named
    }
    length = {"tadam": {"meta_steps": 30_000}}
    return {"budgets": {"paper": {"training": length, "settings": settings}}}


def _tadam() -> Iterator[LearnerSpec]:
    """TADAM, whose embedding depends on the task."""
    module = "metabench_plugins.learners.tadam"
    yield LearnerSpec(
        name="tadam",
        version=2,
        summary="TADAM: class means under a scaled metric, in an embedding conditioned on the task "
        "and trained together with a classifier (Oreshkin et al. 2018).",
        kinds=("classification",),
        params=f"{module}:TadamParams",
        factory=f"{module}:Tadam",
        conditions="metabench_plugins.learners.parts.conditions:of_tadam",
        phases=f"{module}:phases",
        train_shape="metabench_plugins.learners.metric:train_shape",
        steps_at_test="metabench_plugins.learners.without_training:no_steps",
        takes_state=True,
        suite_defaults={
            "miniimagenet": _tadam_length(
                {
                    5: ("5w1s", "5w1s-130k", "5w1s-scaled"),
                    2: ("5w5s", "5w5s-130k", "5w5s-scaled"),
                }
            ),
            "fc100": _tadam_length({5: ("5w1s",), 2: ("5w5s",), 1: ("5w10s",)}),
        },
        reference="Oreshkin, Rodriguez and Lacoste, NeurIPS 2018",
    )


def _without_training() -> Iterator[LearnerSpec]:
    """Predictors that use the support set alone: the floor of a table."""
    module = "metabench_plugins.learners.without_training"
    both: tuple[TaskKind, ...] = ("classification", "regression")
    for name, summary, kinds, factory, params in (
        (
            "support-mean",
            "Predicts the mean of the support targets; it is not trained.",
            both[1:],
            "SupportMean",
            "NoParams",
        ),
        (
            "nearest-neighbor",
            "Predicts what the nearest support example says, on raw inputs; it is not trained.",
            both,
            "NearestNeighbor",
            "NoParams",
        ),
        (
            "nearest-centroid",
            "Predicts the class with the nearest mean support example, on raw inputs; it is not "
            "trained.",
            both[:1],
            "NearestCentroid",
            "NoParams",
        ),
        (
            "gaussian-process",
            "Gaussian-process regression on the support set of each task, with the hyperparameters "
            "of the highest marginal likelihood; it is not trained.",
            both[1:],
            "GaussianProcess",
            "GaussianProcessParams",
        ),
    ):
        yield LearnerSpec(
            name=name,
            version=1,
            summary=summary,
            kinds=kinds,
            params=f"{module}:{params}",
            factory=f"{module}:{factory}",
            needs_space=False,
            trains=False,
            transductive=False,
            steps_at_test=f"{module}:no_steps",
            reference="Rasmussen and Williams, 2006" if name == "gaussian-process" else "",
        )


def _networks(of_images: str, strategy: str) -> Mapping[TaskKind, str]:
    """A searched network for images, and the cell of M-NAS's toy regression."""
    return {"classification": f"{of_images}:{strategy}", "regression": f"toy-cell:{strategy}"}
