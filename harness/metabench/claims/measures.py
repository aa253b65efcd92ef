"""Numbers of a run that are no scores."""

from __future__ import annotations

import json

from metabench.results import Run


def distinct_genotypes(run: Run) -> int | None:
    """How many different architectures a run gave its meta-test episodes.

    None where ``genotypes.jsonl`` is absent or does not hold one for each episode.
    """
    try:
        text = (run.folder / "genotypes.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines() if line]
        found = [json.dumps(line["genotype"], sort_keys=True) for line in lines]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return len(set(found)) if len(found) >= len(run.episodes) else None
