"""Which arrays and devices are known, and how does a look-up add up repeats?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import backend
from tests.minigrad.helpers import assert_parts, plain


def has_cuda():
    try:
        backend.to_device(np.ones(1), "cuda")
    except RuntimeError:
        return False
    return True


def test_the_device_of_a_numpy_array_is_the_cpu():
    assert backend.device_of(np.ones(1)) == "cpu"
    assert mg.ones(1, device="cpu").device == "cpu"


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:", "", "cpu:0", "cuda:-1"])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(ValueError, match="unknown device") as raised:
        plain([1.0]).to(device)
    assert_parts(raised.value, repr(device), "'cpu', 'cuda' or 'cuda:N'")


@pytest.mark.skipif(has_cuda(), reason="here is a GPU, so nothing is missing")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_missing_gpu_says_what_to_install(device):
    with pytest.raises(RuntimeError) as raised:
        plain([1.0]).to(device)
    assert_parts(raised.value, repr(device), "not available", "CuPy", "device='cpu'")


@given(
    ids=st.lists(st.integers(-4, 3), max_size=12),
    width=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_rows_added_by_sorting_are_rows_added_one_by_one(ids, width, seed):
    random = np.random.default_rng(seed)
    values = random.integers(-9, 9, (len(ids), width)).astype(float)
    index = (np.array(ids, np.int64),)
    ours, theirs = np.ones((4, width)), np.ones((4, width))
    backend.add_at(ours, index, values)
    np.add.at(theirs, index, values)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("shape", [(), (2, 3), (0,), (2, 0)])
def test_ids_of_any_shape(shape):
    ids = np.zeros(shape, np.int64)
    total = np.zeros((3, 2))
    backend.add_at(total, (ids,), np.ones((*shape, 2)))
    np.testing.assert_array_equal(total[0], [ids.size] * 2)
