"""A trained learner, restored from the folder of its run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.errors import DataError
from metabench.planning.runspec import Choice, RunSpec
from metabench.plugin.contracts.architecture import Mixture
from metabench.plugin.contracts.episode import Adapted, TaskBatch
from metabench.plugin.contracts.learner import Learner, TracingLearner
from metabench.results.figure_data import command_again
from metabench.results.schema import RunRecord
from metabench.results.store import RunStore
from metabench.running import checkpoint
from metabench.running.build import Built, build
from metabench.running.ensemble import Ensemble
from metabench.running.kept_states import load_kept
from metabench.running.loops import chunk_size, tested_learner
from metabench.running.precision import computing_in
from metabench.sampling.grid import QueryGrid
from metabench.sampling.seeding import generator

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Restored:
    """A finished run with its learner.

    Attributes:
        record: of the run.
        built: as for the run itself; ``built.learner`` holds the weights that were tested.
        tested: the learner, or several of its states together.
    """

    record: RunRecord
    built: Built
    tested: Learner | Ensemble

    def episodes(self, indices: Sequence[int]) -> TaskBatch:
        """These meta-test episodes, as the run faced them."""
        return self.built.test.batch(np.array(indices))

    def trace(self, index: int) -> Sequence[Mixture]:
        """How the learner's mixture changes as it adapts to one episode.

        The learner adapts to this episode only, with its own random numbers; the run adapted to
        many episodes at once.

        Raises:
            DataError: when the learner cannot show it, or its mixture does not change.
        """
        learner, label = self.built.learner, self.record.spec.learner.name
        if not isinstance(learner, TracingLearner):
            raise DataError(f"{label} cannot show how its mixture changes.")
        rng = generator(self.record.spec.seed, "trace", index)
        with computing_in(self.record.spec.precision):
            found = learner.trace(self.episodes([index]).support, rng=rng)
        if not found:
            raise DataError(f"Adaptation does not change the mixture of {label}.")
        return found

    def predict(self, indices: Sequence[int], grid: QueryGrid) -> NDArray[np.float64]:
        """What the learner, adapted as in meta-test, predicts at the points of a grid.

        Returns:
            ``[episodes, points]``, of the first output.
        """
        points = torch.linspace(grid.low, grid.high, grid.points)

        def ask(adapted: Adapted, tasks: TaskBatch) -> Tensor:
            x = points.to(tasks.support.x).expand(len(tasks), -1)[..., None]
            return adapted.predict(x)[..., 0].double()

        return self._asked(indices, ask)

    def answers(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """The class that the learner, adapted as in meta-test, takes each query example for.

        Returns:
            Labels ``[episodes, queries]``, in the order of the episodes' queries.
        """
        return self._asked(
            indices, lambda adapted, tasks: adapted.predict(tasks.query.x).argmax(dim=-1)
        )

    def _asked(
        self, indices: Sequence[int], ask: Callable[[Adapted, TaskBatch], Tensor]
    ) -> NDArray[Any]:
        """An answer for each of these episodes.

        Adaptation is to the same tasks at once and with the same random numbers as in the run.
        """
        spec = self.record.spec
        size = chunk_size(spec.protocol.test_shape(), self.built.task)
        total = spec.protocol.episodes * len(spec.sources)
        rows: dict[int, NDArray[Any]] = {}
        for first in sorted({index - index % size for index in indices}):
            tasks = self.built.test.batch(np.arange(first, min(first + size, total)))
            rng = generator(spec.seed, "meta-test", first)
            with computing_in(spec.precision), torch.no_grad():
                answers = ask(self.tested.adapt(tasks.support, rng=rng), tasks).cpu().numpy()
            rows |= {
                index: answers[index - first] for index in indices if first <= index < first + size
            }
        return np.stack([rows[index] for index in indices])


def restore(
    folder: Path,
    catalog: Catalog,
    *,
    device: torch.device,
    normalization: Literal["transductive", "inductive"] | None = None,
    metrics: Iterable[str] = (),
) -> Restored:
    """Build the learner of a finished run with the weights that its meta-test used.

    Args:
        folder: of the run.
        catalog: where plugins are found.
        device: where tensors live.
        normalization: as in the protocol; None for the run's own.
        metrics: further metrics, by name.

    Raises:
        DataError: when the run is not finished, no checkpoint is left of it, the checkpoint is
            damaged or of another meta-step, a plugin has another version now, or data is missing.
    """
    store = RunStore(folder)
    record = store.read_record()
    if record is None or record.status != "done":
        raise DataError(
            f"There is no finished run in {folder}.", hint="Run its command again to finish it."
        )
    spec = record.spec.with_files(record.provenance.files or {})
    _check_versions(spec, catalog, folder)
    if normalization is not None:
        protocol = spec.protocol.model_copy(update={"normalization": normalization})
        spec = spec.model_copy(update={"protocol": protocol})
    built = build(spec, catalog, device=device, metrics=metrics)
    if spec.has_weights:
        _load_weights(built, store, record, device=device)
    tested = tested_learner(built, store, spec.training.ensemble, device=device)
    return Restored(record, built, tested)


def _load_weights(
    built: Built, store: RunStore, record: RunRecord, *, device: torch.device
) -> None:
    path = store.tested_weights(record.spec.protocol.selection)
    if not path.exists():
        raise DataError(
            f"No checkpoint is left in {store.folder}.",
            hint=f"Train again into another folder: {command_again(record)}",
        )
    state = checkpoint.load(path, device=device)
    if state.get("step") != record.selected_step:
        raise DataError(
            f"{path} is of meta-step {state.get('step')}, and the run tested meta-step "
            f"{record.selected_step}.",
            hint="Delete it if it does not belong to this run.",
        )
    load_kept(built.learner, state.get("learner"), path=path, whole=False)


def _check_versions(spec: RunSpec, catalog: Catalog, folder: Path) -> None:
    """Refuse plugins that may give other numbers than those of the run."""
    now = [(spec.learner, catalog.learner(spec.learner.name).version)]
    now += [(source, catalog.dataset(source.name).version) for source in spec.sources]
    if spec.space is not None:
        now.append((spec.space, catalog.space(spec.space.name).version))
    if spec.strategy is not None:
        now.append((spec.strategy, catalog.strategy(spec.strategy.name).version))
    metric = Choice(name=spec.metric, version=spec.metric_version)
    now.append((metric, catalog.metric(spec.metric).version))
    for choice, version in now:
        if choice.version != version:
            raise DataError(
                f"The run in {folder} was made with version {choice.version} of {choice.name}; "
                f"installed is version {version}.",
                hint="Install the versions in its provenance, or run its command again.",
            )
