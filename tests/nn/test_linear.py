"""Is Linear `x @ W + b` on the last axis, with weights that keep the scale?"""

import numpy as np
import pytest

import minigrad as mg
import nn
from tests.devices import put
from tests.nn.reference import says

pytestmark = pytest.mark.usefixtures("device")


@pytest.mark.parametrize("leading", [(), (2,), (2, 3), (2, 3, 4)])
def test_it_is_an_affine_map_of_the_last_axis(leading):
    layer = put(nn.Linear(5, 3, dtype="float64", generator=mg.Generator(0)))
    layer.b.data = put(np.arange(3.0))
    x = np.random.default_rng(0).standard_normal((*leading, 5))
    expected = x @ layer.W.numpy() + [0, 1, 2]
    np.testing.assert_allclose(layer(put(mg.Tensor(x))).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(layer(put(x)).numpy(), expected, rtol=1e-12)


def test_it_has_weights_in_by_out_and_a_bias_of_zeros():
    layer = put(nn.Linear(400, 300, generator=mg.Generator(0)))
    assert layer.W.shape == (400, 300)
    assert layer.W.dtype == np.float32
    assert abs(layer.W.numpy().std() * 20 - 1) < 0.01
    np.testing.assert_array_equal(layer.b.numpy(), np.zeros(300))


def test_it_can_do_without_a_bias():
    layer = put(nn.Linear(2, 3, bias=False))
    assert layer.b is None
    assert [name for name, _ in layer.named_parameters()] == ["W"]
    assert layer(put(mg.zeros((1, 2)))).shape == (1, 3)


def test_it_names_an_x_of_another_width():
    with pytest.raises(ValueError, match="linear: x") as error:
        put(nn.Linear(4, 3))(put(mg.zeros((2, 5))))
    says(error, "(2, 5)", "expected (..., 4)", "beside W (4, 3)", "Give W (D, M)")


@pytest.mark.parametrize("sizes", [(0, 3), (3, -1), (2.5, 3)])
def test_it_refuses_sizes_that_are_none(sizes):
    with pytest.raises((TypeError, ValueError), match="Linear: ") as error:
        put(nn.Linear(*sizes))
    says(error, "_features is", "positive integer")
