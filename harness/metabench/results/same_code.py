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
    return "; ".join(_unlike(records))


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


def _unlike(records: Sequence[RunRecord]) -> Iterator[str]:
    by_seed = sorted(records, key=lambda record: record.spec.seed)
    made = [(record.spec.seed, record.provenance) for record in by_seed]
    first = made[0][1]
    names = dict.fromkeys(name for _, one in made for name in code_differs(first.code, one.code))
    facts = [{name: one.code.get(name, _UNKNOWN) for name in names} for _, one in made]
    if not all(one.code for _, one in made):
        facts = [{"revision": one.git or _UNKNOWN} for _, one in made]
    for fact, (_, one) in zip(facts, made, strict=True):
        fact["torch"] = one.packages.get("torch", _UNKNOWN)
        fact["device"] = one.device_kind
    conditions = [_conditions(record) for record in by_seed]
    for name in dict.fromkeys(name for own in conditions for name in own):
        if len({own[name] for own in conditions if name in own}) > 1:
            for fact, own in zip(facts, conditions, strict=True):
                fact[name] = own.get(name, _UNKNOWN)
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in facts[0]:
        alike.setdefault(tuple(fact[name] for fact in facts), []).append(name)
    for values, parts in alike.items():
        seeds: dict[str, list[str]] = {}
        for value, (seed, _) in zip(values, made, strict=True):
            seeds.setdefault(value, []).append(str(seed))
        if len(seeds) > 1:
            yield _by_seeds(parts, seeds)


def _by_seeds(names: Sequence[str], seeds: Mapping[str, Sequence[str]]) -> str:
    """What had each value for which seeds; names that had the same values stand once."""
    shared = f"{', '.join(names)}: " if len(names) > 1 else ""
    own = "" if shared else f"{names[0]} "
    return shared + ", ".join(
        f"{own}{value} for seed{'s' * (len(of) > 1)} {', '.join(of)}" for value, of in seeds.items()
    )
