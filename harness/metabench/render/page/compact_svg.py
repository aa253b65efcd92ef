"""The same figure in fewer letters: a hundredth of a point is not seen, most ids are not used.

matplotlib writes every corner of a path on a line of its own with six decimals, and an id for every
group. On a page of many figures that is most of the page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import count, groupby
from xml.etree import ElementTree

DECIMALS = 2
"""Of a coordinate, in points."""

_REFERENCE = re.compile(r"#([^)\s\"]+)")
_PART = re.compile(r"[A-Za-z]|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_POINTS = {"M": 1, "L": 1, "Q": 2, "C": 3, "z": 0, "Z": 0}
_INHERITED = (
    *("fill", "fill-opacity", "fill-rule", "font-size", "text-anchor"),
    *("stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-dashoffset"),
    *("stroke-linecap", "stroke-linejoin", "stroke-miterlimit"),
)
_Command = tuple[str, list[tuple[float, float]]]
"""A letter and its points."""
_LEFT_ALONE = ("title", "desc", "text", "tspan")


def compact(svg: str, *, name: str) -> str:
    """An SVG that matplotlib wrote, shorter: what is drawn stays where it is.

    Args:
        svg: without namespaces; it holds no style sheet.
        name: begins every id.
    """
    root = ElementTree.fromstring(svg)
    _rename(root, name)
    _simplify(root)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True) + "\n"


def _rename(root: ElementTree.Element, name: str) -> None:
    """Give ids that something refers to a short name, and take the others away."""
    values = [value for one in root.iter() for value in one.attrib.values()]
    used = {found for value in values if "#" in value for found in _REFERENCE.findall(value)}
    number = count(1)
    short: dict[str, str] = {}
    for one in root.iter():
        if (old := one.attrib.pop("id", None)) in used:
            assert old is not None
            short[old] = f"{name}-{next(number)}"
            one.set("id", short[old])

    def renamed(match: re.Match[str]) -> str:
        return f"#{short.get(match[1], match[1])}"

    for one in root.iter():
        for key in ("href", "clip-path", "fill", "stroke"):
            if "#" in (value := one.get(key, "")):
                one.set(key, _REFERENCE.sub(renamed, value))


def _simplify(element: ElementTree.Element) -> None:
    """Shorten what is in an element, from the inside."""
    if element.tag in _LEFT_ALONE:
        return
    element.text = None
    kept: list[ElementTree.Element] = []
    for child in element:
        child.tail = None
        _shorten(child)
        _simplify(child)
        if _draws_nothing(child):
            continue
        kept += list(child) if child.tag == "g" and not child.attrib else [child]
    if element.tag == "g":
        kept = list(_clipped_together(kept))
    element[:] = kept
    if element.tag == "g":
        _hoist(element)


def _clipped_together(elements: Sequence[ElementTree.Element]) -> Iterator[ElementTree.Element]:
    """The same elements, those that follow each other in one clip in a group that has it."""
    for clip, some in groupby(elements, key=lambda one: one.get("clip-path")):
        run = list(some)
        if clip is None or len(run) < 3:
            yield from run
            continue
        group = ElementTree.Element("g", {"clip-path": clip})
        for one in run:
            del one.attrib["clip-path"]
        group[:] = run
        _hoist(group)
        yield group


def _shorten(element: ElementTree.Element) -> None:
    for key in ("x", "y"):
        if key in element.attrib:
            element.set(key, _number(round(float(element.attrib[key]), DECIMALS)))
    if "d" in element.attrib:
        element.set("d", shorter_path(element.attrib["d"]))
    if re.match(r"rotate\(-?0[ )]", element.get("transform", "")):
        del element.attrib["transform"]


def _draws_nothing(element: ElementTree.Element) -> bool:
    """Whether an element is an empty group, or a filled bar without a height or without a line."""
    if element.tag in ("g", "defs"):
        return not len(element)
    flat = re.fullmatch(r"M[-\d. ]+([hH][-\d.]+|[vV][-\d.]+)*z?", element.get("d", "-"))
    one_way = flat is not None and len({*re.findall("[hv]", element.get("d", "").lower())}) < 2
    return one_way and "stroke" not in element.attrib and element.get("id") is None


def _hoist(group: ElementTree.Element) -> None:
    """Say once, of a group, what all of its parts say."""
    if len(group) < 2:
        return
    for key in _INHERITED:
        (value, *others) = {one.get(key) for one in group}
        if value is not None and not others:
            group.set(key, value)
            for one in group:
                del one.attrib[key]


def shorter_path(data: str) -> str:
    """A path with rounded corners, each said from the one before; a circle is said as one.

    Only what matplotlib writes is read: absolute moves, lines and curves.

    >>> shorter_path("M 1.000001 2 L 1.5 2 L 1.5 4 C 2 4 2 4 3 5.123456 z")
    'M1 2h.5v2c.5 0 .5 0 1.5 1.12z'
    """
    parts: list[str] = []
    x = y = start_x = start_y = 0
    commands = list(_commands(data))
    position = 0
    while position < len(commands):
        command, points = commands[position]
        if command == "M" and (circle := _circle(commands[position : position + 10])):
            parts.append(circle)
            position += 10
            continue
        position += 1
        if command in "zZ":
            parts.append("z")
            x, y = start_x, start_y
            continue
        corners = [(_scaled(a), _scaled(b)) for a, b in points]
        to_x, to_y = corners[-1]
        if command == "M":
            parts.append("M" + _joined([to_x, to_y]))
            start_x, start_y = to_x, to_y
        elif command == "L":
            parts.append(_line(to_x - x, to_y - y))
        else:
            parts.append(
                command.lower() + _joined([value for a, b in corners for value in (a - x, b - y)])
            )
        x, y = to_x, to_y
    return "".join(parts)


def _scaled(value: float) -> int:
    return round(value * float(10**DECIMALS))


def _circle(commands: Sequence[_Command]) -> str:
    """A closed path of eight curves whose ends lie on a circle, as two arcs; else ""."""
    if "".join(command for command, _ in commands) != "MCCCCCCCCz":
        return ""
    ends = [points[-1] for _, points in commands[:9]]
    x, y = (sum(end[axis] for end in ends[1:]) / 8 for axis in (0, 1))
    distances = [math.dist(end, (x, y)) for end in ends]
    if max(distances) - min(distances) > 1e-4:
        return ""
    r = _scaled(max(distances))
    left, right = (f"a{_joined([r, r])} 0 1 0{_after(_joined([to, 0]))}" for to in (-2 * r, 2 * r))
    return f"M{_joined([_scaled(x) + r, _scaled(y)])}{left}{right}z"


def _after(said: str) -> str:
    return said if said.startswith("-") else f" {said}"


def _line(dx: int, dy: int) -> str:
    if dy == 0:
        return "h" + _joined([dx])
    return "v" + _joined([dy]) if dx == 0 else "l" + _joined([dx, dy])


def _commands(data: str) -> Iterator[_Command]:
    """Each command of a path with its points."""
    found = iter(_PART.findall(data))
    for command in found:
        numbers = [float(next(found)) for _ in range(2 * _POINTS[command])]
        yield command, list(zip(numbers[::2], numbers[1::2], strict=True))


def _joined(values: list[int]) -> str:
    """Hundredths as numbers, with a space only where a reader needs one."""
    text = ""
    for value in values:
        said = _number(value / 10**DECIMALS)
        text += _after(said) if text else said
    return text


def _number(value: float) -> str:
    """A number without what can be left out.

    >>> _number(0.5), _number(-0.25), _number(12.0), _number(-0.0)
    ('.5', '-.25', '12', '0')
    """
    said = f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
    if said in ("-0", ""):
        return "0"
    return re.sub(r"^(-?)0\.", r"\1.", said)
