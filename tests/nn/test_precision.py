"""Do layers keep their digits far out, in float16, and of whole numbers?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
import nn.functional as F
from minigrad.ops.elementwise import gate
from tests.devices import put

pytestmark = pytest.mark.usefixtures("device")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gelu_is_a_straight_line_far_out(dtype):
    far = np.array([50, 1e3, {"float16": 6e4, "float32": 1e11, "float64": 1e90}[dtype]])
    x = put(mg.Tensor(np.concatenate([-far, far]), dtype, requires_grad=True))
    y = F.gelu(x)
    first = mg.grad(y.sum(), x, create_graph=True)
    np.testing.assert_array_equal(y.numpy(), np.maximum(x.numpy(), 0))
    np.testing.assert_array_equal(first.numpy(), x.numpy() > 0)
    np.testing.assert_array_equal(mg.grad(first.sum(), x).numpy(), 0)


def test_layer_norm_of_float16_has_the_statistics_of_float32():
    rng = np.random.default_rng(0)
    values = np.concatenate([[[300, -300] * 4], 500 * rng.standard_normal((3, 8))])
    results = []
    for dtype in ("float16", "float32"):
        x = put(mg.Tensor(values.astype("float16"), dtype, requires_grad=True))
        y = put(nn.LayerNorm(8, dtype=dtype))(x)
        (y * y * y).sum().backward()
        assert y.dtype == dtype
        results.append((y.numpy(), x.grad.numpy()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=4e-3, atol=4e-3)
    np.testing.assert_allclose(results[0][0][0], [1, -1] * 4)


def test_average_pooling_of_float16_sums_in_float32():
    x = put(mg.Tensor(np.full((1, 1, 16, 16), 500, "float16")))
    y = F.avg_pool2d(x, 16)
    assert (y.item(), y.dtype) == (500, "float16")


def test_pictures_of_whole_numbers_are_looked_at():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (1, 3, 6, 6)).astype("uint8")
    layer = put(nn.Conv2d(3, 2, 3, padding=1))
    whole, floats = put(picture), put(picture.astype("float32"))
    np.testing.assert_array_equal(layer(whole).numpy(), layer(floats).numpy())
    assert layer(whole).dtype == np.float32
    for dtype in ("uint8", "int16", bool):
        x = picture.astype(dtype) if dtype is bool else (picture // 2).astype(dtype)
        pooled = F.max_pool2d(put(x), 2, padding=1)
        expected = F.max_pool2d(put(x.astype("float32")), 2, padding=1)
        assert pooled.dtype == dtype
        pooled, expected = mg.asarray(pooled).numpy(), mg.asarray(expected).numpy()
        np.testing.assert_array_equal(pooled, expected)


@pytest.mark.parametrize(
    "positions", [nn.SinusoidalPositions(4), nn.LearnedPositions(3, 4)]
)
def test_positions_are_added_to_whole_numbers_as_floats(positions):
    whole = np.arange(12).reshape(1, 3, 4)
    y, expected = positions(whole), positions(whole.astype("float32"))
    y, expected = (np.asarray(mg.Tensor(x).numpy()) for x in (y, expected))
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@given(x=st.floats(-1e4, 1e4))
def test_a_gate_is_a_proportion_with_an_absolute_error_of_one_round_off(x):
    for dtype in ("float32", "float64"):
        share = float(gate(np.array(x, dtype)))
        exact = 1 / (1 + np.exp(-np.longdouble(np.array(x, dtype))))
        assert abs(share - exact) <= np.finfo(dtype).eps
        assert 0 <= share <= 1
