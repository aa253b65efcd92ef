"""Checks of a learner: what it returns, what it may depend on, what it must not change."""

from __future__ import annotations

import inspect
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metabench.conformance.base import Check, Skip, raise_doubts, require
from metabench.conformance.bench import CURVE_STEPS, STEPS_AT_TEST, Bench, predictions, step
from metabench.conformance.capture import why_not_captured
from metabench.conformance.purity import assert_on, fake_accelerator
from metabench.conformance.ranks import NotedRanks, Sums, distance, together
from metabench.conformance.samples import (
    SHAPES,
    close,
    generator,
    in_float64,
    join,
    made_up_tasks,
    on,
    same,
    untouched_randomness,
)
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.architecture import Arch
from metabench.plugin.contracts.episode import Adapted, Labelled, TaskBatch
from metabench.plugin.contracts.learner import Learner
from metabench.plugin.contracts.ranks import Ranks
from metabench.plugin.contracts.space import SearchSpace
from metabench.plugin.contracts.strategy import Strategy
from metabench.plugin.specs import LearnerSpec
from metabench.running import checkpoint, returned
from metabench.running.checkpoint import named_tensors, without_training
from metabench.running.engines.programs import as_recorded
from metabench.running.engines.states import copied
from metabench.running.engines.stepper import Stepper
from metabench.running.kept_states import misfit

METHODS = ("meta_step", "adapt", "state_dict", "load_state_dict")


def learner_checks(spec: LearnerSpec, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of a learner: for each task kind, on the networks that it accepts."""
    for kind in spec.kinds:
        benches: dict[str, Bench] = {kind: Bench(spec, kind, catalog, searched=spec.searches)}
        if spec.search_params is not None:
            benches[f"{kind}, searched"] = Bench(spec, kind, catalog, searched=True)
        if spec.takes_state and spec.needs_space and kind == "classification":
            benches[f"{kind}, with state"] = Bench(spec, kind, catalog, stateful=True)
        for label, bench in benches.items():
            for name, body in CHECKS.items():
                yield Check(f"{label}: {name}", partial(body, bench))
            if bench.searched and spec.adds_loss_terms:
                yield Check(f"{label}: it adds a strategy's loss term", partial(_adds_term, bench))
            if spec.splits_tasks and not bench.stateful:  # with a state, tasks run together
                yield Check(f"{label}: two ranks make the step of one", partial(_splits, bench))


def _adds_term(bench: Bench) -> None:
    """Compare updates under a strategy with those under the same one with a loss term."""
    changed = []
    # Some learners keep the logits at first, and some train the found network at last.
    for first in (0, 6):
        states, logs = [], []
        for wrap in (None, Pushed):
            learner = replace(bench, wrap=wrap).fresh()
            logged = learner.meta_step(
                bench.tasks(seed=first), progress=first / 10, rng=generator(first)
            )
            states.append(copied(learner.state_dict()))
            # An update that is skipped changes nothing, but its term is logged.
            logs.append({name: repr(float(value)) for name, value in logged.items()})
        changed.append(not same(*states) or logs[0] != logs[1])
    require(any(changed), "no outer update changes with a strategy that adds a term to the loss.")


class Pushed:
    """A strategy that also pushes logits down, later ones more; what else it does is another's."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self.init_arch = strategy.init_arch
        self.mixture = strategy.mixture
        self.discretize = strategy.discretize

    def loss_term(self, space: SearchSpace, arch: Arch, *, sharpness: float) -> Tensor:
        """A small multiple of the weighted sum of the logits of each task."""
        cells = [arch[cell] for cell in space.choices()]
        owned = [(logits if logits.dim() == 3 else logits[None]).flatten(1) for logits in cells]
        flat = torch.cat(owned, dim=1)
        return 0.01 * (flat * torch.linspace(0, 1, flat.shape[1], device=flat.device)).sum(dim=1)


def _builds(bench: Bench) -> None:
    learner = bench.build()
    missing = [name for name in METHODS if not callable(getattr(learner, name, None))]
    require(not missing, f"the learner has no method {', '.join(missing)}.")


def _logs(bench: Bench) -> None:
    logged = bench.fresh().meta_step(bench.tasks(), progress=0.0, rng=generator())
    for name, value in returned.scalars(logged, learner=bench.spec.name).items():
        number = float(value.detach() if isinstance(value, Tensor) else value)
        require(math.isfinite(number), f"meta_step returned {name} = {number}; it must be finite.")


def _learns(bench: Bench) -> None:
    learner = bench.fresh()
    state = returned.state(learner.state_dict(), learner=bench.spec.name)
    named_tensors(state)  # which refuses what no checkpoint can keep
    if not bench.spec.trains:
        raise Skip("it does not meta-train.")
    before = copied(state)
    step(bench, learner, first=0, n_steps=2)
    require(
        not same(before, learner.state_dict()),
        "state_dict is the same before and after two outer updates.",
    )


def _takes_no_query(bench: Bench) -> None:
    found = list(inspect.signature(bench.fresh().adapt).parameters)
    require(
        found == ["support", "rng"],
        f"adapt takes ({', '.join(found)}); it must take (support, rng).",
    )


def _leaves_state(bench: Bench) -> None:
    learner, tasks = bench.trained(), made_up_tasks(bench.kind, seed=5)
    before = copied(learner.state_dict())
    predictions(learner, tasks)
    require(same(before, learner.state_dict()), "adapt or predict changed the learner's state.")


def _leaves_tasks(bench: Bench) -> None:
    tasks, test = bench.tasks(), made_up_tasks(bench.kind, seed=5)
    before = [copied(part) for part in _tensors(tasks, test)]
    learner = bench.fresh()
    learner.meta_step(tasks, progress=0.0, rng=generator())
    predictions(learner, test)
    require(
        same(before, list(_tensors(tasks, test))),
        "the learner changed the tensors of the tasks that it was given.",
    )


def _tensors(*batches: TaskBatch) -> Iterator[Tensor]:
    for batch in batches:
        yield from (batch.support.x, batch.support.y, batch.query.x, batch.query.y)
        if batch.labelled is not None:
            yield from (batch.labelled.x, batch.labelled.y)


def _predicts(bench: Bench) -> None:
    tasks = made_up_tasks(bench.kind, seed=5)
    adapted = bench.trained().adapt(tasks.support, rng=generator())
    wanted = (*tasks.query.x.shape[:2], SHAPES[bench.kind][0].outputs)
    for name, predict in [("predict", adapted.predict), *_curve(adapted)]:
        found = predict(tasks.query.x)
        require(
            found.shape == wanted,
            f"{name} returned shape {tuple(found.shape)}; it must be {wanted}, "
            "[tasks, queries, outputs].",
        )
        require(bool(found.isfinite().all()), f"{name} returned a value that is not finite.")


def _curve(adapted: Adapted) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
    return [(f"curve[{index}]", predict) for index, predict in enumerate(adapted.curve or ())]


def _curve_points(bench: Bench) -> None:
    """Compare a curve with the headline, and its length with the steps that are asked for."""
    learner, tasks = bench.trained(), made_up_tasks(bench.kind, seed=5)
    adapted = learner.adapt(tasks.support, rng=generator())
    points = [predict(tasks.query.x).detach() for _, predict in _curve(adapted)]
    if not points:
        raise Skip("it has no curve, which is optional.")
    require(
        len(points) <= CURVE_STEPS + 1,
        f"the curve has {len(points)} predictors; after 0 to {CURVE_STEPS} inner steps there are "
        f"{CURVE_STEPS + 1}.",
    )
    headline = adapted.predict(tasks.query.x).detach()
    if bench.spec.steps_at_test is None and len(points) > STEPS_AT_TEST:
        require(
            close(points[STEPS_AT_TEST], headline),
            f"curve[{STEPS_AT_TEST}] differs from predict, which makes as many inner steps.",
        )
    require(
        any(not close(points[0], later) for later in (*points[1:], headline)),
        "all predictors of the curve predict the same, as if there were no inner step.",
    )


def _one_per_task(bench: Bench) -> None:
    tasks, name = made_up_tasks(bench.kind, seed=5), bench.spec.name
    adapted = bench.trained().adapt(tasks.support, rng=generator())
    returned.adaptation(adapted, tasks, curve_steps=CURVE_STEPS, learner=name)
    n_outputs = SHAPES[bench.kind][0].outputs
    for predict in (adapted.predict, *adapted.variants.values()):
        returned.outputs(predict, tasks, n_outputs=n_outputs, learner=name)
    for genotypes in (adapted.genotypes, adapted.own_genotypes):
        returned.genotypes(genotypes or (), learner=name)
    returned.sizes(adapted.n_params or (), learner=name)


def _declares_predictions(bench: Bench) -> None:
    tasks = made_up_tasks(bench.kind, seed=5)
    adapted = bench.trained().adapt(tasks.support, rng=generator())
    strange = sorted({*adapted.variants} - {*bench.spec.predictions})
    require(
        not strange,
        f"adapt returns the variants {', '.join(strange)}, which its description does not name: "
        f"LearnerSpec(predictions=...).",
    )


def _tasks_apart(bench: Bench) -> None:
    learner = bench.trained()
    tasks, others = made_up_tasks(bench.kind, seed=5), made_up_tasks(bench.kind, seed=6)
    mixed = replace(
        tasks,
        support=join(tasks.support, _moved(others.support)),
        query=join(tasks.query, _moved(others.query)),
    )
    require(
        close(predictions(learner, tasks)[0], predictions(learner, mixed)[0]),
        "the predictions for a task change with the other tasks of the batch.",
    )


def _moved(part: Labelled) -> Labelled:
    return replace(part, x=3 * part.x + 2)


def _query_order(bench: Bench) -> None:
    learner, tasks = bench.trained(), made_up_tasks(bench.kind, seed=5)
    order = torch.randperm(tasks.query.x.shape[1], generator=generator())
    require(
        close(
            predictions(learner, tasks)[:, order],
            predictions(learner, tasks, tasks.query.x[:, order]),
        ),
        "the prediction for a query example changes with the order of the query set.",
    )


def _inductive(bench: Bench) -> None:
    never = bench.stateful or not bench.spec.transductive
    for transductive in (False, True) if never else (False,):
        learner = bench.trained(transductive=transductive)
        tasks = made_up_tasks(bench.kind, seed=5)
        changed = tasks.query.x.clone()
        changed[:, 1:] = 3 * changed[:, 1:] + 2
        require(
            close(predictions(learner, tasks)[:, 0], predictions(learner, tasks, changed)[:, 0]),
            "under the inductive protocol the prediction for a query example changes with the "
            "other query examples" + (_REASONS[bench.stateful] if transductive else "."),
        )


_REASONS = {
    False: ", but the description says transductive=False.",
    True: ", but the network has running statistics.",
}


def _same_seed(bench: Bench) -> None:
    tasks = made_up_tasks(bench.kind, seed=5)
    first, second = bench.trained(), bench.trained()
    require(same(first.state_dict(), second.state_dict()), "the same seed gives different weights.")
    require(
        torch.equal(predictions(first, tasks), predictions(second, tasks)),
        "the same seed gives different predictions.",
    )


def _leaves_randomness(bench: Bench) -> None:
    with untouched_randomness():
        predictions(bench.trained(), made_up_tasks(bench.kind, seed=5))


def _resumes(bench: Bench) -> None:
    original, resumed = bench.trained(), bench.fresh(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "learner.safetensors"
        checkpoint.save(path, original.state_dict())
        _require_fit(resumed, checkpoint.load(path), whole=True)
    for learner in (original, resumed):
        step(bench, learner, first=2, n_steps=2)
    require(
        same(copied(original.state_dict()), copied(resumed.state_dict())),
        "a learner restored from its checkpoint trains to different weights.",
    )
    tasks = made_up_tasks(bench.kind, seed=5)
    require(
        torch.equal(predictions(original, tasks), predictions(resumed, tasks)),
        "a learner restored from its checkpoint makes different predictions.",
    )


def _require_fit(learner: Learner, state: Mapping[str, Any], *, whole: bool) -> None:
    """Load a state as a resumed run does, which takes one that does not fit for damaged."""
    reason = misfit(learner, state, whole=whole)
    require(not reason, f"the state of a trained learner does not fit a new one: {reason}.")


def _tested_alone(bench: Bench) -> None:
    original, restored = bench.trained(), bench.fresh(seed=1)
    _require_fit(restored, copied(without_training(original.state_dict())), whole=False)
    tasks = made_up_tasks(bench.kind, seed=5)
    require(
        torch.equal(predictions(original, tasks), predictions(restored, tasks)),
        "a learner restored without its TrainingOnly parts makes different predictions.",
    )


def _test_apart(bench: Bench) -> None:
    if not bench.spec.test_only:
        raise Skip("it declares nothing as test_only.")
    if not bench.spec.trains:
        raise Skip("it does not meta-train.")
    bench.fresh()  # another check reports a learner that cannot be built
    states = []
    for facts in ({}, bench.tested_otherwise()):
        learner = bench.build(**facts)
        for index in (0, 6, 9):  # learners with phases do other things later
            step(bench, learner, first=index, n_steps=1)
        states.append(copied(learner.state_dict()))
    require(
        same(*states),
        "it trains to other weights if what it declares as test_only has other values: "
        f"{', '.join(bench.spec.test_only)}.",
    )


def _repeats(bench: Bench) -> None:
    """A learner that cannot be recorded trains all the same, a little slower."""
    if not bench.spec.trains:
        raise Skip("it does not meta-train.")
    own, other = bench.fresh(), bench.fresh()
    said: list[str] = []
    stepper = Stepper(other, as_recorded, say=said.append)
    for index in range(5):
        tasks, progress = bench.tasks(seed=index), index / 10
        wanted = own.meta_step(tasks, progress=progress, rng=generator(index))
        found = stepper(tasks, progress=progress, rng=generator(index))
        for name, value in wanted.items():
            one, two = float(value), float(found[name])
            require(
                math.isclose(one, two, rel_tol=1e-3, abs_tol=1e-4) or (one != one and two != two),
                f"after {index} steps the recorded meta-step has {name} = {two:.6g}, and the "
                f"learner's own {one:.6g}: something that changes is not in state_dict().",
            )
    if not stepper.by_program:
        raise Skip(said[-1].removeprefix("meta-steps are made eagerly, because ") + ".")


def _device(bench: Bench) -> None:
    same = _is_same_on_devices(bench)
    if not same:
        # Adam turns the sign of a step where a gradient is rounding alone; this tells it apart.
        with in_float64():
            same = _is_same_on_devices(bench)
    require(same, "the predictions on an accelerator differ from those on the CPU.")


def _is_same_on_devices(bench: Bench) -> bool:
    test = made_up_tasks(bench.kind, seed=5)
    expected = bench.fresh().adapt(test.support, rng=generator(7))
    with fake_accelerator() as device:
        there = on(device, test)
        learner = bench.build(device=device)
        adapted = learner.adapt(there.support, rng=generator(7))
        found = adapted.predict(there.query.x).detach().cpu()
        for seed in range(2):  # the phases of a learner take turns
            there_too = on(device, bench.tasks(seed=seed))
            learner.meta_step(there_too, progress=0.0, rng=generator())
        assert_on(device, [predictions(learner, there)])
    if adapted.genotypes != expected.genotypes:
        return True  # rounding decides between architectures that are nearly as good
    return close(found, expected.predict(test.query.x))


def _splits(bench: Bench) -> None:
    """Compare the sums of one rank, and what it logs, with those of two that share its tasks."""
    bench.fresh()  # another check reports a learner that cannot be built
    # Some learners train what they found in later steps.
    for index in (0, 6):
        with in_float64():
            ((wanted, whole, _),) = together(1, partial(_shared_step, bench, index))
            shared = together(2, partial(_shared_step, bench, index))
        for found, sums, _ in shared:
            require(
                len(whole) == len(sums) == 1,
                f"a meta-step calls context.ranks.summed {len(sums)} times; it must be once.",
            )
            apart = distance(sums[0], whole[0])
            require(
                apart <= ROUNDING or apart <= _unsteady(bench, index, whole[0]),
                f"the gradients of two ranks add up to another one than that of one, by {apart:.1g}"
                " of its largest element.",
            )
            logged = distance(list(found.values()), list(wanted.values()))
            require(
                logged <= max(ROUNDING, apart),
                f"two ranks log {_numbers(found)}, and one logs {_numbers(wanted)}.",
            )
        states = [state for *_, state in shared]
        require(same(*states), "two ranks have different states after a meta-step.")


ROUNDING = 1e-10
"""What the order of a sum may change in float64."""


def _unsteady(bench: Bench, index: int, whole: Sums) -> float:
    """What a change in the 13th digit of the inputs does, where inner loops run away."""
    with in_float64():
        ((_, nudged, _),) = together(1, partial(_shared_step, bench, index, factor=1 + 1e-12))
    return distance(nudged[0], whole)


def _shared_step(
    bench: Bench, index: int, ranks: Ranks, *, factor: float = 1.0
) -> tuple[dict[str, Tensor], list[Sums], dict[str, Any]]:
    """What a meta-step logs and sums, and the state that it leaves."""
    noted = NotedRanks(ranks)
    learner = bench.build(ranks=noted)
    tasks, rng = bench.tasks(seed=index), generator(index)
    tasks = replace(tasks, support=replace(tasks.support, x=factor * tasks.support.x))
    logged = learner.meta_step(tasks, progress=index / 10, rng=rng)
    scalars = {name: torch.as_tensor(value).detach() for name, value in logged.items()}
    return scalars, noted.sums, copied(learner.state_dict())


def _numbers(logged: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {float(value):.12g}" for name, value in logged.items())


def _captured(bench: Bench) -> None:
    if not bench.spec.trains:
        raise Skip("it does not meta-train.")
    bench.fresh()  # another check reports a learner that cannot be built
    raise_doubts(
        f"Its meta-steps run eagerly, not as one captured program: {why}"
        for why in why_not_captured(bench)
    )


CHECKS: dict[str, Callable[[Bench], None]] = {
    "it can be built with its default parameters": _builds,
    "meta_step returns finite scalars": _logs,
    "meta_step changes the state": _learns,
    "adapt takes the support set and no query set": _takes_no_query,
    "adapt does not change the state": _leaves_state,
    "the tensors of the tasks are not changed": _leaves_tasks,
    "predictions have the right shape and are finite": _predicts,
    "a curve has a predictor after each inner step": _curve_points,
    "genotypes, n_params and embedding have one row per task": _one_per_task,
    "its variants are the predictions that it declares": _declares_predictions,
    "a task's predictions do not depend on other tasks": _tasks_apart,
    "the order of the query set does not matter": _query_order,
    "inductive predictions do not depend on other query examples": _inductive,
    "the same seed gives the same numbers": _same_seed,
    "the global random state is not changed": _leaves_randomness,
    "a restored learner continues with the same numbers": _resumes,
    "it predicts the same without what only training needs": _tested_alone,
    "what it declares as test_only does not change its training": _test_apart,
    "it computes on the device that it is given": _device,
    "a recorded meta-step can be repeated": _repeats,
    "its meta-step can be captured": _captured,
}
