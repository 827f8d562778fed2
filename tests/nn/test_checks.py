"""Do the checks let pass what fits, and only that?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from nn.checks import array_of, check_ids, check_shape, check_size, integer_array

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


def fits(given_shape, expected):
    try:
        check_shape("layer", "x", np.zeros(given_shape), expected, "Way out.")
    except ValueError:
        return False
    return True


@given(shape=shapes, other=shapes)
def test_numbers_must_agree(shape, other):
    assert fits(shape, other) == (shape == other)


@given(shape=shapes.filter(len))
def test_letters_fit_any_length(shape):
    assert fits(shape, ("N", *shape[1:]))
    assert not fits((1, *shape), ("N", *shape[1:]))


@given(shape=shapes.filter(len), leading=shapes)
def test_dots_fit_any_number_of_axes(shape, leading):
    assert fits((*leading, *shape), ("...", *shape))
    assert not fits((*leading, *shape[:-1], shape[-1] + 1), ("...", *shape))
    assert not fits(shape[1:], ("...", *shape))


def test_tensors_and_lists_have_shapes_too():
    check_shape("layer", "x", mg.zeros((2, 3)), (2, "N"), "")
    check_shape("layer", "x", [[1, 2, 3], [4, 5, 6]], (2, 3), "")


@pytest.mark.parametrize(
    "ids", [[0, 2], np.array([0, 2], np.uint8), mg.Tensor(np.array([0, 2]))]
)
def test_integer_arrays_pass(ids):
    np.testing.assert_array_equal(integer_array("layer", "ids", ids), [0, 2])


def test_no_ids_at_all_are_in_range():
    check_ids("layer", "ids", np.zeros((0, 3), int), 1)
    assert integer_array("layer", "ids", []).dtype == np.int64


@pytest.mark.parametrize("ids", [[True, False], [0.0], np.array([None])])
def test_other_arrays_are_refused(ids):
    with pytest.raises(TypeError, match="layer: ids has dtype"):
        integer_array("layer", "ids", ids)


def test_arrays_pass_as_they_are():
    array = np.zeros(3)
    assert array_of(array) is array
    assert array_of(mg.asarray(array)) is array


def test_sizes_are_positive_integers():
    check_size("layer", width=np.int64(3), depth=1)
    with pytest.raises(ValueError, match="layer: depth is 0"):
        check_size("layer", width=3, depth=0)
