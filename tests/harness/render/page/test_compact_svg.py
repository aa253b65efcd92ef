import math
import re
from xml.etree import ElementTree

import pytest

from metabench.render.figures.drawing import Drawing, Width, house_style, new_figure, to_svg
from metabench.render.page.compact_svg import compact, shorter_path
from metabench.render.page.pictures import without_styles


def points(data: str) -> list[tuple[float, float]]:
    """Where the commands of a path end: moves, lines, curves and arcs, absolute or relative."""
    x = y = sx = sy = 0.0
    found = []
    for letter, rest in re.findall(r"([A-Za-z])([^A-Za-z]*)", data):
        numbers = [float(one) for one in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", rest)]
        if letter in "zZ":
            x, y = sx, sy
        elif letter in "hv":
            x, y = (x + numbers[0], y) if letter == "h" else (x, y + numbers[0])
        else:
            dx, dy = numbers[-2:]
            x, y = (dx, dy) if letter.isupper() else (x + dx, y + dy)
        if letter in "mM":
            sx, sy = x, y
        found.append((x, y))
    return found


@pytest.mark.parametrize(
    "data",
    [
        "M 10.123456 20 \nL 10.123456 30.5 \nL 12.5 30.5 \nz\n",
        "M 0 0 L -1.239 0.004 C 1 2 3 4 5.555 6 Q 1 1 2 2 M 7 7 L 8 8.009",
        "M 1 1 L 2 2 z M 3 3 L 4 4 z",
    ],
)
def test_a_path_ends_where_it_did(data):
    before, after = points(data), points(shorter_path(data))
    assert len(before) == len(after)
    for (x, y), (u, v) in zip(before, after, strict=True):
        assert math.isclose(x, u, abs_tol=0.051)
        assert math.isclose(y, v, abs_tol=0.051)


def test_rounding_does_not_add_up_along_a_path():
    ends = [(i * 1.003, i * 0.777 + i % 2) for i in range(1, 1000)]
    found = points(shorter_path("M 0 0 " + " ".join(f"L {x:.6f} {y:.6f}" for x, y in ends)))
    assert len(found) == 1000
    (x, y), (u, v) = found[-1], ends[-1]
    assert abs(x - u) < 0.051
    assert abs(y - v) < 0.051


def circle(x: float, y: float, r: float) -> str:
    """A circle as matplotlib writes it: eight curves."""
    ends = [(x + r * math.cos(a), y + r * math.sin(a)) for a in (math.pi * i / 4 for i in range(9))]
    curves = " ".join(f"C {a} {b} {a} {b} {a} {b}" for a, b in ends[1:])
    return f"M {ends[0][0]} {ends[0][1]} {curves} z"


def test_a_circle_is_an_arc_and_an_octagon_of_curves_that_is_none_stays():
    assert shorter_path(circle(3, 4, 1.5)) == "M4.5 4a1.5 1.5 0 1 1 0 .1z"
    two = circle(3, 4, 1.5) + circle(5, 4, 1.5)
    assert shorter_path(two) == "M4.5 4a1.5 1.5 0 1 1 0 .1zm2 0a1.5 1.5 0 1 1 0 .1z"
    assert shorter_path(circle(3, 4, 1.5).replace("C", "L 0 0 C", 1)).count("a") == 0
    assert shorter_path(circle(1, 1, 1) + " M 0 0 L 1 0").endswith("zM0 0h1")


def test_corners_on_a_straight_line_are_left_out_and_others_stay():
    assert shorter_path("M 0 0 L 1 0.01 L 2 0 L 3 -0.01 L 4 0") == "M0 0h4"
    assert shorter_path("M 0 0 L 1 0.5 L 2 0 L 3 0") == "M0 0l1 .5l1-.5h1"
    assert shorter_path("M 0 0 L 1 0 L 2 0 z M 5 5 L 6 5 L 6 7") == "M0 0h2zM5 5h1v2"


def test_equal_shapes_are_one_path_where_they_were():
    uses = "".join(f'<use href="#s" x="{x}" y="{x}"/>' for x in (30, 10, 20))
    square = '<defs><path id="s" d="M -1 -1 L 1 -1 L 1 1 L -1 1 z"/></defs>'
    svg = compact(f"<svg>{square}<g fill='#fff' opacity='1'>{uses}</g></svg>", name="f")
    assert '<path d="m9 9h2v2h-2zm10 10h2v2h-2zm10 10h2v2h-2z"/>' in svg
    tick = '<defs><path id="s" d="M 0 0 L 0 3" stroke="#222"/></defs>'
    svg = compact(f"<svg>{tick}<g opacity='1'>{uses}</g></svg>", name="f")
    assert '<path stroke="#222" d="M10 10v3M20 20v3M30 30v3"/>' in svg


def test_areas_of_one_paint_are_one_path_and_lines_are_not():
    bar = '<path fill="#fff" d="M 0 0 L 1 0 L 1 1 L 0 1 z"/>'
    line = '<path fill="none" stroke="#000" d="M 0 0 L 1 0 L 0 0 z"/>'
    svg = compact(f"<svg>{bar}{bar}{line}{line}</svg>", name="f")
    assert svg.count("<path") == 3
    assert 'd="M0 0h1v1h-1zM0 0h1v1h-1z"' in svg


def test_a_figure_keeps_its_parts_and_only_the_ids_that_are_used():
    with house_style():
        figure = new_figure(Width.single, 2.0)
        axes = figure.subplots()
        axes.plot([1, 2, 3], [1, 4, 9], marker="o")
        axes.bar([1, 2], [3, 0], hatch="..", edgecolor="white", linewidth=0)
        axes.set_title("less < more")
    drawing = Drawing(name="figure-7", figure=figure, title="T & t", description="D")
    before = without_styles(to_svg(drawing, inline=True))
    after = compact(before, name="figure-7")
    assert len(after) < len(before) / 3
    old, new = ElementTree.fromstring(before), ElementTree.fromstring(after)
    for tag in ("text", "clipPath", "pattern", "title", "desc"):
        assert len(list(old.iter(tag))) == len(list(new.iter(tag))) > 0, tag
    assert [one.text for one in new.iter("text")] == [one.text for one in old.iter("text")]
    ids = re.findall(r' id="([^"]+)"', after)
    assert len(ids) == len({*ids})
    assert all(one.startswith("figure-7-") for one in ids)
    assert {*ids} == {*re.findall(r"(?:url\(|href=\")#([^\")]+)", after)}
    assert compact(before, name="figure-7") == after


def test_what_is_clipped_alike_is_clipped_together():
    path = '<path clip-path="url(#a)" stroke="#fff" d="M 0 0 L 1 0 L 1 1 z"/>'
    other = path.replace("#a", "#b")
    clips = '<clipPath id="a"><rect/></clipPath><clipPath id="b"><rect/></clipPath>'
    svg = compact(f"<svg>{clips}<g opacity='1'>{3 * path}{other}</g></svg>", name="f")
    assert svg.count('clip-path="url(#f-1)"') == 1
    assert svg.count('clip-path="url(#f-2)"') == 1
    assert '<g clip-path="url(#f-1)"' in svg
