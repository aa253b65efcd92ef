"""Names that become folders, files and table columns."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]*$"
NAME_RULE = "a name is made of lower-case letters, digits and hyphens"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=60)]
"""No separator of paths, no dot and no space: it cannot lead out of the results folder."""
