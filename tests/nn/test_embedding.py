"""Does Embedding look up rows, and train only the rows it looked up?"""

import numpy as np
import pytest

import minigrad as mg
import nn
from tests.devices import put

pytestmark = pytest.mark.usefixtures("device")


def test_ids_become_rows():
    layer = put(nn.Embedding(5, 3, generator=mg.Generator(0)))
    ids = np.array([[0, 3], [3, 4]], np.int32)
    assert layer.W.shape == (5, 3)
    assert layer.W.dtype == np.float32
    np.testing.assert_array_equal(layer(ids).numpy(), layer.W.numpy()[ids])


def test_only_rows_that_were_read_get_gradients():
    layer = put(nn.Embedding(5, 3))
    layer([1, 3, 3]).sum().backward()
    np.testing.assert_array_equal(layer.W.grad.numpy()[:, 0], [0, 1, 0, 2, 0])


def test_it_refuses_ids_out_of_range():
    with pytest.raises(ValueError, match="only 0 to 4"):
        put(nn.Embedding(5, 3))([5])


def test_it_refuses_sizes_below_one():
    with pytest.raises(ValueError, match="Embedding: num_embeddings is 0"):
        put(nn.Embedding(0, 3))
