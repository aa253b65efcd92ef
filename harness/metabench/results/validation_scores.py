"""The meta-validation episodes of a trial, which a tuning judges it on."""

from __future__ import annotations

from metabench.results.episode_files import Episodes, NotCountedError, read_episodes
from metabench.results.schema import RunRecord
from metabench.results.store import RunStore

META_VAL = "meta-val"
"""The name of the evaluation. No evaluation of a suite is called so."""


def validation_scores(store: RunStore, record: RunRecord) -> Episodes | None:
    """The episodes on which a run is judged; None where it is at work, or not all are there.

    Args:
        store: of the run.
        record: of the run.
    """
    if record.status not in ("trained", "done"):  # its command is to write how it ended
        return None
    spec = record.spec
    protocol = spec.protocol.model_copy(update={"episodes": spec.protocol.val_episodes})
    asked = spec.model_copy(update={"protocol": protocol})
    try:
        found, flaws = read_episodes(
            store.episodes_of(META_VAL), record.model_copy(update={"spec": asked})
        )
    except NotCountedError:
        return None
    return None if flaws else found
