"""Are rules that are wrong at special points alone refused, and right ones not?"""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad.testing import GradientError, check_gradients, check_primitive
from minigrad.testing.oracles import KINK, SMOOTH, STEEP, UNDEFINED, look
from minigrad.testing.special import POINTS, mixed
from tests.minigrad.helpers import assert_parts

A = np.array([[0.5, -1.2, 2.0], [1.1, 0.3, -0.7]])
SEEDS = range(3)


def made(forward, *rules, **facts):
    return mg.primitive(*rules, **facts)(forward)


def exp(a):
    return np.exp(a)


def softsign(a):
    return a / (1 + np.abs(a))


def exp_wrong(where):
    """Exp whose gradient is twice as large where a condition holds."""
    return made(exp, lambda g, a, y: g * y * (1.0 + where(np.asarray(data(a)))))


def data(a):
    return a.data if isinstance(a, mg.Tensor) else a


def product_wrong_at_ties(a, b):
    rule = lambda g, a, b: mg.where(a == b, 0, g * b)  # noqa: E731
    return made(lambda a, b: a * b, rule, lambda g, a: g * a)(a, b)


WRONG = {
    "nan at 0": made(exp, lambda g, a, y: g * (a * y / a)),
    "softsign": made(softsign, lambda g, a, y: g * (y / a) ** 2),
    "at 0": exp_wrong(lambda a: a == 0),
    "at -0.0": exp_wrong(lambda a: np.signbit(a) & (a == 0)),
    "at 1": exp_wrong(lambda a: a == 1),
    "at -1": exp_wrong(lambda a: a == -1),
    "equal elements": exp_wrong(lambda a: a.size > 1 and a.min() == a.max()),
    "in second order": made(
        lambda a: a * a, lambda g, a: mg.where(a == 0, 0, g * (a + a))
    ),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", WRONG)
def test_a_rule_that_is_wrong_at_a_point_is_refused(name, seed):
    """Every seed: no luck is needed, nor more than one array of one number or two."""
    wrong = WRONG[name]
    check_gradients(wrong, A, seed=seed, special=False)
    with pytest.raises(GradientError):
        check_gradients(wrong, A, seed=seed)
    with pytest.raises(GradientError):
        check_gradients(wrong, A[0, :2], seed=seed)
    with pytest.raises(GradientError):
        check_primitive(wrong, seed=seed, examples=5)


@pytest.mark.parametrize("name", [n for n in WRONG if n != "equal elements"])
def test_it_is_found_inside_a_function_and_for_a_single_number(name):
    wrong = WRONG[name]
    with pytest.raises(GradientError):
        check_gradients(lambda x, w: mg.sum(mg.tanh(wrong(x)) * w), A, A + 2)
    with pytest.raises(GradientError):
        check_gradients(wrong, 0.7)


def test_equal_operands():
    check_gradients(product_wrong_at_ties, A, A + 1, special=False)
    with pytest.raises(GradientError):
        check_gradients(product_wrong_at_ties, A, A + 1)


def test_a_point_is_found_though_another_operand_has_a_kink_there():
    wrong = WRONG["at 0"]
    with pytest.raises(GradientError):
        check_gradients(lambda x, w: mg.relu(x) * wrong(w), A, A + 0.1)
    with pytest.raises(GradientError):
        check_gradients(lambda x, w: mg.log(x) + wrong(w), np.abs(A), A)


RIGHT = {
    "kinks": lambda x: mg.relu(x) + mg.absolute(x),
    "ties": lambda x: mg.max(x, axis=0) * mg.maximum(x, x.T[:, :1].T),
    "a pole": lambda x: 1 / x,
    "an end": lambda x: mg.sqrt(x) + mg.log(x),
    "norm": mg.norm,
    "std": mg.std,
    "smooth in the first order": lambda x: mg.relu(x) ** 2,
    "cube of a magnitude": lambda x: mg.absolute(x) ** 3,
    "layer norm": lambda x: (x - mg.mean(x)) / mg.sqrt(mg.var(x) + 1e-5),
    "softmax": mg.softmax,
    "random numbers": lambda x: mg.dropout(x, 0.5),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_where_it_is_smooth_is_accepted(name):
    check_gradients(RIGHT[name], np.abs(A), order=3)


def test_a_function_whose_kinks_cancel_is_told_so():
    def softplus(x):
        return mg.relu(x) + mg.log1p(mg.exp(-mg.absolute(x)))

    check_gradients(softplus, A, special=False)
    with pytest.raises(GradientError) as raised:
        check_gradients(softplus, A)
    parts = ("relu is at the kink of 'a' at 0", "conventions", "special=False")
    assert_parts(raised.value, *parts, "where it is 0.0")


# -- what a primitive must declare -------------------------------------------------


def hinge(a):
    return np.maximum(a - 1, 0)


def passes(g, y):
    return mg.where(y > 0, g, 0)


def test_a_kink_that_is_not_declared_is_refused():
    with pytest.raises(GradientError) as raised:
        check_primitive(made(hinge, passes))
    assert_parts(raised.value, "'hinge'", "1.0", "jumps", "kinks={'a': {1.0: 0}}")


def test_an_end_that_is_not_declared_is_refused():
    """0 has no logarithm, and nothing says so."""
    log = made(lambda a: np.log(a), lambda g, a: g / a)
    with pytest.raises(GradientError) as raised:
        check_primitive(log, np.abs(A))
    assert_parts(raised.value, "no finite value", "domain=")


@pytest.mark.parametrize("kinks", [{"a": (1,)}, {"a": {1: "some"}}])
def test_a_kink_without_a_declared_derivative_is_refused(kinks):
    with pytest.raises(GradientError) as raised:
        check_primitive(made(hinge, passes, kinks=kinks))
    assert_parts(raised.value, "hinge", "'a' at 1", "a number, or None at a pole")


def test_a_derivative_that_is_not_the_declared_one_is_refused():
    check_primitive(made(hinge, passes, kinks={"a": {1: 0}}))
    half = made(hinge, passes, kinks={"a": {1: 0.5}})
    with pytest.raises(GradientError) as raised:
        check_primitive(half)
    assert_parts(raised.value, "declares", "'a' at 1", "the tape says", "declared")


def largest(a):
    return a.max(axis=-1)


def all_ties(g, a, y):
    return mg.expand_dims(g, axis=-1) * (a == mg.expand_dims(y, axis=-1))


@pytest.mark.parametrize("declared", ["shared", "first"])
def test_ties_share_as_declared(declared):
    wrong = made(largest, all_ties, kinks={"a": {"a": declared}})
    with pytest.raises(GradientError, match="declares"):
        check_primitive(wrong, A)


def test_a_kink_whose_next_order_is_nan_is_refused():
    """Right at the kink itself, but its derivative divides 0 by 0."""
    rule = lambda g, a: g * mg.where(a == 0, 0, a / mg.absolute(a))  # noqa: E731
    wrong = made(lambda a: np.abs(a), rule, kinks={"a": {0: 0}})
    with pytest.raises(GradientError, match="order 2"):
        check_primitive(wrong)


# -- ends --------------------------------------------------------------------------

FROM_ZERO = {"domain": {"a": (0.0, np.inf)}, "closed": {"a": (0.0,)}}


def root_cubed(a):
    return a * np.sqrt(a)


def test_a_closed_end_is_checked_from_inside():
    check_primitive(made(root_cubed, lambda g, a: g * 1.5 * mg.sqrt(a), **FROM_ZERO))
    wrong = made(root_cubed, lambda g, a, y: g * 1.5 * y / a, **FROM_ZERO)
    with pytest.raises(GradientError) as raised:
        check_primitive(wrong)
    assert_parts(raised.value, "derivative from inside", "where it is 0.0")
    with pytest.raises(GradientError):  # found without being declared
        check_gradients(lambda x: mg.sum(wrong(x)), np.abs(A))


def test_an_infinite_derivative_has_its_sign():
    check_primitive(mg.sqrt)
    falling = lambda a: -np.sqrt(a)  # noqa: E731
    check_primitive(made(falling, lambda g, y: g / (y + y), **FROM_ZERO), examples=5)
    rule = lambda g, y: mg.where(y == 0, 1, g / (y + y))  # noqa: E731
    with pytest.raises(GradientError, match="end of its domain"):
        check_primitive(made(falling, rule, **FROM_ZERO))


def test_a_closed_end_must_be_one_of_the_domains():
    with pytest.raises(TypeError) as raised:
        made(exp, lambda g, y: g * y, closed={"a": (0.0,)})
    assert_parts(raised.value, "closed={'a': (0.0,)}", "domain")


# -- how it is found out -----------------------------------------------------------

LOOKS = {
    "smooth": (np.exp, 0.0, SMOOTH),
    "a kink": (np.abs, 0.0, KINK),
    "a small kink": (lambda a: a + 1e-6 * np.abs(a), 0.0, KINK),
    "a jump": (lambda a: np.where(a > 0, 1.0, 0.0), 0.0, KINK),
    "an end": (lambda a: np.sqrt(a), 0.0, STEEP),
    "a smooth end": (lambda a: a**1.5, 0.0, SMOOTH),
    "a pole": (lambda a: 1 / a, 0.0, UNDEFINED),
    "outside": (np.log, -1.0, UNDEFINED),
    "steep": (lambda a: np.exp(9 * a), 1.0, SMOOTH),
    "curved": (lambda a: np.maximum(a, 0) ** 2, 0.0, SMOOTH),
}


@pytest.mark.parametrize("name", LOOKS)
def test_smoothness_is_found_out(name):
    f, at, expected = LOOKS[name]
    for v in (0.7, -1.3):
        seen = look(lambda xs: [np.asarray(f(xs[0]))], [np.asarray(at)], [np.array(v)])
        assert seen.kind == expected


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_every_point_comes_to_every_operand(size):
    """Not by luck: for any number of elements, 0 and -0.0 told apart."""
    operands = [np.ones(size), np.ones(1)]
    seen = [set(), set()]
    for arrays in mixed(operands, [POINTS, POINTS]):
        for values, a in zip(seen, arrays, strict=True):
            values.update(map(repr, a.tolist()))
    assert seen == [set(map(repr, POINTS))] * 2
