"""Does the gradient checker accept right rules and refuse wrong ones?"""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad.testing import Constant, GradientError, check_gradients
from tests.minigrad.helpers import assert_parts

A = np.array([[0.5, -1.2, 2.0], [1.1, 0.3, -0.7]])
B = np.array([[0.9, 1.4, -0.6]])
SEEDS = range(5)  # one lucky cotangent would be no proof


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
    "in the tenth digit": (tanh, [lambda g, y: (1 + 1e-10) * g * (1 - y * y)], [A]),
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
    "infinite": (tanh, [lambda g: g * np.inf], [A]),
    "huge": (tanh, [lambda g: g * 1e200], [A]),
    "one element": (
        tanh,
        [lambda g, y: g * (1 - y * y) + (np.arange(6).reshape(2, 3) == 4) * 1e-4],
        [A],
    ),
    "one element of a function that is not analytic": (
        lambda a: np.abs(a),
        [lambda g, a: g * mg.where(np.arange(6).reshape(2, 3) == 4, 1.01, a / abs(a))],
        [A],
    ),
}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_refused(name, seed):
    forward, rules, operands = WRONG[name]
    with pytest.raises(GradientError):
        check_gradients(made(forward, *rules), *operands, seed=seed)


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_wrong_rule_is_refused_in_first_order(name):
    forward, rules, operands = WRONG[name]
    with pytest.raises(GradientError, match="order 1"):
        check_gradients(made(forward, *rules), *operands, order=1)


def test_a_missing_sum_over_broadcast_axes_is_refused():
    wrong = made(
        product,
        lambda g, b: g * b,
        lambda g, a: g * a,
        unbroadcast=lambda g, shape: g[:1] if g.shape != shape else g,
    )
    with pytest.raises(GradientError, match="operand b"):
        check_gradients(wrong, A, B)


def test_ties_that_do_not_share_are_refused():
    """At a tie the mean of both one-sided derivatives is what differences say."""

    def rule(g, a, y):
        return last(g) * (a == last(y))

    def larger(a):
        return a.max(axis=-1)

    tied = np.array([[1.0, 1.0], [0.3, 0.7]])
    check_gradients(made(larger, rule), tied[1:], order=1)
    check_gradients(lambda a: mg.max(a, axis=-1), tied, order=1)
    with pytest.raises(GradientError):
        check_gradients(made(larger, rule), tied, order=1)


def frozen_cube():
    def rule(g, a):
        frozen = a.data if isinstance(a, mg.Tensor) else a
        return g * 3 * (frozen * frozen)

    return made(lambda a: a**3, rule)


def test_a_rule_wrong_in_second_order_alone_is_refused():
    check_gradients(frozen_cube(), A, order=1)
    with pytest.raises(GradientError, match="order 2"):
        check_gradients(frozen_cube(), A, order=2)


def test_a_rule_wrong_when_it_is_recorded_is_refused():
    """The next order builds on the recorded walk, so it must be the plain one."""

    def rule(g, y):
        return g * (1 - y * y) * (2 if isinstance(g, mg.Tensor) else 1)

    check_gradients(made(tanh, rule), A, order=1)
    with pytest.raises(GradientError, match="create_graph"):
        check_gradients(made(tanh, rule), A, order=2)


RIGHT = {
    "tanh": (lambda a: mg.tanh(a), [A]),
    "broadcast product": (lambda a, b: a * b, [A, B]),
    "softmax": (lambda a: mg.softmax(a), [A]),
    "several outputs": (lambda a: [a * a, a.sum()], [A]),
    "tuple of outputs": (lambda a: (a, a * 2), [A]),
    "the operand itself": (lambda a: a, [A]),
    "one output twice": (lambda a: [a * a] * 2, [A]),
    "an integer beside": (lambda a: (a * a, mg.argmax(a, axis=0)), [A]),
    "a constant": (lambda a: mg.ones(3, "float64"), [A]),
    "steep": (lambda a: mg.exp(a * 5), [A]),
    "tiny": (lambda a: a * 1e-9, [A]),
    "huge": (lambda a: a * a * 1e9, [A]),
    "cancelling": (lambda a: (a + 1e6) - 1e6, [A]),
    "not analytic": (lambda a: mg.absolute(a) * mg.softplus(a), [A]),
    "a number": (lambda a: a**3, [2.0]),
    "empty": (lambda a: a * a, [np.zeros((0, 3))]),
    "lists of integers": (lambda a: a * a, [[1, 2, 3]]),
    "ids and a mask": (
        lambda a, ids, mask: a[ids] * mask,
        [A, np.array([1, 1, 0]), np.array([True, False, True])],
    ),
    "a constant operand": (lambda a, b: a * b, [A, Constant(B)]),
    "a Tensor": (lambda a: a * a, [mg.Tensor(A)]),
    "no operand": (lambda: mg.ones(2), []),
    "random numbers": (lambda a: mg.dropout(a, 0.5) * a, [A]),
    "random numbers of its own": (
        lambda a: a * mg.Generator(3).normal((2, 3), "float64"),
        [A],
    ),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", RIGHT)
def test_right_gradients_are_accepted(name, seed):
    f, operands = RIGHT[name]
    check_gradients(f, *operands, order=3, seed=seed)


def test_what_is_drawn_is_drawn_again():
    """A generator's numbers are part of the function, and its state is its owner's."""
    mg.manual_seed(1)
    check_gradients(lambda a: mg.dropout(a, 0.5), A, order=2)
    random = np.random.default_rng(0)  # not a generator that can be replayed
    with pytest.raises(GradientError):
        check_gradients(lambda a: a * random.normal(size=(2, 3)), A)


def test_operands_are_not_changed():
    before = A.copy()
    check_gradients(lambda a: mg.tanh(a), A)
    np.testing.assert_array_equal(A, before)


# -- what a failure says -----------------------------------------------------------


def failure(f, *operands, **how):
    with pytest.raises(GradientError) as raised:
        check_gradients(f, *operands, **how)
    return raised.value


def halved():
    return made(tanh, lambda g, y: (g - g * (y * y)) * 0.5)


def test_the_message_names_everything():
    error = failure(halved(), A, name="my layer", seed=3)
    parts = ("'tanh'", "my layer", "order 1", "operand a", "(2, 3)", "(0, 0)")
    values = ("the tape says", "the complex step", "+-", "Seed 3", "check_gradients(")
    assert_parts(error, *parts, *values, "rule")
    assert isinstance(error, AssertionError)
    assert error.primitive == "tanh"
    assert (error.operand, error.index) == ("a", (0, 0))
    assert (error.order, error.seed) == (1, 3)
    np.testing.assert_allclose(error.found * 2, error.expected)


def test_the_wrong_primitive_is_found_in_a_long_function():
    wrong = halved()

    def layer(x, w):
        return mg.softmax(wrong(mg.exp(x) @ w) * 2).sum(axis=0)

    error = failure(layer, A, np.eye(3))
    assert error.primitive == "tanh"
    assert_parts(error, "found while checking layer")


def test_a_primitive_wrong_in_second_order_is_found():
    cube = frozen_cube()
    error = failure(lambda x: mg.sin(cube(x)), A[0])
    assert (error.primitive, error.order) == ("<lambda>", 2)
    assert_parts(error, "derivative", ".data")


def test_operands_of_joined_lists_are_named():
    wrong = made(
        lambda arrays, *, axis: np.concatenate(arrays, axis),
        joint=lambda g, axis: [g[:2], g[2:] * 2],
        sequence=True,
    )
    error = failure(lambda a, b: wrong([a, b], axis=0), A, A[:1])
    assert error.operand == "arrays[1]"


def test_a_function_that_cuts_the_tape_is_told_so():
    def cut(x):
        return x.detach() * x

    error = failure(cut, A[0])
    assert error.primitive is None
    assert error.operand == 0
    assert_parts(error, "No primitive of it is wrong alone", "detach()", "cut")


def test_a_kink_nearby_is_told():
    error = failure(lambda a: mg.relu(a), np.array([0.0, 1.0]))
    assert_parts(error, "relu is at the kink of 'a' at 0", "choose other values")
    error = failure(lambda a: mg.clip(a, low=0.5, high=None), np.array([0.5, 1.0]))
    assert_parts(error, "kink of 'a' at 'low'")


SNIPPETS = {
    "settings": lambda x: mg.sum(halved_sum(x, axis=0), axis=0),
    "integers": lambda x: halved_rows(x, np.array([1, 0, 1])),
}


def halved_sum(x, axis):
    wrong = made(
        lambda a, *, axis: a.sum(axis),
        lambda g, a_shape, axis: mg.broadcast_to(g * 0.5, a_shape),
    )
    return wrong(x, axis=axis)


def halved_rows(x, rows):
    wrong = made(lambda a, ids: a[ids], lambda g, ids, a_shape: g[:2] * 0.5, None)
    return wrong(x, rows)


@pytest.mark.parametrize("name", SNIPPETS)
def test_the_snippet_fails_in_the_same_way(name):
    error = failure(SNIPPETS[name], A)
    from minigrad.tape import registry

    namespace = {error.primitive: registry[error.primitive]}
    program = error.snippet.replace("<lambda>", "wrong")
    namespace["wrong"] = namespace.pop(error.primitive)
    with pytest.raises(GradientError) as again:
        exec(program, namespace)
    assert again.value.index == error.index
    assert again.value.found == error.found
    assert again.value.expected == error.expected


def test_a_primitive_of_a_module_is_imported_by_the_snippet():
    from tests.support.mutations import changed

    with changed(mg.tanh.primitive, rules=[lambda g: g]):
        error = failure(lambda x: mg.exp(mg.tanh(x)), A)
        assert_parts(error, "from minigrad.ops.elementwise import tanh")
        with pytest.raises(GradientError):
            exec(error.snippet, {})


def test_what_is_too_long_to_print_is_made_up_and_the_snippet_says_so():
    from tests.support.mutations import changed

    long = np.linspace(0.1, 2, 400)
    with changed(mg.tanh.primitive, rules=[lambda g: g]):
        error = failure(lambda x: mg.exp(mg.tanh(x)), long)
        assert len(str(error)) < 2000
        assert_parts(error, "too long to print are made up")
        with pytest.raises(GradientError):
            exec(error.snippet, {})


def test_a_snippet_that_holds_everything_says_nothing_of_made_up_arrays():
    assert "made up" not in failure(halved(), A).snippet


def test_what_is_no_tensor_is_refused():
    with pytest.raises(TypeError) as raised:
        check_gradients(lambda a: a.numpy(), A)
    assert_parts(raised.value, "ndarray", "Tensor", ".numpy()")


def test_other_devices(device):
    check_gradients(lambda a, b: mg.softmax(a * b), A, B, device=device)
    error = failure(halved(), A, device=device)
    assert error.primitive == "tanh"


def test_rounding_on_the_way_is_refused_and_nobody_is_blamed():
    with pytest.raises(ValueError, match="float32") as raised:
        check_gradients(lambda x: mg.sum(mg.astype(x, "float32") ** 2), A)
    assert_parts(raised.value, "astype", "rounds", "x.dtype")
    check_gradients(lambda x: mg.sum(mg.astype(x, x.dtype) ** 2), A)
