"""Are all gradients right, in every form of every operation and in every condition?

Driven by the registry: an operation without a case fails. `check_function` holds each
against independent derivatives up to the third order.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import creation, functions
from minigrad.backend import to_device
from minigrad.tape import registry
from minigrad.testing import Constant, check_function, check_gradients
from minigrad.testing.checker import check_at_points
from minigrad.testing.function import Function
from minigrad.testing.strategies import is_full
from tests.support import cases
from tests.support.cases import (
    COMPOSED,
    CONSTANTS,
    MAKERS,
    OURS,
    PRIMITIVES,
    whole_calls_of,
)

CASES_FILE = Path(cases.__file__)
CASES = {**PRIMITIVES, **COMPOSED}
SEEDS = st.integers(0, 2**32 - 1)


def is_ours(call) -> bool:
    """Whether this is minigrad's own, and not a primitive that a test has made."""
    return call.__module__.startswith("minigrad.")


def has_rules(call) -> bool:
    made = call.primitive
    rules = (*made.rules, made.joint)
    return any(rule is not None for rule in rules)


DIFFERENTIABLE = sorted(name for name, call in OURS.items() if has_rules(call))
PIECEWISE_CONSTANT = sorted(set(OURS) - set(DIFFERENTIABLE))
FUNCTIONS = sorted(
    name
    for room in (functions, creation)
    for name, f in vars(room).items()
    if inspect.isfunction(f)
    and f.__module__.startswith(room.__name__)
    and name[0] != "_"
)


# -- every operation has a case ----------------------------------------------------


def case_of(name):
    """The case of a primitive or function, or a failure that says what to add."""
    if name not in CASES:
        table = "PRIMITIVES" if name in OURS else "COMPOSED"
        pytest.fail(
            f"{name!r} has no gradient test. Add to {table} in {CASES_FILE} an entry "
            f"{name!r}: a Hypothesis strategy of (f, operands), where f takes Tensors "
            "in place of the operands and calls the operation in every form it has, "
            "and the values keep clear of kinks and ties. `unary`, `binary` and "
            "`reduction` there build the common ones."
        )
    return CASES[name]


@pytest.mark.parametrize("name", [*DIFFERENTIABLE, *FUNCTIONS])
def test_each_operation_has_a_case(name):
    if name not in MAKERS:
        case_of(name)


@pytest.mark.parametrize("name", PIECEWISE_CONSTANT)
def test_each_constant_operation_has_an_example(name):
    assert name in CONSTANTS, (
        f"{name!r} has no gradient rule and no example. Give it rules, or add to "
        f"CONSTANTS in {CASES_FILE} its operands, its settings and what it returns."
    )


def test_no_case_is_left_over():
    assert {name for name, call in registry.items() if is_ours(call)} <= set(OURS)
    assert set(PRIMITIVES) <= set(DIFFERENTIABLE)
    assert set(CONSTANTS) <= set(PIECEWISE_CONSTANT)
    assert set(COMPOSED) | MAKERS <= set(FUNCTIONS)


def test_a_missing_case_says_what_to_add():
    with pytest.raises(pytest.fail.Exception) as failure:
        case_of("a new one")
    for part in ("'a new one'", "COMPOSED", "cases.py", "strategy of (f, operands)"):
        assert part in str(failure.value)


# -- the gradients -----------------------------------------------------------------

DRAWN = [name for name in [*DIFFERENTIABLE, *FUNCTIONS] if name in CASES]


def squared(f):
    """F's outputs squared, so that the cotangents depend on the operands as well."""

    def bent(*operands):
        outputs = f(*operands)
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        return [y * y for y in outputs]

    return bent


@pytest.mark.parametrize("name", DRAWN)
@given(data=st.data(), seed=SEEDS, bend=st.booleans())
def test_gradients_in_every_condition(name, device, data, seed, bend):
    f, operands = data.draw(case_of(name))
    f = squared(f) if bend else f
    how = {"order": 3, "seed": seed, "name": name, "device": device}
    check_function(f, *operands, special=False, **how)


# Each example tries all special points; they differ in shapes and settings alone.
# Calls are drawn until one is whole: differentiates all operands, none of them empty.
FEW = settings(
    max_examples=max(1, settings().max_examples // 10),
    suppress_health_check=[HealthCheck.filter_too_much],
)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@FEW
@given(data=st.data(), seed=SEEDS)
def test_primitives_at_special_points(name, device, data, seed):
    f, operands = data.draw(whole_calls_of(OURS[name]))
    function = Function(f, operands, device, name, seed)
    check_at_points(function, 2, OURS[name].primitive)


@pytest.mark.parametrize("name", FUNCTIONS)
@FEW
@given(data=st.data(), seed=SEEDS)
def test_functions_at_special_points(name, device, data, seed):
    if name in MAKERS:
        return
    f, operands = data.draw(case_of(name).filter(is_full))
    check_at_points(Function(f, operands, device, name, seed), 2)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4.0])
def test_whole_powers_at_special_points(exponent, device):
    x = np.array([0.5, -1.2, 2.0, 1.1])
    check_gradients(lambda x: x**exponent, x, order=3, device=device)


@pytest.mark.parametrize("base", [[2.0, 0.5], [0.0, 1.0]])
def test_powers_by_their_exponent_at_special_points(base, device):
    exponents = np.array([1.5, 2.5])
    check_gradients(mg.power, Constant(base), exponents, order=3, device=device)


def test_every_kink_has_a_declared_derivative():
    """`check_kinks` has held each against the rule; here, that none is left out."""
    for name, call in OURS.items():
        for kinks in call.primitive.kinks.values():
            assert isinstance(kinks, dict), name


def as_list(outputs):
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def on_device(operand, device):
    array = operand.array if isinstance(operand, Constant) else operand
    return to_device(np.asarray(array), device)


@pytest.mark.parametrize("name", DRAWN)
@given(data=st.data())
def test_arrays_give_arrays_and_nothing_is_recorded(name, device, data):
    f, operands = data.draw(case_of(name))
    arrays = [on_device(operand, device) for operand in operands]
    results = as_list(f(*arrays))
    assert not any(isinstance(result, mg.Tensor) for result in results)
    leaves = [mg.asarray(a) if a.dtype.kind == "f" else a for a in arrays]
    for ours, theirs in zip(results, as_list(f(*leaves)), strict=True):
        np.testing.assert_array_equal(mg.asarray(ours).numpy(), theirs.numpy())


# -- piecewise constant ------------------------------------------------------------


ON_HOST = {"bernoulli"}  # whose state is a generator's


@pytest.mark.parametrize("name", [n for n in PIECEWISE_CONSTANT if n in CONSTANTS])
def test_constant_operations_return_tensors_without_gradient(name, device):
    arrays, settings_, expected = CONSTANTS[name]
    place = "cpu" if name in ON_HOST else device
    leaves = [
        mg.Tensor(a, device=place, requires_grad=a.dtype.kind == "f") for a in arrays
    ]
    result = OURS[name](*leaves, **settings_)
    result = result if leaves else mg.asarray(result)
    assert isinstance(result, mg.Tensor)
    assert not result.requires_grad
    np.testing.assert_array_equal(result.numpy(), expected)
