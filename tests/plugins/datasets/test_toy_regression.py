import numpy as np
import pytest
from numpy.typing import NDArray

from metabench.plugin.contracts.episode import EpisodeShape
from metabench.sampling.seeding import derive_key, words
from metabench_plugins.datasets.toy_regression import ToyRegression, ToyRegressionParams

N = 40_000
SHAPE = EpisodeShape(1, 4, 4)


def draw(n: int = N, **params: object) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    family = ToyRegression(ToyRegressionParams(**params))  # type: ignore[arg-type]
    x, y = family.sample(
        words(derive_key("toy"), np.arange(n), family.n_words(SHAPE)), SHAPE, split="meta-train"
    )
    assert x.shape == y.shape == (n, 8, 1)
    return x[..., 0], y[..., 0]


def test_inputs_are_normal_around_a_center_of_each_task() -> None:
    x, _ = draw(family="sine")
    center = x.mean(axis=1)
    # Var(x) within a task is 2; over tasks u ~ U[-4, 4] adds 16/3.
    assert x.var(axis=1, ddof=1).mean() == pytest.approx(2.0, rel=0.02)
    assert x.var() == pytest.approx(2.0 + 16 / 3, rel=0.02)
    assert center.var() == pytest.approx(2.0 / 8 + 16 / 3, rel=0.03)


def test_the_other_reading_of_the_variance_is_a_parameter() -> None:
    x, _ = draw(family="sine", x_variance=4.0)
    assert x.var(axis=1, ddof=1).mean() == pytest.approx(4.0, rel=0.02)


def test_uniform_inputs_and_queries() -> None:
    x, _ = draw(family="sine", x="uniform")
    assert np.abs(x).max() <= 5
    assert x.var() == pytest.approx(100 / 12, rel=0.02)
    x, _ = draw(family="sine", query_x="uniform")
    assert x[:, :4].var(axis=1, ddof=1).mean() == pytest.approx(2.0, rel=0.02)
    assert np.abs(x[:, 4:]).max() <= 5


@pytest.mark.parametrize(
    ("family", "mean", "variance"),
    [
        # E[a^2] = 8.5033 for a ~ U[0.1, 5]; b ~ U[0, 2 pi] has mean pi and variance pi^2 / 3.
        ("sine", np.pi, None),
        # Var(a x + b) = 3 E[x^2] + 3 with E[x^2] = 2 + 16/3.
        ("line", 0.0, 3 * (2 + 16 / 3) + 3),
        ("harmonics", 0.0, 8.5033),
    ],
)
def test_moments(family: str, mean: float, variance: float | None) -> None:
    _, y = draw(family=family)
    assert y.mean() == pytest.approx(mean, abs=0.1)
    if variance is not None:
        assert y.var() == pytest.approx(variance, rel=0.03)


def test_families_are_the_functions_they_say() -> None:
    """Each task's points lie on one function of the family, found by least squares."""
    x, y = draw(200, family="line")
    for row in range(200):
        assert np.polyfit(x[row], y[row], 1, full=True)[1] < 1e-20
    x, y = draw(200, family="quadratic")
    for row in range(200):
        coefficients, residual, *_ = np.polyfit(x[row], y[row], 2, full=True)
        assert residual < 1e-18
        assert abs(coefficients[0]) <= 0.2 + 1e-9
        assert abs(coefficients[1]) <= 2 + 1e-6
        assert abs(coefficients[2]) <= 3 + 1e-6


def test_noise_has_its_deviation() -> None:
    _, clean = draw(family="harmonics")
    _, noisy = draw(family="harmonics", noise_std=0.3)
    assert (noisy - clean).std() == pytest.approx(0.3, rel=0.02)


def test_each_reading_has_a_fingerprint_of_its_own() -> None:
    readings = [{}, {"x_variance": 4.0}, {"query_x": "uniform"}, {"noise_std": 0.3}]
    prints = {ToyRegression(ToyRegressionParams(family="sine", **r)).fingerprint for r in readings}
    assert len(prints) == 4


@pytest.mark.parametrize("name", ["sine", "line", "quadratic", "harmonics"])
def test_values_are_those_of_the_sampled_functions(name: str) -> None:
    family = ToyRegression(ToyRegressionParams(family=name, noise_std=0.0))  # type: ignore[arg-type]
    word = words(derive_key("toy"), np.arange(5), family.n_words(SHAPE))
    x, y = family.sample(word, SHAPE, split="meta-test")
    for task in range(5):
        np.testing.assert_allclose(family.values(word, x[task])[task], y[task], rtol=1e-12)
