import json

import pytest
from result_factory import PROVENANCE, make_spec, write_run

from metabench.planning.runspec import Training
from metabench.render.page import build_page
from metabench.render.page.differences import find_differences
from metabench.render.page.origins import find_provenance
from metabench.render.page.pictures import MOST, draw_pictures, without_styles
from metabench.results.reading import read_runs

SCORES = [i % 5 / 4 for i in range(80)]


def worse(by: float) -> list[float]:
    """Scores that are lower by this much on average, more on one episode and less on the next."""
    return [score - by + (-1) ** (i // 2) * 0.01 for i, score in enumerate(SCORES)]


def test_differences_are_to_the_best_and_paired(tmp_path):
    for learner, by in (("maml", 0.1), ("mnas", 0.0), ("reptile", 0.3)):
        write_run(tmp_path, make_spec(learner, episodes=40), worse(by))
    (found,) = find_differences(read_runs(tmp_path).runs)
    assert found.best.learner == "mnas"
    assert found.columns == ("average", "bird", "texture")
    assert [against.row.learner for against in found.others] == ["maml", "reptile"]
    first = found.others[0].by_column["average"]
    assert first.mean == pytest.approx(-10.0)
    assert first.n_episodes == 80
    # The spread of the scores themselves falls out of differences on equal episodes.
    assert first.standard_error == pytest.approx(0.0, abs=1e-9)
    assert found.others[0].p < 0.001
    assert "With one seed" in found.notes[-1]


def test_less_is_better_of_an_error(tmp_path):
    shape = {"metric": "mse", "sources": ("sine",), "episodes": 80}
    for learner, by in (("maml", -1.0), ("mnas", 0.0)):
        write_run(tmp_path, make_spec(learner, **shape), worse(by))
    (found,) = find_differences(read_runs(tmp_path).runs)
    assert (found.best.learner, found.overall, found.columns) == ("mnas", "sine", ("sine",))
    assert found.others[0].by_column["sine"].mean == pytest.approx(1.0)


@pytest.mark.parametrize(
    "change", [{"budget": "smoke"}, {"data": "synthetic"}, {"data_fingerprint": "f" * 16}]
)
def test_what_was_made_otherwise_is_not_compared(tmp_path, change):
    write_run(tmp_path, make_spec("maml", episodes=40), SCORES)
    write_run(tmp_path, make_spec("mnas", episodes=40, **change), SCORES)
    assert find_differences(read_runs(tmp_path).runs) == []


def test_other_episodes_are_left_out_with_a_reason(tmp_path):
    for learner in ("maml", "mnas", "reptile"):
        run = write_run(tmp_path, make_spec(learner, episodes=40), SCORES)
        if learner == "reptile":
            text = (run / "episodes.jsonl").read_text().replace('"key":"', '"key":"x')
            (run / "episodes.jsonl").write_text(text)
    (found,) = find_differences(read_runs(tmp_path).runs)
    assert [against.row.learner for against in found.others] == ["mnas"]
    assert any("reptile" in note and "not tested on the same" in note for note in found.notes)


def test_provenance_is_counted_and_told_apart(tmp_path):
    data = {"bird": {"dataset": "birds(size=84)", "fingerprint": "ab", "licence": "CC0"}}
    write_run(tmp_path, make_spec(seed=0), data=data)
    write_run(tmp_path, make_spec(seed=1))
    found = find_provenance(read_runs(tmp_path).runs)
    (environment,) = found.environments
    assert environment.n_runs == 2
    birds = [one for one in found.data if one.source == "bird"]
    assert [(one.fingerprint, one.licence, one.n_runs) for one in birds] == [
        ("", "", 1),
        ("ab", "CC0", 1),
    ]
    (origin,) = found.origins
    assert [run.seed for run in origin.runs] == [0, 1]
    assert {run.command for run in origin.runs} == {"metabench run"}
    assert origin.facts["training"] == "10 meta-steps with 4 episodes each"


@pytest.mark.parametrize(
    ("engines", "made_by"),
    [
        ((), "cpu"),
        (("eager",), "cpu"),
        (("compiled",), "cpu, compiled"),
        (("eager", "compiled"), "cpu, eager, then compiled"),
    ],
)
def test_an_origin_names_the_engines(tmp_path, engines, made_by):
    provenance = PROVENANCE.model_copy(update={"engine": engines})
    write_run(tmp_path, make_spec(), provenance=provenance)
    (origin,) = find_provenance(read_runs(tmp_path).runs).origins
    assert [run.device for run in origin.runs] == [made_by]


def test_a_figure_per_setting_each_with_ids_of_its_own(tmp_path, catalog):
    for setting in ("5w1s", "5w5s"):
        run = write_run(tmp_path, make_spec(setting=setting))
        (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    pictures = draw_pictures(read_runs(tmp_path).runs, catalog)
    assert [picture.setting for picture in pictures] == ["5w1s", "5w5s"]
    first, second = (picture.svg for picture in pictures)
    assert 'id="figure-1-' in first
    assert 'id="figure-2-' in second
    assert first.count(' id="') == first.count(' id="figure-1-')


def test_budgets_have_figures_of_their_own(tmp_path, catalog):
    for budget in ("lite", "paper"):
        write_run(tmp_path, make_spec(budget=budget))
    pictures = draw_pictures(read_runs(tmp_path).runs, catalog)
    assert [(picture.budget, len(picture.learners)) for picture in pictures] == [
        ("lite", 1),
        ("paper", 1),
    ]


def test_searches_and_damage_are_shown(tmp_path, catalog):
    good, bad = (write_run(tmp_path, make_spec("mnas", setting=name)) for name in ("a", "b"))
    genotype = {"normal": [[0, 1, "skip"]]}
    (good / "genotypes.jsonl").write_text(json.dumps({"index": 0, "genotype": genotype}))
    (bad / "genotypes.jsonl").write_text("no genotype\n")
    pictures = draw_pictures(read_runs(tmp_path).runs, catalog)
    cells = {p.setting: p for p in pictures if p.title == "Searched cells"}
    assert "skip" in cells["a"].svg
    assert cells["b"].svg == ""
    assert "has a line that is not a valid genotype" in cells["b"].notes[0]


def test_more_configurations_than_a_figure_holds(tmp_path, catalog):
    for i in range(MOST + 1):
        write_run(tmp_path, make_spec(f"learner-{i}"))
    picture, _ = draw_pictures(read_runs(tmp_path).runs, catalog)  # curves, ranks
    assert picture.svg == ""
    assert f"{MOST + 1} trained configurations are too many" in picture.notes[0]


def test_predictors_without_training_do_not_make_a_figure_too_full(tmp_path, catalog):
    for i in range(MOST):
        write_run(tmp_path, make_spec(f"learner-{i}", episodes=10))
    untrained = Training(meta_steps=0, meta_batch=1)
    for name in ("nearest-neighbor", "support-mean"):
        write_run(tmp_path, make_spec(name, training=untrained, episodes=10))
    _, ranks = draw_pictures(read_runs(tmp_path).runs, catalog)
    assert "support-mean" in ranks.svg


def test_styles_become_attributes_and_text_stays():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="504pt" height="90pt"><style>*{}</style>'
        '<use xlink:href="#a" style="fill: #fff; white-space: pre"/>'
        '<text style="font: 8px sans">style="x: y" &lt;b&gt;</text></svg>'
    )
    assert without_styles(svg) == (
        '<svg width="50.4em" height="9em"><use href="#a" fill="#fff"/>'
        '<text font-size="8px">style="x: y" &lt;b&gt;</text></svg>'
    )


def test_a_part_that_cannot_be_made_is_said(tmp_path, catalog, monkeypatch):
    monkeypatch.setattr("metabench.stats.distributions.scipy_special", _no_scipy)
    for learner in ("maml", "mnas"):
        for seed in (0, 1):
            write_run(tmp_path, make_spec(learner, seed=seed, episodes=40), SCORES)
    page = build_page(read_runs(tmp_path), catalog, title="x")
    assert page.differences is None
    assert page.missing is not None
    assert "scipy" in page.missing["differences"]
    assert page.tables


def _no_scipy(what: str) -> None:
    from metabench.errors import UsageError

    raise UsageError(f"{what} needs scipy, which is not installed.")
