"""Does Dropout drop while training, keep the mean, and rest in evaluation?"""

import numpy as np
import pytest

import minigrad as mg
import nn
from tests.devices import put
from tests.nn.reference import says

pytestmark = pytest.mark.usefixtures("device")


def test_it_drops_and_scales_while_training():
    x = put(mg.ones((100, 100)))
    dropped = put(nn.Dropout(0.25, generator=mg.Generator(0)))(x).numpy()
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(np.mean(dropped == 0) - 0.25) < 0.02


def test_gradients_pass_where_values_passed():
    x = put(mg.Tensor(np.ones((10, 10)), requires_grad=True))
    y = put(nn.Dropout(0.5, generator=mg.Generator(0)))(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())


def test_its_generator_decides():
    x = put(mg.ones((10, 10)))
    first = put(nn.Dropout(0.5, generator=mg.Generator(3)))(x).numpy()
    np.testing.assert_array_equal(
        first, put(nn.Dropout(0.5, generator=mg.Generator(3)))(x).numpy()
    )


def test_it_rests_in_evaluation_and_for_p_zero():
    x = put(mg.ones((3, 3)))
    assert put(nn.Dropout(0.5)).eval()(x) is x
    assert put(nn.Dropout(0.0))(x) is x


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, float("nan")])
def test_it_refuses_what_is_no_probability_of_dropping(p):
    with pytest.raises(ValueError, match="Dropout: p is") as error:
        put(nn.Dropout(p))
    says(error, str(p), "something must be left", "0 <= p < 1")
