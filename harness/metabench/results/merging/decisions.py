"""What is taken of several copies: equal scores are one run, others are a conflict, told in words.

The rule: a run that is done comes before one that is not. Copies with equal scores are one run,
with the files that only some of them have. Where scores differ, the user has to say which copy
counts; what the merged folder holds already is never replaced by other scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from metabench.data.plain_files import sha256_of
from metabench.results.agreement import disagreement
from metabench.results.merging.copies import Found, RunCopy, TuningCopy
from metabench.results.same_code import made_elsewhere
from metabench.results.tunings import FILE
from metabench.results.validation_scores import META_VAL
from metabench.text import counted

C = TypeVar("C", RunCopy, TuningCopy)


@dataclass(frozen=True, slots=True)
class TakenRun:
    """A run of the merged folder.

    Attributes:
        base: the copy whose record and scores are taken.
        sources: where each file is, by its path in the folder of the run.
        evaluations: copies that evaluations are taken from which the base lacks, by name.
    """

    base: RunCopy
    sources: Mapping[str, Path]
    evaluations: Mapping[str, RunCopy]


@dataclass(slots=True)
class Decisions:
    """What a merged folder gets.

    Attributes:
        runs: one for each place.
        tunings: likewise.
        plans: where each file of a plan is, by its path in the merged folder.
        conflicts: what disagrees, so that nothing is written, a sentence each.
        left_out: what is damaged or under way, and is not taken.
        notes: what else is unlike.
    """

    runs: list[TakenRun] = field(default_factory=list)
    tunings: list[TuningCopy] = field(default_factory=list)
    plans: dict[str, Path] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def decide(inputs: Sequence[Found], there: Found | None, prefer: Path | None) -> Decisions:
    """Say what is taken of what.

    Args:
        inputs: what lies in the folders to merge, in their order.
        there: what the merged folder has already; None if it is new.
        prefer: the folder whose copy is taken where scores differ; None for a conflict.
    """
    every = [*([] if there is None else [there]), *inputs]
    judge = _Judge(Decisions(), None if there is None else there.root, prefer)
    made = judge.made
    for found in inputs:
        made.left_out += found.left_out
        made.notes += found.notes
        if found.others:
            files = counted(len(found.others), "file")
            made.notes.append(
                f"{found.root}: not of metabench and not taken: {files}, such as {found.others[0]}."
            )
    for place, copies in _by_place([run for found in every for run in found.runs]).items():
        if there is not None and place in there.unsound:
            made.left_out.append(
                f"{copies[0].folder}: the run in {there.root} is damaged or under way, and is not "
                "replaced."
            )
        else:
            made.runs += judge.run(place, copies)
    for place, tunings in _by_place([one for found in every for one in found.tunings]).items():
        made.tunings += judge.tuning(place, tunings)
    for found in every:
        for name in found.plans:
            judge.plan(name, found.root)
    return made


def differences(first: RunCopy, second: RunCopy) -> str:
    """How the scores of two copies of a run that has ended differ, in words; "" if they do not."""
    names = [f"evaluations/{META_VAL}.jsonl"]
    if first.run is not None and second.run is not None:
        if differs := disagreement(first.run, second.run):
            return differs
        names = ["genotypes.jsonl", "embeddings.jsonl"]
    others = [
        name
        for name in names
        if name in first.files
        and name in second.files
        and sha256_of(first.folder / name) != sha256_of(second.folder / name)
    ]
    return f"their {' and '.join(others)} differ" if others else ""


def tunings_differ(first: TuningCopy, second: TuningCopy) -> str:
    """How two tunings differ in more than the number of their trials; "" if they do not."""
    here, there = first.record, second.record
    if here.digest != there.digest or len(here.studies) != len(there.studies):
        return "they are other tunings"
    for mine, theirs in zip(here.studies, there.studies, strict=True):
        for one, other in zip(mine.trials, theirs.trials, strict=False):
            waits = "waiting" in (one.status, other.status)
            if one.values != other.values or (not waits and one.by_seed != other.by_seed):
                return f"trial {one.number} of {mine.name} is another one or has another score"
    return ""


@dataclass(frozen=True, slots=True)
class _Judge:
    """Chooses between copies, and notes why.

    Attributes:
        made: where it is noted.
        out: the merged folder, if it is there already.
        prefer: as of :func:`decide`.
    """

    made: Decisions
    out: Path | None
    prefer: Path | None

    def run(self, place: Path, copies: Sequence[RunCopy]) -> Iterator[TakenRun]:
        """What is taken of the copies of a run; nothing where they are in conflict."""
        level = max(copy.level for copy in copies)
        ended = [copy for copy in copies if copy.level == level]
        if behind := ", ".join(str(copy.root) for copy in copies if copy.level < level):
            self.made.notes.append(
                f"{place}: the run of {ended[0].root} is {ended[0].record.status}, and is taken; "
                f"that of {behind} is not."
            )
        if not ended[0].has_ended:
            base = max(ended, key=lambda copy: copy.progress)
            roots = [str(copy.root) for copy in ended if copy.progress < base.progress]
            if roots:
                self.made.notes.append(
                    f"{place}: the run is not finished; that of {base.root} is taken, which is "
                    f"further than that of {', '.join(roots)}."
                )
            yield TakenRun(base, {name: base.folder / name for name in base.files}, {})
            return
        agreeing = self._agreeing(place, ended)
        if not agreeing:
            return
        there = [copy for copy in agreeing if copy.root == self.out]
        base = max(there or agreeing, key=lambda copy: copy.progress)
        known = {name for copy in agreeing for name in copy.record.further_metrics}
        if more := ",".join(sorted(known - {*base.record.further_metrics})):
            self.made.notes.append(
                f"{place}: the scores are those of {base.root}, which lack {more}. The command of "
                f"the run computes it with --metric {more}."
            )
        yield _take(base, agreeing)

    def tuning(self, place: Path, copies: Sequence[TuningCopy]) -> Iterator[TuningCopy]:
        """What is taken of the copies of a tuning; nothing where they are in conflict."""
        first, *others = copies
        for copy in others:
            if differs := tunings_differ(first, copy):
                text = f"{place / FILE}: {first.root} and {copy.root} disagree: {differs}."
                copies = self._preferred(copies, text, tunings_differ)
                break
        if copies:
            yield max(copies, key=lambda c: sum(len(study.ended) for study in c.record.studies))

    def plan(self, name: str, root: Path) -> None:
        """Take a file of a plan, unless another one is there."""
        path = root / name
        first = self.made.plans.setdefault(name, path)
        if sha256_of(first) != sha256_of(path):
            self.made.notes.append(f"{name}: that of {root} is another one, and is not taken.")

    def _agreeing(self, place: Path, copies: Sequence[RunCopy]) -> Sequence[RunCopy]:
        """The copies with the scores that count; none where these are in conflict."""
        first, *others = copies
        for copy in others:
            made = made_elsewhere(first.record, copy.record)
            if differs := differences(first, copy):
                why = f"; they were made with {made}" if made else ""
                text = f"{place}: {first.root} and {copy.root} disagree: {differs}{why}."
                return self._preferred(copies, text, differences)
            if made:
                self.made.notes.append(
                    f"{place}: {first.root} and {copy.root} have the same scores, made with {made}."
                )
        return copies

    def _preferred(
        self, copies: Sequence[C], text: str, differ: Callable[[C, C], str]
    ) -> Sequence[C]:
        """The copies that are as the one that the user prefers; none where it cannot be taken."""
        chosen = next((copy for copy in copies if copy.root == self.prefer), None)
        there = next((copy for copy in copies if copy.root == self.out), chosen)
        if chosen is None or there is None or differ(there, chosen):
            self.made.conflicts.append(text)
            return []
        self.made.notes.append(f"{text} That of {chosen.root} is taken.")
        return [copy for copy in copies if not differ(chosen, copy)]


def _take(base: RunCopy, copies: Sequence[RunCopy]) -> TakenRun:
    """A run with the files of one copy, and with those that only the others have."""
    sources = {name: base.folder / name for name in base.files}
    evaluations: dict[str, RunCopy] = {}
    has_weights = _has_weights(base)
    for copy in copies:
        for name in copy.files:
            folder, _, file = name.rpartition("/")
            if name in sources or (folder == "checkpoints" and has_weights):
                continue
            if folder == "evaluations":
                evaluation = file.removesuffix(".jsonl")
                if copy.run is None or evaluation not in copy.run.evaluations:
                    continue
                evaluations[evaluation] = copy
            sources[name] = copy.folder / name
        has_weights = has_weights or _has_weights(copy)
    return TakenRun(base, sources, evaluations)


def _has_weights(copy: RunCopy) -> bool:
    return any(name.startswith("checkpoints/") for name in copy.files)


def _by_place(copies: Sequence[C]) -> dict[Path, list[C]]:
    found: dict[Path, list[C]] = {}
    for copy in copies:
        found.setdefault(copy.place, []).append(copy)
    return found
