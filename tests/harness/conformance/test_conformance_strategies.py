"""Checks of a strategy, and of a network with choices: sound ones pass, broken ones fail."""

import dataclasses

import pytest
import torch
from conformance_specs import Demanding, assert_fails, outcomes, space_spec
from pydantic import BaseModel, ConfigDict

from metabench.errors import PluginError, UsageError
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.architecture import CellChoices
from metabench.plugin.contracts.genotype import Edge, Genotype
from metabench.plugin.specs import NasStrategySpec
from metabench_plugins.spaces.mlp import Mlp


class Mixed(Mlp):
    """A linear layer whose output one of two operations scales."""

    def choices(self):
        return {"cell": CellChoices(((0, 1),), ("once", "twice"))}

    def forward(self, weights, mixture, x):
        scale = mixture["cell"] @ torch.tensor([1.0, 2.0], device=x.device)
        return super().forward(weights, {}, x) * scale[:, :, None]

    def child(self, genotype):
        return Mlp(self._params, self._task)


class Immortal(Mixed):
    def child(self, genotype):
        return self


class Softmax:
    def __init__(self, params):
        pass

    def init_arch(self, space, *, rng):
        return {
            cell: torch.randn(len(c.edges), len(c.primitives), generator=rng)
            for cell, c in space.choices().items()
        }

    def mixture(self, space, arch, *, sharpness, rng):
        weights = {cell: logits.softmax(-1) for cell, logits in arch.items()}
        return {cell: w if w.dim() == 3 else w[None] for cell, w in weights.items()}

    def discretize(self, space, arch):
        return Genotype.of({cell: [Edge(0, 1, "once")] for cell in arch})


class Transposed(Softmax):
    def init_arch(self, space, *, rng):
        return {cell: logits.T for cell, logits in super().init_arch(space, rng=rng).items()}


class NoTaskAxis(Softmax):
    def mixture(self, space, arch, *, sharpness, rng):
        return {cell: logits.softmax(-1) for cell, logits in arch.items()}


class Infinite(Softmax):
    def mixture(self, space, arch, *, sharpness, rng):
        return {cell: (logits / (1 - sharpness))[None] for cell, logits in arch.items()}


class OneForAll(Softmax):
    def mixture(self, space, arch, *, sharpness, rng):
        return {cell: logits.softmax(-1)[None] for cell, logits in arch.items()}


class MixesOnCpu(Softmax):
    def mixture(self, space, arch, *, sharpness, rng):
        noise = {cell: torch.rand(logits.shape, generator=rng) for cell, logits in arch.items()}
        noisy = {cell: logits + noise[cell] for cell, logits in arch.items()}
        return super().mixture(space, noisy, sharpness=sharpness, rng=rng)


class Warming(Softmax):
    def temperature(self, sharpness):
        return 0.1 + sharpness


class Pulling(Softmax):
    """It adds a term, and has logits of its own that scale the mixture."""

    def init_arch(self, space, *, rng):
        own = {f"{cell}.scale": torch.ones(2) for cell in space.choices()}
        return super().init_arch(space, rng=rng) | own

    def mixture(self, space, arch, *, sharpness, rng):
        cells = {cell: arch[cell] for cell in space.choices()}
        soft = super().mixture(space, cells, sharpness=sharpness, rng=rng)
        return {
            cell: weights * arch[f"{cell}.scale"].mean(-1).reshape(-1, 1, 1)
            for cell, weights in soft.items()
        }

    def discretize(self, space, arch):
        return Genotype.of({cell: [Edge(0, 1, "once")] for cell in space.choices()})

    def loss_term(self, space, arch, *, sharpness):
        logits = arch["cell"] if arch["cell"].dim() == 3 else arch["cell"][None]
        return logits.square().sum((1, 2))


class Idle(Pulling):
    def mixture(self, space, arch, *, sharpness, rng):
        cells = {cell: arch[cell] for cell in space.choices()}
        return Softmax.mixture(self, space, cells, sharpness=sharpness, rng=rng)


class OneTerm(Pulling):
    def loss_term(self, space, arch, *, sharpness):
        return super().loss_term(space, arch, sharpness=sharpness).sum()


class Mixing(Pulling):
    def loss_term(self, space, arch, *, sharpness):
        own = super().loss_term(space, arch, sharpness=sharpness)
        return own + own.mean()


class Constant(Pulling):
    def loss_term(self, space, arch, *, sharpness):
        return super().loss_term(space, arch, sharpness=sharpness) * 0


class Stray(Softmax):
    def init_arch(self, space, *, rng):
        return super().init_arch(space, rng=rng) | {"stray": torch.zeros(1)}


TERM = "a loss term is one number per task, of the task's own logits"


class Averaging(Softmax):
    """Every task gets the mean mixture of all."""

    def mixture(self, space, arch, *, sharpness, rng):
        found = super().mixture(space, arch, sharpness=sharpness, rng=rng)
        return {cell: weights.mean(0, keepdim=True) for cell, weights in found.items()}


class Competing(Softmax):
    """Tasks share one softmax."""

    def mixture(self, space, arch, *, sharpness, rng):
        owned = {cell: v if v.dim() == 3 else v[None] for cell, v in arch.items()}
        return {cell: v.softmax(-1) * len(v) * v.softmax(0) for cell, v in owned.items()}


class OwnDice(Softmax):
    """It draws by a generator of its own."""

    def __init__(self, params):
        self._rng = torch.Generator().manual_seed(0)

    def mixture(self, space, arch, *, sharpness, rng):
        noisy = {k: v + torch.rand(v.shape, generator=self._rng) for k, v in arch.items()}
        return super().mixture(space, noisy, sharpness=sharpness, rng=rng)


class Reseeding(Softmax):
    def discretize(self, space, arch):
        torch.manual_seed(0)
        return super().discretize(space, arch)


class Nothing(Mixed):
    """A network whose first operation is none."""

    def choices(self):
        return {"cell": CellChoices(((0, 1),), ("zero", "twice"))}


class Greedy(Softmax):
    """It keeps the best operation, whatever it is."""

    def discretize(self, space, arch):
        return Genotype.of(
            {
                cell: [Edge(0, 1, found.primitives[int(arch[cell][0].argmax())])]
                for cell, found in space.choices().items()
            }
        )


class Picky(Mixed):
    """A network that refuses one of the operations that it offers."""

    def child(self, genotype):
        ((_, (edge,)),) = genotype.cells
        if edge.primitive == "twice":
            raise UsageError("Twice is too often.")
        return super().child(genotype)


class Inventive(Softmax):
    def discretize(self, space, arch):
        return Genotype.of({"cell": [Edge(0, 1, "thrice")]})


class Lost(Softmax):
    def discretize(self, space, arch):
        return Genotype.of({"cell": []})


class Astray(Softmax):
    def discretize(self, space, arch):
        return Genotype.of({"cell": [Edge(0, 7, "once")]})


class NoGenotype(Softmax):
    def discretize(self, space, arch):
        return {"cell": [(0, 1, "once")]}


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits):
        weights = logits.softmax(-1)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        (weights,) = ctx.saved_tensors
        return weights * (slope - (slope * weights).sum(-1, keepdim=True))


class FirstOrder(Softmax):
    def mixture(self, space, arch, *, sharpness, rng):
        weights = {cell: _Once.apply(logits) for cell, logits in arch.items()}
        return {cell: w if w.dim() == 3 else w[None] for cell, w in weights.items()}


class Detached(Softmax):
    def mixture(self, space, arch, *, sharpness, rng):
        exps = {cell: logits.exp() for cell, logits in arch.items()}
        weights = {cell: e * (1 / e.sum(-1, keepdim=True)).detach() for cell, e in exps.items()}
        return {cell: w if w.dim() == 3 else w[None] for cell, w in weights.items()}


class Rewriting(Softmax):
    def mixture(self, space, arch, *, sharpness, rng):
        for logits in arch.values():
            logits.data.sub_(logits.data.mean())
        return super().mixture(space, arch, sharpness=sharpness, rng=rng)


class Listing(Softmax):
    def mixture(self, space, arch, *, sharpness, rng):
        return list(arch.values())


SECOND = "its mixture has a second derivative"
APART = "logits of each task give a mixture for each task"
RANDOM = "all randomness comes from the generator"
GENOTYPE = "the genotype is made of the network's choices"


def strategy_spec(factory: type) -> NasStrategySpec:
    return NasStrategySpec(
        name="softmax", version=1, summary="Test.", params=Demanding, factory=factory
    )


@pytest.fixture(scope="module")
def searched(catalog: Catalog) -> Catalog:
    class NoParams(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

    strategy = dataclasses.replace(strategy_spec(Softmax), params=NoParams)
    return dataclasses.replace(
        catalog,
        search_spaces={"mixed": space_spec(Mixed, searched=True, name="mixed")},
        nas_strategies={"softmax": strategy},
    )


def test_sound_searched_network_passes(searched: Catalog) -> None:
    found = outcomes(space_spec(Mixed, searched=True), searched)
    optional = {
        "regression: n_weights counts all weights of an even mixture for each task",
        "regression: canonical genotypes are their own, and as large",
    }
    assert {n for n, o in found.items() if o.status != "ok"} == optional, found


class Restless(Mixed):
    def canonical(self, genotype):
        ((cell, edges),) = genotype.cells
        return Genotype.of({cell: [*edges, *edges]})


class Renaming(Mixed):
    def canonical(self, genotype):
        return Genotype.of({"cell": [Edge(7, 8, "once")]})


class Elsewhere(Mixed):
    def canonical(self, genotype):
        return Genotype.of({"lair": [Edge(0, 1, "once")]})


class Reworded(Mixed):
    def canonical(self, genotype):
        return Genotype.of({"cell": [Edge(0, 1, "one time")]})


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (Restless, "whose canonical genotype is another"),
        (Renaming, "an edge from 7 to 8 that cell 'cell' lacks"),
        (Elsewhere, "a cell 'lair' that the network lacks"),
        (Reworded, "a primitive 'one time' that cell 'cell' lacks"),
    ],
)
def test_canonical_genotypes_that_are_not_fail(searched: Catalog, factory: type, said: str) -> None:
    name = "regression: canonical genotypes are their own, and as large"
    outcome = outcomes(space_spec(factory, searched=True), searched, name)[name]
    assert outcome.status == "FAILED"
    assert said in outcome.reason


def test_child_with_choices_fails(searched: Catalog) -> None:
    name = "regression: the child of a genotype is a fixed network"
    outcome = outcomes(space_spec(Immortal, searched=True), searched, name)[name]
    assert "still has choices" in outcome.reason


def test_sound_strategy_passes(searched: Catalog) -> None:
    found = outcomes(searched.strategy("softmax"), searched)
    optional = {"the temperature never rises and stays above 0", TERM}
    assert {n for n, o in found.items() if o.status != "ok"} == optional, found


def test_every_check_of_a_capable_network_and_strategy_passes(searched: Catalog) -> None:
    class Annealed(Pulling):
        def temperature(self, sharpness):
            return 1.0 - 0.9 * sharpness

    class Counting(Mixed):
        def n_weights(self, mixture, *, threshold=0.0):
            weights = self.init_weights(rng=torch.Generator())
            return [sum(w.numel() for w in weights.values())] * len(mixture["cell"])

        def canonical(self, genotype):
            return genotype

    network = outcomes(space_spec(Counting, searched=True), searched)
    strategy = outcomes(
        dataclasses.replace(searched.strategy("softmax"), factory=Annealed), searched
    )
    assert {o.status for o in (*network.values(), *strategy.values())} == {"ok"}


@pytest.mark.parametrize(
    ("factory", "name", "said"),
    [
        (Transposed, "logits have one row per edge", "(2, 1)"),
        (NoTaskAxis, "a mixture has the shape of the logits", "[tasks or 1, edges"),
        (Infinite, "a mixture has the shape of the logits", "not finite at sharpness 1.0"),
        (
            OneForAll,
            "logits of each task give a mixture for each task",
            "mixture of 1 task has shape",
        ),
        (MixesOnCpu, "it draws nothing at meta-test", "global random state of torch changed"),
        (MixesOnCpu, "it computes on the device of its logits", "same device"),
        (Idle, "logits have one row per edge", "'cell.scale' change neither the mixture nor"),
        (Stray, "logits have one row per edge", "'stray'"),
        (OneTerm, TERM, "must be one finite number, [1]"),
        (Mixing, TERM, "depends on the logits of another"),
        (Constant, TERM, "does not depend on the logits"),
        (Warming, "the temperature never rises and stays above 0", "must not rise"),
        (Lost, GENOTYPE, "the genotype has no edge in cell 'cell'"),
        (Astray, GENOTYPE, "an edge from 0 to 7 that cell 'cell' lacks"),
        (NoGenotype, GENOTYPE, "the genotype is a dict"),
        (FirstOrder, SECOND, "along the logits is 0, and finite differences say"),
        (Detached, SECOND, "finite differences say"),
        (Rewriting, "a mixture has the shape of the logits", "mixture changes the logits"),
        (Listing, "a mixture has the shape of the logits", "mixture returned a list"),
        (Averaging, APART, "depends on the logits of another, for 'cell'"),
        (Competing, APART, "depends on the logits of another, for 'cell'"),
        (OwnDice, RANDOM, "the same generator gives different mixtures"),
        (Reseeding, RANDOM, "the global random state of torch changed"),
        (Inventive, "the genotype is made of the network's choices", "'thrice'"),
    ],
)
def test_broken_strategy_fails_its_check(
    searched: Catalog, factory: type, name: str, said: str
) -> None:
    spec = dataclasses.replace(searched.strategy("softmax"), factory=factory)
    assert_fails(spec, searched, name, said)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Nothing, "on network other: the genotype keeps 'zero' in cell 'cell'"),
        (Picky, "on network other: the network refuses the genotype: Twice is too often."),
    ],
)
def test_a_genotype_must_suit_every_network(searched: Catalog, network: type, said: str) -> None:
    """The first network takes whatever it offers; another does not."""
    spec = dataclasses.replace(searched.strategy("softmax"), factory=Greedy)
    assert outcomes(spec, searched, GENOTYPE)[GENOTYPE].status == "ok"
    both = {**searched.search_spaces, "other": space_spec(network, searched=True, name="other")}
    assert_fails(spec, dataclasses.replace(searched, search_spaces=both), GENOTYPE, said)


def test_a_network_that_a_strategy_refuses_is_left_out(searched: Catalog) -> None:
    class Refusing(Greedy):
        def init_arch(self, space, *, rng):
            if isinstance(space, Nothing):
                raise UsageError("It does not fit.")
            return super().init_arch(space, rng=rng)

    spec = dataclasses.replace(searched.strategy("softmax"), factory=Refusing)
    both = {"other": space_spec(Nothing, searched=True, name="other"), **searched.search_spaces}
    every = dataclasses.replace(searched, search_spaces=both)
    assert outcomes(spec, every, GENOTYPE)[GENOTYPE].status == "ok"
    del both["mixed"]
    every = dataclasses.replace(searched, search_spaces=both)
    assert outcomes(spec, every, GENOTYPE)[GENOTYPE].status == "skipped"


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (Transposed, "logits have shapes {'cell': (2, 1)}; they must be {'cell': (1, 2)}."),
        (Stray, "'stray'"),
        (Listing, "mixture returned a list"),
        (NoTaskAxis, "the mixture of 'cell' has shape (1, 2)"),
        (Lost, "the genotype has no edge in cell 'cell'"),
        (Inventive, "'thrice'"),
    ],
)
def test_planning_refuses_what_the_kit_refuses(searched: Catalog, factory: type, said: str) -> None:
    spec = dataclasses.replace(searched.strategy("softmax"), factory=factory)
    wrong = dataclasses.replace(
        searched, nas_strategies={"softmax": spec}, learners=searched.learners
    )
    request = RunRequest(
        learners=("maml",), suite="toy-regression", budget="smoke", space="mixed:softmax"
    )
    with pytest.raises(PluginError) as caught:
        plan(request, wrong)
    assert caught.value.message.startswith("Strategy softmax does not fit the network: ")
    assert said in caught.value.message


def test_planning_names_the_line_of_a_strategy(searched: Catalog) -> None:
    class Raising(Softmax):
        def discretize(self, space, arch):
            return {}["n"]

    spec = dataclasses.replace(searched.strategy("softmax"), factory=Raising)
    wrong = dataclasses.replace(searched, nas_strategies={"softmax": spec})
    request = RunRequest(
        learners=("maml",), suite="toy-regression", budget="smoke", space="mixed:softmax"
    )
    said = r"The genotype of strategy softmax cannot be built: KeyError: 'n' \(test_conformance_str"
    with pytest.raises(PluginError, match=said):
        plan(request, wrong)
