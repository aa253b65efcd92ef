"""Primitives with a task axis against PyTorch's own, one task at a time."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from metabench.nn import layers as tasknn
from metabench.nn.convolution import Geometry
from metabench.nn.derivatives import differentiated_twice
from metabench.nn.statistics import statistics_of_first

N_TASKS = 3


@pytest.fixture
def draw() -> Callable[..., Tensor]:
    rng = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng, dtype=torch.float64).requires_grad_()

    return normal


@pytest.fixture(params=[False, True], ids=["once", "twice"])
def twice(request: pytest.FixtureRequest) -> Iterator[None]:
    """PyTorch's own derivatives, and those of layers that are differentiated twice."""
    with differentiated_twice(on=request.param):
        yield


def assert_same_with_gradients(actual: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    """Compare values, first derivatives and second derivatives."""
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    found = []
    for y in (actual, expected):
        first = torch.autograd.grad(y.sin().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        found.append([*first, *second])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("own_weight", [True, False])
@pytest.mark.parametrize("bias_tasks", [None, 1, N_TASKS])
def test_linear(draw: Callable[..., Tensor], own_weight: bool, bias_tasks: int | None) -> None:
    x, weight = draw(N_TASKS, 5, 4), draw(N_TASKS if own_weight else 1, 4, 2)
    bias = None if bias_tasks is None else draw(bias_tasks, 2)
    rows = [
        functional.linear(
            x[t], weight[t % len(weight)].T, None if bias is None else bias[t % len(bias)]
        )
        for t in range(N_TASKS)
    ]
    inputs = [v for v in (x, weight, bias) if v is not None]
    assert_same_with_gradients(tasknn.linear(x, weight, bias), torch.stack(rows), inputs)


GEOMETRIES = [
    {},
    {"padding": 1},
    {"stride": 2, "padding": 1},
    {"padding": 2, "dilation": 2},
    {"padding": (1, 0)},
    {"groups": 2},
    {"groups": 4, "stride": 2, "padding": 1},
]


@pytest.mark.usefixtures("twice")
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("own_weight", [True, False])
@pytest.mark.parametrize("bias_tasks", [None, 1, N_TASKS])
def test_conv2d(
    draw: Callable[..., Tensor], geometry: dict[str, int], own_weight: bool, bias_tasks: int | None
) -> None:
    x = draw(N_TASKS, 2, 4, 6, 5)
    weight = draw(N_TASKS if own_weight else 1, 4, 4 // geometry.get("groups", 1), 3, 3)
    bias = None if bias_tasks is None else draw(bias_tasks, 4)
    maps = [
        functional.conv2d(
            x[t],
            weight[t % len(weight)],
            None if bias is None else bias[t % len(bias)],
            **geometry,
        )
        for t in range(N_TASKS)
    ]
    inputs = [v for v in (x, weight, bias) if v is not None]
    y = tasknn.conv2d(x, weight, bias, **geometry)
    assert_same_with_gradients(y, torch.stack(maps), inputs)


@pytest.mark.usefixtures("twice")
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("bias_tasks", [None, 1, N_TASKS])
def test_the_grouped_convolution_of_accelerators_equals_the_one_of_cpus(
    draw: Callable[..., Tensor], geometry: dict[str, int], bias_tasks: int | None
) -> None:
    x = draw(N_TASKS, 2, 4, 6, 5)
    weight = draw(N_TASKS, 4, 4 // geometry.get("groups", 1), 3, 3)
    bias = None if bias_tasks is None else draw(bias_tasks, 4)
    parts = ("stride", 1), ("padding", 0), ("dilation", 1)
    pairs = [tasknn._pair(geometry.get(name, default)) for name, default in parts]
    options = Geometry(*pairs, geometry.get("groups", 1))
    assert_same_with_gradients(
        tasknn._convolve_grouped(x, weight, bias, options),
        tasknn._convolve_each(x, weight, bias, options),
        [v for v in (x, weight, bias) if v is not None],
    )


@pytest.mark.usefixtures("twice")
@pytest.mark.parametrize("own_weight", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias_tasks", [None, 1, N_TASKS])
def test_a_pointwise_convolution(
    draw: Callable[..., Tensor], own_weight: bool, stride: int, bias_tasks: int | None
) -> None:
    x, weight = draw(N_TASKS, 2, 4, 6, 5), draw(N_TASKS if own_weight else 1, 3, 4, 1, 1)
    bias = None if bias_tasks is None else draw(bias_tasks, 3)
    maps = [
        functional.conv2d(
            x[t],
            weight[t % len(weight)],
            None if bias is None else bias[t % len(bias)],
            stride=stride,
        )
        for t in range(N_TASKS)
    ]
    y = tasknn.conv2d(x, weight, bias, stride=stride)
    inputs = [v for v in (x, weight, bias) if v is not None]
    assert_same_with_gradients(y, torch.stack(maps), inputs)


def test_the_channels_of_all_tasks_side_by_side(draw: Callable[..., Tensor]) -> None:
    x = draw(N_TASKS, 2, 4, 3, 5)
    maps = tasknn.fold_tasks(x)
    assert maps.shape == (2, N_TASKS * 4, 3, 5)
    for t in range(N_TASKS):
        assert torch.equal(maps[:, 4 * t : 4 * t + 4], x[t])
    back = tasknn.unfold_tasks(maps, N_TASKS)
    assert torch.equal(back, x)
    assert tasknn.fold_tasks(back).data_ptr() == maps.data_ptr()  # no copy


@pytest.mark.parametrize("at_once", [1, 2, 3, 4])
def test_a_network_sees_as_many_tasks_as_a_cpu_runs_at_once(
    draw: Callable[..., Tensor], at_once: int
) -> None:
    x, own, shared = draw(N_TASKS, 2, 4), draw(N_TASKS, 4, 2), draw(1, 2)
    seen = []

    def network(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
        seen.append(len(x))
        return tasknn.linear(x, weights["own"], weights["shared"])

    y = tasknn.by_task(network, x, {"own": own, "shared": shared}, at_once=at_once)
    assert seen == {1: [1, 1, 1], 2: [2, 1], 3: [3], 4: [3]}[at_once]
    assert_same_with_gradients(y, x @ own + shared, [x, own, shared])


@pytest.mark.usefixtures("twice")
@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 3, 5)], ids=["vectors", "images"])
@pytest.mark.parametrize("affine_tasks", [None, 1, N_TASKS])
@pytest.mark.parametrize("relu", [False, True])
def test_batch_norm(
    draw: Callable[..., Tensor], shape: tuple[int, ...], affine_tasks: int | None, relu: bool
) -> None:
    x = draw(N_TASKS, *shape)
    affine = [] if affine_tasks is None else [draw(affine_tasks, 4), draw(affine_tasks, 4)]
    tasks = [
        functional.batch_norm(
            x[t], None, None, *(a[t % len(a)] for a in affine), training=True, eps=1e-3
        )
        for t in range(N_TASKS)
    ]
    expected = torch.stack(tasks).relu() if relu else torch.stack(tasks)
    y = tasknn.batch_norm(x, *affine, eps=1e-3, relu=relu)
    assert_same_with_gradients(y, expected, [x, *affine])


@pytest.mark.usefixtures("twice")
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("size", [(), (3, 2)])
def test_statistics_of_first_normalize_all_examples(
    draw: Callable[..., Tensor], size: tuple[int, ...], relu: bool
) -> None:
    shapes = (N_TASKS, 6, 4, *size), (N_TASKS, 4), (1, 4)
    x, scale, shift = (draw(*shape).detach() for shape in shapes)
    plain = tasknn.batch_norm(x, scale, shift)
    with statistics_of_first(4):
        y = tasknn.batch_norm(x, scale, shift, relu=relu)
        alone = tasknn.batch_norm(x[:, :4], scale, shift, relu=relu)
    assert torch.equal(tasknn.batch_norm(x, scale, shift), plain)
    torch.testing.assert_close(y[:, :4], alone)
    for task in range(N_TASKS):
        first = x[task, :4].transpose(0, 1).flatten(1)
        expected = functional.batch_norm(
            x[task], first.mean(1), first.var(1, correction=0), scale[task], shift[0], eps=1e-5
        )
        torch.testing.assert_close(y[task], expected.relu() if relu else expected)


@pytest.mark.usefixtures("twice")
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 2, 2)], ids=["vectors", "images"])
@pytest.mark.parametrize("relu", [False, True])
def test_batch_norm_has_exact_first_and_second_derivatives(
    draw: Callable[..., Tensor], shape: tuple[int, ...], relu: bool
) -> None:
    inputs = (draw(2, *shape), draw(2, 3), draw(1, 3))

    def norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return tasknn.batch_norm(x, scale, shift, eps=1e-2, relu=relu)

    assert torch.autograd.gradcheck(norm, inputs)
    assert torch.autograd.gradgradcheck(norm, inputs)


def test_batch_norm_of_vectors_refuses_a_third_derivative(draw: Callable[..., Tensor]) -> None:
    x = draw(2, 5, 3)
    (first,) = torch.autograd.grad(tasknn.batch_norm(x).pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        second.sum().backward()


def test_batch_norm_of_a_constant_is_its_shift(draw: Callable[..., Tensor]) -> None:
    shift = draw(1, 4)
    y = tasknn.batch_norm(torch.full((N_TASKS, 5, 4), 7.0).double(), draw(1, 4), shift)
    torch.testing.assert_close(y, shift.expand(N_TASKS, 4).unsqueeze(1).expand_as(y))


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [None, 1, 2])
def test_pools(draw: Callable[..., Tensor], stride: int | None, padding: int) -> None:
    x = draw(N_TASKS, 2, 4, 7, 6)
    largest = [functional.max_pool2d(task, 3, stride, padding) for task in x]
    means = [functional.avg_pool2d(task, 3, stride, padding, count_include_pad=False) for task in x]
    options = {"kernel": 3, "stride": stride, "padding": padding}
    assert_same_with_gradients(tasknn.max_pool2d(x, **options), torch.stack(largest), [x])
    assert_same_with_gradients(tasknn.avg_pool2d(x, **options), torch.stack(means), [x])


def test_whole_maps(draw: Callable[..., Tensor]) -> None:
    x = draw(N_TASKS, 2, 4, 3, 5)
    torch.testing.assert_close(tasknn.global_avg_pool(x), x.mean((3, 4)))
    assert tasknn.flatten(x).shape == (N_TASKS, 2, 60)
