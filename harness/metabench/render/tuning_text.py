"""The trials of a tuning as text: what was tried, what it scored, and what was chosen."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from metabench.planning.overrides import written
from metabench.render.columns import columns
from metabench.render.layout import wrap
from metabench.render.small_table import SmallTable
from metabench.results.metrics import number
from metabench.results.tunings import StudyRecord, Trial, TuningRecord
from metabench.text import capitalized, counted

SHOWN = 20
"""Trials that are listed, the best ones; ``tuning.json`` has all."""


def tuning_text(record: TuningRecord, folder: Path, *, width: int | None = None) -> str:
    """Write a tuning down, study by study.

    Args:
        record: of the tuning.
        folder: where it is.
        width: columns of the terminal; None for rows as long as they need to be.
    """
    blocks = [_block(study, folder, width=width) for study in record.studies]
    return "\n".join(blocks)


def study_table(study: StudyRecord) -> SmallTable:
    """The trials of a study, the best first; failed ones last."""
    names = [_short(path) for path in study.parameters]
    score = f"val {study.metric.unit}"
    rows = [
        [
            str(trial.number),
            *(written(value) for value in trial.values.values()),
            _score(trial, study),
            _remark(trial, study),
        ]
        for trial in _ranked(study)
    ]
    return SmallTable(_title(study), ["trial", *names, score, ""], rows, [_said(study)])


def _block(study: StudyRecord, folder: Path, *, width: int | None) -> str:
    table = study_table(study)
    rows = table.rows[:SHOWN]
    left_out = len(table.rows) - len(rows)
    lines = [*wrap(table.title, width), ""]
    lines += [columns(table.header, rows, width)]
    if left_out:
        lines += [f"and {counted(left_out, 'trial')} more in tuning.json"]
    lines += ["", *wrap(_said(study), width), *_next(study, folder), ""]
    return "\n".join(line.rstrip() for line in lines)


def _title(study: StudyRecord) -> str:
    return f"{study.learner} on {study.suite}@{study.setting}, budget {study.budget}"


def _said(study: StudyRecord) -> str:
    """How the scores were made, in sentences."""
    seeds = counted(len(study.seeds), "seed")
    judged = (
        f"{capitalized(study.metric.words)} on "
        f"{counted(study.episodes, 'episode')} of meta-validation, mean over {seeds}, with the "
        "half-width of the 95 % interval. No meta-test episode was drawn."
    )
    tied = sum(trial.tied for trial in study.trials)
    if not tied:
        return judged
    return f"{judged} {counted(tied, 'trial')} marked = cannot be told from the chosen one."


def _next(study: StudyRecord, folder: Path) -> Iterator[str]:
    best = study.best
    if unjudged := sum(trial.status == "unjudged" for trial in study.trials):
        yield f"{counted(unjudged, 'trial')} not judged yet; the same command goes on."
    if best is None:
        yield "Nothing is chosen, since no trial was judged."
        return
    values = ", ".join(f"{path}={written(value)}" for path, value in best.values.items())
    yield f"Chosen: trial {best.number}{f', {values}' if values else ''}."
    if study.plan:
        yield f"Run it with: metabench run {shlex.quote(str(folder / study.plan))}"


def _ranked(study: StudyRecord) -> list[Trial]:
    sign = study.metric.sign

    def rank(trial: Trial) -> tuple[bool, float]:
        return (True, 0.0) if trial.score is None else (False, -sign * trial.score)

    return sorted(study.trials, key=rank)


def _score(trial: Trial, study: StudyRecord) -> str:
    if trial.score is None:
        return ""
    scale, unit = study.metric.scale, study.metric.unit
    mean = number(scale * trial.score, unit)
    if trial.half_width is None:
        return mean
    return f"{mean} ± {number(scale * trial.half_width, unit)}"


def _remark(trial: Trial, study: StudyRecord) -> str:
    if trial.number == study.chosen:
        return "chosen"
    if trial.status == "done":
        return "=" if trial.tied else ""
    return trial.status


def _short(path: str) -> str:
    """A parameter without its scope: ``inner_lr``."""
    return path.rpartition(".")[2]
