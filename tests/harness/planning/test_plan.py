from pathlib import Path

import numpy as np
import pytest
import torch

from metabench.errors import DataError, UsageError
from metabench.planning.compatibility import _hint_on_shapes, episode_shapes
from metabench.planning.overrides import parse_changes
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.running.build import build


def toy(catalog: Catalog, **changes: object) -> list[PlannedRun]:
    values: dict[str, object] = {"learners": ("maml",), "suite": "toy-regression"}
    return plan(RunRequest(**{**values, **changes}), catalog)  # type: ignore[arg-type]


def test_a_request_becomes_one_run_per_learner_setting_and_seed(catalog: Catalog) -> None:
    runs = toy(catalog, learners=("maml", "reptile"), settings=("10-shot", "5-shot"), seeds=(0, 1))
    assert len(runs) == len({run.spec.run_id for run in runs}) == 8
    assert len({run.spec.config_id for run in runs}) == 4
    assert runs[0].spec.learner.params["inner_lr"] == 0.001
    assert runs[0].spec.space is not None
    assert str(runs[0].spec.space).startswith("mlp(")


def test_the_same_request_gives_the_same_run_ids(catalog: Catalog) -> None:
    assert [c.spec.run_id for c in toy(catalog)] == [c.spec.run_id for c in toy(catalog)]


def test_what_decides_numbers_decides_the_run_id(catalog: Catalog) -> None:
    requests = [
        {},
        {"seeds": (1,)},
        {"budget": "smoke"},
        {"settings": ("5-shot",)},
        {"limit": 7},
        {"changes": {"learner": {"inner_lr": 0.002}}},
        {"changes": {"space": {"norm": "batch"}}},
        {"changes": {"data": {"x_variance": 4.0}}},
        {"changes": {"protocol": {"normalization": "inductive"}}},
        {"changes": {"budget": {"meta_steps": 11}}},
    ]
    assert len({toy(catalog, **r)[0].spec.run_id for r in requests}) == len(requests)


def test_stamps_say_what_is_not_the_papers_protocol(catalog: Catalog) -> None:
    assert toy(catalog, budget="paper")[0].stamps == ()
    assert toy(catalog, budget="smoke")[0].stamps == ("smoke",)
    changed = toy(catalog, budget="paper", limit=5, changes={"protocol": {"queries": 5}})
    assert changed[0].stamps == ("limit", "custom")
    synthetic = plan(
        RunRequest(learners=("maml",), suite="omniglot", data="synthetic", budget="smoke"), catalog
    )
    assert synthetic[0].stamps == ("smoke", "synthetic")


@pytest.mark.parametrize("limit", [1, 1000, 5000])  # the suite says 1,000 at this budget
def test_a_limit_is_the_number_of_episodes_and_a_stamp(catalog: Catalog, limit: int) -> None:
    (made,) = toy(catalog, budget="paper", limit=limit)
    assert (made.spec.protocol.episodes, made.stamps) == (limit, ("limit",))


def test_the_command_makes_the_same_run_again(catalog: Catalog) -> None:
    changes = parse_changes(["learner.inner_lr=2e-3", "protocol.normalization=inductive"])
    (made,) = toy(catalog, changes=changes, limit=3, seeds=(4,), budget="smoke")
    words = made.command.split()
    assert words[:2] == ["metabench", "run"]
    again = toy(
        catalog,
        changes=parse_changes([words[i + 1] for i, w in enumerate(words) if w == "--set"]),
        limit=int(words[words.index("--limit") + 1]),
        seeds=(int(words[words.index("--seed") + 1]),),
        budget=words[words.index("--budget") + 1],
        settings=(words[words.index("--setting") + 1],),
    )
    assert again[0].spec.run_id == made.spec.run_id


@pytest.mark.parametrize(
    ("request_", "message", "hint"),
    [
        ({"learners": ("malm",)}, "learner 'malm'", "maml"),
        ({"suite": "omniglott"}, "suite 'omniglott'", "omniglot"),
        ({"settings": ("10shot",)}, "setting", "10-shot"),
        ({"budget": "smok"}, "budget", "smoke"),
        ({"space": "mpl"}, "network 'mpl'", "mlp"),
        (
            {"space": "conv4"},
            "Network conv4 is for classification, but suite toy-regression is regression",
            "Networks for regression: ",
        ),
        ({"strategy": "darts"}, "Network mlp is fixed", "toy-cell"),
        ({"strategy": "dart", "space": "toy-cell"}, "strategy 'dart'", "darts"),
        ({"space": "toy-cell"}, "needs a strategy to search with", "soft-pruning"),
        ({"learners": ("mnas",), "space": "mlp"}, "network mlp is fixed", "toy-cell"),
        ({"learners": ("mtnet",), "strategy": "darts"}, "mtnet does not search", "Leave them out"),
        (
            {"learners": ("hsml",), "space": "toy-cell", "strategy": "darts"},
            "Network toy-cell is a search space, but learner hsml does not search",
            "maml",
        ),
        (
            {"learners": ("mnas",), "space": "toy-cell", "strategy": "fixed"},
            "mnas computes architecture logits, but strategy fixed ignores them",
            "gumbel",
        ),
        (
            {
                "space": "toy-cell",
                "strategy": "soft-pruning",
                "changes": {"strategy": {"prune": "operations-and-inputs"}},
            },
            "cell 'cell' of this network has no weights for pairs of inputs",
            "strategy.prune=operations",
        ),
        (
            {
                "space": "toy-cell",
                "strategy": "fixed",
                "changes": {"strategy": {"genotype": "tnas-1-shot"}},
            },
            r"The genotype has cells \['normal', 'reduction'\]; this network has \['cell'\]",
            "strategy.genotype",
        ),
        (
            {"learners": ("mumomaml",), "changes": {"space": {"hidden": 0}}},
            "mumomaml adds weights to hidden layers, but the network mlp has none",
            "--network",
        ),
        ({"changes": {"learner": {"inner_lrr": 1}}}, "parameter 'inner_lrr' of maml", "inner_lr"),
        ({"changes": {"learner": {"inner_lr": -1}}}, r"inner_lr=-1 is not valid for maml", "> 0"),
        (
            {"learners": ("maml", "reptile"), "changes": {"learner": {"order": "first"}}},
            r"Unknown learner parameter 'order' of reptile\.",
            "",
        ),
        ({"changes": {"data": {"family": "cubic"}}}, "family='cubic'", ""),
        ({"changes": {"budget": {"meta_batch": 0}}}, "meta_batch=0", ">= 1"),
    ],
)
def test_bad_requests_are_refused_with_the_nearest_names(
    catalog: Catalog, request_: dict[str, object], message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        toy(catalog, **request_)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_parameters_of_the_search_are_those_of_searched_networks(catalog: Catalog) -> None:
    fixed, searched = toy(catalog)[0], toy(catalog, space="toy-cell", strategy="gumbel")[0]
    assert searched.spec.strategy is not None
    assert searched.spec.strategy.name == "gumbel"
    assert "arch_lr" not in fixed.spec.learner.params
    assert searched.spec.learner.params["arch_lr"] == 0.001
    assert searched.spec.learner.params["inner_lr"] == fixed.spec.learner.params["inner_lr"]


def renamed(catalog: Catalog, folder: Path, old: str, new: str) -> Path:
    """The file of the toy suite with a change, under a name of its own."""
    text = catalog.suite("toy-regression").read_text(encoding="utf-8")
    assert old in text
    file = folder / "mine.yaml"
    text = text.replace("name: toy-regression", "name: mine", 1).replace(old, new)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("old", "new"),
    [("meta_steps: 70000", "meta_steps: 30"), ("comparable: false", "comparable: true")],
)
def test_a_file_may_not_give_another_suite_an_installed_name(
    catalog: Catalog, tmp_path: Path, old: str, new: str
) -> None:
    file = renamed(catalog, tmp_path, old, new)
    assert toy(catalog, suite=str(file), budget="paper")[0].spec.suite == "mine"
    file.write_text(file.read_text(encoding="utf-8").replace("name: mine", "name: toy-regression"))
    with pytest.raises(UsageError, match="differs from the installed suite") as caught:
        toy(catalog, suite=str(file), budget="paper")
    assert "another name" in caught.value.hint


def test_a_copy_of_an_installed_suite_is_that_suite(catalog: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "copy.yaml"
    text = catalog.suite("toy-regression").read_text(encoding="utf-8")
    file.write_text(f"# A copy.\n{text}", encoding="utf-8")
    assert toy(catalog, suite=str(file))[0].spec == toy(catalog)[0].spec


def test_what_a_suite_says_about_searching_leaves_fixed_networks_alone(
    catalog: Catalog, tmp_path: Path
) -> None:
    file = renamed(
        catalog, tmp_path, "maml: {inner_lr: 0.001,", "maml: {inner_lr: 0.001, arch_lr: 0.02,"
    )
    (fixed,) = toy(catalog, suite=str(file))
    assert fixed.spec.learner == toy(catalog)[0].spec.learner
    (searched,) = toy(catalog, suite=str(file), space="toy-cell", strategy="darts")
    assert searched.spec.learner.params["arch_lr"] == 0.02


def test_a_budget_may_change_the_data_and_the_user_has_the_last_word(
    catalog: Catalog, tmp_path: Path
) -> None:
    noisy = "    meta_steps: 500\n    data: {noise_std: 0.3}\n"
    file = renamed(catalog, tmp_path, "    meta_steps: 500\n", noisy)
    for changes, noise in (({}, 0.3), ({"data": {"noise_std": 0.1}}, 0.1)):
        (made,) = toy(catalog, suite=str(file), budget="smoke", changes=changes)
        assert {source.params["noise_std"] for source in made.spec.sources} == {noise}
    (lite,) = toy(catalog, suite=str(file), budget="lite")
    assert {source.params["noise_std"] for source in lite.spec.sources} == {0.0}


def test_absent_data_names_the_commands_that_help(catalog: Catalog) -> None:
    with pytest.raises(DataError) as caught:
        plan(RunRequest(learners=("maml",), suite="omniglot"), catalog)
    assert caught.value.exit_code == 3
    assert "metabench data fetch omniglot" in caught.value.hint
    assert "metabench data import omniglot" in caught.value.hint


def test_a_wrong_name_is_said_before_missing_data(catalog: Catalog) -> None:
    for changes in ({"learners": ("malm",)}, {"settings": ("5w2s",)}):
        with pytest.raises(UsageError, match="Unknown"):
            toy(catalog, suite="omniglot", **changes)


@pytest.mark.parametrize("text", ["inner_lr=1", "learner=1", "learner.=1", "learner.x"])
def test_a_malformed_set_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"SCOPE\.NAME=VALUE"):
        parse_changes([text])


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(UsageError, match="leaner") as caught:
        parse_changes(["leaner.inner_lr=1"])
    assert "learner" in caught.value.hint


IMAGES = """
name: pond
version: 1
task: classification
metric: accuracy
space: conv4
sources: [{name: pond, dataset: omniglot}]
protocol: {ways: 5, shots: 1, queries: 1}
settings: {5w1s: {}}
budgets: {smoke: {meta_steps: 1, meta_batch: 1}}
"""


def written(folder: Path, text: str) -> str:
    file = folder / "pond.yaml"
    file.write_text(text)
    return str(file)


def test_functions_are_refused_where_classes_are_told_apart(
    catalog: Catalog, tmp_path: Path
) -> None:
    suite = written(tmp_path, IMAGES.replace("dataset: omniglot", "dataset: toy-regression"))
    with pytest.raises(UsageError, match="holds functions; classification needs classes") as caught:
        toy(catalog, suite=suite, budget="smoke")
    assert "omniglot" in caught.value.hint
    assert "toy-regression" not in caught.value.hint


def test_classes_are_refused_where_values_are_predicted(catalog: Catalog, tmp_path: Path) -> None:
    text = IMAGES.replace("task: classification", "task: regression").replace("accuracy", "mse")
    suite = written(tmp_path, text.replace("conv4", "mlp"))
    with pytest.raises(UsageError, match="holds classes; regression needs functions") as caught:
        toy(catalog, suite=suite, budget="smoke")
    assert "toy-regression" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ways": 50}, "Source omniglot has 40 classes in meta-test; 50 ways need 50"),
        ({"shots": 15, "queries": 6}, "15 shots and 6 queries need 21"),
        ({"train_queries": 30}, "1 shot and 30 queries need 31"),
        ({"ways": 25, "selection": "meta-val"}, "20 classes in meta-val"),
    ],
)
def test_data_too_small_for_the_episodes_is_refused(
    catalog: Catalog, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        toy(
            catalog,
            suite="omniglot",
            data="synthetic",
            budget="smoke",
            changes={"protocol": changes},
        )
    assert caught.value.exit_code == 3
    assert caught.value.hint


@pytest.mark.parametrize(
    "changes", [{"train_queries": 30}, {"ways": 25, "selection": "meta-val"}, {"val_queries": 30}]
)
def test_what_is_not_trained_needs_the_data_of_its_test_alone(
    catalog: Catalog, changes: dict[str, object]
) -> None:
    values = {"suite": "omniglot", "data": "synthetic", "budget": "smoke"}
    untrained = [name for name, spec in catalog.learners.items() if not spec.trains]
    fitting = [n for n in untrained if "classification" in catalog.learner(n).kinds]
    assert "nearest-centroid" in fitting
    for name in fitting:
        (run,) = toy(catalog, learners=(name,), changes={"protocol": changes}, **values)
        built = build(run.spec, catalog, device=torch.device("cpu"))
        assert (built.phases, built.validate) == ((), None)
        assert len(built.test.batch(np.arange(1)).query.y) == 1
        assert built.train_shape == episode_shapes(run.spec, catalog)["meta-train"]
    with pytest.raises(DataError, match="classes in meta-test"):
        toy(catalog, learners=tuple(fitting), changes={"protocol": {"ways": 50}}, **values)


def test_a_learner_that_trains_on_other_shapes_is_asked_for_its_own(catalog: Catalog) -> None:
    values = {"suite": "omniglot", "data": "synthetic", "budget": "smoke"}
    changes = {"learner": {"train_shots": 21}}
    with pytest.raises(DataError, match="21 shots and 0 queries need 21"):
        toy(catalog, learners=("reptile",), changes=changes, **values)
    assert toy(catalog, learners=("reptile",), **values)


def test_several_ways_of_regression_are_refused(catalog: Catalog) -> None:
    with pytest.raises(DataError, match="ways must be 1, not 5"):
        toy(catalog, changes={"protocol": {"ways": 5}})


def test_sources_of_different_sizes_are_refused(catalog: Catalog, tmp_path: Path) -> None:
    sources = "[{name: a, dataset: omniglot}, {name: b, dataset: omniglot, params: {size: 20}}]"
    text = IMAGES.replace("[{name: pond, dataset: omniglot}]", sources)
    with pytest.raises(UsageError, match="different shapes: ") as caught:
        toy(catalog, suite=written(tmp_path, text), data="synthetic", budget="smoke")
    assert "inputs (1, 20, 20), outputs 5; inputs (1, 28, 28), outputs 5" in caught.value.message


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({(1, 28, 28), (3, 28, 28)}, "all must be gray or all in color"),
        ({(3, 32, 32), (3, 28, 28)}, "give them the same size"),
        ({(3, 32, 32), (64,)}, "cannot have images and vectors"),
        ({(32,), (64,)}, "give them the same size"),
    ],
)
def test_a_refusal_of_different_shapes_says_what_differs(
    inputs: set[tuple[int, ...]], said: str
) -> None:
    assert said in _hint_on_shapes(inputs)


def test_a_learner_of_one_task_takes_supervised_data_alone(catalog: Catalog) -> None:
    values = {"learners": ("one-shot",), "data": "synthetic", "budget": "smoke"}
    with pytest.raises(
        UsageError, match="one-shot learns a single task, but every episode"
    ) as caught:
        toy(catalog, suite="omniglot", space="metanas", strategy="darts", **values)
    assert "metanas" in caught.value.hint
    assert "one-shot" not in caught.value.hint
    (made,) = toy(catalog, suite="cifar10-pruning", **values)
    assert made.spec.learner.name == "one-shot"


def test_the_network_scope_and_its_former_name_mean_the_same(catalog: Catalog) -> None:
    now, before = (parse_changes([f"{scope}.width=8"]) for scope in ("network", "space"))
    assert now == before == {"space": {"width": 8}}
    (made,) = toy(catalog, changes=now, space="mlp")
    assert made.spec.run_id == toy(catalog, changes=before, space="mlp")[0].spec.run_id
    assert made.changes == {"space": {"width": 8}}
    assert made.command.endswith("--network mlp --set network.width=8")
    with pytest.raises(UsageError, match="Unknown network parameter 'widht' of mlp"):
        toy(catalog, changes=parse_changes(["network.widht=8"]))
    with pytest.raises(UsageError, match="Unknown scope of --set 'netwrok'") as caught:
        parse_changes(["netwrok.width=8"])
    assert caught.value.hint == "Did you mean network?"


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan"])
def test_numbers_inside_a_value_are_finite_too(catalog: Catalog, number: str) -> None:
    changes = parse_changes([f"learner.noise=[0.1, {number}]"])
    with pytest.raises(UsageError, match=r"^learner\.noise=.* is not valid for gaussian-process"):
        toy(catalog, learners=("gaussian-process",), changes=changes)


def test_the_length_of_training_is_no_part_of_a_run_without_training(catalog: Catalog) -> None:
    sets = ["budget.meta_steps=3", "budget.meta_batch=7", "budget.val_every=1", "budget.ensemble=2"]
    (usual,) = toy(catalog, learners=("gaussian-process",))
    trained, other = toy(
        catalog, learners=("maml", "gaussian-process"), changes=parse_changes(sets)
    )
    assert (trained.spec.training.meta_batch, trained.notes) == (7, ())
    assert (other.spec, other.command, other.stamps) == (usual.spec, usual.command, usual.stamps)
    assert other.notes == tuple(
        f"Learner gaussian-process does not train, so {one.partition('=')[0]} changes nothing of "
        "it."
        for one in sets
    )
    with pytest.raises(UsageError, match="Unknown budget parameter 'meta_step'"):
        toy(catalog, learners=("gaussian-process",), changes={"budget": {"meta_step": 3}})


@pytest.mark.parametrize(
    ("learner", "steps", "every", "judged"),
    [("maml", 4, 3, 2), ("maml", 4, 2, 2), ("maml", 4, 9, 1), ("maml", 7, 2, 4), ("leo", 8, 2, 2)],
)
def test_an_ensemble_has_no_more_weights_than_are_judged(
    catalog: Catalog, learner: str, steps: int, every: int, judged: int
) -> None:
    def asked(ensemble: int) -> None:
        budget = {"meta_steps": steps, "val_every": every, "ensemble": ensemble}
        changes = {"budget": budget, "protocol": {"selection": "meta-val"}}
        if learner == "leo":
            changes["learner"] = {"features": "pre-trained", "pretrain_fraction": 0.5}
        request = RunRequest(
            learners=(learner,), suite="omniglot", data="synthetic", budget="smoke", changes=changes
        )
        plan(request, catalog)

    if judged > 1:
        asked(judged)
    with pytest.raises(UsageError, match=f"but learner {learner} has {judged} in {steps} meta-st"):
        asked(max(2, judged + 1))
