"""The model of a plugin's parameters, held to what the harness relies on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metabench.errors import PluginError

if TYPE_CHECKING:
    from pydantic import BaseModel


def strict(model: Any, *, owner: str) -> type[BaseModel]:
    """The model, if its values cannot change and a misspelled name is an error.

    Args:
        model: what a description gives as the model of its parameters.
        owner: the name of the plugin.

    Raises:
        PluginError: with what it is instead.
    """
    if flaw := _flaw_of(model):
        raise PluginError(
            f"The parameters of {owner!r} cannot be used: {flaw}",
            hint="metabench.Frozen is a model that is right.",
        )
    found: type[BaseModel] = model
    return found


def _flaw_of(model: Any) -> str:
    from pydantic import BaseModel

    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return "params is not a pydantic model."
    if not model.model_config.get("frozen"):
        return f"{model.__name__} is not frozen; set frozen=True."
    if model.model_config.get("extra") != "forbid":
        return f'{model.__name__} accepts unknown names silently; set extra="forbid".'
    return ""
