"""Do the checks let pass what fits, and only that?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from nn.checks import array_of, check_ids, check_shapes, check_size, integer_array
from tests.nn.reference import says

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


def fits(expected, *given_shapes):
    try:
        check_shapes("layer", expected, *map(np.zeros, given_shapes))
    except ValueError:
        return False
    return True


@given(shape=shapes, other=shapes)
def test_numbers_must_agree(shape, other):
    assert fits(f"x {other}", shape) == (shape == other)


@given(shape=shapes.filter(len), length=st.integers(0, 5))
def test_a_letter_is_one_length_everywhere(shape, length):
    rest = ", ".join(map(str, shape[1:]))
    assert fits(f"x (N, {rest})", shape)
    assert not fits(f"x (N, {rest})", (1, *shape))
    assert fits(f"x (N, {rest}), y (N,)", shape, (length,)) == (length == shape[0])


@given(length=st.integers(0, 5), other=st.integers(0, 15))
def test_a_number_before_a_letter_is_a_factor(length, other):
    assert fits("x (3H,)", (other,)) == (other % 3 == 0)
    assert fits("x (H,), y (3H,)", (length,), (other,)) == (other == 3 * length)


@given(shape=shapes.filter(len), leading=shapes)
def test_dots_fit_any_number_of_axes(shape, leading):
    expected = f"x (..., {', '.join(map(str, shape))})"
    assert fits(expected, (*leading, *shape))
    assert not fits(expected, (*leading, *shape[:-1], shape[-1] + 1))
    assert not fits(expected, shape[1:])


def test_what_does_not_fit_is_named_beside_what_it_should_fit():
    with pytest.raises(ValueError, match="layer: y has shape") as error:
        check_shapes(
            "layer", "x (N, D), z? (N,), y (2D,)", mg.ones((2, 3)), None, mg.ones(4)
        )
    says(error, "(4,), expected (6,) beside x (2, 3). Give x (N, D), z (N,), y (2D,)")


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
