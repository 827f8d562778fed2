"""Do cut convolutions and poolings let nothing through where they should not?"""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from tests.minigrad.helpers import leaf, plain

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero")

SIDES = [4, 64]  # 64: where masks are applied bit by bit


@pytest.mark.parametrize("side", SIDES)
def test_what_was_cut_has_no_gradient_even_of_an_infinite_slope(side):
    """As where the convolution and the ReLU are two."""
    x = np.random.default_rng(0).standard_normal((2, 3, side, side))
    w = np.random.default_rng(1).standard_normal((4, 3, 3, 3))
    found = []
    for joint in (True, False):
        leaves = [leaf(x), leaf(w), leaf(np.full(4, 0.1))]
        if joint:
            y = mg.conv2d_relu(*leaves)
        else:
            convolved = mg.conv2d(*leaves[:2])
            y = mg.relu(convolved + mg.reshape(leaves[2], shape=(1, 4, 1, 1)))
        mg.sqrt(y).sum().backward()
        found.append([t.grad.numpy() for t in leaves])
    for one, other in zip(*found, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (2, 3)])
def test_what_is_not_largest_has_no_gradient_even_of_an_infinite_slope(
    side, size, stride
):
    x = leaf(-np.random.default_rng(0).random((1, 2, side, side)) - 1)
    largest = mg.max_pool2d(x, size=(size, size), stride=(stride, stride))
    largest.sum().backward()
    rest = x.grad.numpy().copy()
    y = leaf(np.where(rest > 0, 0.0, x.numpy()))
    pooled = mg.max_pool2d(y, size=(size, size), stride=(stride, stride))
    mg.sqrt(pooled).sum().backward()
    assert not np.isnan(y.grad.numpy()).any()
    assert np.isinf(y.grad.numpy()).any()
    assert not y.grad.numpy()[rest == 0].any()


def test_places_are_read_past_infinities():
    v = plain(np.full((1, 1, 40, 40), np.inf))
    v.data[..., ::2, ::2] = 1.0
    places = np.zeros((1, 1, 20, 20), "uint8")
    found = mg.at_largest(v, places, size=(2, 2), stride=(2, 2))
    np.testing.assert_array_equal(found.numpy(), 1)


@pytest.mark.parametrize(
    ("image", "weight", "result"),
    [
        ("float32", "float64", "float64"),
        ("uint8", "float32", "float32"),
        ("uint8", "uint8", "float32"),  # whose sums overflow
        ("float16", "float16", "float16"),
    ],
)
def test_a_convolution_has_the_dtype_of_a_product(image, weight, result):
    value = 2 if image == "float16" else 200
    x = plain(np.full((1, 1, 4, 4), value), image)
    w = plain(np.ones((1, 1, 3, 3)), weight)
    y = mg.conv2d(x, w)
    assert y.dtype == result
    np.testing.assert_array_equal(y.numpy(), 9 * value)
    back = mg.conv2d_to_input(y, w, shape=(4, 4))
    assert back.dtype == np.result_type(result, weight)
    slope = mg.conv2d_to_weight(x, y, size=(3, 3))
    assert slope.dtype == np.result_type(result, image)
