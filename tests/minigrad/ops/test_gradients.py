"""Are all gradients right, first and second order, in every form of every operation?

Driven by the registry: an operation without a case fails. Each is compared with finite
differences in float64 under drawn random cotangents, and every other reading of the
tape (recorded, watched, dropped and recorded again) with the plain one.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import functions
from minigrad.tape import registry
from minigrad.testing import check_gradients
from tests.minigrad.ops.cases import COMPOSED, CONSTANTS, MAKERS, PRIMITIVES

CASES_FILE = Path(__file__).with_name("cases.py")
CASES = {**PRIMITIVES, **COMPOSED}
SEEDS = st.integers(0, 2**32 - 1)


def is_ours(call) -> bool:
    """Whether this is minigrad's own, and not a primitive that a test has made."""
    return call.__module__.startswith("minigrad.")


def has_rules(call) -> bool:
    made = call.primitive
    rules = (*made.rules, made.joint_rule)
    return any(rule is not None for rule in rules)


OURS = {name: call for name, call in registry.items() if is_ours(call)}
DIFFERENTIABLE = sorted(name for name, call in OURS.items() if has_rules(call))
PIECEWISE_CONSTANT = sorted(set(OURS) - set(DIFFERENTIABLE))
FUNCTIONS = sorted(
    name
    for name, f in vars(functions).items()
    if inspect.isfunction(f) and f.__module__ == functions.__name__ and name[0] != "_"
)


# -- every operation has a case ----------------------------------------------------


def case_of(name):
    """The case of a primitive or function, or a failure that says what to add."""
    if name not in CASES:
        table = "PRIMITIVES" if name in registry else "COMPOSED"
        pytest.fail(
            f"{name!r} has no gradient test. Add to {table} in {CASES_FILE} an entry "
            f"{name!r}: a Hypothesis strategy of (f, arrays), where f takes Tensors in "
            "place of the arrays and calls the operation in every form it has, and the "
            "values keep clear of kinks and ties. `unary`, `binary` and `reduction` "
            "there build the common ones."
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
    assert set(PRIMITIVES) <= set(DIFFERENTIABLE)
    assert set(CONSTANTS) <= set(PIECEWISE_CONSTANT)
    assert set(COMPOSED) | MAKERS <= set(FUNCTIONS)


def test_a_missing_case_says_what_to_add():
    with pytest.raises(pytest.fail.Exception) as failure:
        case_of("a new one")
    for part in ("'a new one'", "COMPOSED", "cases.py", "strategy of (f, arrays)"):
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
@settings(max_examples=50)
@given(data=st.data(), seed=SEEDS, bend=st.booleans())
def test_gradients_of_first_and_second_order(name, data, seed, bend):
    f, arrays = data.draw(case_of(name))
    f = squared(f) if bend else f
    check_gradients(f, *arrays, order=2, seed=seed, name=name)


# -- the other readings of the same tape -------------------------------------------


def as_list(outputs):
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def cotangents_of(f, arrays, seed):
    random = np.random.default_rng(seed)
    shapes = [np.shape(y) for y in as_list(f(*arrays))]
    return [random.standard_normal(shape) for shape in shapes]


def gradients(f, arrays, cotangents, **how):
    """Outputs and gradients of <cotangents, f(arrays)>."""
    leaves = [mg.Tensor(0.0) for _ in arrays]
    for leaf, array in zip(leaves, arrays, strict=True):
        leaf.data = array  # the array itself: its strides and flags count here
        leaf.requires_grad = True
    outputs = as_list(f(*leaves))
    total = mg.Tensor(0.0)
    for y, c in zip(outputs, cotangents, strict=True):
        total = total + (y * c).sum()
    found = mg.grad(total, leaves, **how)
    return [y.numpy() for y in outputs], [g.numpy() for g in found]


def assert_same(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        assert np.shape(mine) == np.shape(other)
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12)


def checkpointed(f):
    def tupled(*operands):
        outputs = f(*operands)
        return tuple(outputs) if isinstance(outputs, list) else outputs

    return mg.checkpoint(tupled)


@pytest.mark.parametrize("name", DRAWN)
@settings(max_examples=10)
@given(data=st.data(), seed=SEEDS)
def test_every_reading_of_the_tape_agrees(name, data, seed):
    f, arrays = data.draw(case_of(name))
    cotangents = cotangents_of(f, arrays, seed)
    outputs, expected = gradients(f, arrays, cotangents)

    recorded = gradients(f, arrays, cotangents, create_graph=True)
    with mg.profile(), mg.record_lines():
        watched = gradients(f, arrays, cotangents)
    again = gradients(checkpointed(f), arrays, cotangents)
    for values, found in (recorded, watched, again):
        assert_same(values, outputs)
        assert_same(found, expected)


@pytest.mark.parametrize("name", DRAWN)
@settings(max_examples=10)
@given(data=st.data())
def test_arrays_give_arrays_and_nothing_is_recorded(name, data):
    f, arrays = data.draw(case_of(name))
    results = as_list(f(*arrays))
    assert not any(isinstance(result, mg.Tensor) for result in results)
    assert_same(results, [y.numpy() for y in as_list(f(*map(mg.Tensor, arrays)))])


def strided(array):
    """The same values, read-only, in memory that is reversed and has gaps."""
    memory = np.zeros([2 * n for n in array.shape])
    room = memory[(..., *(slice(None, None, -2) for _ in array.shape))]
    room[...] = array
    room.flags.writeable = False
    return room


@pytest.mark.parametrize("name", DRAWN)
@settings(max_examples=10)
@given(data=st.data(), seed=SEEDS)
def test_the_memory_of_operands_does_not_matter(name, data, seed):
    f, arrays = data.draw(case_of(name))
    cotangents = cotangents_of(f, arrays, seed)
    outputs, expected = gradients(f, arrays, cotangents)
    values, found = gradients(f, [strided(a) for a in arrays], cotangents)
    assert_same(values, outputs)
    assert_same(found, expected)


@pytest.mark.parametrize("name", DRAWN)
@settings(max_examples=10)
@given(data=st.data())
def test_gradients_have_shape_and_dtype_of_their_operand(name, data):
    f, arrays = data.draw(case_of(name))
    leaves = [mg.Tensor(a, dtype="float32", requires_grad=True) for a in arrays]
    for y in as_list(f(*leaves)):
        y.sum().backward(retain_graph=True)
    for leaf in leaves:
        if leaf.grad is not None:
            assert leaf.grad.shape == leaf.shape
            assert leaf.grad.dtype == np.float32
            assert type(leaf.grad.data) is np.ndarray


# -- piecewise constant ------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in PIECEWISE_CONSTANT if n in CONSTANTS])
def test_constant_operations_return_tensors_without_gradient(name):
    arrays, settings_, expected = CONSTANTS[name]
    leaves = [mg.Tensor(a, requires_grad=True) for a in arrays]
    result = OURS[name](*leaves, **settings_)
    assert isinstance(result, mg.Tensor)
    assert not result.requires_grad
    np.testing.assert_array_equal(result.numpy(), expected)
