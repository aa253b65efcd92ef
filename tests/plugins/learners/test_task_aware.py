"""HSML and M-NAS: each reduces to MAML when its own part is switched off; its parts by hand."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import small_tasks
import torch
from small_tasks import generator as rng
from torch import Tensor
from torch.nn import functional

from metabench.inner_steps import inner_loop, share
from metabench.plugin.contracts.episode import EpisodeShape, Labelled, TaskBatch, TaskShape
from metabench.plugin.contracts.learner import LearnerContext
from metabench_plugins.learners.hsml import Hsml, HsmlParams, Tree
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.mnas import Mnas, MnasParams, drop_paths
from metabench_plugins.learners.parts.gates import Gates
from metabench_plugins.learners.parts.gradient_learner import GradientLearner
from metabench_plugins.learners.parts.task_encoder import ImageEmbedding, TaskEncoder
from metabench_plugins.spaces.mlp import Mlp, MlpParams
from metabench_plugins.spaces.toy_cell import CELL, ToyCell, ToyCellParams
from metabench_plugins.strategies.darts import Darts, DartsParams
from metabench_plugins.strategies.fixed import Fixed, FixedParams
from metabench_plugins.strategies.gumbel import Gumbel, GumbelParams
from metabench_plugins.strategies.parts.decoding import harden

TASK = TaskShape("regression", (1,), 1)
TASKS = 4
INNER_STEPS = 3
INNER = {"inner_lr": 0.05, "inner_steps": INNER_STEPS}


pytestmark = pytest.mark.usefixtures("in_float64")


def context(params: Any, *, searched: bool = False) -> LearnerContext:
    cell = ToyCell(ToyCellParams(width=6, norm="none"), TASK)
    return LearnerContext(
        params=params,
        task=TASK,
        shape=EpisodeShape(1, 6, 5),
        space=cell if searched else Mlp(MlpParams(hidden=2, width=6), TASK),
        strategy=Darts(DartsParams()) if searched else None,
        steps_at_test=3,
        curve_steps=4,
        transductive=True,
        meta_steps=10,
        device=torch.device("cpu"),
        rng=rng(),
    )


def batch(seed: int = 1) -> TaskBatch:
    draw = rng(seed)
    x, q = torch.randn(TASKS, 6, 1, generator=draw), torch.randn(TASKS, 5, 1, generator=draw)
    names = tuple(map(str, range(TASKS)))
    return TaskBatch(Labelled(x, x.sin()), Labelled(q, q.sin()), names, names)


def same_weights_after_a_step(learner: GradientLearner, other: GradientLearner) -> None:
    for step in range(2):
        for one in (learner, other):
            one.meta_step(batch(step), progress=0.0, rng=rng(step))
    for name, weight in other.outer.weights.items():
        assert torch.allclose(learner.outer.weights[name], weight, rtol=1e-9, atol=1e-11), name


def hsml(**params: Any) -> Hsml:
    return Hsml(context(HsmlParams(**{"embedding": 8, **INNER, **params})))


def mnas(**params: Any) -> Mnas:
    return Mnas(context(MnasParams(**{"embedding": 8, **INNER, **params}), searched=True))


@pytest.mark.parametrize("tree", [True, False])
def test_hsml_with_open_gates_is_maml(tree: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gates, "forward", lambda self, z, weights: weights)
    learner = hsml(tree=tree, penalty=0.0)
    same_weights_after_a_step(learner, Maml(context(MamlParams(**INNER))))


def test_gates_saturated_at_one_are_maml_too() -> None:
    learner = hsml(tree=False, penalty=0.0)
    with torch.no_grad():
        learner._gates.weight.zero_()
        learner._gates.bias.fill_(50.0)
    same_weights_after_a_step(learner, Maml(context(MamlParams(**INNER))))


def plain_outer_loss(
    learner: Hsml | Mnas, tasks: TaskBatch, gated: list[dict[str, Tensor]], mixture: dict[str, Any]
) -> Tensor:
    """Inner loops and query losses of one task after another."""
    total = torch.zeros(())
    for t, own in enumerate(gated):
        of_task = {key: weights[t : t + 1] for key, weights in mixture.items()}

        def loss(w: dict[str, Tensor], data: Labelled, t: int = t, m: Any = of_task) -> Tensor:
            outputs = learner.space.forward({n: v[None] for n, v in w.items()}, m, data.x[t][None])
            return (outputs[0] - data.y[t]).square().mean()

        w = own
        for _ in range(INNER_STEPS):
            slopes = torch.autograd.grad(
                loss(w, tasks.support),
                list(w.values()),
                create_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            w = {n: v - INNER["inner_lr"] * g for (n, v), g in zip(w.items(), slopes, strict=True)}
        total = total + loss(w, tasks.query)
    return total / TASKS


def gated_by_hand(learner: Hsml | Mnas, representation: Tensor) -> list[dict[str, Tensor]]:
    """Each start weight times the sigmoid of its own row of the modulator, task by task."""
    assert learner._gates is not None
    rows = torch.sigmoid(representation @ learner._gates.weight.T + learner._gates.bias)
    sizes = [weight.numel() for weight in learner._weights.values()]
    return [
        {
            name: weight * gate.view(weight.shape)
            for (name, weight), gate in zip(learner._weights.items(), row.split(sizes), strict=True)
        }
        for row in rows
    ]


def check_outer_gradient(
    learner: Hsml | Mnas, tasks: TaskBatch, *, progress: float, loss: Tensor, penalty: Tensor
) -> None:
    """Loss, penalty and the gradient of their sum by every weight, against given values."""
    start = learner.begin(tasks.support, rng=rng(), progress=progress)
    found = learner.outer_gradient(start, tasks)
    assert found.penalty is not None
    assert float(found.loss) == pytest.approx(float(loss.detach()), rel=1e-10)
    assert float(found.penalty) == pytest.approx(float(penalty.detach()), rel=1e-10)
    expected = torch.autograd.grad(
        loss + penalty, list(learner.outer.weights.values()), allow_unused=True
    )
    for name, ours, theirs in zip(learner.outer.weights, found.gradients, expected, strict=True):
        assert (ours is None) == (theirs is None), name
        if ours is not None and theirs is not None:
            assert torch.allclose(ours, theirs, rtol=1e-8, atol=1e-12), name


@pytest.mark.parametrize("tree", [True, False])
def test_the_outer_gradient_of_hsml_is_that_of_a_plain_loop(tree: bool) -> None:
    learner, tasks = hsml(tree=tree, penalty=0.3), batch()
    z, error = learner._encoder(tasks.support)
    read = z if learner._tree is None else torch.cat([z, learner._tree(z)], dim=1)
    loss = plain_outer_loss(learner, tasks, gated_by_hand(learner, read), {})
    check_outer_gradient(learner, tasks, progress=0.0, loss=loss, penalty=0.3 * error)


@pytest.mark.parametrize("progress", [0.0, 0.9], ids=["search", "decoded"])
def test_the_outer_gradient_of_mnas_is_that_of_a_plain_loop(progress: float) -> None:
    """Controller and gates read one embedding; at the end, decoded weights and soft gradients."""
    learner, tasks = mnas(path_dropout=0.0, hard_fraction=0.2, penalty=0.3), batch()
    assert learner._controller is not None
    with torch.no_grad():  # so that tasks have architectures of their own
        learner._controller.output.weight.normal_(std=2.0, generator=rng(9))
    z, error = learner._encoder(tasks.support)
    soft = learner._controller(z)[CELL].softmax(dim=-1)
    mixture = soft
    if progress:
        hard = harden({CELL: soft}, learner.space.choices())[CELL]
        assert not torch.equal(hard[0], hard[1])
        mixture = hard + soft - soft.detach()
    loss = plain_outer_loss(learner, tasks, gated_by_hand(learner, z), {CELL: mixture})
    check_outer_gradient(learner, tasks, progress=progress, loss=loss, penalty=0.3 * error)


def test_the_architecture_has_a_rate_of_its_own() -> None:
    for learner in (mnas(), mnas(architecture="shared")):
        rates = {name: group.lr for group in learner.outer.groups for name in group.weights}
        assert {name: 1e-4 if is_of_architecture(name) else 1e-3 for name in rates} == rates
        assert any(map(is_of_architecture, rates))


def is_of_architecture(name: str) -> bool:
    return name.startswith(("controller.", "arch."))


@pytest.mark.parametrize(("architecture", "end"), [("task", 1.0), ("shared", 0.5)])
def test_the_rate_of_dropped_paths_falls_to_0_over_the_search(
    architecture: str, end: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def watched(arch: Any, *, rate: float, rng: torch.Generator) -> Any:
        rates.append(rate)
        return drop_paths(arch, rate=rate, rng=rng)

    monkeypatch.setattr("metabench_plugins.learners.mnas.drop_paths", watched)
    learner, tasks = mnas(architecture=architecture), batch()
    for part in (0.0, 0.5, 0.75):
        learner.begin(tasks.support, rng=rng(), progress=part * end)
    assert rates == pytest.approx([0.2, 0.1, 0.05])
    learner.adapt(tasks.support, rng=rng())
    assert len(rates) == 3


@pytest.mark.parametrize("modulate", [False, True], ids=["without gates", "open gates"])
def test_mnas_with_a_constant_controller_is_maml_on_the_mixed_network(
    modulate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gates, "forward", lambda self, z, weights: weights)
    learner = mnas(modulate=modulate, path_dropout=0.0, hard_fraction=0.0, penalty=0.0)
    assert learner._controller is not None
    with torch.no_grad():
        learner._controller.output.weight.zero_()
    logits = learner._controller.output.bias.detach().clone()
    mixture = {CELL: logits.view(1, 9, 3).softmax(-1)}
    weights = {n: w.detach().clone().requires_grad_() for n, w in learner._weights.items()}
    tasks = batch()

    def loss(w: dict[str, Tensor], data: Labelled) -> Tensor:
        return (learner.space.forward(w, mixture, data.x) - data.y).square().mean((1, 2))

    adapted = inner_loop(
        lambda w: loss(w, tasks.support), share(weights, TASKS), steps=3, lr=0.05, order="second"
    )
    gradients = torch.autograd.grad(loss(adapted, tasks.query).mean(), list(weights.values()))
    adam = torch.optim.Adam(weights.values(), lr=0.001)
    for weight, gradient in zip(weights.values(), gradients, strict=True):
        weight.grad = gradient
    adam.step()
    learner.meta_step(tasks, progress=0.0, rng=rng())
    for name, weight in weights.items():
        assert torch.allclose(learner._weights[name], weight, rtol=1e-9, atol=1e-11), name


def test_under_a_strategy_that_draws_it_is_tested_without_noise() -> None:
    strategy = Gumbel(GumbelParams())
    searching = replace(context(MnasParams(**INNER), searched=True), strategy=strategy)
    learner, tasks = Mnas(searching), batch()
    assert learner._controller is not None
    with torch.no_grad():
        learner._controller.output.bias.normal_(generator=rng())
        z, _ = learner._encoder(tasks.support)
        logits = learner._controller(z)
    decoded = [
        strategy.discretize(learner._supernet, {CELL: logits[CELL][task]}) for task in range(TASKS)
    ]
    for seed in range(3):
        assert learner.adapt(tasks.support, rng=rng(seed)).genotypes == decoded


@pytest.mark.parametrize(("architecture", "end"), [("task", 1.0), ("shared", 0.5)])
def test_the_annealing_runs_over_the_search(
    architecture: str, end: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    mixture = Darts.mixture

    def watched(self: Darts, *args: Any, sharpness: float, **others: Any) -> Any:
        asked.append(sharpness)
        return mixture(self, *args, sharpness=sharpness, **others)

    monkeypatch.setattr(Darts, "mixture", watched)
    learner, tasks = mnas(architecture=architecture), batch()
    for part in (0.0, 0.5, 0.9):
        learner.meta_step(tasks, progress=part * end, rng=rng())
    learner.adapt(tasks.support, rng=rng())
    assert asked == [0.0, 0.5, 0.9, 1.0]


def test_all_heads_receive_gradients() -> None:
    learner = mnas()
    before = {name: weight.detach().clone() for name, weight in learner.outer.weights.items()}
    learner.meta_step(batch(), progress=0.0, rng=rng())
    still = [n for n, w in learner.outer.weights.items() if torch.equal(w, before[n])]
    assert not still


def test_the_hard_phase_trains_the_controller_through_the_decoded_network() -> None:
    learner = mnas(hard_fraction=0.5, path_dropout=0.0)
    start = learner.begin(batch().support, rng=rng(), progress=0.6)
    mix = start.mixture[CELL]
    assert torch.allclose(mix, mix.round(), atol=1e-12)
    assert ((mix.round() == 1).sum((1, 2)) == 6).all()
    assert mix.requires_grad
    relaxed = learner.begin(batch().support, rng=rng(), progress=0.4).mixture[CELL]
    assert not torch.allclose(relaxed, relaxed.round(), atol=1e-3)


def test_at_meta_test_each_task_runs_its_decoded_network() -> None:
    learner = mnas()
    with torch.no_grad():
        assert learner._controller is not None
        learner._controller.output.weight.normal_(std=5.0, generator=rng(9))
    adapted = learner.adapt(batch().support, rng=rng())
    assert adapted.genotypes is not None
    assert adapted.n_params is not None
    assert adapted.embedding is not None
    assert adapted.embedding.shape == (TASKS, 8)
    cell = ToyCell(ToyCellParams(width=6, norm="none"), TASK)
    for genotype, n_params in zip(adapted.genotypes, adapted.n_params, strict=True):
        weights = cell.child(genotype).init_weights(rng=rng())
        assert n_params == sum(weight.numel() for weight in weights.values())


def test_dropped_paths_keep_one_operation_and_the_rate() -> None:
    arch = {CELL: torch.zeros(3000, 9, 3)}
    kept = drop_paths(arch, rate=0.5, rng=rng())[CELL].isfinite()
    assert (kept.sum(-1) >= 1).all()
    # An operation goes with probability 1/2, but never the last one: 1/2 - 1/3 * (1/2)^3.
    assert 1 - kept.double().mean().item() == pytest.approx(1 / 2 - 1 / 24, abs=0.01)
    assert drop_paths(arch, rate=0.0, rng=rng()) is arch


def test_shared_decodes_once_and_trains_the_child_anew() -> None:
    learner = mnas(architecture="shared", search_fraction=0.5)
    learner.meta_step(batch(), progress=0.4, rng=rng())
    assert learner.space.choices()
    encoder = learner.outer.weights["encoder.embed.weight"].detach().clone()
    learner.meta_step(batch(), progress=0.5, rng=rng(1))
    assert not learner.space.choices()
    assert learner._genotype is not None
    assert torch.allclose(encoder, learner.outer.weights["encoder.embed.weight"], atol=0.002)
    adapted = learner.adapt(batch().support, rng=rng())
    assert adapted.genotypes == [learner._genotype] * TASKS


def test_retraining_fixes_the_architectures_and_draws_weights_anew() -> None:
    learner = mnas(retrain_fraction=0.5)
    assert learner.searching
    learner.meta_step(batch(), progress=0.2, rng=rng())
    before = {name: weight.detach().clone() for name, weight in learner.outer.weights.items()}
    found = learner.adapt(batch().support, rng=rng()).genotypes
    for step in range(3):
        learner.meta_step(batch(step), progress=0.5 + 0.1 * step, rng=rng(step))
    assert not learner.searching
    assert learner.adapt(batch().support, rng=rng()).genotypes == found
    for name, weight in learner.outer.weights.items():
        fixed = name.startswith(("encoder.", "controller."))
        assert torch.equal(weight, before[name]) == fixed, name


def test_tuning_the_controller_alone_leaves_the_rest() -> None:
    learner = mnas(tuned="controller", hard_fraction=0.2)
    learner.meta_step(batch(), progress=0.7, rng=rng())
    before = {name: weight.detach().clone() for name, weight in learner.outer.weights.items()}
    learner.meta_step(batch(2), progress=0.8, rng=rng())
    assert not learner.searching
    for name, weight in learner.outer.weights.items():
        assert torch.equal(weight, before[name]) != name.startswith("controller."), name


def test_with_retraining_the_decoded_architectures_run_at_the_end_of_the_search() -> None:
    """The hard part is the last ``hard_fraction`` of the search, whatever comes after it."""
    learner = mnas(retrain_fraction=0.5, hard_fraction=0.2)
    soft, hard = (
        learner.begin(batch().support, rng=rng(), progress=progress).mixture[CELL]
        for progress in (0.39, 0.4)
    )
    assert ((hard == 0) | (hard == 1)).all()
    assert not ((soft == 0) | (soft == 1)).all()


def test_a_strategy_that_gives_one_architecture_gives_it_to_each_task() -> None:
    own = context(MnasParams(embedding=8, **INNER, architecture="shared"), searched=True)
    learner = Mnas(replace(own, strategy=Fixed(FixedParams())))
    adapted = learner.adapt(batch().support, rng=rng())
    assert adapted.genotypes is not None
    assert adapted.n_params is not None
    assert len(adapted.genotypes) == len(adapted.n_params) == TASKS
    assert len(set(adapted.genotypes)) == 1


PHASES = {
    "task": {"architecture": "task"},
    "shared": {"architecture": "shared"},
    "tuned": {"tuned": "controller"},
    "retrained": {"retrain_fraction": 0.2},
}


@pytest.mark.parametrize("progress", [0.1, 0.6, 0.9])
@pytest.mark.parametrize("kind", PHASES)
def test_a_restored_learner_goes_on_bit_by_bit(kind: str, progress: float) -> None:
    whole = mnas(**PHASES[kind])
    whole.meta_step(batch(1), progress=progress, rng=rng(1))
    again = mnas(**PHASES[kind])
    again.load_state_dict(whole.state_dict())
    for learner in (whole, again):
        learner.meta_step(batch(2), progress=progress, rng=rng(2))
    assert whole.outer.weights.keys() == again.outer.weights.keys()
    for name, weight in whole.outer.weights.items():
        assert torch.equal(weight, again.outer.weights[name])


@pytest.mark.parametrize("kind", PHASES)
def test_a_state_of_an_earlier_phase_is_restored_as_a_new_learner_would(kind: str) -> None:
    """The best weights may be older than the phase in which meta-training ends."""
    whole, again = mnas(**PHASES[kind]), mnas(**PHASES[kind])
    whole.meta_step(batch(1), progress=0.1, rng=rng(1))
    state = copy.deepcopy(whole.state_dict())
    whole.meta_step(batch(2), progress=0.9, rng=rng(2))
    for learner in (whole, again):
        learner.load_state_dict(state)
        learner.meta_step(batch(3), progress=0.2, rng=rng(3))
    assert whole.outer.weights.keys() == again.outer.weights.keys()
    for name, weight in whole.outer.weights.items():
        assert torch.equal(weight, again.outer.weights[name]), name


def test_another_architecture_is_restored_in_the_same_phase() -> None:
    """As those of two seeds, whose networks differ in their weights."""
    learners = []
    for chosen in (0, 1):
        learner = mnas(architecture="shared")
        (logits,) = learner._arch.values()
        logits.data[:, chosen] += 1
        learner.meta_step(batch(1), progress=0.9, rng=rng(1))
        learners.append(learner)
    linear, skips = learners
    assert linear._genotype != skips._genotype
    linear.load_state_dict(skips.state_dict())
    assert linear._genotype == skips._genotype
    found, wanted = (one.adapt(batch().support, rng=rng()) for one in learners)
    assert torch.equal(found.predict(batch().query.x), wanted.predict(batch().query.x))


def test_the_encoder_averages_states_and_reconstructs_last_sample_first() -> None:
    encoder = TaskEncoder(HsmlParams(embedding=5), TASK)
    support = batch().support
    z, error = encoder(support)
    total = torch.zeros(())
    for t in range(TASKS):
        samples = encoder.embed(torch.cat([support.x[t], support.y[t]], dim=1))
        states, _ = encoder.encoder(samples[None])
        assert torch.allclose(z[t], states[0].mean(0))
        state, given = states[:, -1], torch.zeros(1, samples.shape[1])
        for j in reversed(range(len(samples))):
            state = encoder.decoder(given, state)
            given = encoder.output(state)
            total = total + (samples[j] - given[0]).square().sum()
    assert torch.allclose(error, total / (TASKS * 6 * 20))
    # What is to be reconstructed is not held constant.
    (ours,) = torch.autograd.grad(error, encoder.embed.weight, retain_graph=True)
    (expected,) = torch.autograd.grad(total / (TASKS * 6 * 20), encoder.embed.weight)
    assert torch.allclose(ours, expected, rtol=1e-9)
    summed = TaskEncoder(HsmlParams(embedding=5, penalty_reduction="sum"), TASK)
    summed.load_state_dict(encoder.state_dict())
    assert torch.allclose(summed(support)[1], error * 6 * 20)


def test_images_and_labels_make_a_task_vector() -> None:
    task = TaskShape("classification", (3, 12, 12), 3)
    encoder = TaskEncoder(HsmlParams(embedding=7), task)
    x, y = torch.rand(2, 6, 3, 12, 12, generator=rng()), torch.arange(3).repeat(2, 2)
    z, error = encoder(Labelled(x, y))
    assert z.shape == (2, 7)
    assert error.dim() == 0
    other, _ = encoder(Labelled(x, (y + 1) % 3))
    assert not torch.allclose(z, other)
    assert ImageEmbedding((3, 84, 84)).hidden.in_features == 14_112


def test_images_are_embedded_by_the_layers_of_the_source() -> None:
    """Convolution, pool, norm over 9 channels; convolution, norm, pool; two linear layers."""
    embedding = ImageEmbedding((3, 8, 8))
    images = 300 * torch.rand(2, 3, 8, 8, generator=rng())

    def normed(x: Tensor) -> Tensor:
        squares = torch.stack(
            [x[:, max(0, c - 4) : c + 5].square().sum(dim=1) for c in range(x.shape[1])], dim=1
        )
        return x / (1 + 0.001 / 9 * squares) ** 0.75

    def pooled(x: Tensor) -> Tensor:
        padded = functional.pad(x, (1, 1, 1, 1), value=-torch.inf)
        return padded.unfold(2, 3, 2).unfold(3, 3, 2).amax(dim=(4, 5))

    x = functional.conv2d(images, embedding.first.weight, padding=2).relu()
    x = normed(pooled(x))
    x = functional.conv2d(x, embedding.second.weight, padding=2).relu()
    x = pooled(normed(x))
    hidden = (x.flatten(1) @ embedding.hidden.weight.T + embedding.hidden.bias).relu()
    expected = hidden @ embedding.output.weight.T + embedding.output.bias
    assert torch.allclose(embedding(images), expected, rtol=1e-10)
    assert [float(layer.bias.detach()[0]) for layer in (embedding.hidden, embedding.output)] == (
        pytest.approx([0.1, 0.1])
    )


@pytest.mark.parametrize(("kind", "scale"), [("regression", 2.0), ("classification", 10.0)])
def test_the_clusters_of_images_are_wider(kind: str, scale: float) -> None:
    params = HsmlParams()
    own = context(params) if kind == "regression" else small_tasks.context(params, kind=kind)
    tree = Hsml(own)._tree
    assert tree is not None
    assert tree._scale == scale


def test_the_tree_by_hand() -> None:
    tree = Tree(3, n_leaves=4, n_nodes=2, scale=2.0)
    z = torch.randn(2, 3, generator=rng())
    out = tree(z)
    for t in range(2):
        near = torch.stack([(-(z[t] - c).square().sum() / 4).exp() for c in tree.centers])
        p = near / near.sum()
        h = [p[k] * torch.tanh(layer(z[t])) for k, layer in enumerate(tree.leaf)]
        nodes = [torch.zeros(3), torch.zeros(3)]
        for value in h:
            g = torch.softmax(tree.assign(value), dim=0)
            for m, layer in enumerate(tree.node):
                nodes[m] = nodes[m] + g[m] * torch.tanh(layer(value))
        root = sum(torch.tanh(tree.root(node)) for node in nodes)
        assert torch.allclose(out[t], root)


def test_gates_are_one_sigmoid_layer_per_tensor_and_spare_norms() -> None:
    shapes = {"a.weight": torch.Size([2, 3]), "a.norm.scale": torch.Size([3])}
    gates = Gates(shapes, width=4)
    z = torch.randn(5, 4, generator=rng())
    weights = {name: torch.ones(5, *shape) for name, shape in shapes.items()}
    gated = gates(z, weights)
    assert torch.equal(gated["a.norm.scale"], weights["a.norm.scale"])
    expected = torch.sigmoid(z @ gates.weight.t() + gates.bias).view(5, 2, 3)
    assert torch.allclose(gated["a.weight"], expected)
    assert gated["a.weight"].mean().item() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("tree", [True, False])
def test_hsml_gates_the_head_of_a_network_without_hidden_layers(tree: bool) -> None:
    given = replace(context(HsmlParams(tree=tree)), space=Mlp(MlpParams(hidden=0), TASK))
    start = Hsml(given).begin(batch().support, rng=rng(), progress=None)
    assert set(start.weights) == {"head.weight", "head.bias"}
    for weights in start.weights.values():
        assert (weights[1:] != weights[:1]).all()
