"""Access to networks whose layers take extra weights, for learners that add some."""

from __future__ import annotations

from metabench import LayeredSpace, SearchSpace, UsageError


def layered(space: SearchSpace, learner: str) -> LayeredSpace:
    """Return the network, known to take extra weights.

    Raises:
        UsageError: when it does not.
    """
    if not isinstance(space, LayeredSpace):
        raise UsageError(
            f"Learner {learner} adds weights to single layers, but the network "
            f"{type(space).__name__} does not list its layers.",
            hint="Choose a fixed network such as mlp or conv4 with --network.",
        )
    return space
