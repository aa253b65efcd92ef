"""Toy regression of M-NAS: four families of functions (AAAI 2020, experiments)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from metabench import EpisodeShape, Frozen, digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Family = Literal["sine", "line", "quadratic", "harmonics"]

# Bounds of the uniform draws, in the order in which `_function` takes them..
_TWO_PI = 6.283185307179586
_BOUNDS: dict[Family, tuple[tuple[float, float], ...]] = {
    "sine": ((0.1, 5.0), (0.8, 1.2), (0.0, _TWO_PI)),
    "line": ((-3.0, 3.0), (-3.0, 3.0)),
    "quadratic": ((-0.2, 0.2), (-2.0, 2.0), (-3.0, 3.0)),
    "harmonics": ((0.1, 5.0), (0.1, 5.0), (0.0, _TWO_PI), (0.0, _TWO_PI), (0.8, 1.2)),
}
_N_PARAMETERS = 5


class ToyRegressionParams(Frozen):
    """Parameters of the toy tasks; the defaults are our readings of the paper."""

    family: Family = Field(default="sine", description="Family of functions.")
    x: Literal["normal", "uniform"] = Field(
        default="normal",
        description="normal: inputs from N(u, x_variance), with one u per task; uniform: inputs "
        "from U[-5, 5].",
    )
    x_variance: float = Field(
        default=2.0,
        gt=0,
        le=100,
        description="Variance of the inputs. 2 reads the paper's N(u, 2) as a variance, 4 as a "
        "standard deviation.",
    )
    query_x: Literal["same", "uniform"] = Field(
        default="same",
        description="same: query inputs are drawn like the support inputs; uniform: from U[-5, 5].",
    )
    center: float = Field(
        default=4.0,
        ge=0,
        le=100,
        description="Bound of the task's u, which is drawn from U[-center, center].",
    )
    noise_std: float = Field(
        default=0.0, ge=0, le=10, description="Standard deviation of the Gaussian noise added to y."
    )


class ToyRegression:
    """Functions of one family, ``y = f(x)`` with one input and one output.

    * sine: ``a sin(w x) + b``, a ~ U[0.1, 5], w ~ U[0.8, 1.2], b ~ U[0, 2 pi] (an offset)
    * line: ``a x + b``, a, b ~ U[-3, 3]
    * quadratic: ``a x^2 + b x + c``, a ~ U[-0.2, 0.2], b ~ U[-2, 2], c ~ U[-3, 3]
    * harmonics: ``a1 sin(w x + b1) + a2 sin(2 w x + b2)``, a ~ U[0.1, 5], b ~ U[0, 2 pi],
      w ~ U[0.8, 1.2]
    """

    inputs = 1
    outputs = 1
    stamps: tuple[str, ...] = ()

    def __init__(self, params: ToyRegressionParams) -> None:
        self.params = params
        self.fingerprint = digest(params.model_dump(mode="json"))

    def n_words(self, shape: EpisodeShape) -> int:
        """Five parameters and u, then two words for each x and two for its noise."""
        return _N_PARAMETERS + 1 + 4 * (shape.shots + shape.queries)

    def sample(
        self, words: NDArray[np.uint64], shape: EpisodeShape, *, split: str
    ) -> tuple[Array, Array]:
        """Draw points of one function per row of ``words``; x and y are ``[tasks, points, 1]``."""
        import numpy as np

        from metabench import normal, uniform

        p = self.params
        n = shape.shots + shape.queries
        u = (2.0 * uniform(words[:, _N_PARAMETERS]) - 1.0) * p.center
        first, second, noise_1, noise_2 = np.split(words[:, _N_PARAMETERS + 1 :], 4, axis=1)
        near = u[:, None] + np.sqrt(p.x_variance) * normal(first, second)
        far = 10.0 * uniform(first) - 5.0
        x = near if p.x == "normal" else far
        if p.query_x == "uniform":
            x = np.where(np.arange(n) < shape.shots, x, far)
        y = self._at(words, x)
        if p.noise_std:
            y = y + p.noise_std * normal(noise_1, noise_2)
        return x[..., None], y[..., None]

    def values(self, words: NDArray[np.uint64], x: Array) -> Array:
        """The same functions without noise at ``x [points, 1]``: ``[tasks, points, 1]``."""
        return self._at(words, x.T)[..., None]

    def _at(self, words: NDArray[np.uint64], x: Array) -> Array:
        """Values ``[tasks, points]`` at ``x [tasks or 1, points]``."""
        from metabench import uniform

        parameter = uniform(words[:, :_N_PARAMETERS])
        bounds = _BOUNDS[self.params.family]
        values = [lo + (hi - lo) * parameter[:, i, None] for i, (lo, hi) in enumerate(bounds)]
        return _function(self.params.family)(x, *values)


def _function(family: Family) -> Callable[..., Array]:
    import numpy as np

    functions: dict[Family, Callable[..., Array]] = {
        "sine": lambda x, a, w, b: a * np.sin(w * x) + b,
        "line": lambda x, a, b: a * x + b,
        "quadratic": lambda x, a, b, c: a * x**2 + b * x + c,
        "harmonics": lambda x, a1, a2, b1, b2, w: (
            a1 * np.sin(w * x + b1) + a2 * np.sin(2.0 * w * x + b2)
        ),
    }
    return functions[family]
