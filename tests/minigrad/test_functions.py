"""Do the composed functions give what NumPy and the closed forms say?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.testing import arrays, axes, shapes
from tests.devices import put
from tests.minigrad.helpers import assert_close, assert_equal, assert_parts, leaf, plain
from tests.support.cases import EQUATIONS

pytestmark = pytest.mark.usefixtures("device")

REDUCED = shapes(0, 3).flatmap(
    lambda s: st.tuples(arrays(s, distinct=True), axes(len(s)), st.booleans())
)
ROWS = shapes(1, 3).flatmap(
    lambda s: st.tuples(arrays(s), st.integers(-len(s), len(s) - 1))
)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "max", "min", "prod"])
@given(drawn=REDUCED)
def test_statistics_are_numpys(name, drawn):
    values, axis, keepdims = drawn
    for x in (leaf(values), plain(values)):
        ours = getattr(mg, name)(x, axis=axis, keepdims=keepdims)
        theirs = getattr(np, name)(values, axis=axis, keepdims=keepdims)
        assert_close(ours, theirs)


@given(drawn=REDUCED)
def test_norm_is_the_root_of_the_sum_of_squares(drawn):
    values, axis, keepdims = drawn
    expected = np.sqrt((values**2).sum(axis=axis, keepdims=keepdims))
    assert_close(mg.norm(leaf(values), axis=axis, keepdims=keepdims), expected)


def test_norm_of_zero_has_a_gradient_of_zero_and_of_second_order_too():
    x = leaf([[0.0, 0.0], [3.0, 4.0]])
    slope = mg.grad(mg.norm(x, axis=1).sum(), x, create_graph=True)
    assert_close(slope, [[0, 0], [0.6, 0.8]])
    assert_close(mg.grad(slope.sum(), x)[0], [0, 0])


@given(drawn=ROWS)
def test_logsumexp_softmax_and_log_softmax_fit_together(drawn):
    values, axis = drawn
    e = np.exp(values)
    total = e.sum(axis=axis, keepdims=True)
    x = leaf(values)
    assert_close(mg.softmax(x, axis), e / total)
    assert_close(mg.log_softmax(x, axis), np.log(e / total))
    assert_close(mg.logsumexp(x, axis=axis, keepdims=True), np.log(total))


@given(drawn=ROWS)
def test_the_gradient_of_softmax_is_its_closed_form(drawn):
    values, axis = drawn
    c = np.cos(np.arange(values.size)).reshape(values.shape)
    x = leaf(values)
    p = mg.softmax(x, axis)
    expected = p.numpy() * (c - (p.numpy() * c).sum(axis=axis, keepdims=True))
    p.backward(c)
    assert_close(x.grad, expected)


LARGE = [[1000.0, 0.0], [-1000.0, -1000.0], [800.0, 800.0]]


def test_large_numbers_do_not_overflow():
    x = leaf(LARGE)
    assert_close(mg.logsumexp(x, axis=1), [1000, np.log(2) - 1000, 800 + np.log(2)])
    assert_close(mg.softmax(x), [[1, 0], [0.5, 0.5], [0.5, 0.5]])
    for f in (mg.softplus, mg.sigmoid, mg.tanh, mg.log_softmax):
        y = f(x)
        (slope,) = mg.grad(y.sum(), [x], create_graph=True)
        assert np.isfinite(y.numpy()).all()
        assert np.isfinite(slope.numpy()).all()


@given(drawn=ROWS, offset=st.sampled_from([0.0, 1e4, -1e6, 1e8]))
def test_probabilities_forget_what_all_have_in_common(drawn, offset):
    """To the last digits, in float32 as well."""
    values, axis = drawn
    x = np.float32(np.round(values) * 64)  # so that adding the offset rounds nothing
    moved = mg.Tensor(x + np.float32(offset))
    for f in (mg.softmax, mg.log_softmax):
        here, there = (f(tensor, axis).numpy() for tensor in (mg.Tensor(x), moved))
        np.testing.assert_allclose(there, here)


def test_groups_of_minus_infinity_have_no_nan():
    x = leaf([[-np.inf, -np.inf], [-np.inf, 0.0]])
    y = mg.logsumexp(x, axis=1)
    assert_equal(y, [-np.inf, 0])
    y[1].backward()
    assert_equal(x.grad, [[0, 0], [0, 1]])


# -- dropout -----------------------------------------------------------------------


def test_dropout_zeroes_some_and_scales_the_others():
    x = leaf(np.ones(10_000))
    y = mg.dropout(x, 0.25, mg.Generator(1))
    assert set(np.unique(y.numpy())) == {0, 1 / 0.75}
    assert abs((y.numpy() == 0).mean() - 0.25) < 0.02
    y.sum().backward()
    assert_equal(x.grad, y.numpy())


def test_dropout_of_zero_is_the_identity():
    x = leaf(np.ones(5))
    assert mg.dropout(x, 0) is x


def test_dropout_draws_from_the_default_generator():
    def drawn(seed):
        mg.manual_seed(seed)
        return mg.dropout(plain(np.ones(50))).numpy()

    np.testing.assert_array_equal(drawn(3), drawn(3))
    assert (drawn(3) != drawn(4)).any()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dropout_drops_the_same_in_every_dtype(dtype):
    y = mg.dropout(mg.ones(100, dtype), 0.5, mg.Generator(0))
    z = mg.dropout(mg.ones(100, "float64"), 0.5, mg.Generator(0))
    assert y.dtype == dtype
    assert_equal(y, z.numpy())


@pytest.mark.parametrize("p", [-0.1, 1, 1.5])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match="dropout") as raised:
        mg.dropout(plain([1.0]), p)
    assert_parts(raised.value, f"p={p}", "[0, 1)", "p=0.5")


# -- einsum ------------------------------------------------------------------------


@pytest.mark.parametrize("equation", EQUATIONS)
@given(data=st.data())
def test_einsum_is_numpys(equation, data):
    parts = equation.split("->")[0].split(",")
    size = {i: data.draw(st.integers(1, 3)) for i in sorted(set("".join(parts)))}
    operands = [data.draw(arrays(tuple(size[i] for i in part))) for part in parts]
    expected = np.einsum(equation, *operands)
    assert_close(mg.einsum(equation, *map(leaf, operands)), expected)
    assert_close(mg.einsum(equation, *map(plain, operands)), expected)
    mixed = [leaf(operands[0]), *map(put, operands[1:])]
    assert_close(mg.einsum(equation, *mixed), expected)


@pytest.mark.parametrize("equation", ["ij", "ij,jk->il", "ij,jk->iik", "i j,j1", "..."])
def test_einsum_refuses_what_does_not_fit(equation):
    with pytest.raises(ValueError, match="einsum") as raised:
        mg.einsum(equation, plain(np.ones((2, 2))), plain(np.ones((2, 2))))
    assert_parts(raised.value, repr(equation), "'ij,jk->ik'")


def test_einsum_names_the_sizes_that_differ():
    with pytest.raises(ValueError, match="2") as raised:
        mg.einsum("ij,jk->ik", plain(np.ones((2, 3))), plain(np.ones((2, 2))))
    assert_parts(raised.value, "einsum", "'j'", "3")


# -- making and looking up ---------------------------------------------------------


def test_tensors_are_made_of_a_shape():
    assert_equal(mg.zeros((2, 1)), [[0], [0]])
    assert_equal(mg.ones(2), [1, 1])
    assert_equal(mg.full((), 3.5, "float64"), 3.5)
    assert mg.zeros(1).dtype == np.float32
    assert mg.ones(1, "float64", requires_grad=True).requires_grad


def test_one_hot_rows():
    assert_equal(mg.one_hot([[2], [0]], 3), [[[0, 0, 1]], [[1, 0, 0]]])
    assert mg.one_hot(plain([1], "int64"), 2).dtype == np.float32


@given(values=arrays((3, 2, 2)), axis=st.integers(-3, 2), data=st.data())
def test_take_is_numpys(values, axis, data):
    n = values.shape[axis]
    ids = data.draw(st.lists(st.integers(-n, n - 1), min_size=1))
    expected = np.take(values, ids, axis=axis)
    assert_equal(mg.take(leaf(values), ids, axis=axis), expected)
    assert_equal(mg.take(leaf(values), np.array(ids), axis=axis), expected)
    assert_equal(mg.take(leaf(values), plain(ids, "int64"), axis=axis), expected)


@pytest.mark.parametrize("f", [mg.mean, mg.var, mg.std, mg.norm, mg.softmax])
def test_lists_are_taken_as_arrays_by_every_function(f):
    np.testing.assert_allclose(f([1.0, 2.0]), f(np.array([1.0, 2.0], "float32")))


@given(data=st.data(), axis=st.integers(0, 1))
def test_scatter_add_is_the_adjoint_of_take(data, axis):
    x = data.draw(arrays((3, 4)))
    ids = np.array(data.draw(st.lists(st.integers(-3, 2), min_size=1, max_size=5)))
    ids = put(ids)
    taken = mg.take(leaf(x), ids, axis=axis)
    values = put(data.draw(arrays(taken.shape)))
    placed = mg.scatter_add(values, ids, x.shape[axis], axis=axis)
    assert placed.shape == x.shape
    along = float((placed * put(x)).sum())
    np.testing.assert_allclose((taken * values).sum().item(), along)


def test_scatter_add_refuses_values_that_do_not_fit_the_ids():
    with pytest.raises(ValueError, match="each id needs its value") as raised:
        mg.scatter_add(np.ones((3, 2)), [0, 1], 4)
    assert "reshape" in str(raised.value)


# -- statistics at the edges of a dtype --------------------------------------------


def test_float16_statistics_overflow_only_where_the_result_does():
    assert_equal(mg.mean(plain(np.full(300, 500), "float16")), 500)
    assert_equal(mg.mean(plain(np.ones(150_000), "float16")), 1)
    assert_equal(mg.std(plain([300, -300], "float16")), 300)
    assert_equal(mg.norm(plain([300, 400], "float16")), 500)
    for f in (mg.mean, mg.var, mg.std, mg.norm):
        assert f(plain([1, 2], "float16")).dtype == np.float16


def test_the_gradient_of_a_float16_mean_of_many():
    x = leaf(np.ones(150_000), "float16")
    mg.mean(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 / 150_000, rtol=2e-2)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "bool"])
def test_norms_of_small_integers_do_not_overflow(dtype):
    values = np.array([100, 100], "int64").astype(dtype)
    expected = np.linalg.norm(values.astype(float))
    assert_equal(mg.norm(mg.asarray(put(values))), expected)


def test_the_spread_of_equal_numbers_has_no_gradient():
    for f in (mg.std, mg.norm):
        x = leaf([[0.0, 0.0], [3.0, 4.0]])
        (f(x - x.data[:, :1], axis=1) * 2).sum().backward()
        assert np.isfinite(x.grad.numpy()).all()
        assert_equal(x.grad[0].detach(), [0, 0])


@pytest.mark.parametrize("call", [lambda: mg.zeros(2, 3), lambda: mg.ones(2, 3)])
def test_sizes_without_a_tuple_are_explained(call):
    with pytest.raises(TypeError) as raised:
        call()
    assert_parts(raised.value, "shape 2", "3", "zeros((2, 3))")


def test_dropout_of_integers_and_by_numpys_generator_is_explained():
    with pytest.raises(TypeError) as raised:
        mg.dropout(np.arange(3))
    assert_parts(raised.value, "dropout", "int64", "astype('float32')")
    with pytest.raises(TypeError) as raised:
        mg.dropout(np.ones(3), generator=np.random.default_rng(0))
    assert_parts(raised.value, "generator=", "minigrad.Generator(seed)")


def test_dropout_drops_infinities_too():
    x = plain(np.full(3000, np.inf))
    dropped = mg.dropout(x, 0.5, mg.Generator(0)).numpy()
    assert set(np.unique(dropped)) == {0, np.inf}


def test_take_reads_from_lists():
    assert_equal(mg.asarray(mg.take([1.0, 2.0, 3.0], [2, 0])), [3, 1])
