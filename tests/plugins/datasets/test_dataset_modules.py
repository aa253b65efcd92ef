"""What describes the datasets is read by every command, so it imports nothing heavy."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

from metabench_plugins import datasets

MODULES = [module.name for module in pkgutil.iter_modules(datasets.__path__) if not module.ispkg]


def test_describing_the_datasets_imports_nothing_heavy() -> None:
    assert {"miniimagenet", "omniglot", "toy_regression"} < {*MODULES}
    code = (
        f"import sys; from metabench_plugins.datasets import {', '.join(MODULES)};"
        "print(sorted({'numpy', 'PIL', 'torch', 'pooch', 'pandas', 'scipy'} & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"
