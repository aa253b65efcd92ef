"""Random changes of training images: what they compute, and which learners make them."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.helpers.small_tasks import IMAGES, batch, context, generator

from metabench import ClassBatch, TaskBatch, TaskShape, UsageError
from metabench.conformance.purity import assert_on, fake_accelerator
from metabench.planning.compatibility import training_conditions
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.planning.source_deviations import holds
from metabench.plugin.catalog import load_catalog
from metabench_plugins.learners import finetuned_classifier, leo, linear_heads, metric, tadam
from metabench_plugins.learners.parts.augmentation import (
    Augmentation,
    AugmentedParams,
    _interpolation,
    augmented,
    enlarge_parts,
    jitter_colors,
)

CATALOG = load_catalog()
FULL = Augmentation(enlarged=0.25, crop=2, flip=True, jitter=0.4)
LEARNERS: dict[str, tuple[Any, Any]] = {
    "protonet": (metric.ProtoNet, metric.ProtoNetParams),
    "matching-net": (metric.MatchingNet, metric.MatchingNetParams),
    "r2d2": (linear_heads.R2d2, linear_heads.R2d2Params),
    "metaoptnet": (linear_heads.MetaOptNet, linear_heads.MetaOptNetParams),
    "tadam": (tadam.Tadam, tadam.TadamParams),
    "baseline++": (finetuned_classifier.FinetunedClassifier, finetuned_classifier.FinetunedParams),
    "leo": (leo.Leo, leo.LeoParams),
}


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=generator(seed), dtype=torch.float64)


# What is computed ------------------------------------------------------------------------------


def test_an_enlarged_part_is_the_interpolation_of_pytorch() -> None:
    x = images(1, 1, 3, 9, 12)
    for top, tall, left, wide in ((0, 9, 0, 12), (2, 5, 3, 7), (8, 1, 0, 2), (4, 4, 11, 1)):
        first, length = (torch.tensor([[v]], dtype=x.dtype) for v in (top, tall))
        rows = _interpolation(first, length, 9)
        first, length = (torch.tensor([[v]], dtype=x.dtype) for v in (left, wide))
        columns = _interpolation(first, length, 12)
        found = rows.unsqueeze(2) @ x @ columns.unsqueeze(2).mT
        part = x[0, :, :, top : top + tall, left : left + wide]
        expected = F.interpolate(part, size=(9, 12), mode="bilinear", align_corners=False)
        torch.testing.assert_close(found[0], expected)


def test_parts_have_the_areas_and_shapes_that_are_asked_for() -> None:
    """An image of a slope shows which part of it was taken: the slope of the result."""
    n, size = 4000, 64
    ramp = torch.arange(size, dtype=torch.float64).expand(size, size)
    x = torch.stack([ramp, ramp.T])[None, None].expand(1, n, 2, size, size)
    y = enlarge_parts(x, least=0.25, rng=generator())
    middle = slice(size // 4, 3 * size // 4)
    wide = size * (y[0, :, 0, 0, middle].diff(dim=1).mean(dim=1))
    tall = size * (y[0, :, 1, middle, 0].diff(dim=1).mean(dim=1))
    area = wide * tall / size**2
    assert 0.24 < area.min() < 0.27
    assert (area < 0.5).double().mean() > 0.3  # uniform in [0.25, 1], but for sides that are cut
    shape = (wide / tall).log()
    assert shape.abs().max() < 0.32  # log(4/3) = 0.288, and rounding to whole pixels
    assert shape.std() > 0.1
    for channel in (0, 1):
        assert y[0, :, channel].amin() >= 0
        assert y[0, :, channel].amax() <= size - 1


def test_colors_are_those_of_the_three_steps_in_any_order() -> None:
    """Brightness, contrast and saturation one after another, by their usual definitions."""
    x = 0.4 + 0.2 * images(2, 3, 3, 5, 5)  # so that nothing is clamped
    drawn = torch.rand(3, 2, 3, 1, 1, 1, generator=generator(7), dtype=x.dtype)
    b, c, s = 1 + 0.3 * (2 * drawn - 1)

    def gray(image: torch.Tensor) -> torch.Tensor:
        weights = torch.tensor([0.299, 0.587, 0.114], dtype=x.dtype).view(3, 1, 1)
        return (image * weights).sum(dim=2, keepdim=True)

    def contrasted(image: torch.Tensor) -> torch.Tensor:
        mean = gray(image).mean(dim=(3, 4), keepdim=True)
        return mean + c * (image - mean)

    steps = (
        lambda image: b * image,
        contrasted,
        lambda image: gray(image) + s * (image - gray(image)),
    )
    found = jitter_colors(x, strength=0.3, rng=generator(7))
    for order in permutations(steps):
        expected = x
        for step in order:
            expected = step(expected)
        torch.testing.assert_close(found, expected)
    assert not torch.equal(found, x)
    bright = jitter_colors(torch.ones_like(x), strength=1.0, rng=generator())
    assert bright.max() == 1.0


def test_an_image_of_one_channel_has_no_saturation() -> None:
    x = 0.4 + 0.2 * images(1, 2, 1, 4, 4)
    drawn = torch.rand(3, 1, 2, 1, 1, 1, generator=generator(3), dtype=x.dtype)
    b, c, _ = 1 + 0.5 * (2 * drawn - 1)
    mean = x.mean(dim=(2, 3, 4), keepdim=True)
    expected = (b * (mean + c * (x - mean))).clamp(0, 1)
    torch.testing.assert_close(jitter_colors(x, strength=0.5, rng=generator(3)), expected)


def test_each_image_has_draws_of_its_own_and_equal_generators_give_equal_images() -> None:
    x = images(1, 1, 3, 8, 8).expand(2, 5, 3, 8, 8)
    for change in (
        FULL,
        Augmentation(enlarged=0.2),
        Augmentation(crop=3),
        Augmentation(jitter=0.4),
    ):
        y = change(x, rng=generator(1))
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        assert len({image.numpy().tobytes() for image in y.flatten(0, 1)}) > 5
        assert torch.equal(y, change(x, rng=generator(1)))
        assert not torch.equal(y, change(x, rng=generator(2)))


def test_no_augmentation_draws_nothing() -> None:
    part, rng = batch("classification").support, generator()
    assert augmented(part, None, rng=rng) is part
    assert torch.equal(Augmentation()(part.x, rng=rng), part.x)
    assert torch.equal(rng.get_state(), generator().get_state())


def test_images_stay_on_their_device() -> None:
    x = images(2, 3, 3, 8, 8).float()
    expected = FULL(x, rng=generator())
    with fake_accelerator() as device:
        found = FULL(x.to(device), rng=generator())
        assert_on(device, {"images": found})
        torch.testing.assert_close(found.cpu(), expected)


# Which learners make them ----------------------------------------------------------------------


def made(name: str, augmentation: Augmentation | None) -> Any:
    factory, params = LEARNERS[name]
    given = params(augmentation=augmentation)
    return factory(context(given, kind="classification", train_classes=6))


def tasks_for(name: str) -> TaskBatch:
    """Episodes and labelled examples; LEO is in its pre-training."""
    tasks = batch("classification")
    single = [replace(part, x=part.x.float().sigmoid()) for part in (tasks.support, tasks.query)]
    labelled = ClassBatch(
        images(1, 8, *IMAGES.inputs, seed=5).float(), torch.arange(8)[None] % 6, "key"
    )
    tasks = replace(tasks, support=single[0], query=single[1], labelled=labelled)
    return replace(tasks, phase="pre-train") if name == "leo" else tasks


@pytest.mark.parametrize("name", LEARNERS)
def test_a_meta_step_is_that_on_the_changed_images(name: str) -> None:
    """A shift of zero pixels changes nothing but what is drawn; a real change changes the loss."""
    losses = {}
    for key, augmentation in (("none", None), ("off", Augmentation()), ("full", FULL)):
        learner = made(name, augmentation)
        learner.meta_step(tasks_for(name), progress=0.0, rng=generator())
        logged = learner.meta_step(tasks_for(name), progress=0.1, rng=generator(1))
        losses[key] = float(logged["loss"])
    assert losses["none"] == losses["off"]
    assert abs(losses["full"] - losses["none"]) > 1e-6


def test_support_and_query_sets_are_changed_by_the_generator_of_the_step() -> None:
    learner, plain = made("protonet", FULL), made("protonet", None)
    tasks, rng = tasks_for("protonet"), generator(4)
    by_hand = replace(
        tasks,
        support=augmented(tasks.support, FULL, rng=rng),
        query=augmented(tasks.query, FULL, rng=rng),
    )
    found = learner.meta_step(tasks, progress=0.0, rng=generator(4))
    expected = plain.meta_step(by_hand, progress=0.0, rng=rng)
    assert torch.equal(torch.as_tensor(found["loss"]), torch.as_tensor(expected["loss"]))
    predict = learner.adapt(tasks.support, rng=generator()).predict
    again = plain.adapt(tasks.support, rng=generator()).predict
    assert torch.equal(predict(tasks.query.x), again(tasks.query.x))


@pytest.mark.parametrize("name", LEARNERS)
def test_vectors_are_refused(name: str) -> None:
    factory, params = LEARNERS[name]
    vectors = TaskShape("classification", (64,), 3)
    given = context(params(augmentation=FULL), kind="classification", task=vectors, train_classes=6)
    with pytest.raises(UsageError, match=r"changes images, not inputs of shape \[64\]"):
        factory(given)


def test_leo_on_given_features_has_no_images_to_change() -> None:
    with pytest.raises(ValueError, match="which `features: inputs` leaves out"):
        leo.LeoParams(features="inputs", augmentation=FULL)


# What is recorded ------------------------------------------------------------------------------


def planned(learner: str, **params: Any) -> PlannedRun:
    request = RunRequest(
        learners=(learner,),
        suite="cifar-fs",
        budget="smoke",
        data="synthetic",
        changes={"learner": params} if params else {},
    )
    return plan(request, CATALOG)[0]


@pytest.mark.parametrize("name", LEARNERS)
def test_without_one_runs_keep_their_ids(name: str) -> None:
    plain = planned(name)
    assert "augmentation" not in plain.spec.learner.params
    assert plain.spec.run_id == planned(name, augmentation=None).spec.run_id
    other = planned(name, augmentation={"flip": True})
    assert other.spec.learner.params["augmentation"]["flip"] is True
    assert other.spec.run_id != plain.spec.run_id


@pytest.mark.parametrize("name", LEARNERS)
def test_a_row_says_it_among_its_regularization(name: str) -> None:
    spec = planned(name, augmentation={"crop": 4, "flip": True, "jitter": 0.4}).spec
    conditions = training_conditions(spec, CATALOG)
    assert conditions is not None
    words = "shifts up to 4 pixels, images mirrored, color jitter 0.4"
    assert conditions.regularization.endswith(words)
    plain = training_conditions(planned(name).spec, CATALOG)
    assert plain is not None
    assert "color jitter" not in plain.regularization
    enlarged = str(Augmentation(enlarged=0.08))
    assert enlarged == "parts from 0.08 of the image on enlarged"
    assert str(Augmentation()) == "none"


def test_one_shot_says_its_shifts_and_reflections() -> None:
    request = RunRequest(
        learners=("one-shot",), suite="cifar10-pruning", budget="smoke", data="synthetic"
    )
    conditions = training_conditions(plan(request, CATALOG)[0].spec, CATALOG)
    assert conditions is not None
    assert "shifts up to 4 pixels, images mirrored" in conditions.regularization


@pytest.mark.parametrize("name", ["baseline", "baseline++", "metaoptnet", "metaoptnet-ridge"])
def test_the_deviation_is_named_only_where_images_are_not_changed(name: str) -> None:
    def of_images(spec: Any) -> list[str]:
        deviations = CATALOG.learner(name).deviations
        return [one.source for one in deviations if "jittered" in one.source and holds(one, spec)]

    assert len(of_images(planned(name).spec)) == 1
    assert of_images(planned(name, augmentation={"flip": True}).spec) == []


def test_the_parameters_of_the_sources_are_accepted() -> None:
    """Those that the list of deviations tells a user to give."""
    for name in ("baseline++", "metaoptnet"):
        (why,) = [d.why for d in CATALOG.learner(name).deviations if "jittered" in d.source]
        text = why.partition("learner.augmentation=")[2].partition("}")[0] + "}"
        import yaml

        assert AugmentedParams(augmentation=yaml.safe_load(text)).augmentation is not None
