"""Where real image data lies, if anywhere."""

from __future__ import annotations

import os
from pathlib import Path

REAL_DATA = Path(
    os.environ.get("METABENCH_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)
