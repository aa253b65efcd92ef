"""What records say, and how older ones are read."""

from __future__ import annotations

import json

import pytest
from result_factory import PROVENANCE

from metabench.results.schema import Provenance


@pytest.mark.parametrize(
    ("recorded", "engines"),
    [
        ("", ()),
        ("eager", ("eager",)),
        ("eager, then compiled", ("eager", "compiled")),
        (["eager", "captured"], ("eager", "captured")),
    ],
)
def test_engines_are_a_list_and_older_records_have_a_text(
    recorded: object, engines: tuple[str, ...]
) -> None:
    old = json.loads(PROVENANCE.model_dump_json()) | {"engine": recorded}
    del old["test_engine"]
    found = Provenance.model_validate_json(json.dumps(old))
    assert found.engine == engines
    assert found.test_engine == ()
    assert Provenance.model_validate_json(found.model_dump_json()) == found
