"""A run that needs more memory than there is ends with a sentence, and can go on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import PluginError
from metabench.plugin.blame import guarded
from metabench.running.out_of_memory import is_out_of_memory

RUN = ["run", "--suite", "toy-regression", "--learner", "maml", "--budget", "smoke", "--limit", "4"]


def cpu_allocator() -> Exception:
    """What PyTorch raises on a CPU for a tensor that no machine holds."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [cpu_allocator(), MemoryError(), torch.cuda.OutOfMemoryError("CUDA out of memory.")],
)
def test_every_failed_allocation_is_known(error: Exception) -> None:
    assert is_out_of_memory(error)

    def fail() -> None:
        raise error

    with pytest.raises(PluginError) as in_a_plugin:
        guarded("Learner mine cannot be built", fail)
    assert is_out_of_memory(in_a_plugin.value)


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shape mismatch")])
def test_other_errors_are_not_taken_for_one(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_a_run_that_needs_too_much_is_explained_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metabench_plugins.learners.maml import Maml

    step, taken = Maml.meta_step, []

    def too_large(learner: Maml, *args: object, **kwargs: object) -> object:
        taken.append(0)
        if len(taken) == 5:
            torch.empty(2**60)
        return step(learner, *args, **kwargs)

    monkeypatch.setattr(Maml, "meta_step", too_large)
    failed = CliRunner().invoke(app, [*RUN, "--out", str(tmp_path)])
    assert failed.exit_code == 1
    assert "ran out of memory of the machine after a peak of" in failed.stderr
    assert re.search(r"peak of \d+\.\d GiB, at \d+ tasks per meta-step\.", failed.stderr)
    assert "--set budget.meta_batch=N" in failed.stderr
    assert "--set learner.order=first" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert CliRunner().invoke(app, [*RUN, "--out", str(tmp_path)]).exit_code == 0
