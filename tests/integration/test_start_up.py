"""A run loads no more of PyTorch and of others than it uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from metabench.cli import app

try:
    app(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch._dynamo", "torch._inductor", "sympy", "scipy", "pandas", "matplotlib"}
assert "torch" in sys.modules
print("HEAVY", sorted(heavy & set(sys.modules)))
"""


def test_a_run_does_not_load_the_compiler_of_pytorch(tmp_path: Path) -> None:
    """It took 40 % of a run of one step: the first optimizer of `torch.optim` loads it."""
    command = (
        "run --suite toy-regression --learner maml,reptile --budget smoke --limit 4 "
        f"--set budget.meta_steps=1 --out {tmp_path / 'results'}"
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split()],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "2 done" in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"
