"""What the supernet computes: primitives, gradients, skipped operations, independent tasks."""

from __future__ import annotations

import pytest
import torch
from small_tasks import generator as rng
from torch import Tensor
from torch.nn import functional as F

from metabench.conformance.purity import assert_on, fake_accelerator
from metabench.inner_steps import inner_loop, share
from metabench.nn import layers as tasknn
from metabench.plugin.contracts.architecture import INPUTS, CellChoices, Mixture, Params
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.contracts.genotype import Edge, Genotype
from metabench_plugins.spaces.darts import DartsSpaceParams, darts
from metabench_plugins.spaces.metanas import MetaNasParams, metanas
from metabench_plugins.spaces.parts import supernet
from metabench_plugins.spaces.parts.image_maps import factorized_reduction
from metabench_plugins.spaces.parts.operation_weights import amounts, membership, overlap
from metabench_plugins.spaces.parts.primitives import PRIMITIVES, Feed
from metabench_plugins.spaces.parts.published_cells import NORMAL, PUBLISHED, REDUCTION
from metabench_plugins.spaces.parts.supernet import CellNetwork
from metabench_plugins.spaces.tnas import TnasParams, tnas
from metabench_plugins.strategies.parts.decoding import harden, place

TASK = TaskShape("classification", (2, 7, 8), 3)
SPACE = metanas(MetaNasParams(channels=2, cells=2, nodes=2), TASK)
ALL_EIGHT = darts(DartsSpaceParams(channels=2, cells=3, nodes=2), TASK)


def own_weights(space: CellNetwork, n_tasks: int) -> Params:
    """Weights that differ from task to task."""
    shared = {name: weight.double() for name, weight in space.init_weights(rng=rng()).items()}
    noise = rng(1)
    return {
        name: w + 0.1 * torch.randn(n_tasks, *w.shape, generator=noise, dtype=torch.float64)
        for name, w in shared.items()
    }


def soft_mixture(space: CellNetwork, n_tasks: int, *, seed: int = 2) -> Mixture:
    draw = rng(seed)
    mixture: Mixture = {}
    for cell, c in space.choices().items():
        n_pairs = sum(map(len, c.pairs().values()))
        shape = (n_tasks, len(c.edges), len(c.primitives))
        mixture[cell] = torch.rand(shape, generator=draw, dtype=torch.float64)
        mixture[cell + INPUTS] = torch.rand(n_tasks, n_pairs, generator=draw, dtype=torch.float64)
    return mixture


def images(n_tasks: int, n: int = 5, *, seed: int = 3) -> Tensor:
    return torch.randn(n_tasks, n, *TASK.inputs, generator=rng(seed), dtype=torch.float64)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", PRIMITIVES)
def test_primitives_compute_what_their_names_say(name: str, stride: int) -> None:
    """On one task, against torch's functions, on maps of odd and even size."""
    x = torch.randn(4, 6, 7, 8, generator=rng(), dtype=torch.float64)
    shapes = PRIMITIVES[name].shapes(6, stride, affine=False)
    draw = rng(1)
    w = {part: torch.randn(s, generator=draw, dtype=torch.float64) for part, s in shapes.items()}

    def separable(x: Tensor, i: int, stride: int, dilation: int) -> Tensor:
        depth = w[f"depthwise{i}"]
        pad = dilation * (depth.shape[-1] // 2)
        y = F.conv2d(F.relu(x), depth, None, stride, pad, dilation, groups=6)
        return F.conv2d(y, w[f"pointwise{i}"])

    if name == "skip" and stride == 1:
        wanted = x
    elif name == "skip":
        padded = F.pad(F.relu(x), (0, 0, 0, 1))
        even, odd = F.conv2d(padded, w["even"]), F.conv2d(padded, w["odd"])
        wanted = torch.cat([even[..., ::2, ::2], odd[..., 1::2, 1::2]], 1)
    elif name == "max-pool-3x3":
        wanted = F.max_pool2d(x, 3, stride, 1)
    elif name == "avg-pool-3x3":
        wanted = F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)
    elif name == "conv-1x5-5x1":
        y = F.conv2d(F.relu(x), w["row"], None, stride, (0, 2))
        wanted = F.conv2d(y, w["column"], None, 1, (2, 0))
    else:
        wanted = separable(x, 1, stride, 2 if name.startswith("dil") else 1)
        if name.startswith("sep"):
            wanted = separable(F.batch_norm(wanted, None, None, training=True), 2, 1, 1)
    named = {f"op.{part}": weight[None] for part, weight in w.items()}
    found = PRIMITIVES[name].apply(Feed(x[None]), named, "op", stride=stride)
    torch.testing.assert_close(found[0], wanted)
    assert wanted.shape[2:] == ((7, 8) if stride == 1 else (4, 4))


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (5, 5), (6, 6)])
def test_a_factorized_reduction_halves_any_size(size: tuple[int, int]) -> None:
    weights = {"r.even": torch.ones(1, 2, 3, 1, 1), "r.odd": torch.ones(1, 3, 3, 1, 1)}
    y = factorized_reduction(torch.ones(2, 4, 3, *size), weights, "r")
    assert y.shape == (2, 4, 5, (size[0] + 1) // 2, (size[1] + 1) // 2)


@pytest.mark.parametrize(
    "space", [SPACE, pytest.param(ALL_EIGHT, marks=pytest.mark.slow)], ids=["metanas", "darts"]
)
def test_gradients_through_two_steps_equal_finite_differences(space: CellNetwork) -> None:
    """Of weights and of logits of operations and pairs, on two tasks that share them."""
    shared = space.init_weights(rng=rng())
    weights = {n: w.double().requires_grad_() for n, w in shared.items()}
    draw = rng(1)
    logits: dict[str, Tensor] = {
        key: torch.randn(m.shape, generator=draw, dtype=torch.float64).requires_grad_()
        for key, m in soft_mixture(space, 1).items()
    }
    x, query = images(2, seed=5), images(2, seed=6)
    y = torch.tensor([[0, 1, 2, 0, 1]] * 2)

    def losses(w: Params, mixture: Mixture, x: Tensor) -> Tensor:
        out = space.forward(w, mixture, x).flatten(0, 1)
        return F.cross_entropy(out, y.flatten(), reduction="none").view(y.shape).mean(1)

    def meta_loss() -> Tensor:
        mixture = {key: logit.softmax(-1) for key, logit in logits.items()}
        end = inner_loop(
            lambda w: losses(w, mixture, x), share(weights, 2), steps=2, lr=0.05, order="second"
        )
        return losses(end, mixture, query).mean()

    groups = [list(logits.values()), list(weights.values())]
    all_gradients = torch.autograd.grad(meta_loss(), [*groups[0], *groups[1]])
    n_logits = len(logits)
    for leaves, gradients in zip(
        groups, (all_gradients[:n_logits], all_gradients[n_logits:]), strict=True
    ):
        directions = [torch.randn(w.shape, generator=draw, dtype=torch.float64) for w in leaves]
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                for leaf, direction in zip(leaves, directions, strict=True):
                    leaf.add_(direction, alpha=sign * 1e-7)
            values.append(meta_loss().item())
            with torch.no_grad():
                for leaf, direction in zip(leaves, directions, strict=True):
                    leaf.add_(direction, alpha=-sign * 1e-7)
        numeric = (values[0] - values[1]) / 2e-7
        found = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
        assert abs(numeric) > 1e-4
        assert found == pytest.approx(numeric, rel=1e-4)


@pytest.mark.parametrize("space", [SPACE, ALL_EIGHT], ids=["metanas", "darts"])
def test_a_batch_of_tasks_equals_a_loop(space: CellNetwork) -> None:
    weights, mixture, x = own_weights(space, 3), soft_mixture(space, 3), images(3)
    together = space.forward(weights, mixture, x)
    for t in range(3):
        w = {name: weight[t : t + 1] for name, weight in weights.items()}
        m = {key: weight[t : t + 1] for key, weight in mixture.items()}
        torch.testing.assert_close(space.forward(w, m, x[t : t + 1]), together[t : t + 1])
        shared = space.forward(w, m, x)
        torch.testing.assert_close(shared[t], together[t])


@pytest.mark.parametrize("space", [SPACE, ALL_EIGHT], ids=["metanas", "darts"])
def test_tasks_at_once_equal_tasks_one_after_another_with_their_gradients(
    space: CellNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, mixture, x = own_weights(space, 3), soft_mixture(space, 3), images(3)
    inputs = [leaf.requires_grad_() for leaf in (*weights.values(), *mixture.values(), x)]
    found = []
    for limit, at_once in ((1, 1), (10**6, 3)):
        monkeypatch.setattr(supernet, "MAPS_AT_ONCE", limit)
        assert min(3, space.tasks_at_once(5)) == at_once
        y = space.forward(weights, mixture, x)
        first = torch.autograd.grad(y.sin().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        found.append([y, *first, *second])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_tasks_run_at_once_where_their_maps_fit_and_their_operations_overlap() -> None:
    assert SPACE.tasks_at_once(5) == supernet.MAPS_AT_ONCE // (5 * 2 * 7 * 8)
    large = metanas(MetaNasParams(), TaskShape("classification", (1, 28, 28), 20))
    assert large.tasks_at_once(20) == 1
    mixture, choices = soft_mixture(SPACE, 2), SPACE.choices()
    assert overlap(mixture, choices) == 1
    assert overlap({}, {}) == 1  # of a child
    for key in choices:
        mixture[key] = torch.zeros_like(mixture[key])
        mixture[key][0, :, 0] = mixture[key][1, :, 1] = 1
    assert overlap(mixture, choices) == 0.5
    mixture = {key: weights.requires_grad_() for key, weights in mixture.items()}
    assert overlap(mixture, choices) == 1  # a gradient is asked for, so all are computed


def test_an_accelerator_computes_all_tasks_at_once_and_gets_the_same() -> None:
    weights, mixture, x = own_weights(SPACE, 2), soft_mixture(SPACE, 2), images(2)
    mixture[NORMAL][:, :, 3] = 0
    mixture |= SPACE.drop_paths(2, 5, rate=0.3, rng=rng())
    expected = SPACE.forward(weights, mixture, x)
    with fake_accelerator() as device:
        moved = [{n: w.to(device) for n, w in group.items()} for group in (weights, mixture)]
        out = SPACE.forward(moved[0], moved[1], x.to(device))
        assert_on(device, out)
        torch.testing.assert_close(out.cpu(), expected)


def test_operations_without_weight_are_not_computed_and_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights, mixture, x = own_weights(SPACE, 2), soft_mixture(SPACE, 2), images(2)
    for task, operation in ((0, "conv-3x3"), (1, "sep-conv-3x3")):
        mixture[NORMAL][task, 1, SPACE.choices()[NORMAL].primitives.index(operation)] = 0
    mixture[REDUCTION + INPUTS][:, 1] = 0
    computed = {key: weight.clone().requires_grad_() for key, weight in mixture.items()}
    expected = SPACE.forward(weights, computed, x)
    torch.testing.assert_close(SPACE.forward(weights, mixture, x), expected)
    # Had it been computed, a weight of 0 times not-a-number would show.
    monkeypatch.setattr(supernet, "MAPS_AT_ONCE", 1)  # at once, operations of any task are
    poisoned = {name: weight.clone() for name, weight in weights.items()}
    poisoned["cell0.edge1-2.conv-3x3.pointwise1"][0] = torch.nan
    poisoned["cell0.edge1-2.sep-conv-3x3.pointwise1"][1] = torch.nan
    torch.testing.assert_close(SPACE.forward(poisoned, mixture, x), expected)
    assert SPACE.forward(poisoned, computed, x).isnan().any()


def test_an_accelerator_leaves_out_what_a_decoded_architecture_does_not_have() -> None:
    weights, x = own_weights(SPACE, 2), images(2)
    hard = harden(soft_mixture(SPACE, 2), SPACE.choices())
    expected = SPACE.forward(weights, hard, x)
    with fake_accelerator() as device:
        there = x.to(device)
        mixture = place(hard, there)
        assert_on(device, [mixture[key] for key in hard])
        for kind, choices in SPACE.choices().items():
            needed = torch.tensor(amounts(mixture, kind, choices).needed)
            assert needed.equal((hard[kind] != 0).any(0))
            assert not needed.all()
        moved = {name: weight.to(device) for name, weight in weights.items()}
        torch.testing.assert_close(SPACE.forward(moved, mixture, there).cpu(), expected)


def test_a_node_that_lost_all_its_operations_is_zero() -> None:
    weights, mixture, x = own_weights(SPACE, 1), soft_mixture(SPACE, 1), images(1)
    for kind in (NORMAL, REDUCTION):
        mixture[kind][:, :2] = 0
    computed = {key: weight.clone().requires_grad_() for key, weight in mixture.items()}
    torch.testing.assert_close(
        SPACE.forward(weights, mixture, x), SPACE.forward(weights, computed, x)
    )


def test_straight_through_weights_keep_their_gradient_where_they_are_zero() -> None:
    weights, soft, x = own_weights(SPACE, 1), soft_mixture(SPACE, 1), images(1)
    soft = {kind: soft[kind].requires_grad_() for kind in (NORMAL, REDUCTION)}
    hard = {key: (weight > 0.5) + weight - weight.detach() for key, weight in soft.items()}
    out = SPACE.forward(weights, hard, x).square().sum()
    gradients = torch.autograd.grad(out, list(soft.values()))
    normal, off = gradients[0], soft[NORMAL] < 0.5
    assert normal[off].count_nonzero() > 0.9 * off.sum()


def test_an_edge_counts_by_the_pairs_it_belongs_to() -> None:
    choices = CellChoices(((0, 2), (1, 2), (0, 3), (1, 3), (2, 3)), ("skip",), input_pairs=True)
    mixture = {"c": torch.ones(1, 5, 1), "c" + INPUTS: torch.tensor([[0.5, 0.1, 0.2, 0.4]])}
    given = amounts(mixture, "c", choices)
    found = torch.cat([edge[0] for edge in given.by_operation])
    torch.testing.assert_close(found, torch.tensor([0.5, 0.5, 0.3, 0.5, 0.6]))
    assert membership(choices, mixture["c"]).sum(1).eq(2).all()


def test_norms_in_cells_of_a_supernet_have_no_scale_and_those_of_a_child_do() -> None:
    for space, pools in ((metanas(MetaNasParams(), TASK), True), (tnas(TnasParams(), TASK), False)):
        norms = [name for name in space.init_weights(rng=rng()) if ".norm." in name]
        assert norms
        assert all(name.startswith("stem") for name in norms)
        kept = {
            kind: [Edge(0, 2, "avg-pool-3x3"), Edge(1, 2, "sep-conv-3x3")]
            for kind in (NORMAL, REDUCTION)
        }
        child = space.child(Genotype.of(kept)).init_weights(rng=rng())
        assert {f"cell0.edge1-2.sep-conv-3x3.{n}.scale" for n in ("norm", "inner1.norm")} <= set(
            child
        )
        assert ("cell0.edge0-2.avg-pool-3x3.norm.scale" in child) == pools


def test_drop_path_drops_operations_of_examples_but_no_identity() -> None:
    space = metanas(MetaNasParams(channels=2, cells=2), TASK).child(PUBLISHED["metanas-omniglot"])
    weights, x = own_weights(space, 2), images(2)
    expected = space.forward(weights, {}, x)
    nothing = space.drop_paths(2, 5, rate=0.0, rng=rng())
    torch.testing.assert_close(space.forward(weights, nothing, x), expected)
    drawn = space.drop_paths(2, 5, rate=0.4, rng=rng())
    again = space.drop_paths(2, 5, rate=0.4, rng=rng())
    assert sorted(drawn) == ["cell0.drop", "cell1.drop"]
    for key, mask in drawn.items():
        assert mask.shape == (2, 6, 5)  # an operation on each of six edges
        assert torch.equal(mask, again[key])
        torch.testing.assert_close(mask.unique(), torch.tensor([0, 1 / 0.6]))
    assert not torch.allclose(space.forward(weights, drawn, x), expected)
    skips = {kind: [Edge(source, 2, "skip") for source in (0, 1)] for kind in (NORMAL, REDUCTION)}
    flat = metanas(MetaNasParams(channels=2, cells=1), TASK).child(Genotype.of(skips))
    weights = own_weights(flat, 1)
    all_dropped = {"cell0.drop": torch.zeros(1, 2, 5)}
    out = flat.forward(weights, all_dropped, images(1))
    assert torch.equal(out, flat.forward(weights, {}, images(1)))


def test_a_dropped_operation_is_absent_for_that_example_alone() -> None:
    """The cell is linear in its operations: each is what it adds alone, times its own mask."""
    space = metanas(MetaNasParams(channels=2, cells=1, nodes=1), TASK)
    weights, x = own_weights(space, 2), images(2)
    (drawn,) = space.drop_paths(2, 5, rate=0.5, rng=rng()).values()
    (cell,) = space._cells
    assert drawn.shape == (2, len(cell.candidates), 5)
    assert len(cell.candidates) == 2 * 7
    inputs = [Feed(torch.randn(2, 5, 6, 4, 4, generator=rng(i)).double()) for i in (1, 2)]
    mixture, choices = soft_mixture(space, 2), space.choices()[NORMAL]
    found = cell.forward(weights, amounts(mixture, NORMAL, choices), drawn.double(), *inputs)
    expected = torch.zeros_like(found)
    for i, candidate in enumerate(cell.candidates):
        alone = torch.zeros_like(mixture[NORMAL])
        place = (slice(None), candidate.edge, candidate.operation)
        alone[place] = mixture[NORMAL][place]
        given = amounts(mixture | {NORMAL: alone}, NORMAL, choices)
        mask = torch.ones(2, 5) if candidate.identity else drawn[:, i]
        added = cell.forward(weights, given, None, *inputs)
        expected += mask.double()[:, :, None, None, None] * added
    torch.testing.assert_close(found, expected)
    rates = {tuple(row) for row in drawn.flatten(1).t().tolist()}
    assert len(rates) > 2  # masks of operations on one edge, and of tasks, differ
    assert torch.isfinite(space.forward(weights, mixture | {"cell0.drop": drawn.double()}, x)).all()


def test_an_operation_that_a_child_has_twice_is_dropped_twice() -> None:
    space = metanas(MetaNasParams(channels=2, cells=2), TASK).child(PUBLISHED["auto-meta"])
    kept = dict(PUBLISHED["auto-meta"].cells)[NORMAL]
    assert len({(e.source, e.target) for e in kept}) < len(kept)
    assert space.drop_paths(1, 3, rate=0.2, rng=rng())["cell0.drop"].shape == (1, len(kept), 3)


def test_the_norm_can_differentiate_for_an_expanded_scale() -> None:
    """PyTorch's backward pass on maps with channels innermost reads past such a scale."""
    x = torch.randn(1, 4, 64, 7, 7, generator=rng(), dtype=torch.float64)
    x = x.transpose(2, 4).contiguous().transpose(2, 4).requires_grad_()
    scale = torch.full((1, 1), 0.3, dtype=torch.float64)
    factor = torch.randn(1, 4, 64, 7, 7, generator=rng(1), dtype=torch.float64)
    found, wanted = (
        torch.autograd.grad((tasknn.batch_norm(x, s) * factor).sum(), x)[0]
        for s in (scale.expand(1, 64), scale.repeat(1, 64))
    )
    assert torch.equal(found, wanted)
