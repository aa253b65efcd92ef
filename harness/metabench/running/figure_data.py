"""Keeps what figures of single tasks show: the fits, and the path of a mixture.

It is made from the checkpoint of a finished run: at the end of the run itself, and when the command
of a run that lacks it is repeated where the checkpoint still is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from metabench.errors import MetabenchError
from metabench.plugin.contracts.architecture import INPUTS, CellChoices
from metabench.results.figure_data import (
    FITS,
    MIXTURES,
    Array,
    Fit,
    MixturePanel,
    MixturePath,
)
from metabench.results.store import RunStore
from metabench.running.single_episodes import functions_of
from metabench.running.trained_learner import Restored, restore

if TYPE_CHECKING:
    from metabench.planning.runspec import RunSpec
    from metabench.plugin.catalog import Catalog

POINTS = 201
EPISODES, MOST_FITS = 3, 24
"""Episodes of each source whose fits a run keeps, and how many it keeps at most."""
MOST_STEPS = 50
"""Steps of a path that are kept at most, evenly spaced, besides its beginning."""


def keep_figure_data(
    store: RunStore, spec: RunSpec, catalog: Catalog, *, device: torch.device
) -> None:
    """Write what a finished run lacks and its checkpoint allows; leave the rest as it is."""
    weights = store.tested_weights(spec.protocol.selection)
    if spec.has_weights and not weights.exists():
        return
    if spec.task == "regression" and not store.has(FITS):
        restored = _restored(store, catalog, device, fits=True)
        if restored is not None:
            n_sources = len(spec.sources)
            rounds = range(min(EPISODES, spec.protocol.episodes))
            fits = [fit for episode in rounds for fit in fits_at(restored, episode)]
            store.write_rows(FITS, [fit.to_json() for fit in fits[: max(MOST_FITS, n_sources)]])
    if spec.strategy is not None and not store.has(MIXTURES):
        restored = _restored(store, catalog, device)
        path = None if restored is None else _path_if_any(restored, 0)
        if path is not None:
            store.write_rows(MIXTURES, [path.to_json()])


def restored_for_fits(store: RunStore, catalog: Catalog, *, device: torch.device) -> Restored:
    """The learner of a run, with queries normalized inductively: a grid is no sample."""
    return restore(store.folder, catalog, device=device, normalization="inductive")


def fits_at(restored: Restored, episode: int) -> list[Fit]:
    """What a learner, adapted as in meta-test, predicts on an episode of each source."""
    n_sources = len(restored.record.spec.sources)
    indices = range(episode * n_sources, (episode + 1) * n_sources)
    grid, tasks = functions_of(restored.built.test, indices, points=POINTS)
    predicted = restored.predict(indices, grid)
    return [
        Fit(
            index=task.index,
            source=task.source,
            x=np.linspace(grid.low, grid.high, grid.points),
            support_x=task.support_x,
            support_y=task.support_y,
            truth=task.truth,
            fit=predicted[row],
        )
        for row, task in enumerate(tasks)
    ]


def path_at(restored: Restored, index: int) -> MixturePath:
    """How a learner's mixture changes as it adapts to one episode.

    Raises:
        DataError: when it cannot show it, or the mixture does not change.
    """
    assert restored.built.space is not None
    mixtures = restored.trace(index)
    last = len(mixtures) - 1
    steps = sorted({round(i * last / MOST_STEPS) for i in range(MOST_STEPS + 1)})
    weights = {
        key: np.stack([mixtures[step][key][0].double().cpu().numpy() for step in steps])
        for key in mixtures[0]
    }
    panels = [
        panel
        for cell, choices in restored.built.space.choices().items()
        for panel in (*_of_edges(cell, choices, weights), *_of_inputs(cell, choices, weights))
    ]
    return MixturePath(index, tuple(steps), tuple(panels))


def _restored(
    store: RunStore, catalog: Catalog, device: torch.device, *, fits: bool = False
) -> Restored | None:
    """The learner; None where it cannot be restored, which a figure says when it is asked for."""
    try:
        if fits:
            return restored_for_fits(store, catalog, device=device)
        return restore(store.folder, catalog, device=device)
    except MetabenchError:
        return None


def _path_if_any(restored: Restored, index: int) -> MixturePath | None:
    try:
        return path_at(restored, index)
    except MetabenchError:
        return None


def _of_edges(
    cell: str, choices: CellChoices, weights: Mapping[str, Array]
) -> Iterable[MixturePanel]:
    for row, (source, target) in enumerate(choices.edges):
        yield MixturePanel(cell, source, target, choices.primitives, weights[cell][:, row])


def _of_inputs(
    cell: str, choices: CellChoices, weights: Mapping[str, Array]
) -> Sequence[MixturePanel]:
    found, first = [], 0
    for node, pairs in choices.pairs().items() if cell + INPUTS in weights else ():
        names = tuple(" and ".join(str(choices.edges[e][0]) for e in pair) for pair in pairs)
        part = weights[cell + INPUTS][:, first : first + len(pairs)]
        first += len(pairs)
        found.append(MixturePanel(cell, None, node, names, part))
    return found
