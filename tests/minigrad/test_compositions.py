"""Do the transforms compose, in every order and with everything that carries gradients?

A tree of transforms is drawn over a smooth function of three vectors: which vector each
transform differentiates by, and which others come in through the closure, as cotangent,
tangent, direction or weight. Hyper-dual numbers say what it is, without a tape.

Below stand scenarios that were faults of other frameworks, each by its formula.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.testing import arrays
from tests.minigrad import hyperdual
from tests.minigrad.helpers import assert_close, assert_equal, leaf, plain
from tests.minigrad.hyperdual import HyperDual, derivative

Vectors = dict[str, Any]
Scalar = Callable[[Any, Vectors], Any]  # of what computes, mg or HYPER, and the vectors

HYPER = hyperdual.Mathematics()
NAMES = ("a", "b", "c")
SIZE = 2

# -- functions ---------------------------------------------------------------------

FUNCTIONS: dict[str, Scalar] = {
    "products": lambda m, v: m.sum(v["a"] * v["a"] * v["b"]) + m.sum(v["b"] * v["c"]),
    "sines": lambda m, v: m.sum(m.sin(v["a"] * v["c"]) * v["b"]) * m.sum(v["b"]),
    "exponential": lambda m, v: m.sum(m.exp(v["a"] * 0.3) * v["b"]) + m.sum(v["c"]),
    "of a sum": lambda m, v: m.sin(m.sum(v["a"] * v["b"])) * m.sum(v["c"] * v["c"]),
    "linear": lambda m, v: m.sum(v["a"] * 2.0) + m.sum(v["c"]),
    "without c": lambda m, v: m.sum(m.sin(v["a"]) * m.exp(v["b"] * 0.5)),
    "of a alone": lambda m, v: m.sum(v["a"] * v["a"] * v["a"] * v["a"]),
}


class Transform:
    """A transform of a scalar function, which is a scalar function again.

    `by` is what it differentiates by, `u` and `w` what it is multiplied with. A
    subclass says it twice: by our transforms, and by derivatives along directions.
    """

    order = 1

    def __init__(self, inner: Scalar, by: str, u: str, w: str) -> None:
        self.inner = inner
        self.by, self.u, self.w = by, u, w

    def __call__(self, m: Any, v: Vectors) -> Any:
        return self.exact(v) if m is HYPER else self.ours(v)

    def at(self, m: Any, v: Vectors) -> Callable[[Any], Any]:
        """The inner function of `by`; the other vectors come through the closure."""
        return lambda x: self.inner(m, v | {self.by: x})

    def vector_at(self, m: Any, v: Vectors) -> Callable[[Any], Any]:
        """A vector of the function: it times `by`, plus a sine of that."""
        scalar = self.at(m, v)
        return lambda x: x * scalar(x) + m.sin(x)

    def slope(self, v: Vectors) -> Any:
        """The derivative along `w`."""
        return derivative(self.at(HYPER, v), v[self.by], v[self.w])

    def slopes(self, v: Vectors, f: Callable[[Any], Any], direction: str) -> Any:
        """The derivatives of a vector along a direction."""
        return derivative(f, v[self.by], v[direction])

    def __repr__(self) -> str:
        kind = type(self).__name__
        inner = next((k for k, f in FUNCTIONS.items() if f is self.inner), self.inner)
        return f"{kind}({inner!r}, by={self.by}, u={self.u}, w={self.w})"


class Gradient(Transform):
    """w . grad f, and f itself."""

    def ours(self, v):
        value, slope = mg.value_and_grad(self.at(mg, v))(v[self.by])
        return mg.sum(slope * v[self.w]) + value

    def exact(self, v):
        return self.slope(v) + self.inner(HYPER, v)


class GradientByGrad(Transform):
    """The same by `mg.grad` with create_graph, by a tensor in the middle of a tape."""

    def ours(self, v):
        x = v[self.by] * mg.Tensor(np.ones(SIZE), requires_grad=True)
        slope = mg.grad(self.at(mg, v)(x), x, create_graph=True)
        return mg.sum(slope * v[self.w])

    def exact(self, v):
        return self.slope(v)


class GradientByBoth(Transform):
    """One vector as two arguments of a function, and the gradients of both."""

    def ours(self, v):
        def f(x, y):
            return self.inner(mg, v | {self.by: x}) * self.inner(mg, v | {self.by: y})

        _, (on_x, on_y) = mg.value_and_grad(f)(v[self.by], v[self.by])
        return mg.sum(on_x * v[self.w]) + mg.sum(on_y * v[self.u]) * 2

    def exact(self, v):
        value = self.inner(HYPER, v)
        on_y = derivative(self.at(HYPER, v), v[self.by], v[self.u])
        return self.slope(v) * value + on_y * value * 2


class Unused(Transform):
    """A gradient by an argument that is not used, which is zero, and by one that is."""

    def ours(self, v):
        f = self.at(mg, v)
        _, (none, slope) = mg.value_and_grad(lambda unused, x: f(x))(v["b"], v[self.by])
        return mg.sum(none * v[self.u]) + mg.sum(slope * v[self.w])

    def exact(self, v):
        return self.slope(v)


class Constant(Transform):
    """A gradient of what does not depend on the argument, but on its closure."""

    def ours(self, v):
        value, none = mg.value_and_grad(lambda x: self.inner(mg, v))(v[self.by])
        return mg.sum(none * v[self.w]) + value * 2

    def exact(self, v):
        return self.inner(HYPER, v) * 2


class Vjp(Transform):
    """w . J^T u, the cotangent another vector, and the output."""

    def ours(self, v):
        y, pull = mg.vjp(self.vector_at(mg, v), v[self.by])
        return mg.sum(pull(v[self.u])[0] * v[self.w]) + mg.sum(y * v[self.u])

    def exact(self, v):
        f = self.vector_at(HYPER, v)
        return HYPER.sum((self.slopes(v, f, self.w) + f(v[self.by])) * v[self.u])


class Jvp(Transform):
    """w . J u, the tangent another vector, and the output."""

    def ours(self, v):
        y, push = mg.jvp(self.vector_at(mg, v), [v[self.by]], [v[self.u]])
        return mg.sum((y + push) * v[self.w])

    def exact(self, v):
        f = self.vector_at(HYPER, v)
        return HYPER.sum((f(v[self.by]) + self.slopes(v, f, self.u)) * v[self.w])


class JvpOfScalar(Transform):
    """The derivative along a tangent."""

    def ours(self, v):
        _, push = mg.jvp(self.at(mg, v), [v[self.by]], [v[self.w]])
        return push

    def exact(self, v):
        return self.slope(v)


class Hvp(Transform):
    """w . H u, the direction another vector."""

    order = 2

    def ours(self, v):
        return mg.sum(mg.hvp(self.at(mg, v), v[self.by], v[self.u]) * v[self.w])

    def exact(self, v):
        f = self.at(HYPER, v)
        return derivative(lambda x: derivative(f, x, v[self.u]), v[self.by], v[self.w])


class Hessian(Transform):
    """w . H u, from the whole matrix."""

    order = 2

    def ours(self, v):
        H = mg.hessian(self.at(mg, v), v[self.by])
        return v[self.w] @ (H @ v[self.u])

    exact = Hvp.exact


class Checkpoint(Transform):
    """A stretch of the tape that is recorded again, with an argument and a closure."""

    order = 0

    def ours(self, v):
        return mg.checkpoint(self.at(mg, v))(v[self.by])

    def exact(self, v):
        return self.inner(HYPER, v)


KINDS = (
    Gradient,
    GradientByGrad,
    GradientByBoth,
    Unused,
    Constant,
    Vjp,
    Jvp,
    JvpOfScalar,
    Hvp,
    Hessian,
    Checkpoint,
)

# -- trees of them -----------------------------------------------------------------

ROLES = st.tuples(*[st.sampled_from(NAMES)] * 3)
DEEPEST = 3
HIGHEST = 4  # derivatives in a tree: more cost much and show no more


def _wrapped(inner: Scalar, levels: list[tuple[type[Transform], tuple]]) -> Scalar:
    order = 0
    for kind, roles in levels:
        order += kind.order
        if order <= HIGHEST:
            inner = kind(inner, *roles)
    return inner


TREES = st.builds(
    _wrapped,
    st.sampled_from(list(FUNCTIONS.values())),
    st.lists(st.tuples(st.sampled_from(KINDS), ROLES), min_size=1, max_size=DEEPEST),
)
VALUES = st.tuples(*[arrays((SIZE,))] * len(NAMES))


LEFT_OUT = object()  # the gradient of a vector that is no leaf


def exact_slopes(tree: Scalar, values: Any) -> tuple[float, list[np.ndarray]]:
    """The tree's value and its gradient by each of the three vectors."""
    v = dict(zip(NAMES, values, strict=True))
    slopes = [
        hyperdual.gradient(lambda x, n=n: tree(HYPER, v | {n: x}), v[n]) for n in NAMES
    ]
    return _real(tree(HYPER, v)), slopes


def _real(x: Any) -> float:
    return x.real if isinstance(x, HyperDual) else float(x)


def by_backward(tree: Scalar, values: Any, live: str = "abc") -> tuple[Any, list[Any]]:
    """Some vectors are leaves, which find their gradients in `.grad`; others plain."""
    kinds = [leaf if name in live else plain for name in NAMES]
    v = {n: kind(x) for n, kind, x in zip(NAMES, kinds, values, strict=True)}
    output = tree(mg, v)
    if output.requires_grad:
        output.backward()
    found = [v[n].grad if v[n].requires_grad else LEFT_OUT for n in NAMES]
    return output, [np.zeros(SIZE) if g is None else g for g in found]


def by_transform(tree: Scalar, values: Any) -> tuple[Any, list[Any]]:
    """All three are arguments of one more transform around the tree."""
    f = lambda *xs: tree(mg, dict(zip(NAMES, xs, strict=True)))  # noqa: E731
    return mg.value_and_grad(f)(*values)


def by_hessian(tree: Scalar, values: Any) -> tuple[Any, list[Any]]:
    """The gradient as the Hessian's mixed part: that of s * f by s and each vector."""
    joined = np.concatenate([[1.0], *values])

    def scaled(x):
        parts = mg.split(x[1:], len(NAMES))
        return x[0] * tree(mg, dict(zip(NAMES, parts, strict=True)))

    row = mg.hessian(scaled, joined)[0].numpy()
    output = tree(mg, dict(zip(NAMES, map(mg.Tensor, values), strict=True)))
    return output, np.split(row[1:], len(NAMES))


def assert_right(tree: Scalar, values: Any, way: Callable[..., Any]) -> None:
    """Hold a way to the tree's value and gradients against hyper-dual numbers."""
    value, slopes = exact_slopes(tree, values)
    size = 1 + abs(value) + max(np.abs(g).max() for g in slopes)
    ours, gradients = way(tree, values)
    np.testing.assert_allclose(ours.numpy(), value, rtol=0, atol=1e-10 * size)
    for name, got, right in zip(NAMES, gradients, slopes, strict=True):
        if got is LEFT_OUT:
            continue
        got = got.numpy() if isinstance(got, mg.Tensor) else got
        message = f"by {name}, {way}, of {tree!r}"
        np.testing.assert_allclose(got, right, 0, 1e-10 * size, err_msg=message)


ONES = tuple(np.array(x) for x in ([0.5, -1.25], [2.0, 0.75], [-0.5, 1.5]))


# Where one vector alone carries gradients, a single way in must be noticed.
LIVE = st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map("".join)
MANY = settings(max_examples=settings.default.max_examples * 4)


@MANY
@given(tree=TREES, values=VALUES, live=LIVE)
def test_a_tree_of_transforms_by_its_leaves(tree, values, live):
    assert_right(tree, values, functools.partial(by_backward, live=live))


@MANY
@given(tree=TREES, values=VALUES)
def test_a_tree_of_transforms_inside_another(tree, values):
    assert_right(tree, values, by_transform)


@given(tree=TREES, values=VALUES)
def test_a_tree_of_transforms_inside_a_hessian(tree, values):
    assert_right(tree, values, by_hessian)


PAIRS = list(itertools.product(KINDS, KINDS))


@pytest.mark.parametrize(
    ("outer", "inner"), PAIRS, ids=lambda kind: getattr(kind, "__name__", None)
)
def test_every_transform_inside_every_other(outer, inner):
    """By one vector inside and another outside, and both by the same."""
    for by_outer, by_inner in (("a", "b"), ("b", "a"), ("a", "a")):
        tree = inner(FUNCTIONS["sines"], by_inner, "c", "a")
        whole = outer(tree, by_outer, "b", "c")
        for live in ("abc", *NAMES):
            way = functools.partial(by_backward, live=live)
            assert_right(whole, ONES, way)
        assert_right(outer(tree, by_outer, "a", "a"), ONES, by_transform)


@pytest.mark.parametrize("kind", KINDS)
def test_a_transform_alone_of_every_function(kind):
    for f in FUNCTIONS.values():
        for roles in ("abc", "cba", "aab", "abb", "baa", "aaa"):
            way = functools.partial(by_backward, live=roles[1])
            assert_right(kind(f, *roles), ONES, way)


# -- what was wrong elsewhere ------------------------------------------------------

X = np.array([0.5, 1.0])
W = np.array([2.0, 3.0])


def test_a_penalty_on_a_gradient_reaches_the_weights_in_the_closure():
    """R. Gulrajani et al.'s loss; dropping the closure leaves the first term alone."""
    w = leaf(W)
    model = lambda z: mg.sum(mg.tanh(z * w))  # noqa: E731
    _, slope = mg.value_and_grad(model)(X)
    (model(mg.Tensor(X)) + 10 * mg.sum(slope * slope)).backward()
    t = np.tanh(X * W)
    sech = 1 - t * t
    expected = sech * X + 20 * W * sech * (sech - 2 * W * t * sech * X)
    assert_close(w.grad, expected)


def test_one_array_outside_and_inside():
    """The array that a closure differentiates by is also a plain argument inside."""

    def inner(w):
        _, slope = mg.value_and_grad(lambda y: mg.sum(w * y * y))(W)
        return mg.sum(slope)

    assert_close(mg.value_and_grad(inner)(W)[1], 2 * W)


def test_infinitesimals_of_two_levels_are_not_confused():
    """d/dx (x d/dy (x + y)) is 1: that y's change is not x's. Siskind, Pearlmutter."""

    def f(x):
        return x * mg.value_and_grad(lambda y: x + y)(1.0)[1]

    assert_close(mg.value_and_grad(f)(1.0)[1], 1.0)
    _, push = mg.jvp(
        lambda x: x * mg.jvp(lambda y: x + y, [np.array(1.0)], [np.array(1.0)])[1],
        [np.array(1.0)],
        [np.array(1.0)],
    )
    assert_close(push, 1.0)


def test_one_derivative_after_another_by_another_argument():
    """d/dx1 d/dx2 ... of a product of all is 1."""
    count = 6
    numbers = [np.array(float(i + 2)) for i in range(count)]

    def product(xs):
        return mg.prod(mg.stack(xs))

    def by(f, i):
        def slope(xs):
            inside = lambda x: f([*xs[:i], x, *xs[i + 1 :]])  # noqa: E731
            return mg.value_and_grad(inside)(xs[i])[1]

        return slope

    f = product
    for i in range(count):
        f = by(f, i)
    assert_close(f([mg.Tensor(x) for x in numbers]), 1.0)


def test_the_loss_of_a_laplacian_by_parameters():
    """The trace of a Hessian over inputs, differentiated by what the network owns."""
    w = leaf(W)
    energy = lambda x: mg.sum(mg.sin(x * w))  # noqa: E731
    H = mg.hessian(energy, X)
    mg.einsum("ii->", H).backward()
    assert_close(w.grad, -2 * W * np.sin(X * W) - W * W * X * np.cos(X * W))


def test_a_step_of_gradient_descent_is_differentiated():
    """The gradient of the loss after a step by what the step started from."""
    rate = 0.1
    loss = lambda w, x: mg.sum(mg.sin(w * x))  # noqa: E731

    def after_a_step(w):
        slope = mg.value_and_grad(lambda w: loss(w, X))(w)[1]
        return loss(w - rate * slope, X)

    _, slope = mg.value_and_grad(after_a_step)(W)
    moved = W - rate * X * np.cos(W * X)
    expected = np.cos(moved * X) * X * (1 + rate * X * X * np.sin(W * X))
    assert_close(slope, expected)


def test_three_steps_unrolled_by_their_learning_rate():
    rate = leaf(0.1)
    w = mg.Tensor(np.array(2.0))
    for _ in range(3):
        w = w - rate * mg.value_and_grad(lambda w: w * w)(w)[1]
    w.backward()
    assert_close(rate.grad, 2.0 * 3 * (1 - 0.2) ** 2 * -2)


def test_reverse_over_forward_leaves_parameters_as_they_were():
    w = leaf(W)
    entry = w.entry

    def along(x):
        return mg.sum(mg.jvp(lambda x: mg.sin(x * w), [x], [np.ones(SIZE)])[1])

    _, pull = mg.vjp(along, X)
    for _ in range(2):
        assert_close(pull(1.0)[0], -W * W * np.sin(X * W))
    assert w.entry is entry
    assert w.grad is None


def test_second_derivatives_again_and_again():
    """What a rule keeps of its output serves every walk."""
    x = leaf(X)
    y = mg.sum(mg.exp(x) * mg.tanh(x))
    slope = mg.grad(y, x, create_graph=True, retain_graph=True)
    first = mg.grad(slope.sum(), x, retain_graph=True)
    again = mg.grad(slope.sum(), x, retain_graph=True)
    assert_equal(again, first.numpy())
    t = np.tanh(X)
    assert_close(first, np.exp(X) * (t + (1 - t * t) * (2 - 2 * t)))


def test_gradients_inside_a_checkpoint():
    """A derivative taken inside of the stretch that is recorded again."""
    a = leaf(W)

    def stretch(x):
        return mg.value_and_grad(lambda x: mg.sum((a * x) * (a * x)))(x)[1]

    x = leaf(X)
    mg.sum(mg.checkpoint(stretch)(x)).backward()
    assert_close(a.grad, 4 * W * X)
    assert_close(x.grad, 2 * W * W)


def test_a_checkpoint_inside_an_hvp_whose_direction_is_a_weight():
    v = leaf(W)
    f = mg.checkpoint(lambda x: mg.sum(mg.exp(x) * x))
    mg.sum(mg.hvp(f, X, v)).backward()
    assert_close(v.grad, np.exp(X) * (X + 2))


def test_a_primitive_of_the_users_composes():
    """Its rule is differentiated twice, by the cotangent and by the operand."""

    @mg.primitive(lambda g, a: g * (a * a * 3))
    def cube(a):
        """Elementwise a ** 3."""
        return a * a * a

    f = lambda x: mg.sum(cube(x))  # noqa: E731
    assert_close(mg.hessian(f, X), np.diag(6 * X))
    c = leaf(W)
    _, pull = mg.vjp(cube, X)
    mg.sum(pull(c)[0]).backward()
    assert_close(c.grad, 3 * X * X)


def test_a_pull_is_linear_in_its_cotangent_at_every_order():
    _, pull = mg.vjp(lambda x: mg.sin(x) * x, X)
    J = np.cos(X) * X + np.sin(X)
    value, slope = mg.value_and_grad(lambda c: mg.sum(pull(c)[0] * pull(c)[0]))(W)
    assert_close(value, np.sum((J * W) ** 2))
    assert_close(slope, 2 * J * J * W)


def test_a_pull_made_inside_is_used_outside_of_its_transform():
    w = leaf(W)
    pulls = []

    def f(x):
        y, pull = mg.vjp(lambda z: z * z * w, x)
        pulls.append(pull)
        return mg.sum(y)

    mg.value_and_grad(f)(X)
    mg.sum(pulls[0](np.ones(SIZE))[0]).backward()
    assert_close(w.grad, 2 * X)


def test_a_hessian_of_a_hessian():
    """The fourth derivative of x^5, one level by another."""
    f = lambda x: mg.hessian(lambda y: y**5, x)  # noqa: E731
    assert_close(mg.hessian(f, np.array(2.0)), 120 * 2.0)


def test_results_of_plain_use_are_plain():
    """Where no gradient comes in, nothing is recorded and no tape is kept."""
    value, slope = mg.value_and_grad(lambda x: mg.sum(x * x))(X)
    y, pull = mg.vjp(lambda x: x * x, X)
    _, push = mg.jvp(lambda x: x * x, [X], [X])
    results = [value, slope, y, pull(X)[0], push, mg.hvp(lambda x: mg.sum(x * x), X, X)]
    assert not any(result.requires_grad for result in results)


def test_inside_no_grad_closures_are_constants():
    w = leaf(W)
    with mg.no_grad():
        value, slope = mg.value_and_grad(lambda x: mg.sum(x * w))(X)
    assert_close(slope, W)
    assert not value.requires_grad
    assert not slope.requires_grad


def test_a_leaf_may_be_an_argument_and_in_the_closure():
    """By the argument alone inside; by both once somebody differentiates the result."""
    w = leaf(W)
    _, slope = mg.value_and_grad(lambda x: mg.sum(x * x * w))(w)
    assert_close(slope, 2 * W * W)
    mg.sum(slope).backward()
    assert_close(w.grad, 4 * W)


def test_a_vector_may_be_input_and_tangent_at_once():
    """J(x) x of the sine is cos(x) x, whose derivative has both parts."""
    x = leaf(X)
    _, push = mg.jvp(mg.sin, [x], [x])
    mg.sum(push).backward()
    assert_close(x.grad, np.cos(X) - X * np.sin(X))


# -- when gradients are differentiated later than they were taken ------------------


def penalised(w):
    """A value and a slope in which `w` came through the closure."""
    return mg.value_and_grad(lambda x: mg.sum(x * x * w))(X)


def test_a_write_in_between_is_noticed():
    w = leaf(W)
    _, slope = penalised(w)
    with mg.no_grad():
        w[...] = W + 1
    with pytest.raises(RuntimeError, match="changed that array in place"):
        mg.sum(slope).backward()


def test_gradients_are_differentiated_twice_and_the_value_after_them():
    w = leaf(W)
    value, slope = penalised(w)
    mg.sum(slope).backward(retain_graph=True)
    mg.sum(slope).backward()
    value.backward()
    assert_close(w.grad, 2 * 2 * X + X * X)


def test_a_tape_that_the_value_used_up_is_missed_in_words():
    value, slope = penalised(leaf(W))
    value.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        mg.sum(slope).backward()


def test_gradients_of_gradients_of_what_was_taken_before():
    w = leaf(W)
    _, slope = mg.value_and_grad(lambda x: mg.sum(mg.sin(x * w)))(X)
    first = mg.grad(mg.sum(slope), w, create_graph=True)
    second = mg.grad(mg.sum(first), w)
    s, c = np.sin(X * W), np.cos(X * W)
    assert_close(first, c - W * X * s)
    assert_close(second, -2 * X * s - W * X * X * c)


def test_two_pulls_of_one_function_in_one_loss():
    w = leaf(W)
    _, pull = mg.vjp(lambda x: x * x * w, X)
    mg.sum(pull(np.ones(SIZE))[0] * pull(W)[0]).backward()
    assert_close(w.grad, 2 * (2 * X) * (2 * X * W) * W)


def test_a_checkpoint_that_takes_a_gradient_and_has_no_operands():
    w = leaf(W)
    stretch = mg.checkpoint(lambda: penalised(w)[1])
    mg.sum(stretch()).backward()
    assert_close(w.grad, 2 * X)
