"""Does every key of NumPy's index the same elements, and do repeats add up?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from tests.minigrad.helpers import assert_equal, leaf
from tests.support.cases import keys, small

SHAPES = small(1, 3, 1, 4)


@given(data=st.data(), shape=SHAPES)
def test_every_basic_key_is_numpys(data, shape):
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    check(shape, key)


@given(data=st.data(), shape=SHAPES)
def test_every_advanced_key_is_numpys(data, shape):
    check(shape, data.draw(keys(shape)))


def check(shape, key):
    """Values as NumPy's, and a gradient that counts how often each was read."""
    array = np.arange(float(np.prod(shape))).reshape(shape)
    key = np.array(key, int) if isinstance(key, list) else key
    x = leaf(array)
    y = x[key]
    assert_equal(y, array[key])
    y.sum().backward()
    reads = np.zeros(shape)
    np.add.at(reads, key, 1)
    assert_equal(x.grad, reads)


def test_repeated_ids_add_their_gradients():
    table = leaf(np.zeros((3, 2)))
    rows = mg.take(table, np.array([[0, 2], [0, 0]]))
    (rows * np.arange(8.0).reshape(2, 2, 2)).sum().backward()
    assert_equal(table.grad, [[0 + 4 + 6, 1 + 5 + 7], [0, 0], [2, 3]])


def test_negative_and_positive_ids_of_one_row_add_up():
    table = leaf(np.zeros((3, 1)))
    mg.take(table, [2, -1, -3]).sum().backward()
    assert_equal(table.grad, [[1], [0], [2]])


def test_a_mask_that_holds_nowhere():
    x = leaf([1.0, 2.0])
    y = x[x > 5]
    assert y.shape == (0,)
    y.sum().backward()
    assert_equal(x.grad, [0, 0])


@pytest.mark.parametrize("key", [True, False, np.True_])
def test_a_boolean_adds_an_axis_as_numpys_does(key):
    array = np.array([1.0, 2.0])
    assert_equal(leaf(array)[key], array[key])


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", "uint8", "uint64"]
)
def test_ids_of_every_integer_dtype(dtype):
    x = leaf([[1.0], [2.0], [3.0]])
    y = mg.take(x, np.array([2, 0, 2], dtype))
    y.sum().backward()
    assert_equal(x.grad, [[1], [0], [2]])


def test_numpy_integers_are_integers():
    assert_equal(leaf([1.0, 2.0, 3.0])[np.int64(1)], 2)
    assert_equal(leaf([1.0, 2.0, 3.0])[np.int64(1) :], [2, 3])


def test_indices_of_indices():
    x = leaf(np.arange(12.0).reshape(3, 4))
    x[1:][:, [0, 0]][::-1][0].sum().backward()
    expected = np.zeros((3, 4))
    expected[2, 0] = 2
    assert_equal(x.grad, expected)
