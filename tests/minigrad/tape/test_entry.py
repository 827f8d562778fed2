"""What is a Tensor, which dtype does it get, and when is something recorded?"""

from __future__ import annotations

import array

import numpy as np
import pytest

import minigrad as mg
from minigrad.backend import is_array
from minigrad.tape import Entry, recording
from tests.devices import here, put
from tests.minigrad.helpers import assert_equal, assert_parts, leaf, plain

# -- dtypes ------------------------------------------------------------------------

pytestmark = pytest.mark.usefixtures("device")

DTYPES = [
    (1, "float32"),
    (1.5, "float32"),
    ([1, 2], "float32"),
    ([[1.0], [2.0]], "float32"),
    ((1, 2.5), "float32"),
    ([], "float32"),
    (True, "bool"),
    ([True, False], "bool"),
    (np.float64(1), "float64"),
    (np.int32(1), "int32"),
    (np.ones(2), "float64"),
    (np.ones(2, "float16"), "float16"),
    (np.arange(2), "int64"),
    (np.array([True]), "bool"),
    ([np.ones(2), np.ones(2)], "float64"),
]


@pytest.mark.parametrize(("data", "dtype"), DTYPES)
def test_python_numbers_become_float32_and_arrays_keep_their_dtype(data, dtype):
    tensor = mg.Tensor(data)
    assert tensor.dtype == dtype
    assert type(tensor.data) is np.ndarray
    assert mg.asarray(data).dtype == dtype


def test_a_given_dtype_wins():
    assert mg.Tensor([1, 2], dtype="float64").dtype == np.float64
    assert mg.Tensor(np.ones(2), dtype=np.float32).dtype == np.float32


NUMBERS = [2, 2.0, True]
OPERATIONS = {
    "x + n": lambda x, n: x + n,
    "n - x": lambda x, n: n - x,
    "x * n": lambda x, n: x * n,
    "n / x": lambda x, n: n / x,
    "x ** n": lambda x, n: x**n,
    "n ** x": lambda x, n: n**x,
    "maximum": lambda x, n: mg.maximum(x, n),
    "where": lambda x, n: mg.where(x > 0, x, n),
    "clip": lambda x, n: mg.clip(x, 0, n),
    "mean": lambda x, n: mg.mean(x) * n,
    "dropout": lambda x, n: mg.dropout(x, 0.5) * n,
}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_python_numbers_never_widen(name, number, dtype):
    x = leaf([1.0, 2.0], dtype)
    y = OPERATIONS[name](x, number)
    assert y.dtype == dtype
    y.sum().backward()
    assert x.grad.dtype == dtype


def test_tensors_of_two_dtypes_follow_numpy_and_gradients_go_back():
    narrow, wide = leaf([1.0], "float32"), leaf([2.0])
    y = narrow * wide
    assert y.dtype == np.float64
    y.backward()
    assert narrow.grad.dtype == np.float32
    assert wide.grad.dtype == np.float64


REDUCED = {
    "sum": lambda x: x.sum(),
    "max": lambda x: x.max(),
    "item of an index": lambda x: x[0],
    "dot": lambda x: x @ x,
    "mean": lambda x: x.mean(),
    "argmax": lambda x: x.argmax(),
    "logsumexp": lambda x: x.logsumexp(),
    "equal": lambda x: x[0] == x[1],
    "a number": lambda x: mg.Tensor(3.0) * 2,
    "power": lambda x: x.sum() ** 2,
    "where": lambda x: mg.where(True, x.sum(), 0),
    "part": lambda x: mg.unstack(x)[0],
    "relu": lambda x: mg.relu(x.sum()),
    "sigmoid": lambda x: mg.sigmoid(x.sum()),
    "einsum": lambda x: mg.einsum("i,i", x, x),
    "norm": lambda x: mg.norm(x),
}


@pytest.mark.parametrize("name", REDUCED)
@pytest.mark.parametrize("make", [leaf, plain])
def test_results_without_axes_are_arrays_and_not_scalars(name, make):
    y = REDUCED[name](make([1.0, 2.0]))
    assert is_array(y.data)
    assert y.shape == ()


@pytest.mark.parametrize("data", ["text", [[1, 2], [3]], None, object(), {"a": 1}])
def test_what_is_no_number_is_refused(data):
    with pytest.raises(TypeError) as raised:
        mg.Tensor(data)
    assert_parts(
        raised.value, "cannot make an array", type(data).__name__, "numpy.array"
    )


@pytest.mark.parametrize("data", [np.arange(3), np.array([True]), np.uint8(3)])
def test_integers_do_not_require_gradients(data):
    with pytest.raises(TypeError) as raised:
        mg.Tensor(data, requires_grad=True)
    assert_parts(raised.value, str(np.asarray(data).dtype), "cannot require gradients")
    assert_parts(raised.value, "astype('float32')")


def test_complex_numbers_do_not_require_gradients():
    with pytest.raises(TypeError, match="only real numbers"):
        mg.Tensor(np.ones(2, complex), requires_grad=True)


def test_converting_to_integers_ends_the_gradient():
    assert not leaf([1.5, 2.5]).astype("int64").requires_grad
    assert not leaf([1.5, 2.5]).astype(bool).requires_grad


# -- copies and shared memory ------------------------------------------------------


def test_a_tensor_copies_its_array():
    array = np.ones(3)
    assert not np.may_share_memory(mg.Tensor(array).data, array)
    assert not np.may_share_memory(mg.Tensor(array[::2]).data, array)
    tensor = mg.Tensor(array)
    assert not np.may_share_memory(mg.Tensor(tensor).data, tensor.data)


def test_asarray_shares():
    array = np.ones(3)
    assert mg.asarray(array).data is array
    assert mg.asarray(array).detach().numpy() is array


# -- recording ---------------------------------------------------------------------


def is_recorded():
    return (leaf(1.0) * 2).requires_grad


def test_nothing_is_recorded_for_constants():
    assert (plain([1.0]) * 2 + mg.ones(1, device=here())).entry is None


def test_no_grad_nests_and_restores():
    with mg.no_grad():
        with mg.no_grad():
            assert not is_recorded()
        assert not is_recorded()
    assert is_recorded()


def test_no_grad_restores_after_an_exception():
    with pytest.raises(ZeroDivisionError), mg.no_grad():
        1 / 0
    assert is_recorded()


def test_no_grad_as_a_decorator_restores_too():
    @mg.no_grad()
    def silent(fail):
        """Its docstring."""
        assert not is_recorded()
        if fail:
            raise KeyError("wanted")

    silent(False)
    with pytest.raises(KeyError):
        silent(True)
    assert is_recorded()
    assert silent.__doc__ == "Its docstring."


def test_one_scope_can_be_entered_again():
    scope = mg.no_grad()
    for _ in range(2):
        with scope, scope:
            assert not is_recorded()
        assert is_recorded()


def test_modes_restore_after_an_exception():
    for mode in (mg.profile, mg.detect_anomaly, mg.record_lines):
        with pytest.raises(ZeroDivisionError), mode():
            1 / 0
        assert recording.plain


def test_entries_are_numbered_in_the_order_of_creation():
    x = leaf(1.0)
    y = x * 2
    z = y + x
    assert x.entry.order < y.entry.order < z.entry.order
    assert isinstance(z.entry, Entry)
    assert [p.order for p in z.entry.parents] == [y.entry.order, x.entry.order]


def test_edges_lead_to_entries_and_never_to_tensors():
    y = leaf(1.0) * 2
    assert not any(isinstance(p, mg.Tensor) for p in y.entry.parents)


def test_settings_are_hashable():
    x = leaf(np.ones((2, 3)))
    made = [
        x[0, ::2],
        x[[0, 1]],
        mg.pad(x, [[1, 0], [0, 1]]),
        x.sum(axis=[0]),
        mg.transpose(x, [1, 0]),
        mg.reshape(x, [3, 2]),
        mg.split(x, [1, 2], axis=1)[0],
        mg.clip(x, 0, 1),
        mg.astype(x, "float32"),
    ]
    for tensor in made:
        entry = tensor.entry
        entry = entry if entry.settings else entry.parents[0]
        hash(tuple(entry.settings.values()))


def test_the_tensor_of_a_leaf_is_equal_by_identity_and_hashable():
    x, y = leaf(1.0), leaf(1.0)
    assert len({x, y, x}) == 2
    assert_equal(x == y, True)


def test_a_copy_of_an_empty_array_is_a_copy():
    """Also where the array may not be written to."""
    narrow = put(mg.zeros((0,)))
    wide = mg.Tensor(mg.broadcast_to(narrow, (2, 0)))
    wide += 1.0
    array = np.zeros((0, 2))
    assert mg.Tensor(array).data is not array


# -- lists and numbers beside arrays -----------------------------------------------

TENTH = [0.1]

MIXED = {
    "+": lambda x: x + TENTH,
    "reversed -": lambda x: TENTH - x,
    "*": lambda x: x * TENTH,
    "@": lambda x: x @ TENTH,
    "where": lambda x: mg.where(x > 0, x, TENTH),
    "maximum": lambda x: mg.maximum(x, TENTH),
    "stack": lambda x: mg.stack([x, TENTH]),
    "stack of a number": lambda x: mg.stack([x[0], 0.1]),
    "concatenate": lambda x: mg.concatenate([TENTH, x]),
    "einsum": lambda x: mg.einsum("i,i->i", x, TENTH),
}


@pytest.mark.only_cpu("lists are the host's")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", MIXED)
def test_a_list_takes_the_dtype_of_the_array_beside_it(name, dtype):
    for x in (leaf([1.0], dtype), plain([1.0], dtype)):
        result = MIXED[name](x)
        assert result.dtype == dtype
    found = MIXED[name](plain([0.0], dtype)).numpy()
    assert found.dtype == dtype
    assert set(np.unique(np.abs(found))) <= {np.dtype(dtype).type(0.1), 0}


@pytest.mark.only_cpu("lists are the host's")
def test_cotangents_tangents_and_comparisons_take_it_too():
    x = leaf([1.0])
    assert mg.grad(x * 1, x, TENTH).item() == 0.1
    assert mg.jvp(lambda x: x * 1, [np.ones(1)], [TENTH])[1].item() == 0.1
    assert (plain(TENTH) == TENTH).numpy().all()
    x.grad = TENTH
    assert x.grad.item() == 0.1
    x.data = TENTH
    assert x.item() == 0.1
    y = plain([1.0])
    y += TENTH
    assert y.item() == 1.1


def test_python_numbers_alone_are_float32():
    c = plain([1.0]) > 0
    for result in (mg.where(c, 1.0, 0.0), mg.where(c, 1, 0)):
        assert result.dtype == np.float32
    for value in (mg.exp(0.1), mg.maximum(1.0, 2), mg.stack([1.0, 2.0]), mg.add(1, 2)):
        assert value.dtype == np.float32


def test_a_list_of_floats_beside_integers_keeps_its_digits():
    result = mg.Tensor(np.array([1])) + TENTH
    assert result.item() == 1.1


LIKE_ARRAYS = [
    (memoryview(np.array([16777217])), "int64"),
    (array.array("q", [16777217]), "int64"),
    ([np.int64(16777217)], "int64"),
    ([[np.float64(0.1)], [np.float64(0.2)]], "float64"),
    ([np.ones(2, "float32"), [1, 2]], "float32"),
    ([[np.ones(2)], [np.ones(2)]], "float64"),
    (range(3), "float32"),
]


@pytest.mark.parametrize(("value", "dtype"), LIKE_ARRAYS)
def test_what_has_a_dtype_keeps_it(value, dtype):
    tensor = mg.Tensor(value)
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(tensor.numpy(), np.asarray(value, dtype))


class OfAnotherLibrary:
    """What gives itself to NumPy as an array."""

    def __array__(self, dtype=None, copy=None):
        return np.array([16777217])


def test_arrays_of_other_libraries_keep_their_dtype():
    assert mg.Tensor(OfAnotherLibrary()).dtype == np.int64
    assert mg.Tensor([OfAnotherLibrary()]).dtype == np.int64


def test_operators_on_bits():
    bits, other = plain([6, 5], "int64"), plain([3, 4], "int64")
    assert_equal(bits & other, [2, 4])
    assert_equal(bits | other, [7, 5])
    assert_equal(~bits, [-7, -6])
    assert_equal(~(bits > 5), [False, True])
    with pytest.raises(TypeError) as raised:
        plain([1.0]) & plain([1.0])
    assert_parts(raised.value, "bitwise_and", "(x > 0) & (y > 0)")


COMPLEX = [
    lambda x: abs(x * 1j).sum(),
    lambda x: (x * 1j).sum(),
    lambda x: (x * put(np.array([1j, 1]))).astype("float64").sum(),
    lambda x: mg.exp(x.astype("complex128") * 1j).astype("float64").sum(),
]


@pytest.mark.only_cpu("the strict device has real numbers alone")
@pytest.mark.parametrize("f", COMPLEX)
@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_a_complex_intermediate_is_refused(f):
    x = leaf([1.0, 2.0])
    with pytest.raises(TypeError, match="made complex numbers"):
        f(x).backward()


WORDS = {
    "uint8 * 300": (lambda: plain([1], "uint8") * 300, "Convert integers first"),
    "int ** -1": (lambda: plain([2], "int64") ** -1, "Convert integers first"),
    "x @ 2": (lambda: plain([1.0]) @ 2, "Multiply by a single number with *"),
}


@pytest.mark.only_cpu("NumPy's words")
@pytest.mark.parametrize("name", WORDS)
def test_the_way_out_fits_the_fault(name):
    call, way_out = WORDS[name]
    with pytest.raises((TypeError, ValueError)) as raised:
        call()
    assert_parts(raised.value, "failed", way_out)
    assert "broadcast" not in str(raised.value)

