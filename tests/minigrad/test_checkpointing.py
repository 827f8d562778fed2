"""Does a checkpoint change memory and nothing else?"""

from __future__ import annotations

import tracemalloc
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.testing import arrays, check_gradients, shapes
from tests.devices import put
from tests.minigrad.helpers import assert_close, assert_equal, assert_parts, leaf, plain

pytestmark = pytest.mark.usefixtures("device")


def block(x, w):
    return mg.tanh(x @ w) * mg.sigmoid(x @ w)


@given(x=arrays((2, 3)), w=arrays((3, 3)), c=arrays((2, 3)))
def test_a_checkpoint_changes_neither_values_nor_gradients(x, w, c):
    found = []
    for f in (block, mg.checkpoint(block)):
        a, b = leaf(x), leaf(w)
        y = f(f(a, b), b)
        y.backward(c)
        found.append((y, a.grad, b.grad))
    for plain_one, dropped in zip(*found, strict=True):
        assert_equal(dropped, plain_one.numpy())


@given(x=arrays((2, 2)), w=arrays((2, 2)), seed=st.integers(0, 99))
def test_a_checkpoint_has_gradients_of_gradients(x, w, seed):
    check_gradients(mg.checkpoint(block), x, w, order=2, seed=seed, special=False)


def test_parameters_that_a_checkpoint_closes_over_get_gradients():
    found = []
    for wrap in (lambda f: f, mg.checkpoint):
        w, x = leaf([[1.0, 2.0], [3.0, 4.0]]), leaf([0.1, 0.2])
        inner = w * 2  # a result, made before, used inside
        wrap(lambda x, w=w, inner=inner: mg.tanh(x @ w) + x @ inner)(x).sum().backward()
        found.append((x.grad.numpy(), w.grad.numpy()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_parameters_get_gradients_when_no_operand_does():
    w = leaf([1.0, 2.0])
    mg.checkpoint(lambda x: (x * w).sum())(plain([3.0, 4.0])).backward()
    assert_equal(w.grad, [3, 4])


def test_dropout_inside_a_checkpoint_drops_the_same_again():
    mg.manual_seed(5)
    x = leaf(np.ones(200))
    y = mg.checkpoint(lambda x: mg.dropout(x * x, 0.5))(x)
    mg.default_generator.normal(3)  # what others draw in between stays drawn
    after = mg.default_generator.get_state()
    y.sum().backward()
    assert_equal(x.grad, 2 * y.numpy())
    assert mg.default_generator.get_state() == after


def test_dropout_of_a_generator_of_ones_own_drops_the_same_again():
    generator = mg.Generator(5)
    x = leaf(np.ones(200))
    y = mg.checkpoint(lambda x: mg.dropout(x * x, 0.5, generator))(x)
    try:
        y.sum().backward()
    except (RuntimeError, ValueError) as error:
        assert_parts(error, "checkpoint", "generator")
    else:
        assert_equal(x.grad, 2 * y.numpy())


def test_several_outputs_one_of_them_unused():
    x = leaf([1.0, 2.0])
    first, second, constant = mg.checkpoint(
        lambda x: (x * x, mg.exp(x), plain([1.0, 1.0]))
    )(x)
    (first * 3 + constant).sum().backward()
    assert_equal(x.grad, [6, 12])
    assert second.requires_grad
    assert not constant.requires_grad


def test_checkpoints_nest():
    x = leaf([0.5, 1.0])
    inner = mg.checkpoint(mg.tanh)
    outer = mg.checkpoint(lambda x: inner(x * 2) * 3)
    outer(x).sum().backward()
    assert_close(x.grad, 6 * (1 - np.tanh(2 * x.numpy()) ** 2))


def test_a_checkpoint_inside_no_grad_records_nothing():
    with mg.no_grad():
        assert not mg.checkpoint(mg.tanh)(leaf(1.0)).requires_grad


def test_a_checkpoint_is_walked_once_or_retained():
    x = leaf(1.0)
    y = mg.checkpoint(mg.tanh)(x)
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError) as raised:
        y.backward()
    assert_parts(raised.value, "already freed", "retain_graph=True")
    assert_close(x.grad, 2 * (1 - np.tanh(1.0) ** 2))


def peak_of_training(wrap):
    """Peak bytes of forward and backward through 16 blocks of 4 arrays each."""
    x = leaf(np.ones(20_000))

    def deep(x):
        for _ in range(4):
            x = mg.tanh(x)
        return x

    tracemalloc.start()
    try:
        y = x
        for _ in range(16):
            y = wrap(deep)(y)
        y.sum().backward()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.only_cpu("NumPy tells tracemalloc of its arrays")
def test_checkpoints_lower_the_peak():
    whole, dropped = peak_of_training(lambda f: f), peak_of_training(mg.checkpoint)
    assert whole > 64 * 160_000
    assert dropped < 0.5 * whole


@given(shape=shapes(0, 2))
def test_a_checkpoint_of_any_shape(shape):
    x = leaf(np.ones(shape))
    mg.checkpoint(lambda x: x * 2)(x).sum().backward()
    assert_equal(x.grad, np.full(shape, 2.0))


# -- what is written in place ------------------------------------------------------


def test_a_checkpoint_may_fill_a_buffer_of_its_own():
    def first_only(a):
        mask = put(mg.zeros(3))
        mask[0] = 1.0
        return a * mask

    a = leaf([1.0, 2.0, 3.0], "float32")
    mg.checkpoint(first_only)(a).sum().backward()
    assert_equal(a.grad, [1, 0, 0])


@pytest.mark.parametrize("overwrites", [False, True])
def test_what_a_checkpoint_reads_from_elsewhere_must_not_be_written_since(overwrites):
    """Also where it writes there itself, which would hide the other write."""
    a, buffer = leaf([1.0, 2.0]), plain([3.0, 4.0])

    def scaled(a):
        if overwrites:
            buffer[0] = 5.0
        return a * buffer

    output = mg.checkpoint(scaled)(a).sum()
    buffer[1] = 7.0
    with pytest.raises(RuntimeError, match="changed that array in place"):
        output.backward()


def test_a_buffer_that_is_written_after_it_was_read_is_refused():
    def spoilt(a):
        buffer = plain([3.0, 4.0])
        result = a * buffer
        buffer[0] = 9.0
        return result

    with pytest.raises(RuntimeError, match="changed that array in place"):
        mg.checkpoint(spoilt)(leaf([1.0, 2.0])).sum().backward()


# -- what a checkpoint may return --------------------------------------------------


class Both(NamedTuple):
    double: mg.Tensor
    square: mg.Tensor


def test_a_named_tuple_of_tensors_stays_one():
    x = leaf([1.0, 2.0])
    both = mg.checkpoint(lambda x: Both(x * 2, x * x))(x)
    assert type(both) is Both
    (both.double + both.square).sum().backward()
    assert_equal(x.grad, [4, 6])


@pytest.mark.parametrize("wrong", [None, {"a": 1}, 2.0, (None,), ([1],), np.ones(2)])
def test_a_checkpoint_of_what_is_no_tensor_is_explained(wrong):
    with pytest.raises(TypeError) as raised:
        mg.checkpoint(lambda x: wrong)(leaf(1.0))
    assert_parts(raised.value, "checkpoint", "<lambda>", "a tuple of them")


def test_a_dict_of_tensors_is_refused_inside_no_grad_too():
    with mg.no_grad(), pytest.raises(TypeError, match="a tuple of them"):
        mg.checkpoint(lambda x: {"a": x})(leaf(1.0))
