"""The mark of a parameter that says where data lies, which is no part of what a run is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import JsonValue

if TYPE_CHECKING:
    from pydantic import BaseModel

Mark = dict[str, JsonValue]

PLACE = Mark(place=True)
"""Marks a parameter of a dataset that says where files are: ``Field(json_schema_extra=PLACE)``.
What the files hold is in the fingerprint of the data, so the same files elsewhere are the same run.
The identity leaves the parameter out, and the record has it in ``provenance.files``."""


def places_in(model: type[BaseModel]) -> Iterator[str]:
    """The names of the parameters that say where data lies."""
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("place") is True:
            yield name
