"""Every check of a learner passes on a sound one, and fails on one that is broken on purpose."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from conformance_specs import assert_fails, learner_spec, outcomes

from metabench import TrainingOnly, conformance
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.episode import Adapted
from metabench_plugins.learners.maml import Maml, MamlSearchParams


class NoMethod:
    def __init__(self, context):
        pass


class InfiniteLoss(Maml):
    def meta_step(self, tasks, *, progress, rng):
        return {"loss": float("nan")}


class NoLoss(Maml):
    def meta_step(self, tasks, *, progress, rng):
        super().meta_step(tasks, progress=progress, rng=rng)
        return {"error": 1.0}


class NeverLearns(Maml):
    def meta_step(self, tasks, *, progress, rng):
        return {"loss": 1.0}


class SeesQuery(Maml):
    def adapt(self, support, query=None, *, rng):
        return super().adapt(support, rng=rng)


class ChangesItself(Maml):
    def adapt(self, support, *, rng):
        with torch.no_grad():
            next(iter(self._weights.values())).add_(1e-3)
        return super().adapt(support, rng=rng)


class WritesIntoTasks(Maml):
    def adapt(self, support, *, rng):
        support.x.mul_(2)
        return super().adapt(support, rng=rng)


def _with_predict(change):
    class Changed(Maml):
        def adapt(self, support, *, rng):
            inner = super().adapt(support, rng=rng).predict
            return Adapted(predict=lambda x: change(inner, x, rng))

    return Changed


class OneGenotype(Maml):
    def adapt(self, support, *, rng):
        return dataclasses.replace(super().adapt(support, rng=rng), n_params=[7])


def _with_curve(change):
    class Changed(Maml):
        def adapt(self, support, *, rng):
            adapted = super().adapt(support, rng=rng)
            return dataclasses.replace(adapted, curve=change(adapted))

    return Changed


def _returning(**changes):
    class Changed(Maml):
        def adapt(self, support, *, rng):
            return dataclasses.replace(super().adapt(support, rng=rng), **changes)

    return Changed


class Exits(Maml):
    def meta_step(self, tasks, *, progress, rng):
        raise SystemExit(3)


class Stateless(Maml):
    def state_dict(self):
        return None


class Unwritable(Maml):
    def state_dict(self):
        return {**super().state_dict(), "made": lambda: 1}


ROWS = "genotypes, n_params and embedding have one row per task"
CURVE = "a curve has a predictor after each inner step"


class MixesTasks(Maml):
    def adapt(self, support, *, rng):
        inner = super().adapt(support, rng=rng).predict
        shift = support.y.mean()
        return Adapted(predict=lambda x: inner(x) + shift)


class UsesGlobalRandomness(Maml):
    def meta_step(self, tasks, *, progress, rng):
        with torch.no_grad():
            for weight in self._weights.values():
                weight.add_(torch.randn(()))
        return super().meta_step(tasks, progress=progress, rng=rng)


class Reseeds(Maml):
    def adapt(self, support, *, rng):
        torch.manual_seed(0)
        return super().adapt(support, rng=rng)


class ReseedsNumpy(Maml):
    def adapt(self, support, *, rng):
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        return super().adapt(support, rng=rng)


class Remembers(Maml):
    """Its memory grows by an element with each step."""

    def __init__(self, context):
        super().__init__(context)
        self._seen = torch.zeros(1)

    def meta_step(self, tasks, *, progress, rng):
        self._seen = torch.cat([self._seen, torch.ones(1)])
        return super().meta_step(tasks, progress=progress, rng=rng)

    def state_dict(self):
        return {**super().state_dict(), "seen": self._seen}

    def load_state_dict(self, state):
        super().load_state_dict({name: one for name, one in state.items() if name != "seen"})
        self._seen = state["seen"]


class ForgetsAdam(Maml):
    def state_dict(self):
        return {"weights": super().state_dict()["weights"]}

    def load_state_dict(self, state):
        super().load_state_dict({**super().state_dict(), **state})


class DropsItsWeights(Maml):
    def state_dict(self):
        state = super().state_dict()
        return {**state, "weights": TrainingOnly(state["weights"])}

    def load_state_dict(self, state):
        super().load_state_dict({**super().state_dict(), **state})


class TrainsForItsTest(Maml):
    def meta_step(self, tasks, *, progress, rng):
        logged = super().meta_step(tasks, progress=progress, rng=rng)
        for weight in self.outer.weights.values():
            weight.data.mul_(self.context.shape.shots)
        return logged


class CountsApart(Maml):
    steps = 0

    def meta_step(self, tasks, *, progress, rng):
        self.steps += 1
        logged = super().meta_step(tasks, progress=progress, rng=rng)
        return {**logged, "loss": self.steps * logged["loss"]}


class StaysOnCpu(Maml):
    def meta_step(self, tasks, *, progress, rng):
        logged = super().meta_step(tasks, progress=progress, rng=rng)
        noise = torch.randn(tasks.query.y.shape, generator=rng)
        return {**logged, "noisy": (tasks.query.y + noise).mean()}


BROKEN_LEARNERS = [
    (NoMethod, "it can be built with its default parameters", "no method meta_step"),
    (InfiniteLoss, "meta_step returns finite scalars", "loss = nan; it must be finite"),
    (NoLoss, "meta_step returns finite scalars", "'loss' must be among them"),
    (NeverLearns, "meta_step changes the state", "same before and after"),
    (
        SeesQuery,
        "adapt takes the support set and no query set",
        "adapt takes (support, query, rng)",
    ),
    (ChangesItself, "adapt does not change the state", "changed the learner's state"),
    (WritesIntoTasks, "the tensors of the tasks are not changed", "changed the tensors"),
    (
        _with_predict(lambda inner, x, rng: inner(x)[..., 0]),
        "predictions have the right shape and are finite",
        "returned shape (3, 4); it must be (3, 4, 1)",
    ),
    (
        _with_predict(lambda inner, x, rng: inner(x) / 0),
        "predictions have the right shape and are finite",
        "not finite",
    ),
    (
        _with_curve(lambda a: [*a.curve, a.predict]),
        CURVE,
        "the curve has 5 predictors; after 0 to 3 inner steps there are 4",
    ),
    (_with_curve(lambda a: a.curve[::-1]), CURVE, "curve[2] differs from predict"),
    (_with_curve(lambda a: [a.predict] * 4), CURVE, "as if there were no inner step"),
    (OneGenotype, ROWS, "n_params has 1 rows for 3 tasks"),
    (_returning(n_params=[1.5] * 3), ROWS, "in n_params, returned a float; it must be a whole"),
    (
        _returning(genotypes=[{}] * 3),
        ROWS,
        "in genotypes, returned a dict; it must be a",
    ),
    (_returning(embedding=[[0.0]] * 3), ROWS, "as embedding, returned a list; it must be a tensor"),
    (_returning(variants={"a": 3}), ROWS, "in curve or variants, returned a int"),
    (_returning(variants={"a": lambda x: x[:, :1]}), ROWS, "it predicts torch.float32 of shape"),
    (
        _returning(variants={"twice": lambda x: x[..., :1]}),
        "its variants are the predictions that it declares",
        "adapt returns the variants twice, which its description does not name",
    ),
    (Exits, "meta_step returns finite scalars", "SystemExit: 3 (test_conformance_learners.py"),
    (Stateless, "meta_step changes the state", "state_dict returned a NoneType"),
    (Unwritable, "meta_step changes the state", "holds a function at made"),
    (MixesTasks, "a task's predictions do not depend on other tasks", "other tasks of the batch"),
    (
        _with_predict(lambda inner, x, rng: inner(x) + torch.arange(x.shape[1])[None, :, None]),
        "the order of the query set does not matter",
        "order of the query set",
    ),
    (
        _with_predict(lambda inner, x, rng: inner(x) + x.mean(1, keepdim=True)),
        "inductive predictions do not depend on other query examples",
        "other query examples",
    ),
    (UsesGlobalRandomness, "the same seed gives the same numbers", "different weights"),
    (UsesGlobalRandomness, "the global random state is not changed", "torch changed"),
    (Reseeds, "the global random state is not changed", "torch changed"),
    (ReseedsNumpy, "the global random state is not changed", "random changed"),
    (
        ForgetsAdam,
        "a restored learner continues with the same numbers",
        "trains to different weights",
    ),
    (
        Remembers,
        "a restored learner continues with the same numbers",
        "the state of a trained learner does not fit a new one: seen is float32[",
    ),
    (
        DropsItsWeights,
        "it predicts the same without what only training needs",
        "without its TrainingOnly parts makes different predictions",
    ),
    (
        TrainsForItsTest,
        "what it declares as test_only does not change its training",
        "it trains to other weights if what it declares as test_only",
    ),
    (StaysOnCpu, "it computes on the device that it is given", "same device"),
    (CountsApart, "a recorded meta-step can be repeated", "is not in state_dict()"),
]


@pytest.mark.parametrize(
    ("factory", "name", "said"), BROKEN_LEARNERS, ids=lambda value: getattr(value, "__name__", "")
)
def test_broken_learner_fails_its_check(
    catalog: Catalog, factory: type, name: str, said: str
) -> None:
    assert_fails(learner_spec(factory), catalog, f"regression: {name}", said)


def test_every_learner_check_has_a_learner_that_fails_it() -> None:
    names = {c.name for c in conformance.checks(learner_spec(Maml)) if "regression: " in c.name}
    doubts = {"regression: its meta-step can be captured"}  # it warns, and fails nobody
    assert names - doubts == {f"regression: {name}" for _, name, _ in BROKEN_LEARNERS}


@pytest.mark.parametrize(
    "kind",
    [
        "regression",
        pytest.param("classification", marks=[pytest.mark.slow, pytest.mark.exhaustive]),
    ],
)
def test_sound_learner_passes(catalog: Catalog, kind: str) -> None:
    found = outcomes(dataclasses.replace(catalog.learner("maml"), kinds=(kind,)), catalog)
    assert {o.status for o in found.values()} == {"ok"}, found


def test_transductive_learner_must_not_claim_otherwise(catalog: Catalog) -> None:
    name = "classification: inductive predictions do not depend on other query examples"
    spec = learner_spec(Maml, kinds=("classification",), transductive=False)
    assert "transductive=False" in outcomes(spec, catalog, name)[name].reason


def test_learner_that_cannot_be_built_fails_once(catalog: Catalog) -> None:
    class Unbuildable:
        def __init__(self, context):
            raise ValueError("no luck")

    found = outcomes(learner_spec(Unbuildable), catalog)
    failed = [name for name, o in found.items() if o.status == "FAILED"]
    assert failed == ["regression: it can be built with its default parameters"]
    here = Path(__file__).name
    assert f"ValueError: no luck ({here}" in found[failed[0]].reason


def test_searching_learner_without_strategy_is_skipped(catalog: Catalog) -> None:
    empty = dataclasses.replace(catalog, nas_strategies={})
    found = outcomes(learner_spec(Maml, searches=True), empty)
    assert found["regression: the same seed gives the same numbers"].status == "skipped"


class Deaf(Maml):
    def begin(self, support, *, rng, progress):
        start = super().begin(support, rng=rng, progress=progress)
        return dataclasses.replace(start, loss_term=None)


@pytest.mark.parametrize(("factory", "status"), [(Maml, "ok"), (Deaf, "FAILED")])
def test_a_learner_that_says_so_adds_loss_terms(
    catalog: Catalog, factory: type, status: str
) -> None:
    spec = learner_spec(
        factory, search_params=MamlSearchParams, searches=True, adds_loss_terms=True
    )
    name = "regression: it adds a strategy's loss term"
    outcome = outcomes(spec, catalog, name)[name]
    assert outcome.status == status
    assert ("no outer update changes" in outcome.reason) == (status == "FAILED")
