"""Can a user write a primitive, and is a wrong one refused?"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import minigrad as mg
from minigrad.inspect import kept_bytes
from minigrad.tape import registry
from minigrad.testing import check_gradients
from tests.minigrad.helpers import assert_equal, assert_parts, leaf, plain

pytestmark = pytest.mark.usefixtures("device")


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """The tests' primitives are forgotten afterwards."""
    known = dict(registry)
    yield
    registry.clear()
    registry.update(known)


def test_a_rule_reads_operands_output_shape_and_settings():
    @mg.primitive(
        lambda g, b, a_shape, times: mg.broadcast_to((g * b * times).sum(), a_shape),
        lambda g, y, b: g * y / b,
    )
    def scaled(a, b, *, times=1):
        """The sum of a, times b."""
        return a.sum() * b * times

    call = lambda a, b: scaled(a, b, times=3)  # noqa: E731
    # Without special points: at b = 0 this rule divides 0 by 0.
    check_gradients(call, [1.0, 2.0], 3.0, order=2, special=False)
    a, b = leaf([1.0, 2.0]), leaf(3.0)
    assert scaled.__doc__ == "The sum of a, times b."
    assert registry["scaled"] is scaled
    y = scaled(a, b, times=3)
    assert_equal(y, 27)
    assert kept_bytes(y) == 2 * 8


def test_an_operand_without_rule_has_no_gradient():
    @mg.primitive(lambda g, mask: g * mask, None)
    def masked(a, mask):
        return a * mask

    a, mask = leaf([1.0, 2.0]), leaf([0.0, 1.0])
    y = masked(a, mask)
    y.sum().backward()
    assert_equal(a.grad, [0, 1])
    assert mask.grad is None
    assert not masked(a.detach(), mask).requires_grad


def test_a_joint_rule_serves_all_operands():
    @mg.primitive(joint=lambda g, a, b: (g * b, g * a))
    def times(a, b):
        return a * b

    check_gradients(times, [1.0, 2.0], [3.0, 4.0], order=2)


def test_a_rule_that_names_what_does_not_exist_is_refused():
    with pytest.raises(TypeError) as raised:

        @mg.primitive(lambda g, x: g * x)
        def times_two(a):
            return a * 2

    assert_parts(raised.value, "times_two", "'x'", "['a']", "Rename")


def test_a_rule_of_the_wrong_shape_is_caught_when_it_is_used():
    @mg.primitive(lambda g: g.sum())
    def same(a):
        return a + 0

    with pytest.raises(ValueError, match="same") as raised:
        same(leaf([1.0, 2.0])).sum().backward()
    assert_parts(raised.value, "()", "(2,)", "must be equal", "Correct the rule")


def test_a_residual_is_kept_instead_of_what_it_is_made_of():
    @mg.primitive(
        lambda g, steep, factor: g * steep * factor,
        residuals={"steep": lambda a, y, factor: (y > 0) & (a < 9)},
    )
    def bent(a, *, factor):
        """Twice a (say), but 0 below 0 and flat from 9 on."""
        return mg.where(a < 0, 0, mg.where(a < 9, a, 9)) * factor

    x = leaf([-1.0, 2.0, 4.0, 12.0])
    y = bent(x, factor=2.0)
    assert kept_bytes(y) == 4, "a byte for each element"
    slope = mg.grad(y.sum(), x, create_graph=True)
    assert_equal(slope, [0, 2, 2, 0])
    assert_equal(mg.grad((slope * slope).sum(), x), [0, 0, 0, 0])


def test_a_residual_that_no_rule_needs_is_not_computed():
    @mg.primitive(
        lambda g, b: g * b,
        lambda g, sign: g * sign,
        residuals={"sign": lambda a: 1 / 0},
    )
    def product(a, b):
        return a * b

    assert_equal(mg.grad(product(leaf([2.0]), 3.0).sum(), leaf([1.0])), [0])
    with pytest.raises(ZeroDivisionError):
        product(2.0, leaf([3.0]))


def test_residuals_of_several_outputs_are_refused():
    with pytest.raises(TypeError) as raised:

        @mg.primitive(joint=lambda g, first: [g], many=True, residuals={"first": len})
        def parted(a):
            return [a]

    assert_parts(raised.value, "parted", "residuals", "name the operands")


def test_a_residual_of_a_list_is_made_of_the_list():
    @mg.primitive(
        joint=lambda g, count: [g] * count,
        sequence=True,
        residuals={"count": lambda arrays: len(arrays)},
    )
    def added(arrays):
        return sum(arrays)

    x = leaf([1.0, 2.0])
    assert_equal(mg.grad(added([x, x, x]).sum(), x), [3, 3])


@pytest.mark.parametrize("forward", [np.exp, max, np.vectorize(lambda a: a)])
def test_a_forward_without_names_of_operands_is_refused(forward):
    with pytest.raises(TypeError) as raised:
        mg.primitive(lambda g: g)(forward)
    assert_parts(raised.value, "parameters name its operands", "Wrap it")


def test_a_primitive_does_not_change():
    with pytest.raises(AttributeError, match="rules"):
        mg.tanh.primitive.rules = ()


def test_calls_read_their_primitive(monkeypatch):
    """So that one place is enough to try another rule."""
    made = dataclasses.replace(mg.tanh.primitive, rules=(lambda g: 7 * g,))
    x = leaf([0.5])
    monkeypatch.setattr(mg.tanh, "primitive", made)
    assert_equal(mg.grad(mg.tanh(x).sum(), x), [7])


def test_more_rules_than_operands_are_refused():
    with pytest.raises((TypeError, ValueError)) as raised:

        @mg.primitive(lambda g: g, lambda g: g)
        def one(a):
            return a + 0

    assert_parts(raised.value, "one", "rule")


def test_fewer_rules_than_operands_are_refused():
    with pytest.raises((TypeError, ValueError)) as raised:

        @mg.primitive(lambda g: g)
        def two(a, b):
            return a + b

    assert_parts(raised.value, "two", "rule")


def test_the_name_of_a_primitive_can_be_read():
    assert repr(mg.tanh.primitive) == "<primitive tanh>"


@pytest.mark.parametrize("name", ["y", "g", "x_shape"])
def test_names_that_mean_something_else_in_rules_are_refused(name):
    """Silently, the rule would read the output in place of the operand."""
    found: dict = {}
    for signature in (f"x, {name}", f"x, *, {name}=1"):
        exec(f"def scaled({signature}): return x * {name}", found)
        rules = [lambda g: g] * (1 + ("*" not in signature))
        with pytest.raises(TypeError, match=rf"called \['{name}'\]"):
            mg.primitive(*rules)(found["scaled"])


@pytest.mark.parametrize("name", ["y", "x", "factor"])
def test_a_residual_has_a_name_of_its_own(name):
    def scaled(x, *, factor=2):
        return x * factor

    with pytest.raises(TypeError, match=rf"called \['{name}'\]"):
        mg.primitive(lambda g: g, residuals={name: lambda x: x > 0})(scaled)


def test_a_write_of_a_primitive_is_noticed():
    @mg.primitive(writes=("p",))
    def halved(p):
        p *= 0.5
        return p

    x, w = leaf([1.0, 2.0]), plain([2.0, 4.0])
    y = (x * w).sum()
    assert_equal(halved(w), [1, 2])
    with pytest.raises(RuntimeError, match="halved changed that array"):
        y.backward()


def test_a_write_of_variadic_operands_is_noticed():
    @mg.primitive(writes=("moments",))
    def cleared(p, *moments):
        for moment in moments:
            moment[...] = 0
        return p

    x, w = leaf([1.0, 2.0]), plain([2.0, 4.0])
    y = (x * w).sum()
    cleared(plain([1.0, 1.0]), plain([1.0, 1.0]), w)
    with pytest.raises(RuntimeError, match="cleared changed that array"):
        y.backward()


def test_a_write_of_a_primitive_with_rules_is_noticed():
    @mg.primitive(lambda g: g * 0.5, writes=("p",))
    def halved(p):
        p *= 0.5
        return p

    x, w = leaf([1.0, 2.0]), plain([2.0, 4.0])
    y = (x * w).sum()
    halved(w.array)
    with pytest.raises(RuntimeError, match="halved changed that array"):
        y.backward()
