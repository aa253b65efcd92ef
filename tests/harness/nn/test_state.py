"""Running statistics, dropout and DropBlock against closed forms, plain loops and PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from metabench import Params, Training, nn
from metabench.conformance.purity import assert_on, fake_accelerator

TASKS, N, CHANNELS = 3, 4, 2
SHAPES = {"rows": (TASKS, N, CHANNELS), "maps": (TASKS, N, CHANNELS, 5, 3)}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
axes = pytest.mark.parametrize("n_states", [1, TASKS], ids=["together", "apart"])


def draw(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def training(*, seed: int = 0, progress: float = 0.5) -> Training:
    return Training(rng=torch.Generator().manual_seed(seed), progress=progress)


def state(n_states: int) -> Params:
    mean, variance = draw(n_states, CHANNELS, seed=1), draw(n_states, CHANNELS, seed=2).exp()
    return {"norm.mean": mean, "norm.variance": variance}


def by_loop(
    x: Tensor, mean: Tensor, variance: Tensor, scale: Tensor, shift: Tensor, eps: float
) -> Tensor:
    """Normalize number by number's task and channel, by the definition."""
    y = torch.empty_like(x)
    for task in range(x.shape[0]):
        for channel in range(x.shape[2]):
            m, v, a, b = (w[task % len(w), channel] for w in (mean, variance, scale, shift))
            y[task, :, channel] = a * (x[task, :, channel] - m) / (v + eps) ** 0.5 + b
    return y


def own_statistics(x: Tensor, n_states: int) -> tuple[Tensor, Tensor]:
    """Mean and variance over the count: of all examples, or of each task's."""
    groups = [x] if n_states == 1 else [task[None] for task in x]
    channels = [group.movedim(2, 0).flatten(1) for group in groups]
    mean = torch.stack([c.mean(1) for c in channels])
    square = torch.stack([(c - c.mean(1, keepdim=True)).square().mean(1) for c in channels])
    return mean, square


@shapes
@axes
@pytest.mark.parametrize("n_affine", [1, TASKS])
def test_prediction_is_by_the_running_statistics(
    shape: tuple[int, ...], n_states: int, n_affine: int
) -> None:
    x, held = draw(*shape), state(n_states)
    scale, shift = draw(n_affine, CHANNELS, seed=3), draw(n_affine, CHANNELS, seed=4)
    y = nn.running_batch_norm(x, held, "norm", scale=scale, shift=shift, eps=0.1)
    torch.testing.assert_close(
        y, by_loop(x, held["norm.mean"], held["norm.variance"], scale, shift, 0.1)
    )


@shapes
@axes
@pytest.mark.parametrize("n_affine", [1, TASKS])
def test_training_is_by_the_statistics_of_the_examples(
    shape: tuple[int, ...], n_states: int, n_affine: int
) -> None:
    x, held, given = draw(*shape), state(n_states), training()
    scale, shift = draw(n_affine, CHANNELS, seed=3), draw(n_affine, CHANNELS, seed=4)
    y = nn.running_batch_norm(
        x, held, "norm", scale=scale, shift=shift, training=given, momentum=0.3, eps=0.1
    )
    mean, variance = own_statistics(x, n_states)
    torch.testing.assert_close(y, by_loop(x, mean, variance, scale, shift, 0.1))
    torch.testing.assert_close(
        given.state,
        {
            "norm.mean": 0.7 * held["norm.mean"] + 0.3 * mean,
            "norm.variance": 0.7 * held["norm.variance"] + 0.3 * variance,
        },
    )


@shapes
@axes
def test_with_momentum_one_prediction_repeats_training(
    shape: tuple[int, ...], n_states: int
) -> None:
    x, given = 3 * draw(*shape) + 1, training()
    trained = nn.running_batch_norm(x, state(n_states), "norm", training=given, momentum=1)
    predicted = nn.running_batch_norm(x, given.state, "norm")
    torch.testing.assert_close(predicted, trained, rtol=1e-12, atol=1e-12)


def test_a_second_pass_goes_on_from_the_state_of_the_first() -> None:
    first, second = draw(*SHAPES["rows"]), draw(*SHAPES["rows"], seed=5)
    given, held = training(), state(1)
    for x in (first, second):
        nn.running_batch_norm(x, held, "norm", training=given, momentum=0.25)
    means = [own_statistics(x, 1)[0] for x in (first, second)]
    expected = 0.75 * (0.75 * held["norm.mean"] + 0.25 * means[0]) + 0.25 * means[1]
    torch.testing.assert_close(given.state["norm.mean"], expected)
    assert torch.equal(held["norm.mean"], state(1)["norm.mean"])


def test_training_equals_the_norm_of_pytorch_over_all_tasks() -> None:
    x, given = draw(*SHAPES["maps"]), training()
    module = torch.nn.BatchNorm2d(CHANNELS, momentum=0.2, dtype=torch.float64)
    expected = module(x.flatten(0, 1)).view(x.shape)
    fresh = {"norm.mean": torch.zeros(1, CHANNELS), "norm.variance": torch.ones(1, CHANNELS)}
    fresh = {name: one.double() for name, one in fresh.items()}
    y = nn.running_batch_norm(x, fresh, "norm", training=given, momentum=0.2)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(given.state["norm.mean"][0], module.running_mean)
    count = TASKS * N * 15
    unbiased = (given.state["norm.variance"][0] - 0.8) * count / (count - 1) + 0.8
    torch.testing.assert_close(unbiased, module.running_var)


@pytest.mark.parametrize("shape", [(TASKS, 3, CHANNELS), (TASKS, 2, CHANNELS, 2, 1)])
@axes
@pytest.mark.parametrize("n_affine", [1, TASKS])
@pytest.mark.parametrize("trains", [True, False])
def test_first_and_second_derivatives_equal_finite_differences(
    shape: tuple[int, ...], n_states: int, n_affine: int, trains: bool
) -> None:
    held = state(n_states)

    def norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        given = training() if trains else None
        y = nn.running_batch_norm(x, held, "norm", scale=scale, shift=shift, training=given)
        return y.sin()

    inputs = (draw(*shape), draw(n_affine, CHANNELS, seed=3), draw(n_affine, CHANNELS, seed=4))
    inputs = tuple(one.requires_grad_() for one in inputs)
    assert torch.autograd.gradcheck(norm, inputs)
    assert torch.autograd.gradgradcheck(norm, inputs)


def test_the_state_has_no_graph() -> None:
    x, given = draw(*SHAPES["rows"]).requires_grad_(), training()
    nn.running_batch_norm(x, state(1), "norm", training=given)
    assert not any(one.requires_grad for one in given.state.values())


def test_dropout_and_drop_block_leave_predictions_alone() -> None:
    x = draw(*SHAPES["maps"])
    assert nn.dropout(x, rate=0.5, training=None) is x
    assert nn.drop_block(x, rate=0.5, size=2, training=None) is x
    given = training()
    before = given.rng.get_state()
    assert nn.dropout(x, rate=0, training=given) is x
    assert nn.drop_block(x, rate=0, size=2, training=given) is x
    assert torch.equal(given.rng.get_state(), before)


def test_dropout_keeps_its_share_and_the_expectation() -> None:
    x = torch.ones(2, 50, 1000)
    y = nn.dropout(x, rate=0.3, training=training())
    assert y.unique().tolist() == pytest.approx([0, 1 / 0.7])
    # 100,000 elements: four standard deviations of the share are below 0.006.
    assert float((y == 0).double().mean()) == pytest.approx(0.3, abs=0.006)
    assert float(y.double().mean()) == pytest.approx(1, abs=0.01)


def test_drop_block_drops_whole_squares_inside_the_map() -> None:
    x = torch.ones(1, 40, 1, 6, 6)
    y = nn.drop_block(x, rate=0.05, size=3, training=training())
    dropped = (y == 0).double().flatten(0, 1)
    assert 0 < float(dropped.mean()) < 1
    # Where an element is dropped, some square of 3 x 3 in the map around it is dropped as a whole.
    whole = functional.avg_pool2d(dropped, 3, stride=1) == 1
    around = functional.max_pool2d(functional.pad(whole.double(), (2, 2, 2, 2)), 3, stride=1)
    assert torch.equal(dropped, around)


@pytest.mark.parametrize(
    ("size", "height", "width"), [(5, 10, 10), (2, 4, 6), (5, 2, 3), (1, 4, 4)]
)
def test_drop_block_keeps_the_expectation_and_drops_by_gamma(
    size: int, height: int, width: int
) -> None:
    x = draw(2, 500, 20, height, width).abs() + 1
    y = nn.drop_block(x, rate=0.1, size=size, training=training())
    tall, wide = min(size, height), min(size, width)
    places = (height - tall + 1) * (width - wide + 1)
    gamma = 0.1 / (tall * wide) * height * width / places
    # A corner of the map is in one square alone, so it is dropped with probability gamma.
    corner = float((y[..., 0, 0] == 0).double().mean())
    assert corner == pytest.approx(gamma, abs=4 * (gamma / 20_000) ** 0.5)
    # What remains is scaled so that the mask has mean 1 exactly.
    assert float((y / x).mean()) == pytest.approx(1, abs=1e-12)
    assert float(y.mean() / x.mean()) == pytest.approx(1, abs=0.02)


def test_the_share_that_drop_block_drops_is_the_rate_but_for_overlaps() -> None:
    y = nn.drop_block(torch.ones(1, 2000, 8, 12, 12), rate=0.02, size=3, training=training())
    assert float((y == 0).double().mean()) == pytest.approx(0.02, rel=0.05)


def test_masks_follow_from_the_generator_on_any_device() -> None:
    x = draw(*SHAPES["maps"]).float()
    held = {name: one.float() for name, one in state(1).items()}

    def run(device: torch.device) -> tuple[Tensor, Params]:
        given, inputs = training(), x.to(device)
        there = {name: one.to(device) for name, one in held.items()}
        y = nn.running_batch_norm(inputs, there, "norm", training=given)
        y = nn.dropout(y, rate=0.3, training=given)
        return nn.drop_block(y, rate=0.3, size=2, training=given), given.state

    expected, expected_state = run(torch.device("cpu"))
    with fake_accelerator() as device:
        found, found_state = run(device)
        assert_on(device, [found, found_state])
        moved = {name: one.cpu() for name, one in found_state.items()}
        torch.testing.assert_close(found.cpu(), expected)
    torch.testing.assert_close(moved, expected_state)
