import itertools
import re
from pathlib import Path

import pytest
from result_factory import GOLDEN

from metabench.errors import UsageError
from metabench.papers.reference import Reference
from metabench.papers.reference_checks import not_installed, problems_of
from metabench.papers.reference_files import find_reference, load_reference, readable_references
from metabench.papers.report import has_params
from metabench.planning.plan import RunRequest, plan_all
from metabench.planning.source_deviations import holds
from metabench.planning.suite import load_suite
from metabench.plugin.catalog import load_catalog

EXAMPLE = GOLDEN / "references" / "example-table-1.yaml"
PLUGIN = """
from pathlib import Path
from metabench import hookimpl

@hookimpl
def metabench_references():
    return sorted(Path(__file__).parent.glob("*.yaml"))
"""


def changed(tmp_path: Path, old: str, new: str, *, name: str = "example-table-1.yaml") -> Path:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new), encoding="utf-8")
    return tmp_path / name


def test_a_cell_knows_all_that_is_said_about_it():
    reference = load_reference(EXAMPLE)
    maml, hsml = reference.rows
    sine, average = reference.columns
    cell = reference.cell(maml, sine)
    assert (cell.text, cell.value, cell.half_width) == ("0.300 ± 0.010", 0.3, 0.01)
    assert (cell.n, cell.formula, cell.unit) == (1000, "1.96 std/sqrt(n)", "mse")
    assert cell.status == "printed"
    assert cell.implied_std == pytest.approx(0.010 * 1000**0.5 / 1.96)
    assert reference.cell(maml, average).formula is None  # the column says otherwise
    derived = reference.cell(hsml, sine)
    assert (derived.status, derived.half_width, derived.n) == ("derived", None, None)
    assert derived.note == "from the average"


def test_what_is_missing_stays_missing():
    reference = load_reference(EXAMPLE)
    cell = reference.cell(reference.rows[1], reference.columns[1])
    assert (cell.text, cell.value, cell.half_width, cell.status) == ("", None, None, "missing")
    assert cell.note == "without its tree"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0.300 ± 0.010", "0.3", "put 0.3 in quotes"),
        ("0.300 ± 0.010", "0.300 +- 0.010", "is not written as"),
        ("0.300 ± 0.010", "{status: printed}", "a cell needs a number"),
        ("0.300 ± 0.010", "{printed: '0.3', status: missing}", "a cell needs a number"),
        (", average: missing", "", "write 'missing' where nothing is known"),
        ("setting: 10s}", "setting: 11s}", "'11s' is not among the settings"),
        (", setting: 10s}", "}", "must be named by the row or by the column"),
        ("name: average", "name: sinusoid", "two columns have the same name"),
        ("key: example/table-1", "key: table one", "key: String should match"),
        ("metric: mse", "metric: mse\nnotes: x", "notes: Extra inputs are not permitted"),
        ("metric: mse", "metric: mse\nmetric: mse", "stands twice"),
        ("n: 1000", "n: 1", "greater than or equal to 2"),
    ],
)
def test_mistakes_are_sentences(tmp_path, old, new, words):
    with pytest.raises(UsageError) as caught:
        load_reference(changed(tmp_path, old, new))
    assert words in caught.value.message
    assert "example-table-1.yaml" in caught.value.message
    assert "\n" not in caught.value.message


def test_a_file_that_is_not_utf8_is_a_sentence(tmp_path):
    file = tmp_path / "example-table-1.yaml"
    file.write_bytes("title: Übung".encode("latin-1"))
    with pytest.raises(UsageError, match=r"example-table-1\.yaml is not a text file in UTF-8"):
        load_reference(file)


def test_a_file_is_named_after_its_key(tmp_path):
    file = changed(tmp_path, "A further", "One further", name="other.yaml")
    with pytest.raises(UsageError) as caught:
        load_reference(file)
    assert caught.value.hint == "Rename the file to example-table-1.yaml."


def test_references_come_from_plugins_and_broken_ones_harm_no_others(tmp_path):
    (tmp_path / "tables.py").write_text(PLUGIN)
    changed(tmp_path, "A further", "One further")
    (tmp_path / "broken.yaml").write_text("key: [")
    catalog = load_catalog([tmp_path / "tables.py"])
    assert find_reference(catalog, "example/table-1").note == "One further sentence."
    found = readable_references(catalog)
    assert "example/table-1" in found
    assert "m-nas/table-1" in found
    assert list(found) == sorted(found)


@pytest.mark.parametrize("key", ["m-nas/table-11", "m-nas-table-1", "m-nas/table/1"])
def test_an_unknown_key_gets_the_nearest(catalog, key):
    with pytest.raises(UsageError) as caught:
        find_reference(catalog, key)
    assert f"Unknown reference {key!r}" in caught.value.message
    assert "Did you mean" in caught.value.hint
    assert "m-nas/table-1" in caught.value.hint


# Checks ----------------------------------------------------------------------------------------

AVERAGED = """
key: example/table-1
title: Averages
citation: {authors: Doe, title: An example, venue: CONF, year: 2020, where: Table 1}
metric: accuracy
settings: {5w1s: {ways: 5, shots: 1}}
columns:
  - {name: birds, heading: B, suite: multidataset, source: birds, setting: 5w1s}
  - {name: textures, heading: T, suite: multidataset, source: textures, setting: 5w1s}
  - {name: aircraft, heading: A, suite: multidataset, source: aircraft, setting: 5w1s}
  - {name: fungi, heading: F, suite: multidataset, source: fungi, setting: 5w1s}
  - {name: average, heading: M, suite: multidataset, source: average, setting: 5w1s}
interval: {n: not stated, over: not stated, formula: not stated}
rows:
  - method: MAML
    learner: maml
    protocol:
      {queries: not stated, steps_at_test: 5, normalization: not stated, episodes: 1000,
       trained_on: meta-train, selection: not stated}
    cells:
      birds: 53.94 ± 1.45
      textures: 31.66 ± 1.31
      aircraft: 51.37 ± 1.38
      fungi: 42.12 ± 1.36
      average: "44.77"
"""


def loaded(tmp_path: Path, *changes: tuple[str, str]) -> Reference:
    text = AVERAGED
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "example-table-1.yaml").write_text(text, encoding="utf-8")
    return load_reference(tmp_path / "example-table-1.yaml")


def test_a_sound_table_has_no_problems(tmp_path, catalog):
    assert problems_of(loaded(tmp_path), catalog) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"44.77"', '"44.79"'), "44.79 is printed, but the mean of its sources is 44.7725"),
        (("53.94 ± 1.45", "53.94 ± 0.00"), "MAML, birds: the half-width of 53.94 ± 0.00"),
        (("53.94 ± 1.45", "153.94 ± 1.45"), "more than 100 %"),
        (("suite: multidataset, source: fungi", "suite: many, source: fungi"), "suite 'many'"),
        (("source: fungi", "source: ferns"), "no source 'ferns'"),
        (("source: fungi", "source: fungi, evaluation: prunned"), "has 'prunned' as an evaluation"),
        (("5w1s", "6w1s"), "no setting '6w1s'"),
        (("metric:", "budget: huge\nmetric:"), "no budget 'huge'"),
        (("metric:", "substitutes: {few: multidataset}\nmetric:"), "suite 'few'"),
    ],
)
def test_each_kind_of_problem_is_named(tmp_path, catalog, change, words):
    problems = problems_of(loaded(tmp_path, change), catalog)
    assert any(words in problem for problem in problems), problems
    assert all(problem.endswith((".", "%.")) for problem in problems)


def test_a_learner_or_network_that_is_not_installed_is_told_and_is_no_problem(tmp_path, catalog):
    table = loaded(tmp_path, ("learner: maml", "learner: malm\n    network: resnet1000"))
    assert problems_of(table, catalog) == []
    learner, network = not_installed(table, catalog)
    assert learner.startswith("The learner 'malm' is not installed. Did you mean maml or ")
    assert network.startswith("The network 'resnet1000' is not installed.")
    assert not_installed(loaded(tmp_path), catalog) == []


@pytest.mark.parametrize("average", ["44.77", "44.8", "45", "44.78"])
def test_an_average_may_be_rounded(tmp_path, catalog, average):
    assert problems_of(loaded(tmp_path, ('"44.77"', f'"{average}"')), catalog) == []


def test_an_average_is_not_judged_where_a_source_is_missing(tmp_path, catalog):
    table = loaded(tmp_path, ("53.94 ± 1.45", "missing"), ('"44.77"', '"99.00"'))
    assert problems_of(table, catalog) == []


def test_rows_that_stand_twice_are_named(tmp_path, catalog):
    row = AVERAGED[AVERAGED.index("  - method") :]
    problems = problems_of(loaded(tmp_path, (row, row + row)), catalog)
    assert problems == ["MAML appears 2 times.", "2 rows take the same runs of maml."]


# The papers' tables ----------------------------------------------------------------------------


def test_the_tables_of_both_papers_are_there_and_sound(catalog):
    found = readable_references(catalog)
    assert set(found) >= {f"{paper}/table-{n}" for paper in ("m-nas", "metanas") for n in (1, 2, 3)}
    for key, reference in found.items():
        assert problems_of(reference, catalog) == [], key


PROMISED = {
    *("maml++", "tnas++", "auto-maml", "tadam", "metaoptnet", "metaoptnet-ridge", "leo", "r2d2"),
    "resnet12",
}
"""Learners and networks that rows may name before a package has them."""


def test_rows_name_what_is_installed_or_promised(catalog):
    named = {
        name
        for reference in readable_references(catalog).values()
        for row in reference.rows
        for name in (row.learner, row.network)
    }
    assert named - {*catalog.learners, *catalog.search_spaces, None} <= PROMISED


def test_every_row_of_metanas_table_2_has_its_learner(catalog):
    rows = find_reference(catalog, "metanas/table-2").rows
    assert {row.method: row.learner for row in rows} == {
        "MAML": "maml",
        "MAML++": "maml++",
        "T-NAS++": "tnas++",
        "REPTILE": "reptile",
        "AutoMeta": "auto-meta",
        "MetaNAS*": "metanas-retrain",
        "TADAM": "tadam",
        "MetaOptNet": "metaoptnet",
        "LEO": "leo",
    }


def test_every_file_of_a_reference_is_readable(catalog):
    own = catalog.origin("reference", "m-nas-table-1").provides["reference"]
    assert len(own) == len(readable_references(catalog))


@pytest.mark.parametrize(
    ("key", "method", "group", "column", "text", "status"),
    [
        ("m-nas/table-1", "MAML", "", "average", "1.941 ± 0.376", "printed"),
        ("m-nas/table-1", "M-NAS", "", "harmonics", "1.232 ± 0.121", "printed"),
        ("m-nas/table-2", "MT-Net", "5-way 1-shot", "aircraft", "47.72 ± 1.46", "public copy"),
        ("m-nas/table-2", "HSML", "5-way 5-shot", "aircraft", "71.52", "derived"),
        ("m-nas/table-2", "M-NAS", "5-way 5-shot", "birds", "", "missing"),
        ("m-nas/table-3", "M-NAS", "", "accuracy", "51.37 ± 1.41", "printed"),
        ("metanas/table-1", "MetaNAS", "", "omniglot-20w1s", "", "missing"),
        ("metanas/table-2", "LEO", "", "omniglot-20w1s", "", "not reported"),
        ("metanas/table-2", "MetaNAS*", "", "miniimagenet-5w1s", "", "missing"),
        ("reptile/table-2", "Reptile + transduction", "", "5w1s", "97.68 ± 0.04", "public copy"),
        ("maml-plus-plus/miniimagenet", "MAML++", "", "5w5s", "68.32 ± 0.44", "public copy"),
        ("maml-plus-plus/omniglot", "MAML++", "", "20w1s", "97.65", "public copy"),
        ("tadam/fc100", "TADAM", "", "5w10s", "61.6 ± 0.5", "public copy"),
        ("tadam/miniimagenet", "TADAM", "", "5w10s", "80.8 ± 0.3", "public copy"),
        (
            "metaoptnet/table-1-miniimagenet",
            "MetaOptNet-RR",
            "",
            "5w1s",
            "61.41 ± 0.61",
            "public copy",
        ),
        (
            "metaoptnet/table-1-tieredimagenet",
            "MetaOptNet-SVM",
            "",
            "5w5s",
            "81.56 ± 0.53",
            "public copy",
        ),
        ("metaoptnet/table-2", "R2D2", "", "cifar-fs-5w1s", "65.3 ± 0.2", "public copy"),
        ("metaoptnet/table-2", "R2D2", "", "fc100-5w1s", "", "not reported"),
        (
            "metaoptnet/table-3",
            "MetaOptNet-SVM",
            "4-layer conv",
            "miniimagenet-5w1s",
            "52.87 ± 0.57",
            "public copy",
        ),
        (
            "metaoptnet/table-4",
            "MetaOptNet-SVM without label smoothing",
            "",
            "5w5s",
            "77.40",
            "public copy",
        ),
        (
            "leo/table-2-miniimagenet",
            "LEO (no fine-tuning)",
            "",
            "5w1s",
            "61.62 ± 0.15",
            "public copy",
        ),
        ("leo/table-2-tieredimagenet", "LEO", "", "5w5s", "81.44 ± 0.09", "public copy"),
        ("protonet/table-1", "Prototypical networks", "", "20w1s", "96.0", "public copy"),
        ("protonet/table-2", "Matching networks", "", "5w1s", "43.40 ± 0.78", "public copy"),
        ("meta-sgd/copies", "Meta-SGD", "", "omniglot-5w5s", "99.93 ± 0.09", "public copy"),
        ("anil/table-4", "ANIL", "", "miniimagenet-5w1s", "46.7 ± 0.4", "public copy"),
    ],
)
def test_cells_of_the_papers(catalog, key, method, group, column, text, status):
    reference = find_reference(catalog, key)
    (row,) = (r for r in reference.rows if (r.method, r.group) == (method, group))
    (place,) = (c for c in reference.columns if c.name == column)
    cell = reference.cell(row, place)
    assert (cell.text, cell.status) == (text, status)


WIDTHS = re.compile(r"(\d+)-(\d+)-(\d+)-(\d+)")
NETWORKS = {"ResNet-12": "resnet12", "WRN-28-10": "wrn-28-10"}


def test_a_row_is_compared_with_the_network_that_it_prints_or_not_at_all(catalog):
    """Where the suite has another network, a deviation of suite or learner says so."""
    seen, opened, suites = 0, {}, {name: load_suite(catalog.suite(name)) for name in catalog.suites}
    for key, reference, row, suite in rows_with_a_network(catalog):
        settings = {reference.setting_of(row, c) for c in reference.columns if c.suite == suite}
        request = RunRequest(
            learners=(row.learner,),
            suite=suite,
            settings=(min(settings),),
            budget=reference.budget,
            data="synthetic",
            space=row.network,
            changes={"space": row.network_params} if row.network_params else {},
        )
        known = (*catalog.learner(row.learner).deviations, *suites[suite].deviations)
        for planned in plan_all([request], catalog, suites=suites, opened=opened):
            spec = planned.spec
            held = [one for one in known if holds(one, spec)]
            found, printed = network_of(spec), printed_network(row.arch)
            alike = found == printed
            if [type(found), type(printed)] == [list, list]:
                # A few filters more or less are no other network, but are named.
                named = any("filters" in one.source for one in held)
                alike |= named and found == pytest.approx(printed, rel=0.1)
            apart = any(not one.comparable for one in held)
            assert alike or apart, (key, row.method, suite)
            # Where the row asks for a network, its number can be compared.
            assert not (row.network_params and apart), (key, row.method, suite)
            assert has_params(spec.space, row.network_params), (key, row.method)
            seen += 1
    assert seen > 20


def rows_with_a_network(catalog):
    """Rows of learners whose table prints their network, with each suite that they are set in."""
    for key, reference in readable_references(catalog).items():
        for row in reference.rows:
            if row.learner and (WIDTHS.fullmatch(row.arch) or row.arch in NETWORKS):
                for suite in {column.suite for column in reference.columns} - {None}:
                    yield key, reference, row, suite


def printed_network(arch):
    printed = WIDTHS.fullmatch(arch)
    return [int(n) for n in printed.groups()] if printed else NETWORKS[arch]


def network_of(spec):
    if spec.space.name != "conv4":
        return spec.space.name
    return [*(spec.space.params.get("widths") or [spec.space.params["filters"]] * 4)]


def test_the_half_widths_of_both_shots_imply_the_spread_of_one_protocol(catalog):
    """1,000 tasks per data set with as many queries as shots: a spread of about 23 and 12 %."""
    reference = find_reference(catalog, "m-nas/table-2")
    places = itertools.product(reference.rows, reference.columns)
    found = [(row.setting, reference.cell(row, column).implied_std) for row, column in places]
    implied = [(setting, spread) for setting, spread in found if spread is not None]
    assert {setting for setting, _ in implied} == {"5w1s", "5w5s"}
    for setting, spread in implied:
        assert spread == pytest.approx(23 if setting == "5w1s" else 12, rel=0.15)


def test_rows_with_running_statistics_ask_for_a_network_that_has_them(catalog):
    """Else what `reproduce` makes is never comparable, and a run with them has changed the suite.

    LEO's features are always of another network than its source's, which a deviation says.
    """
    n = 0
    for reference in map(load_reference, catalog.references.values()):
        for row in reference.rows:
            if row.learner in (None, "leo"):
                continue
            for column in reference.columns:
                if column.suite is None:
                    continue
                setting = reference.setting_of(row, column)
                if reference.conditions_of(row, setting).normalization != "running":
                    continue
                network = row.network or load_suite(catalog.suite(column.suite)).space
                where = (reference.key, row.method)
                assert network == "resnet12" or row.network_params["norm"] == "running", where
                n += 1
    assert n > 20
