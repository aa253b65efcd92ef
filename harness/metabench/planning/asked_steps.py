"""Inner steps at meta-test that a user asks for in the protocol, where a learner takes its own.

All rows of a table have one protocol, so the number stands in that of every learner. One that
chooses its steps itself is only planned if the user says these as well.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from metabench.errors import PluginError, UsageError
from metabench.planning.compatibility import steps_at_test
from metabench.planning.overrides import Changes, changes_of
from metabench.planning.runspec import RunSpec

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

_ASKED = ("steps_at_test", "curve_steps")


def check_asked_steps(spec: RunSpec, changes: Changes, catalog: Catalog) -> None:
    """Refuse a number of steps that a learner would not take, unless its own number is set too.

    Args:
        spec: of a run.
        changes: of its command.
        catalog: the plugins.

    Raises:
        UsageError: with the parameters that set the learner's own number.
    """
    learner, asked = spec.learner.name, changes.get("protocol", {})
    if "steps_at_test" not in asked or catalog.learner(learner).steps_at_test is None:
        return
    own = _deciding(spec, catalog)
    if own and changes_of(changes, "learner", learner).keys().isdisjoint(own):
        named = " or ".join(f"'learner[{learner}].{name}=N'" for name in own)
        raise UsageError(
            f"Learner {learner} takes its own number of inner steps at meta-test, "
            f"{steps_at_test(spec, catalog)}, whatever protocol.steps_at_test is.",
            hint=f"Set its own number, --set {named}, or leave protocol.steps_at_test out.",
        )


def notes_on_asked_steps(spec: RunSpec, changes: Changes, catalog: Catalog) -> tuple[str, ...]:
    """A sentence on each number of steps that a user asks of a learner without an inner loop.

    Args:
        spec: of a run.
        changes: of its command.
        catalog: the plugins.
    """
    learner = spec.learner.name
    asked = [name for name in _ASKED if name in changes.get("protocol", {})]
    if not asked or catalog.learner(learner).steps_at_test is None:
        return ()
    if steps_at_test(spec, catalog) or _deciding(spec, catalog):
        return ()
    return tuple(
        f"Learner {learner} takes no inner steps at meta-test, so protocol.{name} changes nothing "
        "of its scores."
        for name in asked
    )


def _deciding(spec: RunSpec, catalog: Catalog) -> list[str]:
    """The learner's whole numbers that decide its inner steps at meta-test."""
    usual, params = steps_at_test(spec, catalog), spec.learner.params

    def changed(name: str, value: int) -> bool:
        choice = spec.learner.model_copy(update={"params": {**params, name: value}})
        with suppress(PluginError):  # it is out of bounds
            return steps_at_test(spec.model_copy(update={"learner": choice}), catalog) != usual
        return False

    return [
        name
        for name, value in params.items()
        if type(value) is int and any(changed(name, value + by) for by in (1, -1))
    ]
