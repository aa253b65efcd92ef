"""Figures of searches: what is in them, and that they are the same twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from figure_layout import check_layout
from search_factory import A, B, run_search, write_search

from metabench.errors import DataError, UsageError
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.plugin.contracts.genotype import Edge, Genotype
from metabench.render.figures import annealing, cell, embeddings, genotypes, sizes
from metabench.render.figures.drawing import Drawing, Width, to_svg
from metabench.render.figures.tsne import affinities, gradient, principal_components, tsne
from metabench.results.figure_data import MixturePanel, MixturePath
from metabench.results.reading import read_runs
from metabench.results.search_files import read_embeddings
from metabench.stats.search_measures import silhouette


def legend_texts(drawing: Drawing) -> list[str]:
    (legend,) = drawing.figure.legends
    return [text.get_text() for text in legend.get_texts()]


# Frequencies -----------------------------------------------------------------------------------


def test_bars_of_architectures_are_shares_by_source(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_search(tmp_path, [A, A, A, B] * 5, seed=seed)
    drawing = genotypes.draw(read_runs(tmp_path))
    (axes,) = drawing.figure.axes
    assert axes.get_title(loc="left") == "mnas: 2 architectures in 40 tasks of 2 seeds"
    assert legend_texts(drawing) == ["bird", "texture"]
    widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
    assert widths == pytest.approx([50, 0, 25, 25])  # bird in 1 and 2, texture in 1 and 2
    assert [text.get_text() for text in axes.texts] == [
        "75.0%, 10 weights",
        "25.0%, 7 weights; against 1: 1 to 2 skip for 1 to 2 linear",
    ]
    assert "the most common one has 75.0%" in drawing.description


def test_rare_architectures_share_a_bar(tmp_path: Path) -> None:
    many = [{"cell": [[0, 2, f"op{i}"], [1, 2, f"op{i}"], [0, 1, f"op{i}"]]} for i in range(30)]
    write_search(tmp_path, many)
    (axes,) = genotypes.draw(read_runs(tmp_path)).figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [*map(str, range(1, 11)), "20 others"]
    assert axes.texts[-1].get_text() == "66.7%"
    assert axes.texts[1].get_text().endswith("against 1: 3 of 3 edges differ")


def test_differences_name_the_cell_where_there_are_several() -> None:
    one = Genotype.of({"normal": [Edge(0, 2, "skip")], "reduction": [Edge(0, 2, "skip")]})
    other = Genotype.of({"normal": [Edge(0, 2, "skip")], "reduction": [Edge(1, 2, "pool")]})
    fewer = Genotype.of({"normal": [Edge(0, 2, "skip")], "reduction": []})
    assert genotypes.difference(one, other) == "reduction 1 to 2 pool for reduction 0 to 2 skip"
    assert genotypes.difference(one, fewer) == "nothing for reduction 0 to 2 skip"


def test_long_names_leave_room_for_the_bars(tmp_path: Path) -> None:
    names = ("depthwise_separable_conv_3x3", "dilated_separable_conv_5x5")
    cells = [{"reduction": [[0, 2, a], [1, 2, b]]} for a in names for b in names]
    write_search(tmp_path, cells)
    drawing = genotypes.draw(read_runs(tmp_path))
    to_svg(drawing)  # lays it out; matplotlib's warning of axes without room is an error here
    (axes,) = drawing.figure.axes
    assert axes.get_position().width > 0.3
    assert [text.get_text().rpartition("; ")[2] for text in axes.texts[1:]] == [
        "against 1: 1 of 2 edges differ",
        "against 1: 1 of 2 edges differ",
        "against 1: 2 of 2 edges differ",
    ]


# Sizes -----------------------------------------------------------------------------------------


def test_histograms_of_sizes_hold_every_task(tmp_path: Path) -> None:
    write_search(tmp_path, [A, A, A, B], seed=0)
    write_search(tmp_path, [B] * 4, seed=1)
    write_search(tmp_path, [A] * 4, learner="metanas")
    drawing = sizes.draw(read_runs(tmp_path))
    first, second = drawing.figure.axes
    assert second.get_title(loc="left") == "mnas: 8 weights on average (7 to 10)"
    heights = [bar.get_height() for bar in second.patches]  # type: ignore[attr-defined]
    assert sum(heights) == pytest.approx(100)
    assert sum(heights[: sizes.BINS]) == pytest.approx(50)  # of seed 0
    assert first.get_title(loc="left") == "metanas: 10 weights"
    assert first.get_xlim() == second.get_xlim()
    assert legend_texts(drawing) == ["seed 0", "seed 1"]


# Embeddings ------------------------------------------------------------------------------------


def test_embeddings_are_shown_by_source_with_what_is_measured(tmp_path: Path) -> None:
    write_search(tmp_path, [A] * 60, embedded=60)
    write_search(tmp_path, [A] * 60, embedded=60, seed=1)
    drawing = embeddings.draw(read_runs(tmp_path))
    (axes,) = drawing.figure.axes
    assert [len(np.asarray(line.get_xdata())) for line in axes.lines] == [30, 30]
    assert legend_texts(drawing) == ["bird", "texture"]
    run = min(read_runs(tmp_path).runs, key=lambda run: run.record.spec.seed)
    found = read_embeddings(run.folder, run.episodes)
    assert found is not None
    name, numbers = axes.get_title(loc="left").split("\n")
    assert name == "mnas"
    assert numbers.startswith(f"silhouette {found.measures['embedding_silhouette']:.2f}, linear ")
    assert numbers.endswith("chance 50%")
    assert drawing.notes == ("mnas: seed 0 is shown.",)
    again = embeddings.draw(read_runs(tmp_path))
    assert to_svg(again) == to_svg(drawing)


def test_figures_say_what_they_need(tmp_path: Path) -> None:
    folder = write_search(tmp_path, [A] * 4)
    with pytest.raises(DataError, match="No run in this folder has task embeddings"):
        embeddings.draw(read_runs(tmp_path))
    (folder / "genotypes.jsonl").unlink()
    with pytest.raises(DataError, match="No run in this folder has architectures"):
        genotypes.draw(read_runs(tmp_path))
    lines = (folder / "episodes.jsonl").read_text().replace('"n_params": 10', '"n_params": null')
    (folder / "episodes.jsonl").write_text(lines)
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "n_params": None}))
    with pytest.raises(DataError, match="No run in this folder has sizes"):
        sizes.draw(read_runs(tmp_path))


# t-SNE -----------------------------------------------------------------------------------------


def test_affinities_have_the_perplexity_asked_for() -> None:
    x = np.random.default_rng(0).normal(size=(80, 5)) * np.logspace(-2, 2, 80)[:, None]
    p = affinities(x, perplexity=10.0)
    assert p.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(p, p.T)
    # Far from symmetric, a single point's own distribution is checked on equal distances.
    even = affinities(np.eye(11), perplexity=10.0)
    np.testing.assert_allclose(even[~np.eye(11, dtype=bool)], 1 / 110)


def test_the_gradient_is_that_of_the_divergence() -> None:
    rng = np.random.default_rng(1)
    p, y = affinities(rng.normal(size=(12, 4)), perplexity=3.0), rng.normal(size=(12, 2))

    def divergence(y: np.ndarray) -> float:
        q = 1 / (1 + ((y[:, None] - y) ** 2).sum(axis=2))
        np.fill_diagonal(q, 0.0)
        off = ~np.eye(len(y), dtype=bool)
        return float((p[off] * np.log(p[off] / (q / q.sum())[off])).sum())

    found = gradient(y, p)
    for place in ((0, 0), (3, 1), (11, 0)):
        step = np.zeros_like(y)
        step[place] = 1e-5
        numeric = (divergence(y + step) - divergence(y - step)) / 2e-5
        assert found[place] == pytest.approx(numeric, rel=1e-5)


def test_groups_stay_groups_in_the_plane() -> None:
    labels = ["a", "b", "c"] * 30
    x = np.random.default_rng(2).normal(size=(90, 10)) + 6 * np.eye(10)[np.arange(90) % 3]
    placed = tsne(x)
    assert placed.shape == (90, 2)
    assert silhouette(placed, labels) > 0.7
    np.testing.assert_array_equal(placed, tsne(x))


@pytest.mark.parametrize("x", [np.zeros((5, 3)), np.ones((2, 1)), np.arange(4.0)[:, None]])
def test_degenerate_points_have_places(x: np.ndarray) -> None:
    assert np.isfinite(tsne(x, steps=20)).all()
    assert np.isfinite(principal_components(x)).all()


# Annealing -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searched(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MetaNAS on the toy cell, hardly trained."""
    return run_search(tmp_path_factory.mktemp("searched"), catalog)


def test_annealing_shows_every_edge_over_the_steps(catalog: Catalog, searched: Path) -> None:
    results = read_runs(searched)
    drawing = annealing.draw(results, catalog=catalog, episode=1)
    panels = [axes for axes in drawing.figure.axes if axes.lines]
    assert panels[0].get_title() == "cell 0 to 2"
    for axes in panels:
        curves = np.array([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
        assert curves.shape[1] == 1 + 4
        assert curves.sum(axis=0) == pytest.approx(1, abs=0.06)  # but for what is below a threshold
    assert legend_texts(drawing) == ["linear", "skip", "zero"]
    assert "metanas, 4 steps, at the end: cell 0 to 2 " in drawing.description
    again = annealing.draw(results, catalog=catalog, episode=1)
    assert to_svg(again) == to_svg(drawing)


def test_annealing_shows_the_edges_that_are_asked_for(catalog: Catalog, searched: Path) -> None:
    results = read_runs(searched)
    places = annealing.parse_places("0-2, cell:2-3")
    drawing = annealing.draw(results, catalog=catalog, places=places)
    assert [axes.get_title() for axes in drawing.figure.axes] == ["cell 0 to 2", "cell 2 to 3"]
    with pytest.raises(UsageError, match="No learner here has such an edge") as failed:
        annealing.draw(results, catalog=catalog, places=annealing.parse_places("other:0-2"))
    assert failed.value.hint.startswith("There is cell 0 to 2, ")
    with pytest.raises(UsageError, match="'0 to 2' is no edge"):
        annealing.parse_places("0 to 2")


def test_annealing_needs_no_checkpoint_for_the_first_episode(
    catalog: Catalog, searched: Path, tmp_path: Path
) -> None:
    shutil.copytree(searched, tmp_path / "R", ignore=shutil.ignore_patterns("checkpoints"))
    kept = annealing.draw(read_runs(tmp_path / "R"), catalog=catalog)
    for file in searched.rglob("mixtures.jsonl"):
        file.rename(file.with_suffix(".away"))
    restored = annealing.draw(read_runs(searched), catalog=catalog)
    for file in searched.rglob("mixtures.away"):
        file.rename(file.with_suffix(".jsonl"))
    for one, other in zip(kept.figure.axes, restored.figure.axes, strict=True):
        assert one.get_title() == other.get_title()
        for line, again in zip(one.lines, other.lines, strict=True):
            y, expected = (np.asarray(some.get_ydata(), dtype=float) for some in (line, again))
            np.testing.assert_allclose(y, expected, atol=5e-4)  # three decimals
    with pytest.raises(DataError, match=r"only that of the first episode.*`metabench run .*NEW`"):
        annealing.draw(read_runs(tmp_path / "R"), catalog=catalog, episode=1)


@pytest.mark.parametrize("width", list(Width))
def test_a_large_cell_and_its_weights_fit(tmp_path: Path, width: Width) -> None:
    pairs = [(source, target) for target in range(2, 6) for source in range(target)]
    names = ["dilated_separable_conv_5x5", "skip", "max-pool-3x3", "sep-conv-3x3"]
    genotype = {
        cell: [[source, target, names[i % 4]] for i, (source, target) in enumerate(pairs)]
        for cell in ("normal", "reduction")
    }
    folder = write_search(tmp_path, [genotype, A], learner="metanas")
    rng = np.random.default_rng(0)
    panels = [
        MixturePanel(cell, source, target, tuple(names), rng.dirichlet(np.ones(4), size=51))
        for cell in genotype
        for source, target in pairs
    ]
    path = MixturePath(0, tuple(range(0, 102, 2)), tuple(panels))
    (folder / "mixtures.jsonl").write_text(json.dumps(path.to_json()) + "\n")
    results = read_runs(tmp_path)
    for drawing in (
        cell.draw(results, width=width),
        genotypes.draw(results, width=width),
        annealing.draw(results, catalog=load_catalog(), width=width),
    ):
        check_layout(drawing, width)


def test_annealing_says_what_it_needs(catalog: Catalog, searched: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no episode 3; each source has 3"):
        annealing.draw(read_runs(searched), catalog=catalog, episode=3)
    write_search(tmp_path, [A] * 4)
    with pytest.raises(DataError, match=r"No learner in this folder can show .* mnas is left out"):
        annealing.draw(read_runs(tmp_path), catalog=catalog)


# What is not there, and what there is too little of -------------------------------------------


def write_mixture(folder: Path, *weights: float) -> None:
    """The path of one edge with these weights of three operations at both of two points."""
    panel = MixturePanel("cell", 0, 2, ("skip", "linear", "zero"), np.array([weights] * 2))
    path = MixturePath(0, (0, 1), (panel,))
    (folder / "mixtures.jsonl").write_text(json.dumps(path.to_json()) + "\n")


def test_a_weight_that_is_not_finite_is_never_the_largest(catalog: Catalog, tmp_path: Path) -> None:
    write_mixture(write_search(tmp_path, [A] * 4), np.nan, 0.75, 0.25)
    nothing = write_search(tmp_path, [A] * 4, learner="metanas")
    write_mixture(nothing, np.nan, np.nan, np.nan)
    drawing = annealing.draw(read_runs(tmp_path), catalog=catalog)
    assert "mnas, 1 steps, at the end: cell 0 to 2 linear 0.75" in drawing.description
    assert "metanas, 1 steps, at the end: cell 0 to 2 has no finite weight" in drawing.description
    assert drawing.title.endswith("meta-test episode 0 of bird")


def test_figures_of_one_seed_say_which(catalog: Catalog, tmp_path: Path) -> None:
    for seed in (3, 5):
        folder = write_search(tmp_path, [A] * 20, seed=seed, embedded=20)
        write_mixture(folder, 0.5, 0.25, 0.25)
    for drawing in (
        annealing.draw(read_runs(tmp_path), catalog=catalog),
        embeddings.draw(read_runs(tmp_path)),
    ):
        assert drawing.notes == ("mnas: seed 3 is shown.",)


def test_one_embedding_makes_no_picture(tmp_path: Path) -> None:
    write_search(tmp_path, [A] * 2, embedded=1)
    with pytest.raises(DataError, match="mnas is left out: it has one task embedding"):
        embeddings.draw(read_runs(tmp_path))


def test_tasks_without_an_embedding_are_counted(tmp_path: Path) -> None:
    folder = write_search(tmp_path, [A] * 20, embedded=18)
    path = folder / "embeddings.jsonl"
    first, *lines = path.read_text().splitlines()
    lost = json.loads(first) | {"embedding": [None, 1.0, 2.0]}
    path.write_text("\n".join([json.dumps(lost), *lines]) + "\n")
    (note,) = embeddings.draw(read_runs(tmp_path)).notes
    assert note == "mnas: 3 of 20 tasks have no recorded, finite embedding, and are not shown."


def test_the_interval_of_the_probe_is_named(tmp_path: Path) -> None:
    write_search(tmp_path, [A] * 60, embedded=60)
    title = embeddings.draw(read_runs(tmp_path)).figure.axes[0].get_title(loc="left")
    assert "95 % interval over tasks [" in " ".join(title.split())


def test_an_architecture_without_edges_has_no_cell_to_draw(tmp_path: Path) -> None:
    write_search(tmp_path, [{"cell": []}] * 4)
    with pytest.raises(DataError, match="its most common architecture has no edge"):
        cell.draw(read_runs(tmp_path))
    write_search(tmp_path, [A] * 4, learner="metanas")
    (note,) = cell.draw(read_runs(tmp_path)).notes
    assert note.startswith("mnas is left out")


def test_a_search_without_architectures_is_told_of(tmp_path: Path) -> None:
    write_search(tmp_path, [A] * 4)
    (write_search(tmp_path, [A] * 4, learner="metanas") / "genotypes.jsonl").unlink()
    drawing = genotypes.draw(read_runs(tmp_path))
    assert drawing.notes == ("metanas is left out: it has no genotypes.jsonl.",)
