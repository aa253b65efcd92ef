"""What a record says of how a run was made."""

import subprocess
from typing import Any

import pytest

from metabench.running import provenance


def test_the_revision_is_looked_up_without_the_lock_of_gits_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append({"command": command, **options})
        return subprocess.CompletedProcess(command, 0, stdout="0123456789ab-dirty\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("GIT_DIR", "/another/repository/.git")  # as in a hook of git
    monkeypatch.setattr(provenance.Path, "exists", lambda path: True)
    assert provenance._git_revision.__wrapped__() == "0123456789ab-dirty"
    (call,) = asked
    assert call["command"][0] == "git"
    assert {n: v for n, v in call["env"].items() if "GIT" in n} == {"GIT_OPTIONAL_LOCKS": "0"}
