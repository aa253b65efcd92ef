"""The check of entries: each claim against its records, its suite and the other entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.errors import MetabenchError
from metabench.planning.suite import Suite, load_suite
from metabench.plugin.contracts.stamp import CUT_SHORT
from metabench.reports.entries import (
    Claim,
    Entry,
    Submission,
    claims_of,
    folder_digest,
    read_entry,
)
from metabench.results.reading import read_runs

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

SAME = 1e-6
"""Relative difference of two numbers that are the same; an entry has seven digits of each."""


def submission_of(file: Path) -> Submission:
    """An entry with the runs of its results folder.

    Raises:
        UsageError: when the file does not describe an entry.
        DataError: when there is no such folder, or no run in it.
    """
    entry = read_entry(file)
    folder = file.parent / entry.results
    return Submission(entry, folder, read_runs(folder))


def check_entries(files: Sequence[Path], catalog: Catalog) -> list[str]:
    """What is wrong with some entries, in a sentence each; none where they hold.

    Args:
        files: the files of the entries.
        catalog: the suites, whose protocols the claims should have.
    """
    problems, found = [], []
    for file in files:
        try:
            submission = submission_of(file)
        except MetabenchError as error:
            problems.append(f"{file}: {error.message}")
            continue
        found.append(submission)
        problems += [f"{file}: {text}" for text in _wrong_with(submission, catalog)]
    return problems + list(_other_episodes(one.entry for one in found if one.entry is not None))


def _wrong_with(submission: Submission, catalog: Catalog) -> Iterator[str]:
    entry = submission.entry
    assert entry is not None
    if (found := folder_digest(submission.folder)) != entry.digest:
        yield (
            f"the digest of {submission.folder} is {found[:12]}..., but the entry says "
            f"{entry.digest[:12]}..., so records were changed since it was written."
        )
    yield from submission.results.problems
    recomputed = {claim.config: claim for _, claim in claims_of(submission.results.runs)}
    for claim in entry.claims:
        if claim.config not in recomputed:
            yield f"no run of {submission.folder} that counts is of {claim.words}."
            continue
        own = recomputed[claim.config]
        yield from _differences(claim, own)
        yield from _other_protocol(own, catalog)


def _differences(claim: Claim, own: Claim) -> Iterator[str]:
    """Where a claim is not what the records give."""
    said, found = (one.model_dump(mode="json") for one in (claim, own))
    for name, value in said.items():
        # What a row is called depends on the rows beside it, and on the version of metabench.
        if name != "learner" and not _same(value, found[name]):
            what = ", ".join(_parts(value, found[name])) or f"{value}"
            shown = ", ".join(_parts(found[name], value)) or f"{found[name]}"
            named = name.replace("_", " ")
            yield f"{named} of {claim.words} is {shown} by the records, not {what}."


def _parts(one: Any, other: Any) -> list[str]:
    """The fields of a mapping that another one has otherwise."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return []
    return [f"{key} {value}" for key, value in one.items() if other.get(key) != value]


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return isclose(left, right, rel_tol=SAME, abs_tol=SAME)
    return bool(left == right)


def _other_protocol(claim: Claim, catalog: Catalog) -> Iterator[str]:
    """Where the protocol is not the suite's, though no stamp says so."""
    suite = _suite(claim.suite, catalog)
    if suite is None or suite.version != claim.version or CUT_SHORT & {*claim.stamps}:
        return
    try:
        asked = suite.protocol_of(claim.setting, claim.budget, {}).model_dump()
    except MetabenchError as error:
        yield f"{claim.words}: {error.message}"
        return
    for name, value in claim.protocol.model_dump().items():
        if asked[name] != value:
            yield (
                f"protocol.{name} of {claim.words} is {value}, but the suite says {asked[name]}, "
                "and no stamp says so."
            )


def _suite(name: str, catalog: Catalog) -> Suite | None:
    file = catalog.suites.get(name)
    return None if file is None else load_suite(file)


def _other_episodes(entries: Iterable[Entry]) -> Iterator[str]:
    """Claims that should be of the same episodes as an earlier one, and are not."""
    first: dict[tuple[Any, ...], tuple[str, Claim]] = {}
    for entry in entries:
        for claim in entry.claims:
            asked = claim.protocol
            key = (*claim.place, claim.data, asked.test_shape(), asked.episodes, asked.episode_seed)
            other, earlier = first.setdefault(key, (entry.name, claim))
            if earlier.episodes != claim.episodes:
                yield (
                    f"{entry.name}: {claim.words} has other episodes than {earlier.words} of "
                    f"{other}, though suite, data and protocol are the same."
                )
