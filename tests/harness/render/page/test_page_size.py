"""Many runs of a thousand episodes on one page, in bounded time and memory."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from measured_command import measured
from result_factory import make_spec, write_run

LEARNERS, SEEDS, EPISODES = 10, 5, 1000


def write_runs(out: Path, n_suites: int) -> Path:
    """Every suite has as many learners as a figure can hold, with curves."""
    draw = random.Random(0)
    points = "".join(
        f"{json.dumps({'step': step, 'loss': 5.0 / step})}\n" for step in range(1, 200)
    )
    for suite in range(n_suites):
        for learner in range(LEARNERS):
            for seed in range(SEEDS):
                spec = make_spec(
                    f"learner-{learner}",
                    suite=f"suite-{suite:02}",
                    sources=("one", "two"),
                    episodes=EPISODES // 2,
                    seed=seed,
                )
                run = write_run(out, spec, [])
                lines = (
                    f'{{"index":{i},"source":"{("one", "two")[i % 2]}","key":"{suite}-{i}",'
                    f'"score":{draw.random():.3f},"curve":[0.2,0.4,0.5]}}\n'
                    for i in range(EPISODES)
                )
                (run / "episodes.jsonl").write_text("".join(lines))
                (run / "metrics.jsonl").write_text(points)
    return out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says the memory of a process")
@pytest.mark.parametrize(
    ("n_suites", "most_seconds", "most_bytes"),
    [(4, 10.0, 1 << 29), pytest.param(20, 30.0, 1 << 30, marks=pytest.mark.exhaustive)],
)
def test_many_runs_are_one_page_in_time(tmp_path, n_suites, most_seconds, most_bytes):
    folder = write_runs(tmp_path / "runs", n_suites)
    with (tmp_path / "said").open("wb") as said:
        used = measured(
            ("report", folder, "-f", "html", "-o", "page.html"), folder=tmp_path, stderr=said
        )
    assert (used.code, (tmp_path / "said").read_text()) == (0, "")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count('class="origin"') == n_suites * LEARNERS
    assert text.count("<figure>") == 2 * n_suites  # curves and ranks
    assert used.bytes < most_bytes, f"{used.bytes / 1e6:.0f} MB"
    assert used.seconds < most_seconds, f"{used.seconds:.1f} s"
