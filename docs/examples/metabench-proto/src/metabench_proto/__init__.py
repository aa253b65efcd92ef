"""What this package provides to metabench."""

from collections.abc import Iterable

from metabench import LearnerSpec, hookimpl

METABENCH_API = 1

PROTO = LearnerSpec(
    name="proto",
    version=1,  # raise it when the same inputs may give other numbers
    summary="Nearest class mean in a learned embedding.",
    params="metabench_proto.learner:ProtoParams",
    factory="metabench_proto.learner:Proto",
    kinds=("classification",),
    reference="Snell, Swersky and Zemel, NeurIPS 2017",
)


@hookimpl
def metabench_learners() -> Iterable[LearnerSpec]:
    """Return the learners of this package."""
    return [PROTO]
