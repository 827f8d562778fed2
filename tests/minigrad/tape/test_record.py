"""What does the tape keep of an operation, and does it let go of the rest?"""

from __future__ import annotations

import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad.inspect import kept_bytes
from minigrad.tape import registry
from tests.minigrad.helpers import assert_equal, leaf, plain

pytestmark = pytest.mark.usefixtures("device")

N = 100
ONE = 8 * N  # the bytes of one array of N float64
MASK = N

x = leaf(np.linspace(0.5, 2, N))
y = leaf(np.linspace(1, 3, N))
c = plain(np.linspace(2, 5, N))
m = plain(np.arange(N) % 2 == 0, "bool")

KEPT = {
    "x + y": (lambda: x + y, 0),
    "x + c": (lambda: x + c, 0),
    "x - y": (lambda: x - y, 0),
    "-x": (lambda: -x, 0),
    "x + 1": (lambda: x + 1, 0),
    "sum": (lambda: x.sum(), 0),
    "mean": (lambda: x.mean(), 0),
    "reshape": (lambda: x.reshape(10, 10).T, 0),
    "crop": (lambda: x[10:], 0),
    "concatenate": (lambda: mg.concatenate([x, y, c]), 0),
    "stack, split": (lambda: mg.split(mg.stack([x, y]), 2)[0], 0),
    "cumsum, flip": (lambda: mg.flip(mg.cumsum(x, axis=0)), 0),
    "broadcast": (lambda: mg.broadcast_to(x, (5, N)), 0),
    "x * c": (lambda: x * c, ONE),
    "c * x": (lambda: c * x, ONE),
    "x * 2": (lambda: x * 2, 0),
    "x * y": (lambda: x * y, 2 * ONE),
    "x * x": (lambda: x * x, ONE),
    "x / c": (lambda: x / c, ONE),
    "x / 2": (lambda: x / 2, 0),
    "c / x": (lambda: c / x, 2 * ONE),
    "relu": (lambda: mg.relu(x), ONE),
    "tanh": (lambda: mg.tanh(x), ONE),
    "sigmoid": (lambda: mg.sigmoid(x), ONE),
    "exp": (lambda: mg.exp(x), ONE),
    "log": (lambda: mg.log(x), ONE),
    "sqrt": (lambda: mg.sqrt(x), ONE),
    "where": (lambda: mg.where(m, x, c), MASK),
    "take": (lambda: mg.take(x, np.arange(5)), 5 * 8),
    "x @ c": (lambda: x @ c, ONE),
    "c @ x": (lambda: c @ x, ONE),
    "relu(x + c) keeps its output alone": (lambda: mg.relu(x + c), ONE),
    "tanh(x * 2) keeps its output alone": (lambda: mg.tanh(x * 2), ONE),
    "mask of dropout": (lambda: mg.dropout(x, 0.5), MASK),
    "softmax": (lambda: mg.softmax(x), ONE),
}


@pytest.mark.parametrize("name", KEPT)
def test_the_tape_keeps_what_the_rules_name_and_no_more(name):
    compute, expected = KEPT[name]
    assert kept_bytes(compute()) == expected


def test_an_array_that_no_rule_names_is_freed_at_once():
    before = x + c
    array = weakref.ref(before.data)
    result = mg.relu(before)
    del before
    assert array() is None
    assert result.requires_grad


def test_an_array_that_a_rule_names_lives_as_long_as_its_entry():
    before = x + c
    array = weakref.ref(before.data)
    result = mg.log(before)
    del before
    assert array() is not None
    del result
    assert array() is None


def test_forgetting_the_loss_frees_the_tape():
    h = mg.exp(x + c)
    array = weakref.ref(h.data)
    loss = (h * h).sum()
    del h
    del loss
    assert array() is None


def test_primitives_given_arrays_record_nothing():
    for result in (mg.add(np.ones(2), 1), mg.matmul(np.eye(2), np.ones(2))):
        assert type(result) is np.ndarray


def test_positional_settings_are_accepted_in_their_order():
    t = leaf(np.arange(6.0).reshape(2, 3))
    assert_equal(mg.sum(t, 0), [3, 5, 7])
    assert_equal(mg.sum(t, 1, True), [[3], [12]])
    assert_equal(mg.clip(t, 1, 4), [[1, 1, 2], [3, 4, 4]])
    assert mg.swapaxes(t, 0, 1).shape == (3, 2)


@pytest.mark.parametrize("call", [lambda: mg.sum(x, 0, True, 3), lambda: mg.add(x)])
def test_wrong_arguments_are_a_type_error(call):
    with pytest.raises(TypeError):
        call()


@pytest.mark.only_cpu("a list becomes an array there")
def test_lists_are_operands_too():
    assert_equal(plain([1.0, 2.0]) * [3, 2], [3, 4])
    assert_equal(mg.maximum([1, 5], plain([3.0, 4.0])), [3, 5])


@pytest.mark.parametrize("call", [mg.max, mg.min, mg.logsumexp, mg.prod, mg.tanh])
def test_the_tape_keeps_the_very_array_of_a_result_without_axes(call):
    """A copy would not notice that the result is written to."""
    y = call(leaf([0.5] if call is not mg.tanh else 0.5))
    kept = y.entry.results[0]
    assert kept is None or kept is y.data
    if kept is not None:
        y.detach().copy_(1.0)
        with pytest.raises(RuntimeError, match="changed that array in place"):
            y.sum().backward()


NUMBERS = {
    "where": (np.array([True, False]), 1.0, 0.0),
    "where one": (np.array([True, False]), np.ones(2, "float32"), 0.0),
    "multiply": (np.ones(2, "float32"), 2.0),
    "multiply integers": (np.ones(2, "int64"), 2.0),
    "subtract": (2.0, np.ones(2, "float32")),
    "masked": (np.ones(2, "float32"), np.array([True, False])),
    "maximum": (np.ones(2, "int8"), 3),
    "greater": (np.ones(2, "float16"), 3.0),
}


@pytest.mark.only_cpu("dtypes, not devices, are looked at")
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_have_the_same_dtype_beside_arrays_and_tensors(name):
    operation, operands = registry[name.split()[0]], NUMBERS[name]
    tensors = [mg.asarray(x) if isinstance(x, np.ndarray) else x for x in operands]
    assert operation(*operands).dtype == operation(*tensors).dtype


@pytest.mark.only_cpu("dtypes, not devices, are looked at")
def test_a_condition_does_not_make_numbers_double():
    assert mg.where(np.array([True, False]), 1.0, 0.0).dtype == np.float32
