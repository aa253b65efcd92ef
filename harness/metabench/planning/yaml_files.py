"""YAML the way people mean it: ``1e-4`` is a number, ``off`` is text, no key occurs twice."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from metabench.errors import UsageError


def read_mapping(file: Traversable, *, of: str) -> dict[Any, Any]:
    """Read a file that contains one mapping.

    Args:
        file: in UTF-8.
        of: what it describes, such as "a suite", for the error.

    Raises:
        UsageError: when it is not UTF-8, not valid YAML, or no mapping.
    """
    try:
        values = read_yaml(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file} is not a text file in UTF-8.", hint="Save it in UTF-8."
        ) from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise UsageError(f"{file} does not describe {of}: it is not a mapping.")
    return values


def read_yaml(text: str) -> Any:
    """Parse YAML without the traps of YAML 1.1.

    >>> read_yaml("{lr: 1e-4, mode: off}")
    {'lr': 0.0001, 'mode': 'off'}
    """
    return yaml.load(text, Loader=_Loader)


def flow(value: Any) -> str:
    """A value on one line, as it is written after ``--set NAME=``.

    >>> flow({"cell": [[0, 2, "skip"]]}), flow(0.01), flow(None)
    ('{cell: [[0, 2, skip]]}', '0.01', 'null')
    """
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return text.removesuffix("...\n").strip()


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars; a key that occurs twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not text or a number", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?$|^[-+]?\.(?:inf|nan)$"),
    list("-+0123456789."),
)
