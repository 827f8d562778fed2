"""Do rearranging primitives come in adjoint pairs, and are views views?"""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad.ops.shape import Slice, crop, place, sum_to
from tests.minigrad.helpers import assert_equal, assert_parts, leaf, plain

VIEWS = {
    "reshape": lambda x: mg.reshape(x, (3, 2)),
    "transpose": lambda x: x.T,
    "swapaxes": lambda x: mg.swapaxes(x, 0, 1),
    "expand_dims": lambda x: mg.expand_dims(x, 0),
    "flip": lambda x: mg.flip(x, 0),
    "broadcast_to": lambda x: mg.broadcast_to(x, (4, 2, 3)),
    "crop": lambda x: x[1:],
    "split": lambda x: mg.split(x, 2)[1],
    "unstack": lambda x: mg.unstack(x)[1],
}


@pytest.mark.parametrize("name", VIEWS)
def test_what_only_rearranges_copies_nothing(name):
    x = leaf(np.ones((2, 3)))
    assert np.may_share_memory(VIEWS[name](x).data, x.data)


def test_split_takes_a_number_of_parts_or_their_sizes():
    x = leaf(np.arange(6.0))
    assert [p.shape for p in mg.split(x, 3)] == [(2,)] * 3
    assert [p.shape for p in mg.split(x, (1, 0, 5))] == [(1,), (0,), (5,)]
    assert [p.shape for p in mg.split(x, np.int64(2))] == [(3,)] * 2


@pytest.mark.parametrize("sizes", [4, 0, -1, (7,), (7, -1), ()])
def test_parts_that_do_not_make_up_the_whole_are_refused(sizes):
    with pytest.raises(ValueError, match="split"):
        mg.split(leaf(np.arange(6.0)), sizes)


@pytest.mark.parametrize("shape", [(), (0, 2)])
def test_nothing_to_unstack_is_refused(shape):
    with pytest.raises(ValueError, match="unstack") as raised:
        mg.unstack(leaf(np.zeros(shape)))
    assert_parts(raised.value, "nothing to unstack")


def test_parts_that_nobody_uses_get_no_gradient_and_cost_nothing():
    x = leaf(np.ones((3, 2)))
    mg.unstack(x)[1].sum().backward()
    assert_equal(x.grad, [[0, 0], [1, 1], [0, 0]])


def test_joining_tensors_arrays_and_numbers():
    x = leaf([1.0, 2.0])
    y = mg.concatenate([x, np.array([3.0]), plain([4.0])])
    assert_equal(y, [1, 2, 3, 4])
    z = mg.stack([x[0], 5.0])
    assert_equal(z, [1, 5])
    (y.sum() + z.sum()).backward()
    assert_equal(x.grad, [2, 1])


def test_gradients_of_joined_dtypes_go_back_to_their_own():
    narrow, wide = leaf([1.0], "float32"), leaf([2.0])
    mg.concatenate([narrow, wide]).sum().backward()
    assert narrow.grad.dtype == np.float32
    assert wide.grad.dtype == np.float64


PAD_FORMS = [((1, 2), (0, 1)), [[1, 2], [0, 1]], 1, (1, 2), ((1, 2),)]


@pytest.mark.parametrize("widths", PAD_FORMS)
def test_every_form_of_widths_that_is_taken_can_be_differentiated(widths):
    x = leaf(np.ones((2, 3)))
    try:
        y = mg.pad(x, widths)
    except (TypeError, ValueError) as error:
        assert_parts(error, "pad", "widths")
        return
    np.testing.assert_array_equal(y.numpy(), np.pad(x.numpy(), widths))
    y.sum().backward()
    assert_equal(x.grad, np.ones((2, 3)))


def test_settings_of_one_array_may_be_lists():
    x = leaf(np.ones((2, 3)))
    assert mg.reshape(x, [3, 2]).shape == (3, 2)
    assert mg.transpose(x, [1, 0]).shape == (3, 2)
    assert mg.broadcast_to(x, [1, 2, 3]).shape == (1, 2, 3)
    assert x.sum(axis=[0, 1]).shape == ()


def test_adjoints_by_hand():
    part = crop(plain([1.0, 2.0, 3.0]), index=(Slice(None, None, -2),))
    assert_equal(part, [3, 1])
    back = place(part, shape=(3,), index=(Slice(None, None, -2),))
    assert_equal(back, [1, 0, 3])
    assert_equal(sum_to(plain(np.ones((4, 2, 3))), shape=(2, 1)), [[12], [12]])
