"""Toy tasks of torchmeta as sources: sinusoids, harmonics, sinusoids and lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from metabench import DatasetSpec, EpisodeShape, Frozen, UsageError, digest
from metabench_plugins.datasets.parts.torchmeta_bridge import named_class, torchmeta_bridge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_SEED_WORDS = 2


class TorchmetaToyParams(Frozen):
    """Which toy task."""

    dataset: str = Field(
        default="Sinusoid",
        description="A class of torchmeta.toy (Sinusoid, Harmonic, SinusoidAndLine), or "
        "module:Class for another one, of torchmeta or of an installed plugin.",
    )
    options: dict[str, bool | int | float | str] = Field(
        default={}, description="Further arguments for the class, such as noise_std."
    )


class TorchmetaToy:
    """Functions that a torchmeta class draws, its own generator seeded per episode.

    Args:
        params: which class.

    Raises:
        UsageError: torchmeta is not usable, or the class does not take these options.
    """

    stamps: tuple[str, ...] = ()

    def __init__(self, params: TorchmetaToyParams) -> None:
        import numpy as np

        self.params = params
        self._class = named_class(params.dataset, "toy")
        version = torchmeta_bridge().version
        self.fingerprint = digest({**params.model_dump(mode="json"), "torchmeta": version})
        try:
            x, y = self._task(np.zeros(_SEED_WORDS, dtype=np.uint64), 1)
        except TypeError as error:
            raise UsageError(f"{params.dataset} does not take these options: {error}.") from error
        self.inputs, self.outputs = x.shape[1], y.shape[1]

    def n_words(self, shape: EpisodeShape) -> int:
        """The words of a seed: torchmeta's generator draws the rest."""
        return _SEED_WORDS

    def sample(
        self, words: NDArray[np.uint64], shape: EpisodeShape, *, split: str
    ) -> tuple[Array, Array]:
        """Draw points of one function per row of ``words``; x and y are ``[tasks, points, n]``."""
        import numpy as np

        tasks = [self._task(word, shape.shots + shape.queries) for word in words]
        return np.stack([x for x, _ in tasks]), np.stack([y for _, y in tasks])

    def _task(self, word: NDArray[np.uint64], n_points: int) -> tuple[Array, Array]:
        """Draw x and y ``[points, n]`` of the first of two tasks.

        Of two, because SinusoidAndLine makes half of them lines and shuffles.
        """
        import numpy as np

        toy: Any = self._class(num_samples_per_task=n_points, num_tasks=2, **self.params.options)
        toy.seed(np.ascontiguousarray(word).astype("<u8").view("<u4").tolist())
        drawn = toy[0]
        x, y = zip(*(drawn[i] for i in range(n_points)), strict=True)
        return np.stack(x), np.stack(y)


SPEC = DatasetSpec(
    name="torchmeta-toy",
    version=1,
    summary="Toy regression tasks of torchmeta; needs the package torchmeta.",
    params="metabench_plugins.datasets.torchmeta_toy:TorchmetaToyParams",
    kind="functions",
    factory="metabench_plugins.datasets.torchmeta_toy:TorchmetaToy",
    state="metabench_plugins.datasets.parts.torchmeta_bridge:state",
    reference="Deleu et al. 2019",
    licence="generated",
)
