"""Settings of the protocol and the budget that a user sets and that change nothing of a run.

All rows of a table have one protocol, so such a setting is no error: a sentence says it.
``normalization`` gets none, since a learner may read it whatever its network is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from metabench.errors import MetabenchError
from metabench.planning.compatibility import episode_shapes, training_phases
from metabench.planning.overrides import Changes, changes_of
from metabench.planning.runspec import RunSpec

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

_OF_TRAINING = ("train_shots", "train_queries")
_OF_VALIDATION = ("val_episodes", "val_shots", "val_queries")


def notes_on_idle_settings(spec: RunSpec, changes: Changes, catalog: Catalog) -> tuple[str, ...]:
    """A sentence on each setting of training and meta-validation that a run does not use.

    Args:
        spec: of a run.
        changes: of its command.
        catalog: the plugins.
    """
    name = spec.learner.name
    asked = changes.get("protocol", {})
    given = [one for one in (*_OF_TRAINING, "selection", *_OF_VALIDATION) if one in asked]
    if not catalog.learner(name).trains:
        return tuple(
            f"Learner {name} does not train, so protocol.{one} changes nothing of it."
            for one in given
        )
    notes = [
        f"Learner {name} does not train on episodes of the protocol's shape, so protocol.{one} "
        "changes nothing of it."
        for one in given
        if one in _OF_TRAINING and not _reads(one, spec, catalog)
    ]
    if spec.protocol.selection == "last":
        unused = [f"protocol.{one}" for one in given if one in _OF_VALIDATION]
        if "val_every" in changes_of(changes, "budget", name):
            unused.append("budget.val_every")
        notes += [
            f"The last weights are tested, without meta-validation, so {one} changes nothing. "
            "--set protocol.selection=meta-val selects by it."
            for one in unused
        ]
    return tuple(notes)


def _reads(name: str, spec: RunSpec, catalog: Catalog) -> bool:
    """Whether the batches of meta-training differ for another value of a protocol's setting."""
    usual, shape = _batches(spec, catalog), spec.protocol.train_shape()
    value = shape.shots if name == "train_shots" else shape.queries
    for other in {max(1, value - 1), value + 1, 2 * value} - {value}:
        protocol = spec.protocol.model_copy(update={name: other})
        with suppress(MetabenchError):  # the learner cannot have it
            if _batches(spec.model_copy(update={"protocol": protocol}), catalog) == usual:
                continue
        return True
    return False


def _batches(spec: RunSpec, catalog: Catalog) -> list[Any]:
    """What each phase draws: its own values, and the shape of its episodes if it has some."""
    usual = episode_shapes(spec, catalog)["meta-train"]
    return [
        (phase, (phase.shape or usual) if phase.tasks != 0 else None)
        for phase in training_phases(spec, catalog)
    ]
