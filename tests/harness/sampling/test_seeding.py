import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.sampling.seeding import choose, derive_key, normal, uniform, words


@given(st.integers(0, 2**63), st.permutations(list(range(12))))
def test_words_depend_on_key_and_index_alone(key: int, order: list[int]) -> None:
    together = words(key, np.arange(12), 7)
    shuffled = words(key, np.array(order), 7)
    assert (shuffled == together[order]).all()
    assert (words(key, np.array([5]), 3) == together[5:6, :3]).all()


def test_words_do_not_repeat() -> None:
    drawn = words(derive_key("a"), np.arange(20_000), 5).ravel()
    assert len(np.unique(drawn)) == drawn.size


def test_words_are_uniform_bit_by_bit() -> None:
    drawn = words(derive_key("bits"), np.arange(50_000), 2).ravel()
    for bit in range(64):
        share = ((drawn >> np.uint64(bit)) & np.uint64(1)).mean()
        assert share == pytest.approx(0.5, abs=0.008)  # five standard errors


def test_neighbors_are_uncorrelated() -> None:
    u = uniform(words(derive_key("pairs"), np.arange(50_000), 2)) - 0.5
    assert abs((u[:, 0] * u[:, 1]).mean()) < 0.0019  # five standard errors of 1/12/sqrt(n)
    assert abs((u[1:, 0] * u[:-1, 0]).mean()) < 0.0019


def test_normal_has_the_moments_of_a_normal() -> None:
    drawn = words(derive_key("normal"), np.arange(100_000), 2)
    z = normal(drawn[:, 0], drawn[:, 1])
    assert np.isfinite(z).all()
    assert z.mean() == pytest.approx(0, abs=0.02)
    assert z.std() == pytest.approx(1, abs=0.02)
    assert (z**4).mean() == pytest.approx(3, abs=0.2)


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.lists(st.integers(5, 40), min_size=1, max_size=20))
def test_choose_draws_distinct_items_in_range(key: int, sizes: list[int]) -> None:
    size = np.array(sizes)
    drawn = choose(words(key, np.arange(len(size)), 5), size)
    assert drawn.shape == (len(size), 5)
    assert ((drawn >= 0) & (drawn < size[:, None])).all()
    assert all(len(set(row)) == 5 for row in drawn.tolist())


def test_choose_draws_every_ordered_pair_equally_often() -> None:
    n = 40_000
    drawn = choose(words(derive_key("choose"), np.arange(n), 2), np.full(n, 5))
    counts = np.bincount(drawn[:, 0] * 5 + drawn[:, 1], minlength=25).reshape(5, 5)
    assert (np.diag(counts) == 0).all()
    off = counts[~np.eye(5, dtype=bool)]
    assert abs(off - n / 20).max() < 5 * np.sqrt(n / 20)
