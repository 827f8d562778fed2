"""Does the strict device obey CuPy's rules?  One test for each rule."""

from __future__ import annotations

import copy
import operator
import pickle
import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad import backend
from minigrad.testing.strict import StrictArray, count_syncs
from minigrad.testing.strict.rules import FUNCTIONS, NAMES, UFUNCS
from tests.minigrad.helpers import assert_parts


def strict(values, dtype="float64", device="strict"):
    """A strict array."""
    return backend.to_device(np.array(values, dtype), device)


def same(array, expected):
    """Whether this is a strict array with these values."""
    assert type(array) is StrictArray
    np.testing.assert_array_equal(array.get(), expected)
    return True


A = np.arange(6.0).reshape(2, 3)


# -- the list ----------------------------------------------------------------------


def test_the_list_is_of_version_14_and_sorted():
    assert NAMES["version"].startswith("14.")
    for names in (NAMES["functions"], NAMES["methods"]):
        assert list(names) == sorted(names)
    for names in (NAMES["ufuncs"], NAMES["attributes"]):
        assert names == sorted(set(names))


def test_the_list_has_what_there_is():
    functions = {"sum", "zeros_like", "arange", "where", "pad", "linalg.norm", "concat"}
    assert functions <= set(FUNCTIONS)
    assert {"add", "tanh", "matmul", "isfinite", "floor", "logaddexp"} <= UFUNCS
    assert {"sum", "astype", "get", "take", "reshape"} <= set(NAMES["methods"])
    assert {"T", "base", "device", "dtype", "flags"} <= set(NAMES["attributes"])
    assert FUNCTIONS["sum"] == "a, axis, dtype, out, keepdims"
    assert NAMES["methods"]["sum"] == "axis, dtype, out, keepdims"


def test_the_list_lacks_what_there_is_not():
    absent = {"einsum_path", "block", "insert", "geomspace", "busday_count", "ndarray"}
    assert not absent & set(FUNCTIONS)
    assert not {"spacing", "isnat", "vecdot"} & UFUNCS
    borrowed = {"finfo", "broadcast_shapes", "promote_types", "pi", "float32"}
    assert not borrowed & set(FUNCTIONS)
    assert not {"ctypes", "setflags", "newbyteorder"} & set(NAMES["methods"])


# -- nothing is converted or mixed -------------------------------------------------


@pytest.mark.parametrize("convert", [np.asarray, np.array, np.ascontiguousarray])
def test_nothing_becomes_numpys_array_by_itself(convert):
    for value in (strict(A), [strict(A), strict(A)]):
        with pytest.raises(TypeError, match=r"Please use `\.get\(\)`"):
            convert(value)


MIXTURES = {
    "operator": lambda a, b: a + b,
    "swapped": lambda a, b: b + a,
    "ufunc": np.multiply,
    "out": lambda a, b: np.multiply(a, a, out=b),
    "into NumPy's": lambda a, b: operator.iadd(b, a),
    "in place": lambda a, b: operator.iadd(a, b),
    "comparison": lambda a, b: a < b,
    "matmul": lambda a, b: a @ b.T,
    "concatenate": lambda a, b: np.concatenate([a, b]),
    "where": lambda a, b: np.where(a > 0, a, b),
    "dot": lambda a, b: a.dot(b.T),
    "list": lambda a, b: operator.add(a, [1.0, 2.0, 3.0]),
    "list in a ufunc": lambda a, b: np.add(a, [1.0, 2.0, 3.0]),
    "list in where": lambda a, b: np.where(a > 0, a, [1.0, 2.0, 3.0]),
    "longdouble": lambda a, b: a + np.longdouble(1),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_nothing_mixes_with_the_hosts_arrays(name):
    with pytest.raises(TypeError):
        MIXTURES[name](strict(A), A.copy())


def test_numbers_mix():
    a = strict(A, "float32")
    assert same(a + 1, A + 1)
    assert (2.0 * a).dtype == (a + np.float32(1)).dtype == np.float32
    assert same(np.maximum(a, 2), np.maximum(A, 2))
    assert same(a == np.array(2.0), A == 2)  # CuPy reads the number out
    assert same(a == None, np.zeros((2, 3), bool))  # noqa: E711


def test_assignment_takes_numbers_but_no_lists():
    a = strict(A)
    a[0] = 7
    a[1, 2] = np.float32(8)
    a[1, 0] = np.array(9.0)
    assert same(a, [[7, 7, 7], [9, 4, 8]])
    for values in ([1, 2, 3], np.ones(3)):
        with pytest.raises(ValueError, match="cannot be used for fill"):
            a[0] = values


def test_devices_do_not_mix():
    a, b = strict([1.0]), strict([2.0], device="strict:1")
    assert (a.device.id, b.device.id) == (0, 1)
    operations = [
        lambda: a + b,
        lambda: np.add(a, b),
        lambda: np.concatenate([a, b]),
        lambda: a[b.astype(int)],
        lambda: a.__setitem__(0, b),
    ]
    for operation in operations:
        with pytest.raises(ValueError, match="different from the current device"):
            operation()
    with pytest.raises(RuntimeError) as raised:
        mg.asarray(a) + mg.asarray(b)
    assert_parts(raised.value, "strict and strict:1", "x.to('strict')")
    assert backend.device_of(backend.to_device(a, "strict:1") + b) == "strict:1"


# -- results -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [np.sum, lambda a: a.max(), lambda a: a[1, 2], lambda a: next(iter(a[0])), np.mean],
)
def test_results_without_axes_are_arrays(f):
    result = f(strict(A))
    assert type(result) is StrictArray
    assert result.shape == ()


def test_no_warnings_come_from_the_device():
    a = strict([0.0, -1.0])
    assert np.isinf((1 / a).get()[0])
    assert np.isnan(np.log(a).get()[1])


def test_flags_have_no_writeable():
    flags = strict(A).T.flags
    assert (flags.c_contiguous, flags.f_contiguous, flags.owndata) == (0, 1, 0)
    with pytest.raises(AttributeError):
        flags.writeable


def test_dtypes_of_the_gpu_only():
    for array in (np.ones(1, np.longdouble), np.array([None]), np.array(["a"])):
        with pytest.raises(ValueError, match="Unsupported dtype"):
            backend.libraries["strict"].put(array, 0)
    with pytest.raises(ValueError, match="Unsupported dtype"):
        strict(A).astype(np.longdouble)


def test_a_view_names_the_array_that_owns_the_memory():
    a = strict(A)
    assert a.base is None
    for view in (a[0], a[0, 1], a.T[1:], a.reshape(3, 2)[0], np.moveaxis(a, 0, 1)):
        assert view.base is a
    for fresh in (a + 1, a[[0]], a.copy(), a.astype("float32"), a.sum(0)):
        assert fresh.base is None
    one = a[0, 1]
    one += 10
    assert same(a[0], [0, 11, 2])


def test_what_changes_nothing_gives_the_array_itself():
    a = strict(A)
    row = a[0]
    assert row.T is row
    assert np.squeeze(a) is a
    assert a.astype(a.dtype, copy=False) is a
    assert np.split(a, [])[0] is a


def test_it_can_be_weakly_referenced_but_not_hashed():
    a = strict(A)
    assert weakref.ref(a)() is a
    with pytest.raises(TypeError, match="unhashable"):
        hash(a)


def test_copies_stay_on_the_device():
    a = strict(A, device="strict:1")
    for other in (copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        assert same(other, A)
        assert other.device == a.device
        assert other is not a


# -- indices -----------------------------------------------------------------------

OUTSIDE = [7, -5]  # 1 and 0 of 2 rows, 1 and 1 of 3 columns


def test_ids_out_of_range_wrap_around():
    a, ids = strict(A), strict(OUTSIDE, int)
    assert same(a[ids], A[[1, 1]])
    assert same(a[:, ids], A[:, [1, 1]])
    assert same(a[..., ids], A[:, [1, 1]])
    assert same(a.take(ids, axis=0), A[[1, 1]])
    assert same(np.take(a, ids, axis=1), A[:, [1, 1]])
    assert same(a[OUTSIDE, None, ids], A[[1, 1], None, [1, 1]])
    a[ids] = 0
    assert same(a[1], np.zeros(3))
    total = strict(np.zeros(3))
    np.add.at(total, ids, strict([1.0, 2.0]))
    np.add.at(total, np.array(OUTSIDE), 1.0)
    assert same(total, [0, 5, 0])


def test_single_numbers_out_of_range_do_not():
    for key in (2, (0, -4)):
        with pytest.raises(IndexError):
            strict(A)[key]
    with pytest.raises(IndexError):
        strict(np.zeros((0, 3)))[strict([0], int)]


def test_ids_of_the_host_are_sent():
    with count_syncs() as syncs:
        assert type(strict(A)[np.array([0])]) is StrictArray
    assert (syncs.count, syncs.transfers) == (0, 2)


def test_an_array_is_no_index_of_a_list():
    with pytest.raises(TypeError):
        [1, 2][strict(1, int)]


def test_add_at_takes_one_array_from_numpy_and_any_index_from_the_backend():
    total, ids = strict(np.zeros((2, 3))), strict([0, 2, 2], int)
    with pytest.raises(TypeError):
        np.add.at(total, (slice(None), ids), strict(np.ones((2, 3))))
    backend.add_at(total, (slice(None), ids), strict(np.ones((2, 3))))
    assert same(total, [[1, 0, 2], [1, 0, 2]])
    with pytest.raises(TypeError, match="only supports"):
        np.add.at(strict([0], "int8"), strict([0], int), 1)
    with pytest.raises(NotImplementedError, match=r"multiply\.at"):
        np.multiply.at(total, strict([0], int), 1)


# -- what there is not -------------------------------------------------------------

ABSENT = {
    "einsum_path": lambda a: np.einsum_path("ij->i", a),
    "block": lambda a: np.block([a, a]),
    "insert": lambda a: np.insert(a, 0, 1),
    "spacing": np.spacing,
    "sum where": lambda a: np.sum(a, where=True),
    "sum initial": lambda a: a.sum(initial=0),
    "ufunc where": lambda a: np.add(a, 1, where=True),
    "ufunc order": lambda a: np.add(a, 1, order="F"),
    "item of an index": lambda a: a.item(0),
    "take mode": lambda a: a.take(0, mode="clip"),
    "clip of ufuncs": lambda a: np.clip(a, 0, 1, dtype="float32"),
    "sort stable": lambda a: np.sort(a, stable=True),
}


@pytest.mark.parametrize("name", ABSENT)
def test_what_cupy_lacks_is_refused(name):
    with pytest.raises(TypeError):
        ABSENT[name](strict(A))


def test_methods_of_ufuncs_are_few():
    a = strict(A)
    assert same(np.add.reduce(a), A.sum(0))
    assert same(np.multiply.accumulate(a), A.cumprod(0))
    assert same(np.add.reduceat(a, strict([0, 1], int), axis=1), [[0, 3], [3, 9]])
    assert same(np.subtract.outer(a[0], a[0]), np.subtract.outer(A[0], A[0]))
    for method in (np.maximum.reduce, np.maximum.accumulate):
        with pytest.raises(NotImplementedError):
            method(a)
    with pytest.raises(NotImplementedError):
        np.multiply.reduceat(a, strict([0], int))


def test_attributes_that_cupy_lacks_are_missing():
    for name in (
        "ctypes",
        "setflags",
        "__array_interface__",
        "__index__",
        "newbyteorder",
    ):
        assert not hasattr(strict(A), name)


def test_like_makes_arrays_on_the_same_device():
    a = strict(A, device="strict:1")
    made = [
        np.zeros((2,), like=a),
        np.arange(3, like=a),
        np.zeros_like(a, shape=(2,)),
        np.full_like(a, True, bool, shape=()),
        np.asarray([1.0, 2.0], like=a),
    ]
    assert all(type(x) is StrictArray and x.device == a.device for x in made)
    assert np.zeros((2,), like=a).dtype == np.float64


# -- waiting -----------------------------------------------------------------------

WAITING = {
    "get": lambda a: a.get(),
    "item": lambda a: a[0, 0].item(),
    "tolist": lambda a: a.tolist(),
    "float": lambda a: float(a[0, 0]),
    "int": lambda a: int(a[0, 0]),
    "complex": lambda a: complex(a[0, 0]),
    "bool": lambda a: bool(a[0, 0]),
    "repr": repr,
    "str": str,
    "format": lambda a: f"{a[0, 0]:.1f}",
    "mask": lambda a: a[a > 1],
    "assignment by a mask": lambda a: a.__setitem__(a > 1, 0),
    "nonzero": np.nonzero,
    "nonzero method": lambda a: a.nonzero(),
    "where": np.where,
    "flatnonzero": np.flatnonzero,
    "argwhere": np.argwhere,
    "unique": np.unique,
    "numpy": lambda a: mg.asarray(a).numpy(),
    "to the CPU": lambda a: mg.asarray(a).to("cpu"),
}


@pytest.mark.parametrize("name", WAITING)
def test_every_wait_is_counted_with_its_place(name):
    a = strict(A)
    a = a > 0 if name in ("where", "nonzero") else a
    with count_syncs() as syncs:
        WAITING[name](a)
    assert syncs.count == 1
    assert "test_strict.py" in syncs.places[0]


def test_computing_waits_for_nothing():
    a = strict(A)
    with count_syncs() as syncs:
        b = np.where(a > 1, a, 0).sum(axis=0) @ a.T[:, strict([0, 1], int)]
        b[1:] += 1
        b[:1] = 0
        assert type(np.allclose(b, b)) is StrictArray
    assert (syncs.count, syncs.transfers) == (0, 1)


def test_counts_nest():
    a = strict(A)
    with count_syncs() as outer:
        a.get()
        with count_syncs() as inner:
            a.get()
    assert (outer.count, inner.count) == (2, 1)
