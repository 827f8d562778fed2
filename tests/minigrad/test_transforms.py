"""Do grad, vjp, jvp, hvp, hessian and checkpoint say what mathematics says?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.testing import arrays, check_gradients
from tests.devices import put
from tests.minigrad.helpers import assert_close, assert_equal, assert_parts, leaf, plain

pytestmark = pytest.mark.usefixtures("device")

VECTORS = st.integers(1, 4).flatmap(lambda n: arrays((n,)))
SYSTEMS = st.integers(1, 3).flatmap(
    lambda n: st.tuples(arrays((n, n)), arrays((n,)), arrays((n,)))
)


# -- grad --------------------------------------------------------------------------


def test_grad_of_one_input_is_a_tensor_and_of_several_a_list():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    assert_equal(mg.grad((x * y).sum(), x), [3, 4])
    on_x, on_y = mg.grad((x * y).sum(), [x, y])
    assert_equal(on_x, [3, 4])
    assert_equal(on_y, [1, 2])
    assert len(mg.grad((x * y).sum(), (x,))) == 1
    assert mg.grad((x * y).sum(), []) == []


def test_grad_leaves_every_grad_alone():
    x = leaf(2.0)
    mg.grad(x * x, x)
    assert x.grad is None


def test_an_input_that_the_output_does_not_reach_gets_zeros():
    x, unused = leaf([1.0, 2.0]), leaf(np.ones((2, 3)), "float32")
    on_x, on_unused = mg.grad((x * x).sum(), [x, unused])
    assert_equal(on_x, [2, 4])
    assert_equal(on_unused, np.zeros((2, 3)))
    assert on_unused.dtype == np.float32


def test_a_constant_output_has_zero_gradients():
    x = leaf([1.0, 2.0])
    assert_equal(mg.grad((x > 1).sum(), x), [0, 0])


def test_grad_by_a_result_and_by_what_it_came_from():
    x = leaf(3.0)
    y = x * x
    z = y * y
    assert_equal(mg.grad(z, y, retain_graph=True), 18)
    on_y, on_x = mg.grad(z, [y, x])
    assert_equal(on_y, 18)
    assert_equal(on_x, 108)


def test_grad_of_a_tensor_by_itself_is_the_cotangent():
    x = leaf([1.0, 2.0])
    assert_equal(mg.grad(x, x, [5.0, 6.0]), [5, 6])


@pytest.mark.parametrize("kind", [lambda c: c, lambda c: c.tolist(), plain])
def test_a_cotangent_may_be_array_list_or_tensor(kind):
    x = leaf([1.0, 2.0])
    assert_equal(mg.grad(x * x, x, kind(np.array([1.0, 10.0]))), [2, 40])


def test_a_cotangent_takes_the_outputs_dtype():
    x = leaf([1.0, 2.0], "float32")
    assert mg.grad(x * x, x, np.ones(2)).dtype == np.float32


def test_the_gradient_by_the_cotangent_itself():
    x, c = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    slope = mg.grad(x * x, x, c, create_graph=True)
    assert_equal(mg.grad(slope.sum(), c), [2, 4])


def test_gradients_can_be_recorded_inside_no_grad():
    x = leaf(3.0)
    y = x**3
    with mg.no_grad():
        slope = mg.grad(y, x, create_graph=True)
    assert mg.grad(slope, x).item() == pytest.approx(18)  # a GPU's powers round


# -- value_and_grad ----------------------------------------------------------------


@given(system=SYSTEMS)
def test_value_and_grad_of_a_quadratic_form(system):
    A, b, x = system
    f = mg.value_and_grad(lambda x: x @ A @ x + b @ x)
    value, gradient = f(x)
    assert_close(value, x @ A @ x + b @ x)
    assert_close(gradient, (A + A.T) @ x + b, 1e-10)
    assert not value.requires_grad


def test_value_and_grad_of_several_arguments():
    value, (on_x, on_y) = mg.value_and_grad(lambda x, y: (x * y).sum())(
        put(np.array([1.0, 2.0])), plain([3.0, 4.0])
    )
    assert_equal(value, 11)
    assert_equal(on_x, [3, 4])
    assert_equal(on_y, [1, 2])


def test_value_and_grad_works_inside_no_grad():
    with mg.no_grad():
        _, slope = mg.value_and_grad(lambda x: x * x)(3.0)
    assert_equal(slope, 6)


def test_value_and_grad_composes_or_says_that_it_does_not():
    """The gradient of a gradient must not be zero in silence."""

    def slope(x):
        return mg.value_and_grad(lambda x: (x * x * x).sum())(x)[1].sum()

    try:
        _, second = mg.value_and_grad(slope)(np.array([1.0, 2.0]))
    except (RuntimeError, TypeError, ValueError) as error:
        assert_parts(error, "grad")
    else:
        assert_equal(second, [6, 12])


def test_value_and_grad_keeps_name_and_docstring():
    def loss(x):
        """Documented."""
        return x.sum()

    assert mg.value_and_grad(loss).__name__ == "loss"
    assert mg.value_and_grad(loss).__doc__ == "Documented."


# -- vjp and jvp -------------------------------------------------------------------


@given(system=SYSTEMS)
def test_vjp_and_jvp_multiply_by_the_jacobian(system):
    A, x, v = system
    J = np.cos(A @ x)[:, None] * A
    value, pull = mg.vjp(lambda x: mg.sin(A @ x), x)
    assert_close(value, np.sin(A @ x))
    assert_close(pull(v)[0], v @ J, 1e-10)
    assert_close(pull(2 * v)[0], 2 * (v @ J), 1e-10)
    value, push = mg.jvp(lambda x: mg.sin(A @ x), [x], [v])
    assert_close(value, np.sin(A @ x))
    assert_close(push, J @ v, 1e-10)


@given(a=arrays((3,)), b=arrays((3,)), u=arrays((3,)), v=arrays((3,)))
def test_jvp_of_two_inputs_adds_both_directions(a, b, u, v):
    _, push = mg.jvp(lambda a, b: a * a * b, [a, b], [u, v])
    assert_close(push, 2 * a * b * u + a * a * v, 1e-10)


@given(x=VECTORS, v=st.just(1.0))
def test_jvp_of_a_linear_function_is_the_function(x, v):
    direction = np.full_like(x, v)
    _, push = mg.jvp(lambda x: mg.cumsum(x, axis=0), [x], [direction])
    assert_close(push, np.cumsum(direction))


def test_jvp_refuses_a_tangent_of_another_shape():
    with pytest.raises(ValueError, match="shape"):
        mg.jvp(lambda x: x * x, [np.ones(3)], [np.ones((2, 3))])


# -- hvp and hessian ---------------------------------------------------------------


@given(system=SYSTEMS)
def test_hvp_and_hessian_of_a_quadratic_form(system):
    A, v, x = system
    f = lambda x: (x @ A @ x) * 0.5 + mg.sin(x).sum()  # noqa: E731
    H = (A + A.T) / 2 - np.diag(np.sin(x))
    assert_close(mg.hessian(f, x), H, 1e-10)
    assert_close(mg.hvp(f, x, v), H @ v, 1e-10)


@given(x=VECTORS)
def test_the_hessian_of_logsumexp_is_that_of_softmax(x):
    p = np.exp(x) / np.exp(x).sum()
    assert_close(mg.hessian(mg.logsumexp, x), np.diag(p) - np.outer(p, p), 1e-10)


def test_a_hessian_has_the_axes_of_the_input_twice():
    x = np.arange(6.0).reshape(2, 3)
    H = mg.hessian(lambda x: (x**3).sum(), x)
    np.testing.assert_array_equal(H.numpy().reshape(6, 6), np.diag(6 * x.reshape(-1)))
    assert mg.hessian(lambda x: x * x, np.array(3.0)).shape == ()
    assert mg.hessian(lambda x: x.sum(), np.zeros(0)).shape == (0, 0)


def test_the_hessian_of_a_linear_function_is_zero():
    assert_equal(mg.hessian(lambda x: (x * 3).sum(), np.ones(2)), np.zeros((2, 2)))
    assert_equal(mg.hvp(lambda x: (x * 3).sum(), np.ones(2), np.ones(2)), [0, 0])


# -- gradients that come in by other ways than the arguments -----------------------

POINT = np.array([0.5, -1.25])


def point():
    return put(POINT)


def penalised(w, x):
    """A loss and the square of its slope by x, as a gradient penalty is used."""

    def loss(z):
        return mg.tanh(z * w).sum()

    _, slope = mg.value_and_grad(loss)(x)
    return loss(mg.asarray(x)) + 10 * (slope * slope).sum()


def test_a_gradient_penalty_reaches_the_weights_in_the_closure():
    w = leaf([2.0, 3.0])
    penalised(w, point()).backward()
    s = 1 - np.tanh(POINT * [2.0, 3.0]) ** 2
    through_slope = 20 * s * [2.0, 3.0]
    inner = s - 2 * np.tanh(POINT * [2.0, 3.0]) * s * POINT * [2.0, 3.0]
    assert_close(w.grad, POINT * s + through_slope * inner, 1e-10)


@pytest.mark.only_cpu("the checker computes on the CPU")
@given(w=arrays((2,)), x=arrays((2,)))
def test_a_gradient_penalty_is_what_finite_differences_say(w, x):
    check_gradients(lambda w: penalised(w, put(x)), put(w), special=False)


WAYS = {
    "closure": lambda c: mg.value_and_grad(lambda x: (c * x * x).sum())(point())[1],
    "argument": lambda c: mg.value_and_grad(lambda x: (x * x).sum())(c)[1],
    "cotangent": lambda c: mg.vjp(lambda x: x * x * x, point())[1](c)[0],
    "tangent": lambda c: mg.jvp(lambda x: x * x * x, [point()], [c])[1],
    "direction": lambda c: mg.hvp(lambda x: (x * x * x).sum(), point(), c),
    "hessian": lambda c: mg.hessian(lambda x: (c * x * x * x).sum(), point()),
    "point of a hessian": lambda c: mg.hessian(lambda x: (x * x * x).sum(), c),
    "behind a checkpoint": lambda c: mg.value_and_grad(
        mg.checkpoint(lambda x: (c * x * x).sum())
    )(point())[1],
}


@pytest.mark.only_cpu("the checker computes on the CPU")
@pytest.mark.parametrize("way", WAYS)
def test_what_comes_in_every_way_is_right(way):
    check_gradients(lambda c: (WAYS[way](c) ** 2).sum(), np.array([1.5, 2.5]))


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_carries_gradients(way):
    at = np.array([1.5, 2.5])
    by_leaf = leaf(at)
    (WAYS[way](by_leaf) ** 2).sum().backward()
    _, by_transform = mg.value_and_grad(lambda c: (WAYS[way](c) ** 2).sum())(put(at))
    assert_close(by_leaf.grad, by_transform.numpy(), 1e-12)
    assert np.any(by_leaf.grad.numpy())


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_recorded_where_nothing_can_come_in(way):
    assert not WAYS[way](plain([1.5, 2.5])).requires_grad
    with mg.no_grad():
        assert not WAYS[way](leaf([1.5, 2.5])).requires_grad


def test_gradients_that_are_recorded_later_are_those_of_that_time():
    """A closure's name may stand for another tensor by then."""
    total, weights = 0, [leaf([2.0, 3.0]), leaf([5.0, 7.0])]
    for w in weights:
        _, slope = mg.value_and_grad(lambda x: (w * x * x).sum())(point())  # noqa: B023
        total = total + (slope * slope).sum()
    total.backward()
    for w in weights:
        assert_close(w.grad, 8 * w.numpy() * POINT**2, 1e-12)


def test_a_deferred_gradient_notices_that_its_weights_were_written():
    w = leaf([2.0, 3.0])
    _, slope = mg.value_and_grad(lambda x: (w * x * x).sum())(point())
    with mg.no_grad():
        w[0] = 9
    with pytest.raises(RuntimeError, match="changed that array in place"):
        (slope * slope).sum().backward()


def test_a_deferred_gradient_is_freed_by_backward_like_any_result():
    w = leaf([2.0, 3.0])
    _, slope = mg.value_and_grad(lambda x: (w * x * x).sum())(point())
    slope.sum().backward(retain_graph=True)
    slope.sum().backward()
    assert_close(w.grad, 4 * POINT)
    with pytest.raises(RuntimeError, match="already freed"):
        slope.sum().backward()


def test_values_and_gradients_share_no_memory_with_what_was_given():
    x, seed = put(np.array([1.0, 2.0])), plain([1.0, 1.0])
    for same in (lambda x: x, lambda x: x[::-1], lambda _: seed, mg.Tensor.detach):
        value, _ = mg.vjp(same, x)
        value += 10
    assert_equal(mg.asarray(x), [1, 2])
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    on_a, on_b = mg.grad(a + b, [a, b], seed, create_graph=True)
    on_a += 10
    assert_equal(on_b, [1, 1])
    assert_equal(seed, [1, 1])


def test_wrong_use_of_transforms_is_explained():
    x = put(np.ones(2))
    with pytest.raises(TypeError, match=r"Write vjp\(f, x, y\)"):
        mg.vjp(lambda x: x, (x, x))
    with pytest.raises(TypeError, match=r"Write jvp\(f, \[x\], \[v\]\)"):
        mg.jvp(lambda x: x, x, x)
    with pytest.raises(ValueError, match="2 inputs and 1 tangents"):
        mg.jvp(lambda x, y: x, [x, x], [x])
    with pytest.raises(TypeError, match="got a tuple from <lambda>"):
        mg.vjp(lambda x: (x, x), x)
    with pytest.raises(TypeError, match="got a float from <lambda>"):
        mg.value_and_grad(lambda x: x.sum().item())(x)
