"""What this package provides to metabench."""

from collections.abc import Iterable

from metabench import LearnerSpec, SourceDeviation, hookimpl

METABENCH_API = 1

PROTO = LearnerSpec(
    name="proto",
    version=1,  # raise it when the same inputs may give other numbers
    summary="Nearest class mean in a learned embedding.",
    params="metabench_proto.learner:ProtoParams",
    factory="metabench_proto.learner:Proto",
    kinds=("classification",),
    reference="Snell, Swersky and Zemel, NeurIPS 2017",
    deviations=(
        SourceDeviation(
            where="Prototypical networks, section 3.1",
            source="the embedding is the last layer before a classifier",
            here="it is the output layer, with as many dimensions as the task has classes",
            why="so it works with the network of any suite",
        ),
    ),
)


@hookimpl
def metabench_learners() -> Iterable[LearnerSpec]:
    """Return the learners of this package."""
    return [PROTO]
