"""Does a Tensor behave as an array does? Its operators, methods and conversions."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.testing import arrays, broadcastable
from tests.devices import here, put
from tests.minigrad.helpers import assert_close, assert_equal, assert_parts, leaf, plain

pytestmark = pytest.mark.usefixtures("device")

OPERATORS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]

POSITIVE = arrays((2, 2), 0.5, 2.0)
PAIRS = broadcastable(2).flatmap(lambda s: st.tuples(*(arrays(i) for i in s)))


@pytest.mark.parametrize("op", OPERATORS)
@given(pair=PAIRS)
def test_operators_do_what_numpys_do(op, pair):
    a, b = pair
    for x, y in ((leaf(a), leaf(b)), (leaf(a), put(b)), (put(a), leaf(b))):
        result = op(x, y)
        assert isinstance(result, mg.Tensor)
        assert_equal(result, op(a, b))


@pytest.mark.parametrize("op", [*OPERATORS, operator.pow])
@pytest.mark.parametrize("number", [2, 1.5, np.float32(2), np.float64(2), True])
def test_a_number_on_either_side(op, number):
    array = np.array([1.0, 2.0, 3.0])
    for result, expected in (
        (op(leaf(array), number), op(array, number)),
        (op(number, leaf(array)), op(number, array)),
    ):
        assert isinstance(result, mg.Tensor)
        assert_close(result, expected)
        assert result.dtype == expected.dtype


def test_an_array_on_the_left_is_one_operation_and_not_an_array_of_tensors():
    w = leaf([1.0, 2.0])
    array = put(np.array([[3.0, 4.0], [5.0, 6.0]]))
    for op in (operator.add, operator.mul, operator.matmul, operator.truediv):
        result = op(array, w)
        assert isinstance(result, mg.Tensor)
        assert len(result.entry.parents) == 2
    (array @ w).sum().backward()
    assert_equal(w.grad, [8, 10])


def test_a_numpy_scalar_on_the_left():
    w = leaf([1.0, 2.0])
    (np.float64(3) * w).sum().backward()
    assert_equal(w.grad, [3, 3])


@pytest.mark.parametrize("op", OPERATORS[4:])
def test_comparisons_give_booleans_without_gradient(op):
    result = op(leaf([1.0, 2.0]), leaf([2.0, 2.0]))
    assert result.dtype == bool
    assert not result.requires_grad


def test_masks_combine():
    a, b = plain([True, False], "bool"), plain([True, True], "bool")
    assert_equal(~a, [False, True])
    assert_equal(a & b, [True, False])
    assert_equal(~a | b, [True, True])


def test_unary_operators():
    x = leaf([-1.0, 2.0])
    assert_equal(-x, [1, -2])
    assert_equal(abs(x), [1, 2])


@given(a=arrays((2, 3)), b=arrays((3, 2)))
def test_matmul_on_either_side(a, b):
    for x, y in ((leaf(a), leaf(b)), (leaf(a), put(b)), (put(a), leaf(b))):
        assert_close(x @ y, a @ b)


# -- every operator and method of the table ----------------------------------------

METHODS = {n for n, f in vars(mg.Tensor).items() if callable(f) and n[0] != "_"}
SPECIAL = {"reshape", "transpose", "backward", "item", "to", "numpy", "detach", "copy_"}
SPECIAL |= {"register_hook", "zero_grad"}
ARGUMENTS = {
    "astype": ("float32",),
    "swapaxes": (0, 1),
    "broadcast_to": ((3, 2, 2),),
    "expand_dims": (1,),
    "split": (2,),
    "take": ([1, 0],),
    "clip": (0.5, 1.0),
    "cumsum": (0,),
}


@pytest.mark.parametrize("name", sorted(METHODS - SPECIAL))
@given(values=POSITIVE)
def test_a_method_is_the_function_of_its_name(name, values):
    arguments = ARGUMENTS.get(name, ())
    x = leaf(values)
    ours = getattr(x, name)(*arguments)
    theirs = getattr(mg, name)(x, *arguments)
    ours, theirs = (r if isinstance(r, list) else [r] for r in (ours, theirs))
    for mine, other in zip(ours, theirs, strict=True):
        assert_equal(mine, other.numpy())


NUMPY_METHODS = {
    "sum": {"axis": 0, "keepdims": True},
    "mean": {"axis": (0, 1)},
    "max": {"axis": -1},
    "min": {},
    "prod": {"axis": 1},
    "var": {"axis": 0},
    "std": {"axis": 0, "ddof": 1},
    "argmax": {"axis": 1},
    "argmin": {},
    "cumsum": {"axis": 0},
    "squeeze": {},
    "clip": {},
}


@pytest.mark.parametrize("name", NUMPY_METHODS)
@given(values=arrays((2, 3), distinct=True))
def test_methods_with_numpys_names_do_what_numpys_do(name, values):
    settings = NUMPY_METHODS[name]
    if name == "clip":
        assert_close(leaf(values).clip(-1, 1), values.clip(-1, 1))
    else:
        ours = getattr(leaf(values), name)(**settings)
        assert_close(ours, getattr(values, name)(**settings))


def test_reshape_and_transpose_take_numbers_or_one_tuple():
    x = leaf(np.arange(6.0))
    assert x.reshape(2, 3).shape == x.reshape((2, 3)).shape == (2, 3)
    assert x.reshape([3, 2]).shape == (3, 2)
    assert x.reshape(-1, 2).shape == (3, 2)
    assert leaf(1.0).reshape(()).shape == ()
    y = leaf(np.zeros((2, 3, 4)))
    assert y.transpose().shape == y.T.shape == (4, 3, 2)
    assert y.transpose(1, 2, 0).shape == y.transpose((1, 2, 0)).shape == (3, 4, 2)
    assert y.transpose([2, 0, 1]).shape == (4, 2, 3)


# -- properties --------------------------------------------------------------------


def test_properties_are_those_of_the_array():
    x = leaf(np.zeros((2, 3)), "float32")
    assert (x.shape, x.ndim, x.size, x.dtype) == ((2, 3), 2, 6, np.float32)
    assert x.device == here()
    assert len(x) == 2


def test_data_can_be_assigned():
    x = leaf([1.0, 2.0])
    new = np.array([3.0, 4.0])
    x.data = new
    assert x.data is new
    (x * x).sum().backward()
    assert_equal(x.grad, [6, 8])


def test_data_of_another_shape_or_dtype_is_refused_for_a_leaf():
    x = leaf([1.0, 2.0])
    for wrong in (np.ones(3), np.ones(2, "float32")):
        with pytest.raises(ValueError, match="cannot assign data") as raised:
            x.data = wrong
        assert_parts(raised.value, str(wrong.dtype), "float64[2]", "new Tensor")


def test_grad_can_be_assigned_and_cleared():
    x = leaf([1.0, 2.0])
    x.grad = np.array([5.0, 6.0])
    assert_equal(x.grad, [5, 6])
    (x * 1).sum().backward()
    assert_equal(x.grad, [6, 7])
    x.grad = None
    assert x.grad is None


def test_requires_grad_can_be_switched():
    x = plain([1.0, 2.0])
    x.requires_grad = True
    (x * x).sum().backward()
    assert_equal(x.grad, [2, 4])
    x.requires_grad = False
    assert x.grad is None
    assert not (x * x).requires_grad


# -- conversions -------------------------------------------------------------------


def test_item_numbers_and_truth():
    assert leaf(2.5).item() == 2.5
    assert isinstance(leaf([[2.5]]).item(), float)
    assert float(leaf(2.5)) == 2.5
    assert int(plain(2, "int64")) == 2
    assert bool(plain(0.0)) is False


@pytest.mark.only_cpu("as the name says")
def test_numpy_shares_on_the_cpu():
    x = leaf([1.0, 2.0])
    assert np.may_share_memory(x.numpy(), x.data)


def test_numpys_asarray_gives_the_values_or_says_what_to_call():
    x = plain([1.0, 2.0])
    try:
        array = np.asarray(x)
    except TypeError as error:
        assert_parts(error, ".numpy()")
    else:
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, [1, 2])


def test_numpys_functions_do_not_lose_the_gradient_in_silence():
    with pytest.raises(TypeError):
        np.exp(leaf([1.0, 2.0]))


def test_a_list_of_tensors_is_no_array_and_the_way_out_is_named():
    with pytest.raises(TypeError, match="stack"):
        mg.Tensor([leaf(1.0), leaf(2.0)])


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (mg.Tensor([1, 2]), "Tensor([1., 2.])"),
        (mg.Tensor(np.arange(2)), "Tensor([0, 1], dtype=int64)"),
        (leaf([1.5]), "Tensor([1.5], dtype=float64, requires_grad=True)"),
        (leaf(2.0) * 2, "Tensor(4., dtype=float64, from=multiply)"),
    ],
)
def test_a_tensor_prints_its_values_and_its_origin(tensor, text):
    assert repr(tensor) == text


def test_to_the_device_it_is_on_changes_nothing():
    x = leaf([1.0])
    assert x.to(here()) is x


# -- iteration ---------------------------------------------------------------------


def test_iteration_gives_the_slices_of_the_first_axis():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    first, second = x
    (first * 2 + second * second).sum().backward()
    assert_equal(x.grad, [[2, 2], [6, 8]])
    assert list(leaf(np.zeros((0, 2)))) == []


def test_iteration_ends():
    assert len(list(zip(leaf([1.0, 2.0]), range(9), strict=False))) == 2


def test_a_number_is_not_iterable():
    with pytest.raises(TypeError) as raised:
        list(leaf(1.0))
    assert_parts(raised.value, "without axes", ".item()")


@given(
    values=arrays((3, 2)), pick=st.sampled_from([0, -1, (1, 0), slice(1, None), ...])
)
def test_indexing_does_what_numpys_does(values, pick):
    assert_equal(leaf(values)[pick], values[pick])


def test_indexing_by_tensors():
    x = leaf([1.0, 2.0, 3.0])
    assert_equal(x[plain([2, 0], "int64")], [3, 1])
    assert_equal(x[x > 1.5], [2, 3])
    assert_equal(x[plain(1, "int64")], 2)


def test_assignment_by_every_kind_of_key():
    a = plain(np.zeros((2, 3)))
    a[0] = [1, 2, 3]
    a[1, ::2] = plain([4.0, 5.0])
    a[a == 0] = -1
    a[[0], [1]] = 9
    assert_equal(a, [[1, 9, 3], [4, -1, 5]])
