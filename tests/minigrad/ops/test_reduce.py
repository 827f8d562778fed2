"""Do reductions differentiate at ties and zeros, and over empty axes?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad.testing import arrays, check_gradients
from tests.minigrad.helpers import assert_equal, assert_parts, leaf, plain

ROWS = [[2.0, 2.0, 1.0], [3.0, 3.0, 3.0], [0.0, 1.0, 2.0]]


def test_elements_that_tie_share_the_gradient_of_max():
    x = leaf(ROWS)
    x.max(axis=1).backward(np.array([6.0, 9.0, 1.0]))
    assert_equal(x.grad, [[3, 3, 0], [3, 3, 3], [0, 0, 1]])


def test_elements_that_tie_share_the_gradient_of_min():
    x = leaf(ROWS)
    x.min(axis=0, keepdims=True).backward(np.array([[1.0, 2.0, 4.0]]))
    assert_equal(x.grad, [[0, 0, 4], [0, 0, 0], [1, 2, 0]])
    y = leaf(ROWS)
    y.min().backward()
    assert_equal(y.grad.sum(), 1)


@given(
    values=arrays((4,)),
    zeros=hnp.arrays(bool, (4,)),
    seed=st.integers(0, 99),
)
def test_products_with_zeros_to_third_order(values, zeros, seed):
    check_gradients(mg.prod, np.where(zeros, 0, values), order=3, seed=seed)


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_the_gradient_of_a_product_is_that_of_the_others(zeros):
    x = leaf([0.0] * zeros + [2.0] * (3 - zeros))
    x.prod().backward()
    others = [np.prod(np.delete(x.numpy(), i)) for i in range(3)]
    assert_equal(x.grad, others)


def test_tiny_factors_do_not_overflow_as_a_division_would():
    x = leaf([1e-200, 1e-200, 5.0])
    x.prod().backward()
    assert_equal(x.grad, [5e-200, 5e-200, 0])


EMPTY = {
    "sum": (lambda x: x.sum(axis=0), 0),
    "prod": (lambda x: x.prod(axis=0), 1),
    "cumsum": (lambda x: x.cumsum(axis=0).sum(axis=0), 0),
}


@pytest.mark.parametrize("name", EMPTY)
def test_reductions_over_nothing(name):
    f, expected = EMPTY[name]
    x = leaf(np.zeros((0, 2)))
    y = f(x)
    assert_equal(y, [expected, expected])
    y.sum().backward()
    assert x.grad.shape == (0, 2)


@pytest.mark.parametrize("name", ["max", "min", "logsumexp"])
def test_the_empty_axis_beside_the_reduced_one(name):
    x = leaf(np.zeros((0, 2)))
    y = getattr(x, name)(axis=1)
    assert y.shape == (0,)
    y.sum().backward()
    assert x.grad.shape == (0, 2)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "logsumexp"])
def test_an_axis_named_twice_is_refused(name):
    with pytest.raises(ValueError, match="duplicate") as raised:
        getattr(leaf(ROWS), name)(axis=(0, -2))
    assert_parts(raised.value, name, "(0, -2)")


def test_running_sums_of_a_long_row():
    x = leaf(np.ones(1000))
    x.cumsum(axis=0).sum().backward()
    assert_equal(x.grad, np.arange(1000, 0, -1))


# -- exact at the edges ------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1e4, -1e9])
def test_the_gradient_of_logsumexp_does_not_cancel(offset):
    x = leaf([[0.0, 0.0, 0.0]], "float32")
    mg.logsumexp(x + offset, axis=1).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 / 3, rtol=1e-6)


def test_sums_of_exponentials_over_nothing():
    assert mg.logsumexp(np.zeros(0)) == -np.inf
    assert_equal(mg.logsumexp(plain(np.zeros((2, 0))), axis=1), [-np.inf, -np.inf])
    for f in (mg.softmax, mg.log_softmax):
        assert f(plain(np.zeros((2, 0)))).shape == (2, 0)
        assert f(plain(np.zeros((0, 2))), axis=0).shape == (0, 2)
    x = leaf(np.zeros((2, 0)))
    mg.logsumexp(x, axis=1).sum().backward()
    assert x.grad.shape == (2, 0)


@pytest.mark.parametrize("f", [mg.softmax, mg.log_softmax])
def test_scores_may_be_integers(f):
    scores = np.array([-128, 127], "int8")  # whose difference int8 does not hold
    np.testing.assert_allclose(f(scores), f(scores.astype("float32")))
    assert mg.logsumexp(scores) == 127


@pytest.mark.parametrize("f", [mg.softmax, mg.log_softmax, mg.logsumexp])
def test_many_float16_scores(f):
    """70,000 ones are more than float16 can count."""
    x = leaf(np.zeros(70_000), "float16")
    y = f(x) if f is mg.logsumexp else f(x)[:1]
    expected = {mg.softmax: 1 / 70_000, mg.log_softmax: -np.log(70_000)}
    wanted = expected.get(f, np.log(70_000))
    np.testing.assert_allclose(y.numpy(), wanted, rtol=2e-2 if wanted < 1 else 1e-3)
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("f", [mg.max, mg.min])
def test_70_000_float16_that_tie_share_the_gradient(f):
    x = leaf(np.zeros(70_000), "float16")
    f(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 / 70_000, rtol=2e-2)


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("f", [mg.max, mg.min])
@pytest.mark.parametrize("size", [3, 2000])
def test_what_is_not_the_extreme_has_no_gradient_even_of_an_infinite_slope(f, size):
    x = leaf(np.full((size, 2), 9.0 if f is mg.min else -9.0))
    extreme = f(mg.concatenate([x, np.zeros((size, 1))], axis=1), axis=1)
    mg.sqrt(extreme).sum().backward()
    assert not x.grad.numpy().any()


def test_a_product_of_float16_overflows_only_at_its_end():
    assert mg.prod(np.array([300, 300, 1 / 300], "float16")) == pytest.approx(300, 0.01)

