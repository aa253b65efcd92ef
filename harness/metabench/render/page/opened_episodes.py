"""Episodes that a reader of the page can look into, with what the two sides predict.

The fits that runs of regression kept are there without more ado. Other episodes are drawn again and
the learners predict, which takes the data, the checkpoints and some seconds, so only if asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from metabench.errors import MetabenchError
from metabench.render.page.values import (
    OpenedFunction,
    OpenedImages,
    PairOfSides,
    Side,
    SideBySide,
)
from metabench.results.figure_data import Array, Fit, command_again, read_fits
from metabench.results.reading import FinishedRun
from metabench.results.store import RunStore

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog
    from metabench.running.single_episodes import FunctionEpisode, MetaTest

POINTS = 61
"""Points of a function on the page."""
MOST_EPISODES = 24
"""Episodes of a page that are drawn again."""
MOST_BYTES = 120_000
"""Bytes of all images of a page."""
HOW_TO_OPEN = (
    "With --episodes, the command that makes this page also opens the episodes that differ most, "
    "where the data and the checkpoints are on the machine."
)


def with_kept_fits(groups: Sequence[SideBySide], runs: Sequence[FinishedRun]) -> list[SideBySide]:
    """Open the first episode of each source of regression, where two sides kept their fits."""
    first = _first_runs(groups, runs)
    return [_kept(group, first) for group in groups]


def with_drawn_episodes(
    groups: Sequence[SideBySide], runs: Sequence[FinishedRun], catalog: Catalog
) -> list[SideBySide]:
    """Open the episodes that differ most as well, group by group in turn, the best pairs first.

    At most :data:`MOST_EPISODES` are opened, and images of :data:`MOST_BYTES`. What is missing on
    this machine is said on the page.
    """
    first = _first_runs(groups, runs)
    opening = [_Opening(group, first, catalog) for group in groups]
    waiting = [(one, _by_difference(one.group.pairs)) for one in opening if one.meta_test]
    n_opened = n_bytes = 0
    while waiting and n_opened < MOST_EPISODES and n_bytes < MOST_BYTES:
        one, keys = waiting.pop(0)
        key = next(keys, None)
        if key is not None:
            n_bytes += one.open(key, room=MOST_BYTES - n_bytes)
            n_opened += 1
            waiting.append((one, keys))
    return [one.with_predictions() for one in opening]


def _first_runs(
    groups: Sequence[SideBySide], runs: Sequence[FinishedRun]
) -> dict[str, FinishedRun]:
    """The first seed of each side, by its run id."""
    wanted = {side.row.runs[0] for group in groups for side in group.sides}
    return {run.record.run_id: run for run in runs if run.record.run_id in wanted}


def _by_difference(pairs: Sequence[PairOfSides]) -> Iterator[str]:
    """Keys of the episodes that differ most, of each pair in turn for the one and the other."""
    seen = set()
    for pair in pairs:
        half = len(pair.episodes) // 2
        for both in zip(pair.episodes[:half], pair.episodes[half:], strict=False):
            for key in (episode.key for episode in both):
                if key not in seen:
                    seen.add(key)
                    yield key


# Fits that runs kept -----------------------------------------------------------------------------


def _kept(group: SideBySide, first: Mapping[str, FinishedRun]) -> SideBySide:
    fits: list[dict[str, Fit]] = []
    for side in group.sides:
        try:
            fits.append(_first_fits(first[side.row.runs[0]]))
        except MetabenchError:  # a damaged file, which the figure names when it is asked for
            fits.append({})
    counts = Counter(key for own in fits for key in own)
    opened: dict[str, OpenedFunction | OpenedImages] = {}
    sides = []
    for side, own in zip(group.sides, fits, strict=True):
        shared = {key: fit for key, fit in own.items() if counts[key] > 1}
        for key, fit in shared.items():
            if key not in opened:
                opened[key] = _opened_fit(fit)
        predictions = {key: _at_points(opened[key], fit) for key, fit in shared.items()}
        silent = "" if predictions else _without_checkpoint(side, first[side.row.runs[0]])
        sides.append(replace(side, predictions=predictions, silent=silent))
    return replace(group, sides=tuple(sides), opened=opened, opening=(HOW_TO_OPEN,))


def _without_checkpoint(side: Side, run: FinishedRun) -> str:
    """What a reader does who wants to see predictions of a run whose weights are gone; or ""."""
    spec = run.record.spec
    weights = RunStore(run.folder).tested_weights(spec.protocol.selection)
    if not spec.has_weights or weights.exists():
        return ""
    return (
        f"{side.row.name} predicts nothing here, since this folder has no checkpoint of it. "
        f"`{command_again(run.record)}` makes one, and `metabench report NEW --format html "
        "--episodes` then shows what it predicts."
    )


def _first_fits(run: FinishedRun) -> dict[str, Fit]:
    """The fits that a run kept of the first episode of each source, by key."""
    if run.record.spec.task != "regression":
        return {}
    episodes, n_sources = run.episodes, len(run.record.spec.sources)
    key_of = dict(zip(episodes.index.tolist(), map(str, episodes.key), strict=True))
    kept = read_fits(run.folder)
    return {key_of[i]: kept[i] for i in range(n_sources) if i in kept and i in key_of}


def _opened_fit(fit: Fit) -> OpenedFunction:
    x = _points(fit.x[0], fit.x[-1])
    truth = None if fit.truth is None else np.interp(x, fit.x, fit.truth)
    return _function(fit, truth, number=0, low=fit.x[0], high=fit.x[-1])


def _function(
    task: Fit | FunctionEpisode, truth: Array | None, *, number: int, low: float, high: float
) -> OpenedFunction:
    """The function of an episode between two ends, with its support points.

    Args:
        task: whose support it has.
        truth: ``[points]``, equally spaced; None where it is unknown.
        number: of the episode of its source.
        low: where the function begins.
        high: where it ends.
    """
    return OpenedFunction(
        source=task.source,
        number=number,
        low=float(low),
        high=float(high),
        truth=() if truth is None else _floats(truth),
        support=tuple(zip(_floats(task.support_x), _floats(task.support_y), strict=True)),
    )


def _at_points(opened: OpenedFunction | OpenedImages, fit: Fit) -> tuple[float, ...]:
    assert isinstance(opened, OpenedFunction)
    x = _points(opened.low, opened.high)
    return _floats(np.interp(x, fit.x, fit.fit, left=np.nan, right=np.nan))


def _points(low: float, high: float) -> Array:
    return np.linspace(low, high, POINTS)


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(values.tolist())


# Episodes that are drawn again -------------------------------------------------------------------


class _Opening:
    """The episodes of one group that are being opened.

    Attributes:
        group: as it was before.
        meta_test: draws them; None where the data is missing.
    """

    def __init__(
        self, group: SideBySide, first: Mapping[str, FinishedRun], catalog: Catalog
    ) -> None:
        from metabench.running.single_episodes import MetaTest

        self.group = group
        self.meta_test: MetaTest | None = None
        self._runs = [first[side.row.runs[0]] for side in group.sides]
        self._catalog = catalog
        self._index = _indices(self._runs)
        self._opened: dict[str, OpenedFunction | OpenedImages] = {}
        self._shown: dict[str, list[int]] = {}  # queries of an episode of images, by key
        self._missing = ""
        try:
            self.meta_test = MetaTest(self._runs[0].record, catalog)
        except MetabenchError as error:
            self._missing = f"The episodes cannot be drawn: {error.in_full}"

    def open(self, key: str, *, room: int) -> int:
        """Open one more episode, if its images fit.

        Args:
            key: of the episode.
            room: bytes that its images may take.

        Returns:
            How many bytes they take; all of the room if they do not fit.
        """
        from metabench.render.page.thumbnails import sheet_of

        assert self.meta_test is not None
        index, spec = self._index[key], self._runs[0].record.spec
        number = index // len(spec.sources)
        try:
            if spec.task == "regression":
                grid, (task,) = self.meta_test.functions([index], points=POINTS)
                self._opened[key] = _function(
                    task, task.truth, number=number, low=grid.low, high=grid.high
                )
                return 0
            images, shown = sheet_of(self.meta_test.images(index), number=number)
            if len(images.sheet) > room:
                return room
            self._opened[key], self._shown[key] = images, shown
            return len(images.sheet)
        except MetabenchError as error:  # such as examples that are vectors
            self._missing = error.in_full
            return 0

    def with_predictions(self) -> SideBySide:
        """The group with what was opened, and what each side predicts there."""
        group = self.group
        sides = []
        for number, (side, run) in enumerate(zip(group.sides, self._runs, strict=True)):
            seen = {
                episode.key
                for pair in group.pairs
                if number in (pair.left, pair.right)
                for episode in pair.episodes
            }
            keys = [key for key in self._opened if key in seen]
            try:
                found = self._predictions(run, keys) if keys else {}
                predictions = {**side.predictions, **found}
                sides.append(
                    replace(side, predictions=predictions, silent="" if found else side.silent)
                )
            except MetabenchError as error:
                name = side.row.name
                sides.append(replace(side, silent=f"{name} predicts nothing here: {error.in_full}"))
        return replace(
            group,
            sides=tuple(sides),
            opened={**group.opened, **self._opened},
            opening=(self._missing or self._how_to_see_others(),),
        )

    def _how_to_see_others(self) -> str:
        spec = self._runs[0].record.spec
        kind = "fits" if spec.task == "regression" else "images"
        return (
            f"Any other episode: metabench figure {kind} FOLDER --suite {spec.suite} "
            f"--setting {spec.setting} --learner LEFT,RIGHT --episode NUMBER"
        )

    def _predictions(self, run: FinishedRun, keys: Sequence[str]) -> dict[str, tuple[float, ...]]:
        """What the learner of a run predicts on these episodes, by key."""
        import torch

        from metabench.running.figure_data import restored_for_fits
        from metabench.running.trained_learner import restore
        from metabench.sampling.grid import QueryGrid

        device, store = torch.device("cpu"), RunStore(run.folder)
        indices = [self._index[key] for key in keys]
        if run.record.spec.task == "classification":
            answers = restore(store.folder, self._catalog, device=device).answers(indices)
            return {
                key: tuple(own[self._shown[key]].tolist())
                for key, own in zip(keys, answers, strict=True)
            }
        restored, found = restored_for_fits(store, self._catalog, device=device), {}
        for key, index in zip(keys, indices, strict=True):
            opened = self._opened[key]
            assert isinstance(opened, OpenedFunction)
            grid = QueryGrid(points=POINTS, low=opened.low, high=opened.high)
            found[key] = _floats(restored.predict([index], grid)[0])
        return found


def _indices(runs: Sequence[FinishedRun]) -> dict[str, int]:
    """The index of each episode, by key."""
    found: dict[str, int] = {}
    for run in runs:
        found.update(zip(map(str, run.episodes.key), run.episodes.index.tolist(), strict=True))
    return found
