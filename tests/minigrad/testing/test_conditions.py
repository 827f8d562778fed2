"""Does each condition refuse what it is for?  Rules that are wrong there alone."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
import nn
from minigrad.testing import (
    GradientError,
    check_function,
    check_gradients,
    check_module,
    check_primitive,
)
from tests.minigrad.helpers import assert_parts
from tests.support.cases import calls_of

A = np.array([[0.5, -1.2, 2.0], [1.1, 0.3, -0.7]])


def made(forward, *rules, **facts):
    return mg.primitive(*rules, **facts)(forward)


def curve(a):
    return np.tanh(a)


def derivative(y):
    return 1 - y * y


def double_only(g, y):
    """Right in float64, a hundredth off in float32."""
    return g * derivative(y) * (1.01 if g.dtype == np.float32 else 1)


def contiguous_only(g, a):
    """Right for arrays whose memory is in order."""
    in_order = isinstance(a, mg.Tensor) or a.flags.c_contiguous
    return g * derivative(mg.tanh(a)) * (1 if in_order else 2)


def writable_only(g, a):
    writable = isinstance(a, mg.Tensor) or a.flags.writeable
    return g * derivative(mg.tanh(a)) * (1 if writable else 2)


class OnceOnly:
    """Right for the first of two walks through one rule."""

    def __init__(self):
        self.seen = []

    def __call__(self, g, y):
        again = any(y is known for known in self.seen)
        self.seen.append(y)
        return g * derivative(y) * (2 if again else 1)


def lossy(whole, g, y):
    """Loses a second use's gradient."""
    if not whole.any():
        whole += g * derivative(y)


def scribbling(g, a):
    """Writes into its operand."""
    result = g * derivative(mg.tanh(a))
    if isinstance(a, np.ndarray) and a.flags.writeable and a.ndim:
        a *= 1.0
        a += 1e-3
    return result


CONDITIONS = {
    "float32": (made(curve, double_only), "float32"),
    "reversed": (made(curve, contiguous_only), "operands"),
    "read-only": (made(curve, writable_only), "read-only"),
    "used twice": (
        made(curve, lambda g, y: g * derivative(y), scatter={"a": lossy}),
        "twice",
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_what_is_wrong_in_one_condition_is_refused(name):
    f, part = CONDITIONS[name]
    check_gradients(f, A, order=1)
    with pytest.raises(GradientError, match=part):
        check_function(f, A, order=1)


def test_an_operand_that_is_written_to_is_refused():
    with pytest.raises(GradientError):
        check_function(made(curve, scribbling), A, order=1)


def test_one_array_as_two_operands():
    def rule(g, a, b):
        return g * b * (2 if a is b else 1)

    f = made(lambda a, b: a * b, rule, lambda g, a: g * a)
    check_gradients(f, A, A + 1, order=1)
    with pytest.raises(GradientError, match="operand 1 as well"):
        check_function(f, A, A + 1, order=1)


def test_right_operations_are_accepted(device):
    check_function(mg.softmax, A, order=3, device=device)
    check_function(lambda a, b: [a @ b, a - 1], A, A.T, order=3, device=device)
    check_function(lambda a: mg.dropout(a, 0.5), A, device=device)


# -- primitives --------------------------------------------------------------------


def test_a_users_primitive_is_checked_on_drawn_operands():
    cube = made(lambda a: a**3, lambda g, a: 3 * g * a * a)
    check_primitive(cube)
    logit = made(
        lambda a: np.log(a / (1 - a)),
        lambda g, a: g / (a - a * a),
        domain={"a": (0.0, 1.0)},
    )
    check_primitive(logit)
    hinge = made(
        lambda a: np.maximum(a - 1, 0),
        lambda g, y: mg.where(y > 0, g, 0),
        kinks={"a": {1: 0}},
    )
    check_primitive(hinge)
    two = made(lambda a, b: a * b, lambda g, b: g * b, lambda g, a: g * a)
    check_primitive(two)
    chosen = made(lambda a, b: a * (b > 0), lambda g, b: g * (b > 0), None)
    check_primitive(chosen)


def test_a_wrong_primitive_is_refused_with_a_small_example():
    wrong = made(lambda a: a**3, lambda g, a: 3 * g * mg.absolute(a))
    with pytest.raises(GradientError) as raised:
        check_primitive(wrong)
    assert_parts(raised.value, "shape", "check_gradients(")


def test_chosen_operands_and_settings():
    check_primitive(mg.sum, A, settings={"axis": 0})
    with pytest.raises(TypeError) as raised:
        check_primitive(made(lambda a, *, k: a * k, lambda g, k: g * k))
    assert_parts(raised.value, "['k']", "settings=", "cases=")


def test_our_own_primitives_are_drawn_in_every_form():
    for call in (mg.matmul, mg.concatenate):
        check_primitive(call, examples=10, cases=calls_of(call))


# -- modules -----------------------------------------------------------------------


def test_a_module_is_checked_by_its_parameters(device):
    layer = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5), nn.Linear(2, 1))
    before = {k: v.copy() for k, v in layer.state_dict().items()}
    check_module(layer, A, device=device)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


class Tied(nn.Module):
    """One parameter in two places."""

    def __init__(self):
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.W = self.first.W

    def forward(self, x):
        return self.second(mg.tanh(self.first(x)))


def test_shared_parameters_stay_shared():
    layer = Tied()
    check_module(layer, A)
    assert layer.first.W is layer.second.W


def test_nested_outputs():
    check_module(nn.LSTM(3, 2), A[:, None])


class Detached(nn.Linear):
    """A layer whose bias gets no gradient."""

    def forward(self, x):
        return x @ self.W + self.b.detach()


def test_a_wrong_module_is_refused():
    layer = Detached(3, 2)
    bias = layer.b
    with pytest.raises(GradientError) as raised:
        check_module(layer, A)
    assert_parts(raised.value, "Detached and its parameters", "operand b")
    assert layer.b is bias


class Remembering(nn.Module):
    """A layer with state of every sort, changed by every call."""

    def __init__(self):
        self.W = nn.Parameter(np.ones(3))
        self.mean, self.calls, self.seen = np.ones(3), 0, []
        self.scale = mg.ones(3, "float64")

    def forward(self, x):
        self.calls += 1
        self.seen.append(self.calls)
        self.mean += 0.1
        self.scale.data[...] *= 0.9
        return x * self.W * (self.mean * self.scale.data) * len(self.seen) * self.calls


def test_a_layer_with_state_begins_each_call_with_the_same():
    layer = Remembering()
    check_module(layer, A)
    assert (layer.calls, layer.seen) == (0, [])
    np.testing.assert_array_equal(layer.mean, np.ones(3))
    np.testing.assert_array_equal(layer.scale.numpy(), np.ones(3))


class Scored(nn.Module):
    """A model that has a loss and no forward."""

    def __init__(self):
        self.inner = nn.Linear(3, 2)

    def loss(self, x, classes):
        return nn.functional.cross_entropy(self.inner(x), classes)


def test_a_method_can_be_checked():
    check_module(Scored(), A, np.array([0, 1]), method="loss")
    with pytest.raises(TypeError) as raised:
        check_module(Scored(), A)
    assert_parts(raised.value, "Scored", "no forward", "method='loss'")
