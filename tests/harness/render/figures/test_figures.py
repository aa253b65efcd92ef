"""Figures: what is in them, the same bytes twice, and names that are only names."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from result_factory import edit_json, make_spec, write_run
from search_factory import run_all

from metabench.errors import DataError, UsageError
from metabench.planning.plan import RunRequest
from metabench.planning.runspec import Choice
from metabench.plugin.catalog import Catalog
from metabench.render.figures import FIGURES, FigureRequest, cell, curves, fits
from metabench.render.figures.cell_layout import LabelledEdge, lay_out
from metabench.render.figures.drawing import Drawing, FileFormat, encode, plain_axis, to_svg
from metabench.render.figures.palette import COLORS, styles
from metabench.render.figures.same_episodes import runs_of_episode
from metabench.results.comparable_curves import read_metrics
from metabench.results.figure_data import read_fits
from metabench.results.labels import labelled
from metabench.results.reading import read_runs
from metabench.results.store import RunStore
from metabench.running.figure_data import (
    POINTS,
    fits_at,
    keep_figure_data,
    restored_for_fits,
)

HOSTILE = '_<script>alert("x")</script>$\\frac{1}{0}$'
FAMILIES = ["sine", "line", "quadratic", "harmonics"]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def trained(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MAML and REPTILE, hardly trained."""
    out = tmp_path_factory.mktemp("trained")
    request = RunRequest(
        learners=("maml", "reptile"),
        suite="toy-regression",
        budget="smoke",
        changes={
            "budget": {"meta_steps": 20, "meta_batch": 2},
            "protocol": {"episodes": 30},
            "space": {"width": 6, "hidden": 1},
        },
    )
    return run_all(request, catalog, out)


def write_searched(out: Path, learner: str, genotypes: list[dict[str, Any]]) -> Path:
    spec = make_spec(learner, strategy=Choice(name="darts", version=1))
    folder = write_run(out, spec)
    lines = [json.dumps({"index": i, "genotype": g}) for i, g in enumerate(genotypes)]
    (folder / "genotypes.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


COMMON: dict[str, Any] = {
    "normal": [[0, 2, "skip"], [1, 2, "linear"]],
    "reduction": [[0, 2, "max-pool-3x3"]],
}
RARE: dict[str, Any] = {"normal": [[0, 2, "skip"], [1, 2, "skip"]], "reduction": [[1, 2, "skip"]]}


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts if not isinstance(text, Annotation)]


def legend_texts(drawing: Drawing) -> list[str]:
    (legend,) = drawing.figure.legends
    return [text.get_text() for text in legend.get_texts()]


# Fits ------------------------------------------------------------------------------------------


def test_fits_show_every_family_with_every_learner(catalog: Catalog, trained: Path) -> None:
    drawing = fits.draw(read_runs(trained), catalog=catalog, episode=2)
    assert [axes.get_title() for axes in drawing.figure.axes] == FAMILIES
    ground = ["true function", "support", "outside the support"]
    assert legend_texts(drawing) == [*ground, "maml", "reptile"]
    for axes in drawing.figure.axes:
        curves_drawn = [line for line in axes.lines if len(line.get_xdata()) == POINTS]
        assert len(curves_drawn) == 3  # the truth and two learners
        (support,) = [line for line in axes.lines if line.get_marker() == "o"]
        x, y = (np.asarray(part) for part in support.get_data())
        assert len(x) == 10
        truth_x, truth_y = (np.asarray(part, dtype=float) for part in curves_drawn[0].get_data())
        on_curve = np.interp(x.astype(float), truth_x, truth_y)
        np.testing.assert_allclose(on_curve, y, atol=0.05)
    assert drawing.notes == ()


def test_kept_fits_are_those_of_the_restored_learner(catalog: Catalog, trained: Path) -> None:
    for run in read_runs(trained).runs:
        kept = read_fits(run.folder)
        assert list(kept) == list(range(12))  # three episodes of four families
        assert (run.folder / "fits.jsonl").stat().st_size < 60_000
        restored = restored_for_fits(RunStore(run.folder), catalog, device=torch.device("cpu"))
        for fit in fits_at(restored, 1):
            own = kept[fit.index]
            assert own.source == fit.source
            assert own.truth is not None
            np.testing.assert_array_equal(own.x, fit.x)
            np.testing.assert_allclose(own.fit, fit.fit, rtol=1e-4)
            np.testing.assert_allclose(own.support_y, fit.support_y, rtol=1e-4)


def test_a_finished_run_gets_the_fits_that_it_lacks_from_its_checkpoint(
    catalog: Catalog, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "R")
    run, *_ = read_runs(tmp_path / "R").runs
    path = run.folder / "fits.jsonl"
    before = path.read_bytes()
    path.unlink()
    store, spec = RunStore(run.folder), run.record.spec
    keep_figure_data(store, spec, catalog, device=torch.device("cpu"))
    assert path.read_bytes() == before
    path.unlink()
    shutil.rmtree(run.folder / "checkpoints")
    keep_figure_data(store, spec, catalog, device=torch.device("cpu"))
    assert not path.exists()


def test_a_damaged_file_of_fits_is_named(catalog: Catalog, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "R")
    run, *_ = read_runs(tmp_path / "R").runs
    with (run.folder / "fits.jsonl").open("a") as file:
        file.write('{"index": 99}\n')
    note, *_ = fits.draw(read_runs(tmp_path / "R"), catalog=catalog).notes
    assert note.startswith("maml is left out: ")
    assert "fits.jsonl has a damaged line" in note


def test_a_fit_is_what_the_record_scored(catalog: Catalog, trained: Path) -> None:
    """The squared error on the evaluation's own grid is the evaluation's score."""
    from metabench.running.trained_learner import restore
    from metabench.sampling.grid import QueryGrid

    for run in read_runs(trained).runs:
        restored = restore(run.folder, catalog, device=torch.device("cpu"))
        indices, grid = [0, 41, 103, 119], QueryGrid(points=100, low=-5, high=5)
        tasks = restored.built.test.on_grid(grid).batch(np.array(indices))
        truth = tasks.query.y[..., 0].double().numpy()
        errors = ((restored.predict(indices, grid) - truth) ** 2).mean(axis=1)
        scores = run.evaluations["extrapolation"].score[indices]
        np.testing.assert_allclose(errors, scores, rtol=1e-4)


def test_a_learner_without_checkpoint_is_named_and_left_out(
    catalog: Catalog, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "R")
    (checkpoints,) = tmp_path.glob("R/*/reptile/*/checkpoints")
    shutil.rmtree(checkpoints)
    results = read_runs(tmp_path / "R")
    assert legend_texts(fits.draw(results, catalog=catalog))[3:] == ["maml", "reptile"]
    drawing = fits.draw(results, catalog=catalog, episode=3)  # three are kept
    assert legend_texts(drawing)[3:] == ["maml"]
    (note,) = drawing.notes
    assert note.startswith(
        "reptile is left out: its record has those of episodes 0 to 2, and it cannot be restored: "
        "No checkpoint is left in "
    )
    assert "`metabench run --learner reptile" in note
    assert note.endswith("--out NEW` makes a run that keeps its checkpoint.")


def test_without_any_checkpoint_there_is_no_figure(
    catalog: Catalog, trained: Path, tmp_path: Path
) -> None:
    left_out = shutil.ignore_patterns("checkpoints", "fits.jsonl")
    shutil.copytree(trained, tmp_path / "R", ignore=left_out)
    with pytest.raises(DataError, match=r"No run in this folder has fits .* has no fits\.jsonl"):
        fits.draw(read_runs(tmp_path / "R"), catalog=catalog)


def test_fits_need_regression_and_an_episode_that_there_is(
    catalog: Catalog, trained: Path, tmp_path: Path
) -> None:
    write_run(tmp_path, make_spec())
    with pytest.raises(DataError, match="on regression"):
        fits.draw(read_runs(tmp_path), catalog=catalog)
    with pytest.raises(UsageError, match="no episode 30; each source has 30"):
        fits.draw(read_runs(trained), catalog=catalog, episode=30)


def test_fits_of_different_episodes_are_not_put_together(
    catalog: Catalog, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "R")
    write_run(tmp_path / "R", make_spec(suite="other", metric="mse", sources=("sine",)))
    with pytest.raises(UsageError, match="different episodes"):
        fits.draw(read_runs(tmp_path / "R"), catalog=catalog)


# Cells -----------------------------------------------------------------------------------------


def test_the_most_common_cell_is_drawn_with_its_share(tmp_path: Path) -> None:
    write_searched(tmp_path, "mnas", [RARE, COMMON, COMMON, COMMON])
    drawing = cell.draw(read_runs(tmp_path))
    normal, reduction = drawing.figure.axes
    share = "3 of 4 tasks (75.0%); 1 other has 25.0%"
    assert normal.get_title(loc="left") == f"mnas, normal: {share}"
    assert reduction.get_title(loc="left") == f"mnas, reduction: {share}"
    assert sorted(texts(normal)) == sorted(["skip", "linear", "0", "1", "2", "in", "in", "out"])
    assert "max-pool-3x3" in texts(reduction)
    assert len(normal.patches) == 2  # arrows
    assert "0 to 2 skip, 1 to 2 linear" in drawing.description


def test_cells_of_seeds_are_counted_together(tmp_path: Path) -> None:
    for seed, genotypes in enumerate(([RARE, COMMON], [COMMON, COMMON])):
        spec = make_spec("mnas", seed=seed, strategy=Choice(name="darts", version=1))
        folder = write_run(tmp_path, spec)
        lines = [json.dumps({"index": i, "genotype": g}) for i, g in enumerate(genotypes)]
        (folder / "genotypes.jsonl").write_text("\n".join(lines) + "\n")
    found, _ = cell.collect(read_runs(tmp_path))
    assert (found["mnas"].count, found["mnas"].n_tasks, found["mnas"].n_different) == (3, 4, 2)


def test_without_architectures_there_is_no_cell(tmp_path: Path) -> None:
    write_run(tmp_path, make_spec())
    with pytest.raises(DataError, match="No run in this folder has architectures"):
        cell.draw(read_runs(tmp_path))
    folder = write_searched(tmp_path, "mnas", [COMMON])
    with (folder / "genotypes.jsonl").open("a") as file:
        file.write('{"genotype": 3}\n')
    with pytest.raises(DataError, match="a line that is not a valid genotype"):
        cell.draw(read_runs(tmp_path))


def test_labels_of_a_cell_never_overlap() -> None:
    """Also in the largest graph: every edge of a DARTS cell."""
    pairs = tuple((source, target) for target in range(2, 6) for source in range(target))
    for label in ("3 primitives", "sep-conv-5x5"):
        edges = [LabelledEdge(*pair, label) for pair in pairs]
        layout = lay_out(edges)
        assert layout == lay_out(edges[::-1])
        assert layout.inputs == (0, 1)
        assert {(arc.edge.source, arc.edge.target) for arc in layout.arcs} == set(pairs)
        boxes = [(arc.top, arc.middle, len(arc.edge.label) / 2) for arc in layout.arcs]
        for i, (top, middle, half) in enumerate(boxes):
            for other_top, other_middle, other_half in boxes[:i]:
                apart = abs(middle - other_middle) >= half + other_half
                assert apart or abs(top - other_top) >= 1.5
        assert all(arc.start < arc.end and 0 < arc.top <= layout.height for arc in layout.arcs)
        starts = [arc.start for arc in layout.arcs]
        assert len(set(starts)) == len(starts)


# Curves ----------------------------------------------------------------------------------------


def write_curves(out: Path, learner: str = "maml", *, seed: int = 0) -> Path:
    spec = make_spec(learner, metric="mse", sources=("near", "far"), episodes=3, seed=seed)
    folder = write_run(out, spec)
    points = [
        {"step": s, "query_loss": 10 / s, "val_score": -0.1 * s, "loss": 100 / s, "penalty": 1.0}
        for s in range(1, 41)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(p)}\n" for p in points))
    path = folder / "episodes.jsonl"
    episodes = [json.loads(line) for line in path.read_text().splitlines()]
    for i, episode in enumerate(episodes):
        episode["curve"] = [4.0 + i, 2.0, 1.0]
    path.write_text("".join(f"{json.dumps(e)}\n" for e in episodes))
    return folder


def test_curves_of_training_and_of_inner_steps(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_curves(tmp_path, seed=seed)
    drawing = curves.draw(read_runs(tmp_path))
    loss, validation, adaptation = drawing.figure.axes
    assert loss.get_title() == "meta-training: query loss"
    assert validation.get_ylabel() == "mse"
    assert (loss.get_yscale(), validation.get_yscale()) == ("log", "linear")
    assert len(loss.lines) == 3  # as logged of two seeds, and their mean
    assert len(loss.collections) == 1  # what the seeds span
    assert adaptation.get_xlabel() == "inner steps at meta-test"
    (line,) = adaptation.lines
    np.testing.assert_allclose(np.asarray(line.get_ydata()), [6.5, 2.0, 1.0])
    bands = "range of seeds, at meta-test 95 % interval over episodes"
    assert legend_texts(drawing) == ["maml", bands]


def test_the_interval_of_a_curve_is_that_of_the_tables(tmp_path: Path) -> None:
    write_curves(tmp_path)
    (config,) = labelled(read_runs(tmp_path)).values()
    first = curves.adaptation_curve(config)[0]
    deviation = np.std([0.0, 2.0, 4.0])  # of each source
    half_width = 1.96 * deviation / np.sqrt(3)
    assert first.half_width == pytest.approx(np.sqrt(2 * half_width**2) / 2)


def test_torn_metrics_are_passed_over_and_absent_curves_are_told_of(tmp_path: Path) -> None:
    folder = write_curves(tmp_path)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 41, "lo')
    assert read_metrics(folder / "metrics.jsonl")["query_loss"].step[-1] == 40
    write_run(tmp_path, make_spec("bare", metric="mse", sources=("near",)))
    assert curves.draw(read_runs(tmp_path)).notes == ("bare is left out: it has no curve.",)
    (folder / "metrics.jsonl").unlink()
    lines = (folder / "episodes.jsonl").read_text()
    (folder / "episodes.jsonl").write_text(re.sub(r', "curve": \[.*?\]', "", lines))
    with pytest.raises(DataError, match="No run in this folder has"):
        curves.draw(read_runs(tmp_path))


def test_smoothing_keeps_a_constant_and_the_length() -> None:
    assert curves.smooth(np.full(40, 3.0)) == pytest.approx(np.full(40, 3.0))
    for n in (1, 2, 14, 15, 16):
        assert len(curves.smooth(np.arange(n, dtype=float))) == n


# Writing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", list(FileFormat))
def test_equal_drawings_give_equal_bytes(tmp_path: Path, format: FileFormat) -> None:
    write_searched(tmp_path, "mnas", [COMMON])
    first, second = (encode(cell.draw(read_runs(tmp_path)), format) for _ in range(2))
    assert first == second
    heads = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    assert first.startswith(heads[format])


def test_the_users_own_settings_do_not_matter(tmp_path: Path) -> None:
    write_curves(tmp_path)
    plain = encode(curves.draw(read_runs(tmp_path)), FileFormat.svg)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        assert encode(curves.draw(read_runs(tmp_path)), FileFormat.svg) == plain
        assert matplotlib.rcParams["font.size"] == 20


def test_an_svg_has_a_title_and_a_description(tmp_path: Path) -> None:
    write_searched(tmp_path, "mnas", [COMMON])
    text = to_svg(cell.draw(read_runs(tmp_path)))
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title"
    assert root[0].text == "The most common cells"
    assert root[1].tag == f"{SVG}desc"
    assert "mnas: 1 of 1 task (" in (root[1].text or "")
    assert "<metadata>" not in text  # no date


def test_an_inline_svg_has_text_and_ids_of_its_own(tmp_path: Path) -> None:
    write_searched(tmp_path, "mnas", [COMMON])
    text = to_svg(cell.draw(read_runs(tmp_path)), inline=True)
    assert text.startswith("<svg ")
    root = ElementTree.fromstring(text)
    assert "max-pool-3x3" in {node.text for node in root.iter(f"{SVG}text")}
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert ids
    assert all(name.startswith("cell-") for name in ids)
    used = set(re.findall(r"url\(#([^)]*)\)", text))
    assert used
    assert used <= set(ids)


def test_a_hostile_name_is_text(tmp_path: Path) -> None:
    folder = write_curves(tmp_path / "curves")
    record = json.loads((folder / "run.json").read_text())
    record["spec"]["learner"]["name"] = HOSTILE
    from metabench.values import digest

    edit_json(folder / "run.json", spec=record["spec"], run_id=digest(record["spec"]))
    drawing = curves.draw(read_runs(tmp_path / "curves"))
    assert legend_texts(drawing) == [HOSTILE, "95 % interval over episodes"]
    root = ElementTree.fromstring(to_svg(drawing, inline=True))
    assert HOSTILE in {node.text for node in root.iter(f"{SVG}text")}
    assert not [node for node in root.iter() if "script" in node.tag]


def test_a_primitive_is_text_as_well(tmp_path: Path) -> None:
    write_searched(tmp_path, "mnas", [{"cell": [[0, 1, HOSTILE]]}])
    root = ElementTree.fromstring(to_svg(cell.draw(read_runs(tmp_path)), inline=True))
    assert HOSTILE in {node.text for node in root.iter(f"{SVG}text")}


def test_a_letter_that_the_font_lacks_does_no_harm(tmp_path: Path) -> None:
    write_searched(tmp_path, "mnas", [{"cell": [[0, 1, "卷积"]]}])
    assert encode(cell.draw(read_runs(tmp_path)), FileFormat.png)


# Choosing --------------------------------------------------------------------------------------


def test_labels_say_what_differs_and_are_unique(tmp_path: Path) -> None:
    write_run(tmp_path, make_spec("maml", seed=0))
    write_run(tmp_path, make_spec("maml", seed=1))
    write_run(tmp_path, make_spec("reptile"))
    assert list(labelled(read_runs(tmp_path))) == ["maml", "reptile"]
    write_run(tmp_path, make_spec("maml", budget="paper"))
    assert list(labelled(read_runs(tmp_path))) == ["maml lite", "maml paper", "reptile"]
    write_run(tmp_path, make_spec("reptile", params={"inner_lr": 0.5}))
    labels = ["maml lite", "maml paper", "reptile inner_lr 0.01", "reptile inner_lr 0.5"]
    assert list(labelled(read_runs(tmp_path))) == labels
    old = make_spec("reptile", params={"inner_lr": 0.1, "outer_lr": 1.0})
    new = old.model_copy(update={"suite_version": old.suite_version + 1})
    for number, spec in enumerate((old, new)):
        write_run(tmp_path / str(number), spec)
    versions = [spec.suite_version for spec in (old, new)]
    found = list(labelled(read_runs(tmp_path)))
    assert [f"reptile suite version {number}" in " ".join(found) for number in versions] == [
        True
    ] * 2


def test_many_facts_are_cut_to_a_digest_where_the_first_do_not_tell(tmp_path: Path) -> None:
    for low in (1.0, 2.0, 3.0):
        params = {"a": low % 2, "b": low % 2, "c": low}
        write_run(tmp_path, make_spec("maml", params=params))
    labels = list(labelled(read_runs(tmp_path)))
    assert len(set(labels)) == 3
    digests = [bool(re.search(r" [0-9a-f]{6}$", label)) for label in labels]
    assert sorted(digests) == [False, True, True]


def test_styles_differ_without_color() -> None:
    found = styles(f"learner {i}" for i in range(12))
    looks = [(style.dash, style.marker) for style in found.values()]
    assert len(set(looks)) == 12
    assert len({(style.color, style.dash) for style in found.values()}) == 12
    assert all(re.fullmatch("#[0-9A-F]{6}", color) for color in COLORS)


def test_every_figure_of_the_table_can_be_made(catalog: Catalog, trained: Path) -> None:
    request = FigureRequest(results=read_runs(trained), catalog=lambda: catalog)
    for name, kind in FIGURES.items():
        if name not in ("fits", "curves"):  # the others are of searches
            continue
        assert kind.make(request).name == name


def test_a_curve_is_averaged_over_the_same_episodes_of_every_seed(tmp_path: Path) -> None:
    """Each seed has lost another episode, of another source."""
    for seed, lost in enumerate((0, 1)):
        path = write_curves(tmp_path, seed=seed) / "episodes.jsonl"
        rows = path.read_text().splitlines(keepends=True)
        path.write_text("".join(rows[:lost] + rows[lost + 1 :]))
    (config,) = labelled(read_runs(tmp_path)).values()
    # Episodes 2 to 5 are left, whose curves begin at 4 more than their numbers.
    assert curves.adaptation_curve(config)[0].mean == pytest.approx((4 + (2 + 4) / 2 + 4 + 4) / 2)


def write_fits(out: Path, learner: str, fit: list[float | None], *, seed: int = 0) -> Path:
    """A run on lines that kept a fit of its first episode."""
    spec = make_spec(learner, metric="mse", sources=("line",), seed=seed)
    folder = write_run(out, spec)
    line = {"index": 0, "source": "line", "low": -1, "high": 1, "truth": [-1, 0, 1], "fit": fit}
    points = {"support_x": [-0.5, 0.5], "support_y": [-0.5, 0.5]}
    (folder / "fits.jsonl").write_text(json.dumps(line | points) + "\n")
    return folder


def test_a_fit_that_no_panel_shows_is_told_of(catalog: Catalog, tmp_path: Path) -> None:
    write_fits(tmp_path, "anil", [99, 0, 99])
    write_fits(tmp_path, "maml", [99, 99, 99])
    write_fits(tmp_path, "reptile", [None, None, None])
    assert fits.draw(read_runs(tmp_path), catalog=catalog).notes == (
        "maml: its fit of line is outside of the panel or not finite.",
        "reptile: its fit of line is outside of the panel or not finite.",
    )


def test_fits_of_several_seeds_say_whose_are_shown(catalog: Catalog, tmp_path: Path) -> None:
    for seed in (4, 2):
        write_fits(tmp_path, "maml", [-1, 0, 1], seed=seed)
    notes = fits.draw(read_runs(tmp_path), catalog=catalog).notes
    assert notes == ("maml: seed 2 is shown.",)


def test_an_episode_must_be_one_of_all_runs(tmp_path: Path) -> None:
    for learner, n in (("anil", 4), ("maml", 2), ("reptile", 4)):
        write_run(tmp_path, make_spec(learner, metric="mse", sources=("line",), episodes=n))
    assert len(runs_of_episode(read_runs(tmp_path), 1, task="regression")) == 3
    with pytest.raises(UsageError, match="no episode 2; each source has 2"):
        runs_of_episode(read_runs(tmp_path), 2, task="regression")


def test_ticks_that_differ_have_labels_that_differ() -> None:
    from matplotlib.figure import Figure

    for low, high in ((1000.0, 1001.5), (32_900.0, 32_902.0), (0.0, 0.001), (1e6, 4e6)):
        axes = Figure().subplots()
        axes.set_ylim(low, high)
        plain_axis(axes, inches=2.0)
        ticks = [t for t in axes.get_yticks() if low <= t <= high]
        labels = axes.yaxis.get_major_formatter().format_ticks(ticks)
        assert len(set(labels)) == len(labels) > 1
        assert [float(text.replace(",", "")) for text in labels] == pytest.approx(ticks)
