"""Do the strategies draw every form, and keep clear of kinks, ties and ends?"""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

import minigrad as mg
from minigrad.testing import (
    arrays,
    axes,
    broadcastable,
    broadcastable_arrays,
    shapes,
    tensors,
)
from minigrad.testing.strategies import operand_values, primitive_of
from tests.minigrad.helpers import assert_parts


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


@given(drawn=broadcastable_arrays(3))
def test_drawn_arrays_broadcast(drawn):
    np.broadcast_arrays(*drawn)
    assert all(a.dtype == np.float64 for a in drawn)


@given(
    leaf=tensors(shapes(), dtype="float32"),
    plain=tensors((2,), 1, 2, True, "float64", False),
)
def test_drawn_tensors(leaf, plain):
    assert leaf.requires_grad
    assert leaf.dtype == np.float32
    assert not plain.requires_grad
    assert (plain.numpy() > 1).all()
    assert plain.numpy()[0] != plain.numpy()[1]


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


# -- operands of a primitive -------------------------------------------------------


def operands(call, name):
    return shapes(1, 1, 1, 3).flatmap(
        lambda s: operand_values(primitive_of(call), name, s)
    )


@given(data=st.data())
def test_operands_lie_in_the_declared_domain(data):
    assert (data.draw(operands(mg.log, "a")) > 0.2).all()
    assert (data.draw(operands(mg.log1p, "a")) > -0.8).all()
    values = data.draw(operands(mg.power, "b"))
    assert (np.abs(values) < 3).all()


@given(data=st.data())
def test_operands_keep_clear_of_declared_kinks(data):
    assert (np.abs(data.draw(operands(mg.relu, "a"))) > 0.2).all()
    assert (np.abs(data.draw(operands(mg.divide, "b"))) > 0.2).all()
    a = data.draw(operands(mg.maximum, "a"))
    b = data.draw(operands(mg.maximum, "b"))
    assert (np.abs(a[:, None] - b) > 0.01).all()
    largest = np.sort(data.draw(operands(mg.max, "a")))
    assert (np.diff(largest) > 0.05).all()


def test_operands_lie_on_both_sides_of_a_kink():
    find(operands(mg.relu, "a"), lambda a: (a < 0).any() and (a > 0).any())


def test_a_domain_with_two_ends_is_kept():
    made = mg.primitive(lambda g, a: g / (a * (1 - a)), domain={"a": (0.0, 1.0)})(
        lambda a: np.log(a / (1 - a))
    )
    find(operands(made, "a"), lambda a: (a > 0.5).any())
    with pytest.raises(NoSuchExample):
        find(operands(made, "a"), lambda a: ((a < 0.2) | (a > 0.8)).any())


def test_a_misspelt_fact_is_refused():
    with pytest.raises(TypeError) as raised:
        mg.primitive(lambda g: g, kinks={"x": (0,)})(lambda a: a)
    assert_parts(raised.value, "kinks", "'x'", "['a']")


def test_what_is_no_primitive_is_refused():
    with pytest.raises(TypeError) as raised:
        primitive_of(mg.norm)
    assert_parts(raised.value, "norm", "no primitive", "check_function")
