"""Which runs have one training: their values agree in all that does not concern the test alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metabench.planning.compatibility import episode_shapes
from metabench.values import digest

if TYPE_CHECKING:
    from metabench.planning.runspec import RunSpec
    from metabench.plugin.catalog import Catalog

_NAMES = frozenset({"setting", "budget"})
"""Names of values that stand in the spec as well."""
_SCORING = frozenset({"metric", "metric_version"})
_SHAPES = frozenset({"train_shots", "train_queries", "val_shots", "val_queries"})
"""Facts of the protocol that :func:`episode_shapes` resolves."""
_VALIDATION = frozenset({"val_episodes", "episode_seed"})


def training_id(spec: RunSpec, catalog: Catalog) -> str:
    """Digest of what decides the trained weights of a run.

    The number of meta-test episodes never does. What the learner declares as ``test_only`` does
    not either, unless meta-validation, which tests, selects the weights.

    Args:
        spec: of the run.
        catalog: where the learner is found.
    """
    return digest(training_facts(spec, catalog))


def training_facts(spec: RunSpec, catalog: Catalog) -> dict[str, Any]:
    """What :func:`training_id` digests, by name."""
    selects = spec.protocol.selection == "meta-val"
    facts = spec.model_dump(mode="json", exclude=set(_NAMES if selects else _NAMES | _SCORING))
    test_only = set() if selects else set(catalog.learner(spec.learner.name).test_only)
    left_out = {"episodes"} | _SHAPES | (set() if selects else set(_VALIDATION))
    left_out |= {name.removeprefix("protocol.") for name in test_only if "." in name}
    facts["protocol"] = {
        name: value for name, value in facts["protocol"].items() if name not in left_out
    }
    facts["learner"]["params"] = {
        name: value for name, value in facts["learner"]["params"].items() if name not in test_only
    }
    if not selects:
        facts["training"].pop("val_every", None)
    facts["shapes"] = {
        split: [shape.ways, shape.shots, shape.queries]
        for split, shape in episode_shapes(spec, catalog).items()
        if split != "meta-test"
    }
    return facts
