"""Are gradients that were made elsewhere checked as our own are?"""

from __future__ import annotations

import numpy as np
import pytest

from minigrad.testing import GradientError, check_gradients
from tests.minigrad.helpers import assert_parts

A = np.array([0.5, -1.2, 2.0])


def loss(x):
    return np.sum(np.tanh(x) ** 2)


def derivative(x):
    return 2 * np.tanh(x) * (1 - np.tanh(x) ** 2)


def test_right_gradients_are_accepted():
    check_gradients(loss, A, grad=derivative)
    check_gradients(loss, A, grad=derivative(A))
    check_gradients(loss, A, grad=[derivative(A)])
    check_gradients(lambda x, n, y: np.sum(x * n * y), A, 2, A + 3, grad=of_three)
    check_gradients(lambda x: np.abs(x).sum(), A, grad=np.sign)


def of_three(x, n, y):
    return n * y, np.sum(x * y), n * x


WRONG = {
    "half": lambda x: derivative(x) / 2,
    "nan at 0": lambda x: derivative(x) * x / x,
    "at 1": lambda x: derivative(x) * np.where(x == 1, 2, 1),
    "in the tenth digit": lambda x: derivative(x) * (1 + 1e-10),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_gradients_are_refused(name):
    with pytest.raises(GradientError) as raised:
        check_gradients(loss, A, grad=WRONG[name])
    assert_parts(raised.value, "loss", "grad says", "float64", "grad=grad")


def test_an_end_of_the_domain_is_checked_from_inside():
    def f(x):
        return np.sum(x * np.sqrt(x))

    check_gradients(f, np.abs(A), grad=lambda x: 1.5 * np.sqrt(x))
    with pytest.raises(GradientError) as raised:
        check_gradients(f, np.abs(A), grad=lambda x: 1.5 * x / np.sqrt(x))
    parts = ("index (0,), where it is 0.0", "grad says nan", "derivative from inside")
    assert_parts(raised.value, *parts)


BAD = {
    "several numbers": (np.tanh, derivative, "one number", "weights"),
    "float32": (lambda x: np.float32(loss(x)), derivative, "float32", "jax_enable_x64"),
    "another shape": (loss, lambda x: x[:2], "[(2,)]", "[(3,)]"),
    "too many": (loss, lambda x: (x, x), "shapes", "one gradient for each"),
    "nothing": (loss, lambda x: None, "None", "x.grad"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_checked_is_refused(name):
    f, grad, *parts = BAD[name]
    with pytest.raises(TypeError) as raised:
        check_gradients(f, A, grad=grad)
    assert_parts(raised.value, *parts)


def test_higher_orders_are_refused():
    with pytest.raises(ValueError, match="first order"):
        check_gradients(loss, A, grad=derivative, order=2)


def test_pytorchs_gradients():
    torch = pytest.importorskip("torch")

    def value(x, w):
        return torch.nn.functional.softplus(torch.tensor(x) @ torch.tensor(w)).sum()

    def grad(x, w, factor=1.0):
        leaves = [torch.tensor(a, requires_grad=True) for a in (x, w)]
        y = torch.nn.functional.softplus(leaves[0] @ leaves[1]).sum()
        return [factor * g for g in torch.autograd.grad(y, leaves)]

    W = np.array([[0.3, -1.0], [0.8, 0.2], [-0.5, 1.5]])
    check_gradients(value, A, W, grad=grad)
    with pytest.raises(GradientError):
        check_gradients(value, A, W, grad=lambda *x: grad(*x, factor=1.001))
