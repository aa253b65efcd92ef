"""Each network computes on an image, or refuses it when it is built, in a sentence."""

from __future__ import annotations

import pytest
import torch

from metabench.conformance.spaces import even_mixture
from metabench.errors import UsageError
from metabench.plugin.catalog import load_catalog
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.contracts.space import SearchSpace, StatefulSpace
from metabench.plugin.specs import SearchSpaceSpec, resolve

SIDES = (1, 3, 15)
SPACES = {
    name: spec
    for name, spec in load_catalog().search_spaces.items()
    if "classification" in spec.kinds
}


def built_or_refused(spec: SearchSpaceSpec, task: TaskShape) -> SearchSpace | None:
    try:
        space: SearchSpace = resolve(spec.factory)(spec.params_model()(), task)
    except UsageError as refused:
        said = refused
    else:
        return space
    assert str(task.inputs[-1]) in said.message
    assert said.hint
    return None


@pytest.mark.parametrize("name", SPACES)
def test_a_small_image_is_computed_on_or_refused_before_the_run(name: str) -> None:
    spec = SPACES[name]
    for side in SIDES:
        task = TaskShape("classification", (3, side, side), 2)
        space = built_or_refused(spec, task)
        if space is None:
            continue
        assert outputs_of(space, task).shape == (1, 2, 2)


def outputs_of(space: SearchSpace, task: TaskShape) -> torch.Tensor:
    """Of two images of one task, with an even mixture."""
    weights = space.init_weights(rng=torch.Generator().manual_seed(0))
    state = space.init_state() if isinstance(space, StatefulSpace) else {}
    with torch.no_grad():
        inputs = torch.ones(1, 2, *task.inputs)
        shared = {key: one[None] for key, one in (weights | state).items()}
        return space.forward(shared, even_mixture(space), inputs)


SIZES = ("channels", "filters", "width", "hidden", "nodes", "cells")


@pytest.mark.parametrize("name", SPACES)
def test_the_least_sizes_that_are_accepted_compute(name: str) -> None:
    """All at once, and each with the others as they are."""
    spec = SPACES[name]
    model = spec.params_model()
    least = {
        size: bound
        for size in SIZES
        if size in model.model_fields
        for rule in model.model_fields[size].metadata
        if isinstance(bound := getattr(rule, "ge", None), int)
    }
    assert name == "resnet12" or least  # its width is a factor above 0
    task = TaskShape("classification", (1, 28, 28), 2)
    for values in (least, *({size: bound} for size, bound in least.items())):
        space = resolve(spec.factory)(model.model_validate(values), task)
        assert outputs_of(space, task).shape == (1, 2, 2), values
