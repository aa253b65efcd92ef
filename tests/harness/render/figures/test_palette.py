"""A learner has one color and one line in all figures."""

from __future__ import annotations

import itertools

from metabench.plugin.catalog import load_catalog
from metabench.render.figures.palette import (
    COLORS,
    DASHES,
    LEARNERS,
    OTHER_DASHES,
    learner_style,
    learner_styles,
)

MINE = ("#5B5B5B", (1.2, 3), "D")
"""Never to change: figures of one paper are made at different times."""


def test_every_built_in_learner_has_a_fixed_style_of_its_own() -> None:
    assert set(load_catalog().learners) <= set(LEARNERS)
    looks = [(learner_style(name).color, learner_style(name).dash) for name in LEARNERS]
    assert len(set(looks)) == len(looks)


def test_the_style_of_another_learner_follows_from_its_name_alone() -> None:
    alone = learner_style("my-learner")
    assert (alone.color, alone.dash, alone.marker) == MINE
    among = learner_styles({name: name for name in ("a", "maml", "my-learner", "zebra")})
    assert among["my-learner"] == alone
    assert alone.dash in OTHER_DASHES


def test_learners_of_others_never_look_like_built_in_ones() -> None:
    built_in = {learner_style(name).dash for name in LEARNERS}
    assert built_in.isdisjoint(OTHER_DASHES)
    assert set(DASHES) <= built_in
    others = [learner_style(f"plugin-{i}") for i in range(300)]
    assert {style.color for style in others} == set(COLORS)
    assert len(set(others)) > 100  # of 7 x 3 x 9


def test_configurations_of_one_learner_share_its_color() -> None:
    found = learner_styles({"maml quick": "maml", "maml paper": "maml", "mnas": "mnas"})
    first, second = found["maml quick"], found["maml paper"]
    assert first == learner_style("maml")
    assert first.color == second.color != found["mnas"].color
    assert first.dash != second.dash
    assert first.marker != second.marker


def test_colors_differ_for_the_color_blind() -> None:
    """Distances after Machado, Oliveira and Fernandes (2009), severity 1, in linear RGB."""
    deutan = ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969))
    protan = ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052))
    for matrix in (deutan, protan):
        seen = []
        for color in COLORS:
            rgb = [(int(color[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
            mixed = [sum(m * c for m, c in zip(row, rgb, strict=True)) for row in matrix]
            seen.append([max(0.0, value) ** (1 / 2.2) for value in mixed])
        for one, other in itertools.combinations(seen, 2):
            assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 0.1


def test_no_two_lines_of_a_figure_look_alike() -> None:
    several = {f"maml {i}": "maml" for i in range(4)} | {"anil": "anil", "bmaml": "bmaml"}
    found = learner_styles(several)
    assert len({(style.color, style.dash) for style in found.values()}) == len(found)
    own = {"maml 0": "maml", "anil": "anil", "bmaml": "bmaml"}
    assert all(found[label] == learner_style(name) for label, name in own.items())
    many = learner_styles({f"maml {i}": "maml" for i in range(12)})
    assert len(set(many.values())) == len(many)  # by a marker, where no line is left


def test_learners_of_others_whose_names_give_one_line_are_told_apart() -> None:
    seen: dict[object, str] = {}
    for i in range(100):
        name = f"plugin-{i}"
        style = learner_style(name)
        if (other := seen.setdefault((style.color, style.dash), name)) != name:
            found = learner_styles({other: other, name: name})
            assert found[other] == learner_style(other)
            assert found[other].dash != found[name].dash
            return
    raise AssertionError("no two names give one line")
