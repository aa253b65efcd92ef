"""What stands side by side in a merged folder and is unlike: code, suites, data, the same run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from metabench.plugin.contracts.stamp import CUT_SHORT
from metabench.results.comparability import conditions, difference_in_words
from metabench.results.merging.copies import RunCopy
from metabench.results.merging.decisions import differences
from metabench.results.same_code import unlike


def unlike_in(copies: Sequence[RunCopy]) -> Iterator[str]:
    """What is unlike in runs of several folders that are not copies of one run, a sentence each.

    Args:
        copies: of each run of the merged folder, the one that is taken.
    """
    done = [copy for copy in copies if copy.run is not None]
    yield from _suites(done)
    yield from _seeds(done)
    yield from _same_runs(done)


def _suites(copies: Sequence[RunCopy]) -> Iterator[str]:
    """Suites of one name that ask for other things, or are about other data."""
    first: dict[tuple[str, ...], RunCopy] = {}
    told: set[tuple[tuple[str, ...], str]] = set()
    for copy in copies:
        spec = copy.record.spec
        if CUT_SHORT & {*copy.record.stamps}:
            continue
        place = (spec.suite, spec.setting, spec.budget, spec.data)
        other = first.setdefault(place, copy)
        differs = difference_in_words(conditions(other.record.spec), conditions(spec))
        if differs and other.root != copy.root and (place, differs) not in told:
            told.add((place, differs))
            yield (
                f"{spec.suite}@{spec.setting}, budget {spec.budget}, is not the same in "
                f"{other.root} and {copy.root}: {differs}. Such runs are not compared."
            )


def _seeds(copies: Sequence[RunCopy]) -> Iterator[str]:
    """Seeds of one configuration that are from several folders, made by unlike code."""
    configs: dict[str, list[RunCopy]] = {}
    for copy in copies:
        configs.setdefault(copy.record.spec.config_id, []).append(copy)
    for group in configs.values():
        if len({copy.root for copy in group}) > 1:
            spec = group[0].record.spec
            if differs := unlike([copy.record for copy in group]):
                yield (
                    f"{spec.learner.name} on {spec.suite}@{spec.setting}, budget {spec.budget}: "
                    f"{differs}."
                )


def _same_runs(copies: Sequence[RunCopy]) -> Iterator[str]:
    """Runs that are at two places, since the folders have them in other subfolders."""
    first: dict[str, RunCopy] = {}
    for copy in copies:
        other = first.setdefault(copy.record.run_id, copy)
        if other is not copy:
            differs = differences(other, copy)
            ends = f"disagree: {differs}" if differs else "have the same scores"
            places = _both(other.place, copy.place)
            yield f"{places} are one run, and {ends}. Tables count the first."


def _both(first: Path, second: Path) -> str:
    return " and ".join(map(str, sorted((first, second))))
