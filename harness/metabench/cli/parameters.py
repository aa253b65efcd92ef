"""The parameters of a plugin in words, read from its pydantic model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metabench.plugin.specs import LearnerSpec
from metabench.render.columns import columns
from metabench.render.layout import GLUE
from metabench.text import as_in_yaml

if TYPE_CHECKING:
    from pydantic import BaseModel

    from metabench.plugin.specs import Spec

_BOUNDS = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
}


def parameters(spec: Spec) -> dict[str, dict[str, Any]]:
    """The JSON schema of each parameter, with the preset of a learner as the default.

    The parameters that a learner has only on searched networks are included, and say so, and so
    are other defaults on these.
    """
    preset: Mapping[str, Any] = getattr(spec, "preset", {})
    described = _described(spec.params_model(), preset)
    if not isinstance(spec, LearnerSpec):
        return described
    for name, entry in _described(spec.params_model(searched=True), preset).items():
        said = entry.get("description", "")
        if name not in described:
            described[name] = {**entry, "description": f"On a searched network: {said}"}
        elif (default := entry.get("default")) != described[name].get("default"):
            everywhere = described[name].get("description", "")
            there = f"On a searched network the default is {as_in_yaml(default)}."
            described[name]["description"] = f"{everywhere} {there}".lstrip()
    return described


def _described(model: type[BaseModel], preset: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The JSON schema of each field of a model."""
    described: dict[str, dict[str, Any]] = {}
    for name, schema in model.model_json_schema().get("properties", {}).items():
        field = model.model_fields[name]
        entry = {key: value for key, value in schema.items() if key != "title"}
        if name in preset:
            entry["default"] = preset[name]
        elif not field.is_required() and "default" not in entry:
            entry["default"] = field.get_default(call_default_factory=True)
        described[name] = entry
    return described


def parameter_table(described: Mapping[str, Mapping[str, Any]], width: int | None) -> str:
    """A row per parameter: name, default, possible values, help."""
    header = ["parameter", "default", "values", "help"]
    rows = [
        [name, default, re.sub(r"([<>]=?) | (?=\|)", rf"\1{GLUE}", values), said]
        for name, default, values, said in parameter_rows(described)
    ]
    return columns(header, rows, width)


def parameter_rows(described: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Name, default, possible values and help of each parameter, in words."""
    return [
        [
            name,
            as_in_yaml(schema["default"]) if "default" in schema else "required",
            _type(schema),
            str(schema.get("description", "")),
        ]
        for name, schema in described.items()
    ]


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(as_in_yaml(value) for value in schema["enum"])
    if "const" in schema:
        return as_in_yaml(schema["const"])
    if schema.get("format") == "file-path":
        return "path of a file"
    bounds = [f"{sign} {schema[key]:g}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([str(schema.get("type", "object")), " and ".join(bounds)]).rstrip()
