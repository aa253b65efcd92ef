"""The same figure in fewer letters: a tenth of a point is not seen, most ids are not used.

matplotlib writes every corner of a path on a line of its own with six decimals, and an id for every
group. On a page of many figures that is most of the page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import count, groupby
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

DECIMALS = 1
"""Of a coordinate, in points."""

OFF = 0.1
"""How far a corner may lie off a straight line, in points, and be left out."""

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
    _join(root)
    text = ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)
    return text.replace(" />", "/>") + "\n"


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
    data = re.sub(r"[hv]0(?![.\d])", "", element.get("d", "-"))
    flat = re.fullmatch(r"M[-\d. ]+([hH][-\d.]+|[vV][-\d.]+)*z?", data)
    one_way = flat is not None and len({*re.findall("[hv]", data.lower())}) < 2
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


def _join(root: ElementTree.Element) -> None:
    """Write equal shapes, and areas of one paint, that follow each other as one path.

    Where two of them overlap, what shines through is no longer seen twice.
    """
    shapes = {
        f"#{one.get('id')}": _Shape(one)
        for one in root.iter("path")
        if "id" in one.attrib and _SIMPLE.match(one.get("d", ""))
    }
    for parent in list(root.iter()):
        if len(parent) < 3:
            continue
        kept: list[ElementTree.Element] = []
        for (tag, name, paint), some in groupby(parent, key=_alike):
            run = list(some)
            if tag == "use" and name in shapes and len(run) > 2:
                kept.append(shapes[name].at_each(run, dict(paint)))
            elif tag == "path" and len(run) > 1:
                data = "".join(one.get("d", "") for one in run)
                kept.append(ElementTree.Element("path", {**dict(paint), "d": data}))
            else:
                kept += run
        parent[:] = kept
    used = {one.get("href", "") for one in root.iter("use")}
    for parent in root.iter():
        parent[:] = [one for one in parent if not _was_joined(one, shapes, used)]


def _was_joined(
    element: ElementTree.Element, shapes: Mapping[str, _Shape], used: Container[str]
) -> bool:
    """Whether an element holds a shape that nothing refers to any more, and nothing else."""
    inner = list(element) if element.tag == "defs" else []
    return len(inner) == 1 and (name := f"#{inner[0].get('id')}") in shapes and name not in used


_SIMPLE = re.compile(r"M(-?[\d.]+) ?(-?[\d.]+)([^Mm]+)$")
"""A shape in one piece, as :func:`shorter_path` writes it: where it begins, and how it goes on."""


class _Shape:
    """What is repeated: a tick of an axis, a dot of a scatter plot."""

    def __init__(self, path: ElementTree.Element) -> None:
        found = _SIMPLE.match(path.get("d", ""))
        assert found is not None
        self._begin = _scaled(float(found[1])), _scaled(float(found[2]))
        self._rest = found[3]
        self._paint = {key: value for key, value in path.items() if key not in ("id", "d")}

    def at_each(
        self, places: Sequence[ElementTree.Element], paint: Mapping[str, str]
    ) -> ElementTree.Element:
        """A path that draws the shape at each place, from left to right."""
        (x, y), data, at = self._begin, "", (0, 0)
        for left, top in sorted(map(_place, places)):
            if self._rest.endswith("z"):  # which leads back to where it began
                data += f"m{_joined([left + x - at[0], top + y - at[1]])}{self._rest}"
                at = left + x, top + y
            else:
                data += f"M{_joined([left + x, top + y])}{self._rest}"
        return ElementTree.Element("path", {**paint, **self._paint, "d": data})


def _alike(element: ElementTree.Element) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """What an element repeats or is, and its paint; ("", id, ()) of what stays on its own."""
    own = tuple((k, v) for k, v in element.items() if k not in ("href", "x", "y", "d"))
    if element.tag == "use":
        return "use", element.get("href", ""), own
    area = element.tag == "path" and element.get("d", "").endswith("z")
    if area and not {"id", "stroke", "transform"} & {*element.attrib}:
        return "path", "", own
    return "", str(id(element)), ()


def _place(element: ElementTree.Element) -> tuple[int, int]:
    return _scaled(float(element.get("x", "0"))), _scaled(float(element.get("y", "0")))


def shorter_path(data: str) -> str:
    """A path with rounded corners, each said from the one before; a circle is said as one.

    Only what matplotlib writes is read: absolute moves, lines and curves.

    >>> shorter_path("M 1.000001 2 L 1.5 2 L 1.5 4 C 2 4 2 4 3 5.123456 z")
    'M1 2h.5v2c.5 0 .5 0 1.5 1.1z'
    """
    parts: list[str] = []
    x = y = start_x = start_y = 0
    commands = _without_straight_corners(list(_commands(data)))
    position = 0
    while position < len(commands):
        command, points = commands[position]
        if command == "M" and (circle := _circle(commands[position : position + 10])):
            begin, around = circle
            parts.append(_move(begin, (x, y), relative=bool(parts)) + around)
            x, y = start_x, start_y = begin
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
            parts.append(_move((to_x, to_y), (x, y), relative=bool(parts)))
            start_x, start_y = to_x, to_y
        elif command == "L":
            parts.append(_line(to_x - x, to_y - y))
        else:
            parts.append(
                command.lower() + _joined([value for a, b in corners for value in (a - x, b - y)])
            )
        x, y = to_x, to_y
    return "".join(parts)


def _without_straight_corners(commands: Sequence[_Command]) -> list[_Command]:
    """Without corners of a line that lie within :data:`OFF` of the line without them."""
    if len(commands) < 4:
        return [*commands]
    kept: list[_Command] = []
    for is_line, some in groupby(commands, key=lambda command: command[0] == "L"):
        run = list(some)
        if is_line and len(run) > 1 and kept:
            corners = np.array([kept[-1][1][-1], *(points[0] for _, points in run)])
            run = [run[i - 1] for i in _corners(corners)[1:]]
        kept += run
    return kept


def _corners(points: NDArray[np.float64]) -> list[int]:
    """Positions of the points ``[n, 2]`` that a line needs: Douglas and Peucker's."""
    kept, open_parts = {0, len(points) - 1}, [(0, len(points) - 1)]
    while open_parts:
        first, last = open_parts.pop()
        if last - first < 2:
            continue
        along = points[last] - points[first]
        inner = points[first + 1 : last] - points[first]
        length = math.hypot(*along)
        off = np.abs(inner @ [-along[1], along[0]]) / length if length else np.hypot(*inner.T)
        furthest = int(off.argmax())
        if off[furthest] > OFF:
            middle = first + 1 + furthest
            kept.add(middle)
            open_parts += [(first, middle), (middle, last)]
    return sorted(kept)


def _scaled(value: float) -> int:
    return round(value * float(10**DECIMALS))


def _move(to: tuple[int, int], at: tuple[int, int], *, relative: bool) -> str:
    """A move in the shorter of its two forms; the first of a path is absolute."""
    absolute = "M" + _joined([*to])
    there = "m" + _joined([to[0] - at[0], to[1] - at[1]])
    return there if relative and len(there) < len(absolute) else absolute


def _circle(commands: Sequence[_Command]) -> tuple[tuple[int, int], str] | None:
    """A closed path of eight curves whose ends lie on a circle: where it begins, and an arc.

    The arc ends a tenth of a point before its begin, since one that ends there is not drawn.
    """
    if "".join(command for command, _ in commands) != "MCCCCCCCCz":
        return None
    ends = [points[-1] for _, points in commands[:9]]
    x, y = (sum(end[axis] for end in ends[1:]) / 8 for axis in (0, 1))
    distances = [math.dist(end, (x, y)) for end in ends]
    if max(distances) - min(distances) > 1e-4:
        return None
    r = _scaled(max(distances))
    return (_scaled(x) + r, _scaled(y)), f"a{_joined([r, r])} 0 1 1 0 .1z"


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
    """Tenths as numbers, with a space only where a reader needs one."""
    text = ""
    for value in values:
        said = _number(value / 10**DECIMALS)
        text += _after(said) if text else said
    return text


def _number(value: float) -> str:
    """A number without what can be left out.

    >>> _number(0.5), _number(-0.25), _number(12.0), _number(-0.0)
    ('.5', '-.2', '12', '0')
    """
    said = f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
    if said in ("-0", ""):
        return "0"
    return re.sub(r"^(-?)0\.", r"\1.", said)
