"""Are the oracles right, do they know how far, and is the right one chosen?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from minigrad.testing import COMPLEX_STEP, DIFFERENCES, arrays, shapes
from minigrad.testing.oracles import derive, unit_directions

KNOWN = {
    "exp": (np.exp, np.exp),
    "sin": (np.sin, np.cos),
    "cube": (lambda a: a**3, lambda a: 3 * a**2),
    "huge": (lambda a: 1e9 * a * a, lambda a: 2e9 * a),
    "tiny": (lambda a: 1e-9 * np.tanh(a), lambda a: 1e-9 / np.cosh(a) ** 2),
    "steep": (lambda a: np.exp(5 * a), lambda a: 5 * np.exp(5 * a)),
    "sum": (np.sum, lambda a: np.ones(a.shape)),
}


@pytest.mark.parametrize("oracle", [COMPLEX_STEP, DIFFERENCES], ids=lambda o: o.name)
@pytest.mark.parametrize("name", KNOWN)
@given(a=arrays(shapes(0, 2), -2, 2))
def test_the_error_is_within_the_bound(name, oracle, a):
    f, derivative = KNOWN[name]
    v = np.cos(np.arange(a.size)).reshape(a.shape)
    (found,) = oracle.along(lambda xs: [np.asarray(f(xs[0]))], [a], [v])
    expected = derivative(a) * v
    expected = expected.sum() if name == "sum" else expected
    rounding = 1e-15 * np.abs(derivative(a)).sum()
    assert (np.abs(found.value - expected) <= found.error + rounding).all()


def test_bounds_are_tight():
    a = np.linspace(-2, 2, 9)
    for oracle, most in ((COMPLEX_STEP, 1e-13), (DIFFERENCES, 1e-5)):
        (found,) = oracle.along(lambda xs: [np.exp(xs[0])], [a], [np.ones(9)])
        assert found.error.max() < most


CHOSEN = {
    "exp": (np.exp, COMPLEX_STEP),
    "a magnitude": (np.abs, DIFFERENCES),
    "no complex form": (lambda a: np.logaddexp(a, 0), DIFFERENCES),
    "the real part": (lambda a: np.real(a) * 2.0, DIFFERENCES),
    "converted": (lambda a: a.astype(np.float64), DIFFERENCES),
    "a branch": (lambda a: np.where(a > 0, a, 0.5 * a), COMPLEX_STEP),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_the_complex_step_is_for_analytic_functions(name):
    f, expected = CHOSEN[name]
    a, v = np.array([0.5, -1.2, 2.0]), np.array([1.1, 0.7, -0.9])
    assert derive(lambda xs: [f(xs[0])], [a], [v]).oracle is expected


def test_every_element_has_its_direction():
    operands = [np.zeros((2, 2)), np.zeros(3)]
    seen = unit_directions(operands, 0)
    assert [index for index, _ in seen] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(v[0][index] == 1 and v[0].sum() == 1 for index, v in seen)
    assert not any(v[1].any() for _, v in seen)
