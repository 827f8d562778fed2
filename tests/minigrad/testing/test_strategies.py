"""Does the gradient checker accept right rules and refuse wrong ones?"""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.tape import registry
from minigrad.testing import (
    GradientError,
    arrays,
    axes,
    broadcastable,
    check_gradients,
    numerical_gradient,
    shapes,
)
from tests.minigrad.helpers import assert_parts

A = np.array([[0.5, -1.2, 2.0], [1.1, 0.3, -0.7]])
B = np.array([[0.9, 1.4, -0.6]])
SEEDS = range(5)  # one lucky cotangent would be no proof


@pytest.fixture(autouse=True)
def own_registry():
    """The tests' primitives are forgotten afterwards."""
    known = dict(registry)
    yield
    registry.clear()
    registry.update(known)


def made(forward, *rules, **facts):
    """A primitive of `forward` under these rules."""
    return mg.primitive(*rules, **facts)(forward)


def tanh(a):
    return np.tanh(a)


def product(a, b):
    return a * b


def softmax(a):
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def last(g):
    return mg.expand_dims(g, axis=-1)


WRONG = {
    "zero": (tanh, [lambda g: g * 0.0], [A]),
    "sign": (tanh, [lambda g, y: g * (y * y - 1)], [A]),
    "a thousandth too much": (tanh, [lambda g, y: 1.001 * g * (1 - y * y)], [A]),
    "no cotangent": (tanh, [lambda g, y: 1 - y * y], [A]),
    "of another function": (tanh, [lambda g, y: g * (y - y * y)], [A]),
    "transposed operands": (
        product,
        [lambda g, a: g * a, lambda g, b: g * b],
        [A, A + 1],
    ),
    "softmax of zero": (softmax, [lambda g: g * 0.0], [A]),
    "softmax without its second term": (softmax, [lambda g, y: g * y], [A]),
    "nan": (tanh, [lambda g: g * np.nan], [A]),
    "one element": (
        tanh,
        [lambda g, y: g * (1 - y * y) + (np.arange(6).reshape(2, 3) == 4) * 1e-4],
        [A],
    ),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_refused(name, seed):
    forward, rules, operands = WRONG[name]
    with pytest.raises(GradientError):
        check_gradients(made(forward, *rules), *operands, seed=seed)


def test_a_missing_sum_over_broadcast_axes_is_refused():
    wrong = made(
        product,
        lambda g, b: g * b,
        lambda g, a: g * a,
        fit=lambda g, shape: g[:1] if g.shape != shape else g,
    )
    with pytest.raises(GradientError, match="operand 1"):
        check_gradients(wrong, A, B)


def test_ties_that_do_not_share_are_refused():
    """At a tie the mean of both one-sided slopes is what differences say."""

    def rule(g, a, y):
        return last(g) * (a == last(y))

    def larger(a):
        return a.max(axis=-1)

    tied = np.array([[1.0, 1.0], [0.3, 0.7]])
    check_gradients(made(larger, rule), tied[1:], order=1)
    check_gradients(lambda a: mg.max(a, axis=-1), tied, order=1)
    with pytest.raises(GradientError):
        check_gradients(made(larger, rule), tied, order=1)


def test_a_rule_wrong_in_second_order_alone_is_refused():
    def rule(g, a):
        frozen = a.data if isinstance(a, mg.Tensor) else a
        return g * 3 * (frozen * frozen)

    cube = made(lambda a: a**3, rule)
    check_gradients(cube, A, order=1)
    with pytest.raises(GradientError, match="order 2"):
        check_gradients(cube, A, order=2)


RIGHT = {
    "tanh": (lambda a: mg.tanh(a), [A]),
    "broadcast product": (lambda a, b: a * b, [A, B]),
    "softmax": (lambda a: mg.softmax(a), [A]),
    "several outputs": (lambda a: [a * a, a.sum()], [A]),
    "tuple of outputs": (lambda a: (a, a * 2), [A]),
    "a constant": (lambda a: mg.ones(3, "float64"), [A]),
    "steep": (lambda a: mg.exp(a * 5), [A]),
    "tiny": (lambda a: a * 1e-9, [A]),
    "huge": (lambda a: a * a * 1e9, [A]),
    "a number": (lambda a: a**3, [2.0]),
    "empty": (lambda a: a * a, [np.zeros((0, 3))]),
    "lists and integers": (lambda a: a * a, [[1, 2, 3]]),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", RIGHT)
def test_right_gradients_are_accepted(name, seed):
    f, operands = RIGHT[name]
    check_gradients(f, *operands, order=2, seed=seed)


def test_third_order():
    check_gradients(lambda a: mg.sin(a) * a, A[0], order=3)


def test_the_message_names_where_and_both_values():
    wrong = made(tanh, lambda g: g * 0.0)
    with pytest.raises(GradientError) as raised:
        check_gradients(wrong, A, name="my tanh", seed=3)
    parts = (
        "my tanh",
        "order 1",
        "seed 3",
        "operand 0",
        "(0, 0)",
        "finite differences",
    )
    assert_parts(raised.value, *parts, "the tape says 0", "Operands", "rule")
    assert isinstance(raised.value, AssertionError)


def test_operands_are_not_changed():
    before = A.copy()
    check_gradients(lambda a: mg.tanh(a), A)
    np.testing.assert_array_equal(A, before)


def test_numerical_gradient_knows_how_far_it_can_be_trusted():
    found = numerical_gradient(lambda a: float(np.exp(a).sum()), [A], 0)
    assert (np.abs(found.value - np.exp(A)) <= found.error).all()
    assert found.error.max() < 1e-5


# -- strategies --------------------------------------------------------------------


@given(values=arrays(shapes(0, 3), -2, 2))
def test_arrays_keep_clear_of_zero_and_of_both_ends(values):
    assert values.dtype == np.float64
    assert (np.abs(values) > 0.01).all()
    assert (np.abs(values) < 1.995).all()


@given(values=arrays(shapes(1, 2), distinct=True))
def test_distinct_values_do_not_tie(values):
    gaps = np.diff(np.sort(values.reshape(-1)))
    assert (gaps > 0.05).all()


def test_arrays_can_tie():
    find(arrays((2,)), lambda a: a[0] == a[1])


PATTERNS = {
    "two numbers": lambda a, b: a == b == (),
    "a number on the left": lambda a, b: not a and len(b) == 2,
    "a number on the right": lambda a, b: not b and len(a) == 2,
    "a missing axis": lambda a, b: len(a) == 2 and b == a[1:],
    "an axis of 1 on the left": lambda a, b: a[:1] == (1,) and a[1:] == b[1:] != (),
    "an axis of 1 on the right": lambda a, b: b[:1] == (1,) and a[1:] == b[1:] != (),
    "both widen": lambda a, b: whole(a, b) not in (a, b),
    "the same": lambda a, b: a == b and len(a) == 2,
}


def whole(a, b):
    return np.broadcast_shapes(a, b)


@pytest.mark.parametrize("name", PATTERNS)
def test_every_broadcast_pattern_is_drawn(name):
    plenty = settings(max_examples=2000)
    find(broadcastable(), lambda drawn: PATTERNS[name](*drawn), settings=plenty)


@given(drawn=broadcastable(3))
def test_drawn_shapes_broadcast(drawn):
    np.broadcast_shapes(*drawn)


def test_every_form_of_an_axis_is_drawn():
    for wanted in (None, 0, -1, (0,), (1, 0)):
        assert find(axes(2), lambda axis, w=wanted: axis == w) == wanted
    find(shapes(min_side=0), lambda shape: 0 in shape)
    find(shapes(), lambda shape: shape == ())


@given(ndim=st.integers(0, 3), data=st.data())
def test_drawn_axes_exist(ndim, data):
    np.zeros((2,) * ndim).sum(axis=data.draw(axes(ndim)))


def test_without_hypothesis_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(RuntimeError) as raised:
        shapes()
    assert_parts(raised.value, "Hypothesis", "not installed", "pip install")
