"""What are the slopes at kinks, ties and ends, which the property tests avoid?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

import minigrad as mg
from minigrad.testing import arrays, shapes
from tests.minigrad.helpers import assert_close, assert_equal, leaf, plain


def slope(f, *values):
    """The gradients of the sum of f by each operand."""
    leaves = [leaf(v) for v in values]
    found = mg.grad(f(*leaves).sum(), leaves)
    return found[0] if len(found) == 1 else found


@pytest.mark.parametrize("f", [mg.maximum, mg.minimum])
def test_a_tie_halves_the_gradient(f):
    on_a, on_b = slope(f, [1.0, 2.0, 3.0], [1.0, 5.0, 0.0])
    assert_equal(on_a + on_b, [1, 1, 1])
    assert on_a.numpy()[0] == on_b.numpy()[0] == 0.5


def test_a_tie_with_itself_gives_the_whole():
    assert_equal(slope(lambda x: mg.maximum(x, x), [1.0, 2.0]), [1, 1])


def test_slopes_at_kinks():
    assert_equal(slope(mg.absolute, [0.0, -0.0]), [0, 0])
    assert_equal(slope(mg.relu, [0.0, 1e-300, -1.0]), [0, 1, 0])
    assert_equal(
        slope(lambda x: mg.clip(x, -1, 1), [-1.0, 1.0, 1.1, -2.0]), [1, 1, 0, 0]
    )


def test_powers_at_zero():
    assert_equal(slope(lambda x: x**2, [0.0]), [0])
    assert_equal(slope(lambda x: x**1, [0.0]), [1])
    assert_equal(slope(lambda x: x**0, [0.0]), [0])
    on_base, on_exponent = slope(mg.power, [0.0, 0.0, 0.0], [2.0, 1.0, 0.0])
    assert_equal(on_base, [0, 1, 0])
    assert_equal(on_exponent, [0, 0, 0])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_powers_of_zero_and_of_negative_numbers_to_third_order(order):
    x = leaf([0.0, -2.0])
    y = x**3
    for _ in range(order):
        y = mg.grad(y.sum(), x, create_graph=True)
    assert_close(y, [[0, 12], [0, -12], [6, 6]][order - 1])


def test_unchosen_numbers_do_not_leak_into_the_gradient():
    x = leaf([-1.0, 4.0])
    with np.errstate(invalid="ignore"):
        y = mg.where(x > 0, mg.sqrt(mg.where(x > 0, x, 1)), 0)
    y.sum().backward()
    assert_equal(x.grad, [0, 0.25])


REFERENCES = {
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "relu": lambda x: np.maximum(x, 0),
    "sqrt": np.sqrt,
    "negative": np.negative,
    "cos": np.cos,
}


@pytest.mark.parametrize("name", REFERENCES)
@given(values=arrays(shapes(0, 2, 0, 3), 0.05, 3.0))
def test_values_are_numpys(name, values):
    assert_close(getattr(mg, name)(plain(values)), REFERENCES[name](values))


def test_small_numbers_keep_their_digits():
    x = leaf([1e-12])
    assert_equal(mg.log1p(x), np.log1p([1e-12]))
    assert_equal(mg.expm1(x), np.expm1([1e-12]))


def test_where_takes_a_condition_with_gradients_as_a_condition():
    condition, a = leaf([1.0, 0.0]), leaf([3.0, 4.0])
    y = mg.where(condition > 0, a, 0)
    y.sum().backward()
    assert_equal(a.grad, [1, 0])
    assert condition.grad is None


def test_integers_stay_integers():
    a = plain([1, 2], "int64")
    assert (a + 1).dtype == np.int64
    assert (a * a).dtype == np.int64
    assert (a / 2).dtype == np.float64


def test_constants_times_a_gradient_keep_the_constants_dtype():
    x, ids = leaf([1.0, 2.0]), plain([3, 4], "int64")
    (x * ids).sum().backward()
    assert_equal(x.grad, [3, 4])
    assert x.grad.dtype == np.float64
