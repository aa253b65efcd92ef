"""More of what a plugin can provide: a learner with phases, values for a suite, and a metric."""

from collections.abc import Iterable, Sequence
from typing import Any

from metabench import TEST_FACTS, EpisodeShape, LearnerSpec, MetricSpec, Phase, hookimpl

METABENCH_API = 1


def phases(params: Any, shape: EpisodeShape) -> Sequence[Phase]:
    """Classify the meta-train classes first; then compare, with a batch of classes beside."""
    n = params.batch
    return [
        Phase(name="classify", share=params.first, tasks=0, examples=n, selects=False),
        Phase(name="compare", share=1 - params.first, examples=n),
    ]


PROTO_CLASSES = LearnerSpec(
    name="proto-classes",
    version=1,
    summary="Nearest class mean in an embedding that also tells all meta-train classes apart.",
    params="metabench_proto.classes:ProtoClassesParams",
    factory="metabench_proto.classes:ProtoClasses",
    kinds=("classification",),
    phases=phases,
    takes_state=True,
    steps_at_test=lambda params: 0,
    test_only=tuple(fact for fact in TEST_FACTS if fact != "protocol.normalization"),
    suite_defaults={
        "omniglot": {
            "learners": {"proto-classes": {"batch": 64}},
            "budgets": {"smoke": {"training": {"proto-classes": {"meta_steps": 20}}}},
        },
    },
)

MARGIN = MetricSpec(
    name="margin",
    version=1,  # raise it when the same predictions may get other scores
    summary="By how much the logit of the class lies above the largest other one.",
    function="metabench_proto.classes:margin",
    kinds=("classification",),
    title="margin",
    better="larger",
)


@hookimpl
def metabench_learners() -> Iterable[LearnerSpec]:
    """Return the learner with phases."""
    return [PROTO_CLASSES]


@hookimpl
def metabench_metrics() -> Iterable[MetricSpec]:
    """Return the metric."""
    return [MARGIN]
