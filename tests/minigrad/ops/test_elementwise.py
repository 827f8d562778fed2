"""What are the slopes at kinks, ties and ends, which the property tests avoid?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

import minigrad as mg
from minigrad.ops import elementwise
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


# -- exact where another formula would cancel --------------------------------------

TAIL = [-700.0, -100.0, -38.0, -20.0, -17.0, -1.0, 0.0, 1.0, 17.0, 38.0, 700.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_keeps_the_digits_of_its_small_tail(dtype):
    x = np.array([v for v in TAIL if dtype == "float64" or abs(v) < 88], dtype)
    rtol = 8 * np.finfo(dtype).eps
    e = np.exp(np.minimum(x, 0).astype("longdouble"))
    exact = e / (1 + np.exp(-np.abs(x).astype("longdouble")))
    np.testing.assert_allclose(mg.sigmoid(x), exact, rtol=rtol)
    slope = np.exp(-np.abs(x).astype("longdouble"))
    slope = slope / (1 + slope) ** 2
    found = mg.grad(mg.sigmoid(t := leaf(x, dtype)).sum(), t)
    np.testing.assert_allclose(found.numpy(), slope, rtol=rtol)


@pytest.mark.parametrize("real", [0.0, -0.0, 1e-17, -1e-17, 2.0, -2.0])
@pytest.mark.parametrize("imaginary", [2.0**-100, -(2.0**-100)])
def test_the_complex_form_of_sigmoid_has_its_slope(real, imaginary):
    """The checker's oracle reads slopes from it, also where a tiny number rounds."""
    y = mg.sigmoid(np.array(complex(real, imaginary)))
    e = np.exp(-abs(real))
    assert y.imag / imaginary == pytest.approx(e / (1 + e) ** 2, rel=1e-12)


def test_the_logarithm_of_a_small_sigmoid():
    x = leaf([-20.0, -80.0, 20.0], "float32")
    y = mg.log(mg.sigmoid(x))
    y.sum().backward()
    np.testing.assert_allclose(y.numpy(), [-20, -80, 0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(x.grad.numpy(), [1, 1, 0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("f", [mg.softplus, lambda x: x * mg.sigmoid(x)])
def test_slopes_made_of_sigmoid_keep_their_tails(f):
    (found,) = slope(f, [-30.0]).numpy()
    exact = np.exp(-30) if f is mg.softplus else -29 * np.exp(-30)
    assert found == pytest.approx(exact, rel=1e-12)


def test_the_slope_of_expm1_keeps_its_tail():
    assert_close(slope(mg.expm1, [-40.0, 0.0]), [np.exp(-40.0), 1], 1e-15)
    assert slope(mg.expm1, [-40.0]).item() > 0


@given(x=arrays((5,)))
def test_a_gate_is_a_sigmoid_to_an_absolute_round_off(x):
    for scale in (1, 10, 100):
        for dtype in ("float32", "float64"):
            a = (scale * x).astype(dtype)
            gap = np.abs(elementwise.gate(a) - mg.sigmoid(a)).max()
            assert gap <= np.finfo(dtype).eps


# -- masks without products: 0 times infinity --------------------------------------

SIZES = [1, 3, 2000]  # 2000: where a mask is applied bit by bit


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
def test_masked_keeps_every_value_and_clears_every_other(size, dtype):
    rng = np.random.default_rng(size)
    mask = rng.random((size, 3)) < 0.5
    a = rng.standard_normal((size, 3)).astype(dtype)
    if dtype != "int32":
        a[rng.random(a.shape) < 0.3] = np.inf
        a[rng.random(a.shape) < 0.3] = np.nan
        a[rng.random(a.shape) < 0.1] = -0.0
    for values, chosen in [(a, mask), (a.T, mask.T), (a[::-1], mask), (a, mask[:1])]:
        kept = elementwise.masked(values, chosen)
        assert kept.dtype == dtype
        np.testing.assert_array_equal(kept, np.where(chosen, values, 0))


BENEATH_A_ROOT = {
    "relu": lambda x: mg.relu(x),
    "clip": lambda x: mg.clip(x, 0, 9),
    "where": lambda x: mg.where(x > 0, x, 0.0),
    "maximum": lambda x: mg.maximum(x, 0.0),
    "masked": lambda x: elementwise.masked(x, x.data > 0),
    "abs of relu": lambda x: abs(mg.relu(x)),
    "max of two": lambda x: mg.max(mg.stack([x, np.zeros(x.shape)]), axis=0),
    "dropout": lambda x: mg.dropout(mg.relu(x), 0.0),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", BENEATH_A_ROOT)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_masked_number_has_no_gradient_even_of_an_infinite_slope(name, size):
    for outer in (mg.sqrt, mg.log):
        x = leaf(np.tile([-1.0, 4.0, -2.0], (size, 1)))
        outer(BENEATH_A_ROOT[name](x)).sum().backward()
        assert_equal(x.grad, np.tile([0, 0.25, 0], (size, 1)))

