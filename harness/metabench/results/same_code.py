"""Whether runs were made by the same code, on the same kind of device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from metabench.results.schema import RunRecord

_UNKNOWN = "unknown"


def code_differs(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What of two runs is other code, by name; nothing where one of them did not record it."""
    if not before or not now:
        return []
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def made_otherwise(record: RunRecord, other: RunRecord) -> str:
    """How the code of two records differs, ``torch 2.5.0 or 2.6.0``; "" where it does not."""
    mine, theirs = record.provenance, other.provenance
    here, there = dict(mine.packages), dict(theirs.packages)
    if not (mine.code and theirs.code):
        here["revision"], there["revision"] = mine.git, theirs.git
    said = [
        f"{name} {there.get(name) or 'unknown'} or {here.get(name) or 'unknown'}"
        for name in dict.fromkeys([*here, *there])
        if here.get(name) != there.get(name)
    ]
    said += [f"other code of {name}" for name in code_differs(theirs.code, mine.code)]
    return ", ".join(said)


def made_elsewhere(first: RunRecord, second: RunRecord) -> str:
    """How the code and the device of two records of one run differ, in words; "" if they do not."""
    here, there = (one.provenance.device_kind for one in (first, second))
    said = [made_otherwise(second, first), f"device {here} or {there}" if here != there else ""]
    return ", ".join(filter(None, said))


def unlike(records: Sequence[RunRecord]) -> str:
    """How the code and device of runs of one configuration differ, in words; "" if they do not.

    Names the seeds by what they were made with: ``revision 1db09d1bdc6c for seed 2``. Other code
    may train and test under other conditions, which are named where records disagree.
    """
    by_seed = sorted(records, key=lambda record: record.spec.seed)
    return "; ".join([*_unlike_code(by_seed), *_unlike_facts(by_seed)])


def _conditions(record: RunRecord) -> dict[str, str]:
    """What is recorded of how a run was trained and tested, and its spec does not say."""
    stated = {} if record.conditions is None else record.conditions.model_dump()
    facts = {name.replace("_", " "): value or "not stated" for name, value in stated.items()}
    if record.steps_at_test is not None:
        facts["inner steps at test"] = str(record.steps_at_test)
    if record.normalization is not None:
        facts["normalization"] = record.normalization
    facts["query statistics"] = "used" if record.transductive else "not used"
    return facts


def _unlike_code(records: Sequence[RunRecord]) -> Iterator[str]:
    """Between which seeds the code of which parts differs: ``code of learner differs between ...``.

    The parts are named by their kind, and releases of packages only where they differ.
    """
    codes = [record.provenance.code for record in records]
    if not all(codes):
        return
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in dict.fromkeys(name for code in codes for name in code_differs(codes[0], code)):
        found = [code.get(name, _UNKNOWN) for code in codes]
        releases = [value.rpartition(" ")[0] or _UNKNOWN for value in found]
        said = releases if len({*releases}) > 1 else ["" for _ in found]
        seeds = _seeds_of(found, records)
        told = [f"{seeds[v]} ({r})" if r else seeds[v] for v, r in zip(found, said, strict=True)]
        alike.setdefault(tuple(dict.fromkeys(told)), []).append(name.partition(" ")[0])
    for groups, kinds in alike.items():
        yield f"code of {', '.join(dict.fromkeys(kinds))} differs between {' and '.join(groups)}"


def _unlike_facts(records: Sequence[RunRecord]) -> Iterator[str]:
    """What else differs, with its values: ``device cpu for seed 0, device cuda for seed 1``."""
    facts = []
    for record in records:
        made = record.provenance
        fact = {"torch": made.packages.get("torch", _UNKNOWN), "device": made.device_kind}
        facts.append(fact | _conditions(record))
    if not all(record.provenance.code for record in records):
        for fact, record in zip(facts, records, strict=True):
            fact["revision"] = record.provenance.git or _UNKNOWN
    for name in dict.fromkeys(name for fact in facts for name in fact):
        if len({fact[name] for fact in facts if name in fact}) > 1:
            seeds = _seeds_of([fact.get(name, _UNKNOWN) for fact in facts], records)
            yield ", ".join(f"{name} {value} for {of}" for value, of in seeds.items())


def _seeds_of(values: Sequence[str], records: Sequence[RunRecord]) -> dict[str, str]:
    """The seeds of the records that have each value, in words."""
    seeds: dict[str, list[str]] = {}
    for value, record in zip(values, records, strict=True):
        seeds.setdefault(value, []).append(str(record.spec.seed))
    return {value: f"seed{'s' * (len(of) > 1)} {', '.join(of)}" for value, of in seeds.items()}
