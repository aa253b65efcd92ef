"""Helpers for sentences: numbers with their nouns, times, and text on one line."""

from __future__ import annotations

import re
from unicodedata import category


def counted(n: int, one: str, several: str = "") -> str:
    """A number with its noun.

    Args:
        n: how many.
        one: the noun.
        several: its plural; by default with an s.

    >>> counted(1, "run"), counted(1200, "run"), counted(2, "query", "queries")
    ('1 run', '1,200 runs', '2 queries')
    """
    return f"{n:,} {one if n == 1 else several or one + 's'}"


def in_order(text: str) -> list[tuple[int, float, str]]:
    """A key that sorts text with its numbers as numbers, and numbers before words.

    >>> sorted(["shots=20", "shots=3", "inner_lr=0.1", "inner_lr=1e-3"], key=in_order)
    ['inner_lr=1e-3', 'inner_lr=0.1', 'shots=3', 'shots=20']
    """
    parts = re.split(r"((?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]))", text)
    return [
        (0, float(part), "") if at % 2 else (1, 0.0, part) for at, part in enumerate(parts) if part
    ]


def duration(seconds: float | None) -> str:
    """A time in the largest units that say it well.

    >>> duration(4210.0), duration(75.2), duration(3.1)
    ('1 h 10 min', '1 min 15 s', '3 s')
    """
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def seconds_in(text: str) -> float | None:
    """Read a time that :func:`duration` could have written; None if it is none.

    >>> seconds_in("2h"), seconds_in("1h 30m"), seconds_in("1 h 30 min"), seconds_in("90")
    (7200.0, 5400.0, 5400.0, None)
    """
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    part = r"(\d+(?:\.\d+)?)\s*(d|h|m|s)(?:in|ec)?"
    if not re.fullmatch(rf"(?:\s*{part})+\s*", text):
        return None
    return sum(float(n) * units[unit] for n, unit in re.findall(part, text))


def as_in_yaml(value: object) -> str:
    """A value of a parameter as a suite file writes it.

    >>> as_in_yaml(None), as_in_yaml(True), as_in_yaml(0.5)
    ('null', 'true', '0.5')
    """
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def capitalized(words: str) -> str:
    """The words as a sentence begins, with the rest as it is.

    >>> capitalized("mean of M-NAS")
    'Mean of M-NAS'
    """
    return f"{words[:1].upper()}{words[1:]}"


def plain(text: str) -> str:
    """One line without control characters, which could rewrite a terminal or a file.

    >>> plain("a\\x1b[2J\\nb")
    'a\\\\x1b[2J b'
    """
    return shown(" ".join(text.split()))


def readable(text: str, *, longest: int = 200, most: int = 4000) -> str:
    """Text of others for a terminal: no control characters, and what is long cut in the middle.

    Args:
        text: lines stay lines.
        longest: characters of a word at most.
        most: characters of the whole at most.

    >>> readable("Unknown learner " + "x" * 500 + ".")[:60]
    'Unknown learner xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'
    >>> readable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    words = re.sub(f"\\S{{{longest + 1},}}", lambda word: _cut(word[0], longest), text)
    whole = _cut(words, most) if len(words) > most else words
    return "\n".join(map(shown, whole.split("\n")))


def for_terminal(text: str, *, styled: bool = False) -> str:
    """What a command prints: its lines, and all control characters as text. Nothing is cut.

    Args:
        text: of any length.
        styled: whether it has colors of our own, and perhaps the ends of lines of CSV. Names of
            others were made plain before they came into it.

    >>> for_terminal("\\x1b[2Ja\\n")
    '\\\\x1b[2Ja\\n'
    >>> for_terminal("\\x1b[31mred\\x1b[0m\\x1b[2J\\r\\n", styled=True)
    '\\x1b[31mred\\x1b[0m\\\\x1b[2J\\r\\n'
    """
    if not styled:
        return "\n".join(map(shown, text.split("\n")))
    parts = _STYLE.split(text)  # every second one is a style
    parts[::2] = map(for_terminal, parts[::2])
    return "".join(parts)


_STYLE = re.compile(r"(\x1b\[[0-9;]*m|\r\n)")


def _cut(text: str, longest: int) -> str:
    half = longest // 2
    return f"{text[:half]}[{len(text) - 2 * half:,} characters]{text[-half:]}"


def shown(line: str) -> str:
    """A line whose characters that move a cursor, turn it around or are not seen are their codes.

    Spaces of all widths stay, and tabs.

    >>> shown("a\\u00a0b\\t\\u202ec")
    'a\\xa0b\\t\\\\u202ec'
    """
    if line.isprintable():
        return line
    return "".join(c if _is_seen(c) else c.encode("unicode_escape").decode() for c in line)


def _is_seen(character: str) -> bool:
    return character.isprintable() or character == "\t" or category(character) == "Zs"
