"""A benchmark as one short YAML file: sources, protocol, settings, budgets."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources.abc import Traversable
from typing import Any, Literal

from pydantic import Field, model_validator

from metabench.errors import unknown
from metabench.planning.evaluation import Evaluation, EvaluationName
from metabench.planning.runspec import EpisodeProtocol, Training
from metabench.planning.validation import validated
from metabench.planning.yaml_files import read_mapping
from metabench.plugin.source_deviation import SourceDeviation
from metabench.values import Frozen, Name

Overrides = dict[str, dict[str, Any]]
"""Parameters by name of the plugin."""

TABLE_COLUMNS = ("average", "val", "learner", "network", "weights", "params", "budget")
"""What ``metabench report --columns`` and ``--sort`` name in any case, so that no source may."""

SuiteKind = Literal["learners", "spaces", "strategies"]
"""The fields of a layer that have parameters of plugins."""


class SuiteSource(Frozen):
    """A source of episodes: a dataset with parameters, under a name of its own."""

    name: Name
    dataset: str
    params: dict[str, Any] = Field(default_factory=dict)


class Layer(Frozen):
    """Protocol and parameters that a suite, a setting or a budget sets; the later layer wins."""

    summary: str = ""
    protocol: dict[str, Any] = Field(default_factory=dict)
    learners: Overrides = Field(default_factory=dict)
    spaces: Overrides = Field(default_factory=dict)
    strategies: Overrides = Field(default_factory=dict)


class Backend(Frozen):
    """A network, and a strategy if the network is searched."""

    space: str
    strategy: str | None = None

    @classmethod
    def read(cls, text: str) -> Backend:
        """Read a network, and after a colon the strategy that searches it.

        >>> Backend.read("tnas:darts"), Backend.read("conv4")
        (Backend(space='tnas', strategy='darts'), Backend(space='conv4', strategy=None))
        """
        space, _, strategy = text.partition(":")
        return cls(space=space, strategy=strategy or None)


class Budget(Layer):
    """How much compute a run takes: outer updates, episodes per update, and further values."""

    meta_steps: int = Field(ge=0)
    meta_batch: int = Field(ge=1)
    val_every: int | None = Field(default=None, ge=1)
    data: dict[str, Any] = Field(
        default_factory=dict, description="Parameters of all sources, such as a smaller image size."
    )
    settings: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="For a setting, other values of `meta_steps`, `meta_batch` and `val_every`, "
        "and its own `training`.",
    )
    training: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="For a learner, other values of `meta_steps`, `meta_batch` and `val_every`.",
    )

    def learners_of_training(self) -> list[str]:
        """The learners that the budget gives their own length of training, in any setting."""
        own = [setting.get("training", {}) for setting in self.settings.values()]
        return list(dict.fromkeys(name for table in (self.training, *own) for name in table))

    def training_of(
        self,
        learner: str,
        changes: Mapping[str, Any],
        *,
        setting: str = "",
        of_plugin: Mapping[str, Any] | None = None,
    ) -> Training:
        """The training length of one learner in a setting, with the user's changes on top.

        Args:
            learner: its name.
            changes: of the user.
            setting: its name.
            of_plugin: what the learner's plugin says; what the suite says of this learner wins.
        """
        base = {key: getattr(self, key) for key in ("meta_steps", "meta_batch", "val_every")}
        here = dict(self.settings.get(setting, {}))
        own = here.pop("training", {}).get(learner, {})
        layers = (base, here, of_plugin or {}, self.training.get(learner, {}), own, changes)
        merged = {key: value for layer in layers for key, value in layer.items()}
        return validated(Training, merged, what="budget")


class Suite(Layer):
    """A benchmark."""

    name: Name
    title: str = Field(default="", description="As papers print it; the name if absent.")
    version: int = Field(ge=1)
    task: Literal["classification", "regression"]
    metric: Name = Field(description="The metric of the headline, which selects weights too.")
    metrics: tuple[Name, ...] = Field(
        default=(),
        description="Further metrics of the same predictions. They decide nothing.",
    )
    sources: tuple[SuiteSource, ...] = Field(min_length=1)
    space: str
    backends: dict[str, Backend] = Field(
        default_factory=dict,
        description="For a learner, another network than `space`, and its strategy.",
    )
    settings: dict[Name, Layer] = Field(min_length=1)
    budgets: dict[str, Budget] = Field(min_length=1)
    evaluations: dict[EvaluationName, Evaluation] = Field(
        default_factory=dict, description="Further evaluations of the trained weights."
    )
    deviations: tuple[SourceDeviation, ...] = Field(
        default=(), description="What the suite does otherwise than the papers that it is from."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Suite:
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise ValueError("the names of sources must differ")
        if taken := [name for name in names if name in TABLE_COLUMNS]:
            raise ValueError(
                f"no source may be called {taken[0]!r}, since tables have another column of that "
                "name"
            )
        return self

    @model_validator(mode="after")
    def _budgets_name_settings(self) -> Suite:
        for budget in self.budgets.values():
            if strange := budget.settings.keys() - self.settings.keys():
                raise ValueError(
                    f"a budget names {min(strange)!r}, which is not a setting of the suite"
                )
        return self

    def backend_of(
        self, learner: str, *, of_plugin: Mapping[str, Backend] | None = None
    ) -> Backend:
        """The network of one learner, unless the user names another.

        Args:
            learner: its name.
            of_plugin: networks by learner that its plugin brings; the suite's win.
        """
        return {**(of_plugin or {}), **self.backends}.get(learner, Backend(space=self.space))

    def setting(self, name: str) -> Layer:
        """The setting of that name, or an error with the nearest names."""
        if name not in self.settings:
            raise unknown("setting", name, self.settings, of=f"suite {self.name}")
        return self.settings[name]

    def budget(self, name: str) -> Budget:
        """The budget of that name, or an error with the nearest names."""
        if name not in self.budgets:
            raise unknown("budget", name, self.budgets, of=f"suite {self.name}")
        return self.budgets[name]

    def protocol_of(self, setting: str, budget: str, changes: Mapping[str, Any]) -> EpisodeProtocol:
        """The resolved protocol of a setting at a budget, with the user's changes on top."""
        layers = (self, self.setting(setting), self.budget(budget))
        merged = {key: value for layer in layers for key, value in layer.protocol.items()}
        return validated(EpisodeProtocol, {**merged, **changes}, what="protocol")

    def params_of(
        self,
        kind: SuiteKind,
        name: str,
        *,
        setting: str,
        budget: str,
    ) -> dict[str, Any]:
        """The parameters of one plugin that suite, setting and budget set."""
        layers = (self, self.setting(setting), self.budget(budget))
        return {k: v for layer in layers for k, v in getattr(layer, kind).get(name, {}).items()}


def load_suite(file: Traversable) -> Suite:
    """Read and check a suite file.

    Raises:
        UsageError: when the file is not valid YAML or does not describe a suite.
    """
    return validated(Suite, read_mapping(file, of="a suite"), what=f"Suite file {file.name}:")
