"""Checks of a metric: on made-up predictions, perfect ones and wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from metabench.conformance.base import Check, require
from metabench.conformance.purity import assert_on, fake_accelerator
from metabench.conformance.samples import close, generator, same, untouched_randomness
from metabench.plugin.contracts.episode import TaskKind
from metabench.plugin.contracts.metric import Score
from metabench.plugin.specs import MetricSpec, resolve

N_TASKS, N_QUERIES, N_OUTPUTS = 4, 12, 5
SURE = 8.0
"""The logit of the predicted class, where the others have 0."""


def metric_checks(spec: MetricSpec) -> Iterator[Check]:
    """Yield the checks of a metric."""
    yield Check("it says what it scores and how", lambda: _description(spec))
    bodies: dict[str, Callable[[MetricSpec, Score, TaskKind], None]] = {
        "it gives one number per task": _shape,
        "the score of a task depends on its own predictions alone": _own,
        "the order of the queries does not matter": _order,
        "scores lie in its range": _range,
        "a perfect prediction is better than a wrong one": _direction,
        "it changes nothing and draws nothing": _pure,
        "it computes on the device of the predictions": _device,
    }
    for name, body in bodies.items():
        yield Check(name, partial(_of_every_kind, body, spec))


def _of_every_kind(body: Callable[[MetricSpec, Score, TaskKind], None], spec: MetricSpec) -> None:
    function: Score = resolve(spec.function)

    def score(outputs: Tensor, y: Tensor) -> Tensor:
        found = function(outputs, y)
        require(
            isinstance(found, Tensor),
            f"it returned a {type(found).__name__}; it must return a tensor [tasks].",
        )
        return found

    for kind in spec.kinds:
        body(spec, score, kind)


def _predictions(kind: TaskKind, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Outputs that are neither perfect nor wrong, and the ``y`` of the query sets."""
    rng = generator()
    outputs = torch.randn(N_TASKS, N_QUERIES, N_OUTPUTS, generator=rng, dtype=dtype)
    if kind == "regression":
        return outputs, outputs + torch.randn(outputs.shape, generator=rng, dtype=dtype)
    return outputs, torch.randint(N_OUTPUTS, (N_TASKS, N_QUERIES), generator=rng)


def _description(spec: MetricSpec) -> None:
    require(spec.kinds, "kinds is empty.")
    require(spec.title.strip() and "\n" not in spec.title, "the title is not one line.")
    require(spec.better in ("larger", "smaller"), "better is neither 'larger' nor 'smaller'.")
    require(
        not spec.params_model().model_fields, "it has parameters; give it another name instead."
    )
    least, most = spec.range
    require(least is None or most is None or least < most, f"its range is {spec.range}.")
    if spec.percent:
        require(
            spec.range == (0, 1),
            "it is printed in percent, so its range must be (0, 1).",
        )


def _shape(spec: MetricSpec, score: Score, kind: TaskKind) -> None:
    for dtype in (torch.float32, torch.float64):
        outputs, y = _predictions(kind, dtype)
        found = score(outputs, y)
        require(
            found.shape == (N_TASKS,),
            f"{N_TASKS} tasks give scores of shape {tuple(found.shape)}; it must be ({N_TASKS},).",
        )
        require(found.dtype == dtype, f"scores of {dtype} predictions are {found.dtype}.")


def _own(spec: MetricSpec, score: Score, kind: TaskKind) -> None:
    outputs, y = _predictions(kind)
    alone = torch.cat([score(outputs[i : i + 1], y[i : i + 1]) for i in range(N_TASKS)])
    require(
        close(score(outputs, y), alone), "tasks get other scores alone than beside other tasks."
    )


def _order(spec: MetricSpec, score: Score, kind: TaskKind) -> None:
    outputs, y = _predictions(kind)
    require(
        close(score(outputs, y), score(outputs.flip(1), y.flip(1))),
        "queries in reverse order give another score.",
    )


def _range(spec: MetricSpec, score: Score, kind: TaskKind) -> None:
    least, most = spec.range
    for outputs, y in (_predictions(kind), _perfect(kind), _wrong(kind)):
        for found in score(outputs, y).tolist():
            inside = (least is None or found >= least - 1e-9) and (
                most is None or found <= most + 1e-9
            )
            require(inside, f"a score is {found:g}, but its range is {spec.described['range']}.")


def _direction(spec: MetricSpec, score: Score, kind: TaskKind) -> None:
    perfect, wrong = (float(score(*made(kind))[0]) for made in (_perfect, _wrong))
    require(
        spec.facts.sign * perfect > spec.facts.sign * wrong,
        f"a perfect prediction scores {perfect:g} and a wrong one {wrong:g}, but {spec.better} is "
        "said to be better.",
    )


def _perfect(kind: TaskKind) -> tuple[Tensor, Tensor]:
    _, y = _predictions(kind)
    return (y.clone() if kind == "regression" else _sure_of(y)), y


def _wrong(kind: TaskKind) -> tuple[Tensor, Tensor]:
    _, y = _predictions(kind)
    return (y + 3 if kind == "regression" else _sure_of((y + 1) % N_OUTPUTS)), y


def _sure_of(classes: Tensor) -> Tensor:
    return SURE * functional.one_hot(classes, N_OUTPUTS).to(torch.float64)


def _pure(spec: MetricSpec, score: Score, kind: TaskKind) -> None:
    outputs, y = _predictions(kind)
    before = outputs.clone(), y.clone()
    with untouched_randomness():
        first, second = score(outputs, y), score(outputs, y)
    require(same(first, second), "the same predictions get another score the second time.")
    require(same((outputs, y), before), "it changes the predictions or y.")


def _device(spec: MetricSpec, score: Score, kind: TaskKind) -> None:
    outputs, y = _predictions(kind, torch.float32)
    expected = score(outputs, y)
    with fake_accelerator() as device:
        found = score(outputs.to(device), y.to(device))
        assert_on(device, {"scores": found})
        found = found.cpu()
    require(close(expected, found), "the scores on an accelerator differ from those on the CPU.")
