"""Episodes that a reader of the page can look into: which, with what, and how many."""

from __future__ import annotations

import base64
import io
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, Tab
from PIL import Image
from search_factory import run_all

from metabench.planning.plan import RunRequest
from metabench.plugin.catalog import Catalog
from metabench.render.page import opened_episodes, read_page
from metabench.render.page.html import render_page
from metabench.render.page.html.stored import stored
from metabench.render.page.opened_episodes import (
    HOW_TO_OPEN,
    POINTS,
    with_drawn_episodes,
    with_kept_fits,
)
from metabench.render.page.side_by_side import find_side_by_side
from metabench.render.page.thumbnails import sheet_of
from metabench.render.page.values import OpenedFunction, OpenedImages, Page, SideBySide
from metabench.results.figure_data import command_again, read_fits
from metabench.results.reading import read_runs
from metabench.running.single_episodes import ImageEpisode


@pytest.fixture(scope="module")
def toy_runs(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    request = RunRequest(
        learners=("maml", "reptile"),
        suite="toy-regression",
        budget="smoke",
        changes={
            "budget": {"meta_steps": 10, "meta_batch": 2},
            "space": {"width": 6, "hidden": 1},
        },
        limit=12,
    )
    return run_all(request, catalog, tmp_path_factory.mktemp("toy-runs"))


def page_of(folder: Path, catalog: Catalog, *, drawn: bool) -> Page:
    return read_page(folder, catalog, paper=None, open_episodes=drawn)[1]


def group_of(folder: Path, catalog: Catalog, *, drawn: bool) -> SideBySide:
    """What the page holds of the only group of a folder, without making the rest of the page."""
    runs = read_runs(folder).runs
    (group,) = with_kept_fits(find_side_by_side(runs), runs)
    return with_drawn_episodes([group], runs, catalog)[0] if drawn else group


def without_checkpoints(folder: Path, learner: str, copy: Path) -> Path:
    shutil.copytree(folder, copy)
    for kept in copy.rglob("checkpoints"):
        if learner in kept.parts:
            shutil.rmtree(kept)
    return copy


def test_fits_that_runs_kept_are_opened_without_more_ado(catalog: Catalog, toy_runs: Path) -> None:
    group = group_of(toy_runs, catalog, drawn=False)
    assert {(one.source, one.number) for one in group.opened.values()} == {
        (source, 0) for source in ("sine", "line", "quadratic", "harmonics")
    }
    assert group.opening == (HOW_TO_OPEN,)
    runs = {run.record.run_id: run for run in read_runs(toy_runs).runs}
    for side in group.sides:
        run = runs[side.row.runs[0]]
        for key, values in side.predictions.items():
            index = run.episodes.key.tolist().index(key)
            fit = read_fits(run.folder)[index]
            opened = group.opened[key]
            assert isinstance(opened, OpenedFunction)
            x = np.linspace(opened.low, opened.high, POINTS)
            np.testing.assert_allclose(values, np.interp(x, fit.x, fit.fit))
            assert fit.truth is not None
            np.testing.assert_allclose(opened.truth, np.interp(x, fit.x, fit.truth))
            np.testing.assert_allclose(np.array(opened.support).T, [fit.support_x, fit.support_y])
            assert side.scores[key] == pytest.approx(run.episodes.score[index])
        assert len(side.predictions) == 4


def test_functions_that_differ_most_are_drawn_again(catalog: Catalog, toy_runs: Path) -> None:
    """At the support points the function is what was drawn, and the learners adapted to it."""
    group = group_of(toy_runs, catalog, drawn=True)
    (pair,) = group.pairs
    assert {episode.key for episode in pair.episodes} <= group.opened.keys()
    assert {(e.source, e.number) for e in pair.episodes} <= {
        (one.source, one.number) for one in group.opened.values()
    }
    for side in group.sides:
        assert {*side.predictions} == {*group.opened}
        assert all(np.isfinite(values).all() for values in side.predictions.values())
    for one in group.opened.values():
        assert isinstance(one, OpenedFunction)
        x, y = np.array(one.support).T
        on_curve = np.interp(x, np.linspace(one.low, one.high, POINTS), one.truth)
        np.testing.assert_allclose(on_curve, y, atol=0.3)
    (said,) = group.opening
    assert "metabench figure fits FOLDER --suite toy-regression --setting 10-shot" in said


def test_images_come_with_the_answers_that_made_the_scores(
    catalog: Catalog, image_runs: Path
) -> None:
    group = group_of(image_runs, catalog, drawn=True)
    (pair,) = group.pairs
    assert {*group.opened} == {episode.key for episode in pair.episodes}
    for episode in pair.episodes:
        opened = group.opened[episode.key]
        assert isinstance(opened, OpenedImages)
        assert (opened.source, opened.number) == (episode.source, episode.number)
        assert opened.labels == (0, 1, 2, 3, 4)
        for score, number in ((episode.left, pair.left), (episode.right, pair.right)):
            answers = np.array(group.sides[number].predictions[episode.key])
            assert 100 * (answers == np.arange(5)).mean() == pytest.approx(score)
    assert "metabench figure images FOLDER --suite omniglot" in group.opening[0]


def test_a_side_without_a_checkpoint_says_so_and_the_other_stays(
    catalog: Catalog, image_runs: Path, tmp_path: Path
) -> None:
    folder = without_checkpoints(image_runs, "protonet", tmp_path / "R")
    group = group_of(folder, catalog, drawn=True)
    by_learner = {side.row.learner: side for side in group.sides}
    assert by_learner["maml"].predictions.keys() == group.opened.keys()
    assert by_learner["maml"].silent == ""
    assert not by_learner["protonet"].predictions
    assert "predicts nothing here: No checkpoint is left in" in by_learner["protonet"].silent
    assert "Train again into another folder: " in by_learner["protonet"].silent


def test_a_page_without_checkpoints_names_the_command_that_makes_one(
    catalog: Catalog, image_runs: Path, tmp_path: Path
) -> None:
    folder = without_checkpoints(image_runs, "protonet", tmp_path / "R")
    group = group_of(folder, catalog, drawn=False)
    silent = {side.row.learner: side.silent for side in group.sides}
    assert silent["maml"] == ""
    said = silent["protonet"]
    assert said.startswith("protonet predicts nothing here, since this folder has no checkpoint")
    runs = read_runs(folder).runs
    (record,) = [run.record for run in runs if run.record.spec.learner.name == "protonet"]
    assert f"`{command_again(record)}` makes one, and `metabench report NEW" in said


def test_without_the_data_the_page_says_how_to_get_it(
    catalog: Catalog, image_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metabench.running.build.fingerprint_of", lambda loaded: "another")
    group = group_of(image_runs, catalog, drawn=True)
    assert not group.opened
    (said,) = group.opening
    assert said.startswith("The episodes cannot be drawn: The data has changed")


def test_number_and_bytes_are_bounded(
    catalog: Catalog, image_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened_episodes, "MOST_EPISODES", 3)
    group = group_of(image_runs, catalog, drawn=True)
    episodes = group.pairs[0].episodes
    keys = [
        episodes[0].key,
        episodes[len(episodes) // 2].key,
        episodes[1].key,
    ]  # of the two in turn
    assert [*group.opened] == keys
    first = group.opened[keys[0]]
    assert isinstance(first, OpenedImages)
    monkeypatch.setattr(opened_episodes, "MOST_BYTES", len(first.sheet) + 1)
    assert [*group_of(image_runs, catalog, drawn=True).opened] == keys[:1]


def test_a_large_episode_is_shown_in_part() -> None:
    rng = np.random.default_rng(0)
    query = rng.integers(0, 256, size=(24, 15, 84, 84, 3), dtype=np.uint8)
    episode = ImageEpisode(0, "s", "k", tuple(map(str, range(24))), query[:, :7], query)
    shown, positions = sheet_of(episode, number=3)
    assert (len(shown.classes), shown.n_support, shown.n_query) == (20, 5, 5)
    assert shown.left_out == (
        "Shown are 20 of 24 classes, 5 of 7 support images of a class, 5 of 15 query images of a "
        "class."
    )
    assert positions[:6] == [0, 1, 2, 3, 4, 15]
    assert len(shown.sheet) < 250_000
    sheet = Image.open(io.BytesIO(shown.sheet)).convert("RGB")
    assert sheet.size == (shown.width, shown.height)
    x, y = shown.answers_at[6]  # the second query of the second class
    mean = np.asarray(sheet.crop((x - 16, y - 32, x + 16, y))).mean(axis=(0, 1))
    np.testing.assert_allclose(mean, query[1, 1].mean(axis=(0, 1)), atol=12)


def test_the_page_is_from_records_alone_unless_episodes_are_drawn(
    catalog: Catalog, toy_runs: Path
) -> None:
    plain, drawn = (render_page(page_of(toy_runs, catalog, drawn=one)) for one in (False, True))
    assert "from records alone" in plain
    assert "drew episodes again from the data and checkpoints" in drawn
    (group,) = json.loads(
        zlib.decompress(base64.b64decode(stored(page_of(toy_runs, catalog, drawn=False))))
    )["groups"]
    assert all(side["scores"].keys() == group["opened"].keys() for side in group["sides"])


LOOK = """(async () => {
  document.querySelector("#compare details").open = true;
  const form = document.getElementById("choice");
  for (let i = 0; i < 100 && !form.left.options.length; i++) {
    await new Promise(done => setTimeout(done, 20));
  }
  const place = document.getElementById("compared");
  for (const one of place.querySelectorAll("details")) one.open = true;
  await new Promise(done => setTimeout(done, 100));
  return [...place.querySelectorAll("details")].map(one => ({
    title: one.querySelector("summary").textContent,
    lines: [...one.querySelectorAll("path:not(.axis)")].map(p => p.className.baseVal),
    circles: one.querySelectorAll("circle").length,
    image: one.querySelector("image")?.getBoundingClientRect().width ?? 0,
    answers: [...one.querySelectorAll(".answers text")].map(t => t.textContent),
    said: one.textContent,
  }));
})()"""
RULES = """axe.run(document, {resultTypes: ["violations"]}).then(found =>
  found.violations.map(rule => `${rule.id}: ${rule.nodes[0].html.slice(0, 120)}`))"""


def look_at(tab: Tab, path: Path, *, width: int, scheme: str) -> list[dict[str, Any]]:
    """What is opened; the page may not complain, be cut, break a rule, or ask the network."""
    tab.resize(width, 900)
    tab.prefer(scheme)
    tab.complaints.clear()
    tab.open(path.as_uri())
    found: list[dict[str, Any]] = tab.evaluate(LOOK)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    axe = pytest.importorskip("axe_core_python", reason="no axe: pip install axe-core-python")
    tab.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8") + ";1")
    assert tab.evaluate(RULES) == []
    assert {url for url in tab.requests if not url.startswith("data:")} == {path.as_uri()}
    assert tab.complaints == []
    return found


@pytest.fixture(scope="module")
def drawn_pages(
    catalog: Catalog,
    toy_runs: Path,
    image_runs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Path, int]]:
    """A page of each kind of episode, and how many are opened on it."""
    found = {}
    for kind, folder in (("functions", toy_runs), ("images", image_runs)):
        page = page_of(folder, catalog, drawn=True)
        path = tmp_path_factory.mktemp(kind) / "page.html"
        path.write_text(render_page(page), encoding="utf-8")
        assert page.sides is not None
        found[kind] = path, sum(len(group.opened) for group in page.sides)
    return found


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light"), (1920, "dark")])
def test_episodes_open_in_a_browser(
    drawn_pages: dict[str, tuple[Path, int]], tab: Tab, width: int, scheme: str
) -> None:
    path, n_opened = drawn_pages["functions"]
    functions = look_at(tab, path, width=width, scheme=scheme)
    assert len(functions) == n_opened > 4
    for one in functions:
        assert one["lines"] == ["truth", "left", "right"]
        assert one["circles"] == 10
    path, n_opened = drawn_pages["images"]
    images = look_at(tab, path, width=width, scheme=scheme)
    assert len(images) == n_opened > 0
    for one in images:
        assert one["image"] > 50
        assert len(one["answers"]) == 10
        left = one["answers"][:5].count("\u2713")
        assert f"left {100 * left / 5:.2f}" in one["title"]
        assert f"Left: {left} of 5 right." in one["said"]
