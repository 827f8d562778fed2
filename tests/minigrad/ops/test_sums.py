"""Do long sums keep their digits, along every axis and in every dtype?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.backend import LONG, add_at
from minigrad.ops.sums import total
from tests.minigrad.helpers import leaf

SIDES = [1, 2, 3, 65, LONG, LONG + 1, 2 * LONG + 100]
ORDERS = ["C", "F", "strided", "reversed"]


@st.composite
def long_sums(draw):
    """An array of float32 in some order in memory, and axes to sum over."""
    shape = draw(st.lists(st.sampled_from(SIDES), min_size=1, max_size=3))
    while math.prod(shape) > 200_000:
        shape[shape.index(max(shape))] = 2
    axes = draw(st.sets(st.sampled_from(range(len(shape)))))
    seed = draw(st.integers(0, 2**32 - 1))
    values = np.random.default_rng(seed).uniform(0.5, 1.5, shape).astype("float32")
    order = draw(st.sampled_from(ORDERS))
    if order == "strided":
        values = np.repeat(values, 2, axis=-1)[..., ::2]
    elif order == "reversed":
        values = values[::-1]
    else:
        values = np.asarray(values, order=order)
    return values, draw(st.sampled_from([tuple(axes), None]))


@given(drawn=long_sums(), keepdims=st.booleans())
def test_a_sum_of_float32_is_right_to_its_last_digits(drawn, keepdims):
    values, axis = drawn
    exact = values.sum(axis=axis, keepdims=keepdims, dtype="float64")
    found = total(values, axis, keepdims)
    assert found.dtype == np.float32
    assert np.shape(found) == exact.shape
    np.testing.assert_allclose(found, exact, rtol=3e-6)


@given(drawn=long_sums())
def test_a_sum_of_float16_is_its_rounded_sum(drawn):
    values, axis = drawn
    values = (values / 64).astype("float16")
    exact = values.sum(axis=axis, dtype="float64")
    np.testing.assert_allclose(total(values, axis), exact, rtol=2**-10)


def test_a_mean_of_a_million_rows():
    rows = np.full((10**6, 2), 0.1, "float32")
    np.testing.assert_allclose(mg.mean(rows, axis=0), np.float32(0.1), rtol=2e-6)


def test_the_gradient_of_a_bias_that_a_million_rows_share():
    b = leaf([0.0, 0.0], "float32")
    g = np.full((10**6, 2), 0.1, "float32")
    (mg.asarray(g) + b).backward(g)
    np.testing.assert_allclose(b.grad.numpy(), 1e5, rtol=2e-6)


def test_running_sums_keep_their_digits():
    found = mg.cumsum(np.full(10**6, 0.1, "float32"), axis=0)
    np.testing.assert_allclose(found[-1], 1e5, rtol=1e-6)
    counted = mg.cumsum(np.ones(5000, "float16"), axis=0)
    assert counted[-1] == 5000


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("columns", [None, 2])
def test_many_numbers_at_one_place_add_up(dtype, columns):
    """The gradient of a row of an embedding that a text repeats."""
    count = 5000 if dtype == "float16" else 10**6
    shape = (3,) if columns is None else (3, columns)
    into = np.zeros(shape, dtype)
    value = 1 if dtype == "float16" else 0.1
    ids = np.ones(count, int)
    add_at(into, (ids,), np.full((count, *shape[1:]), value, dtype))
    np.testing.assert_allclose(into[1], count * value, rtol=1e-6)
    assert not into[0].any()
    assert not into[2].any()
