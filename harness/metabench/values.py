"""Values that are written down: names, models, JSON, digests and scores."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]*$"
NAME_RULE = "a name consists of lower-case letters, digits and hyphens"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=60)]
"""It has no path separator and no dot, so it cannot lead out of the results folder."""


Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A count in a file: arrays hold no larger one."""


class Frozen(BaseModel):
    """A frozen model that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text.

    >>> canonical_json({"b": 1, "a": [1.0, True]})
    '{"a":[1.0,true],"b":1}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def rounded(value: float) -> float:
    """Seven significant digits, with which scores are stored: all that float32 holds."""
    return float(f"{value:.7g}")


def digest(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]
