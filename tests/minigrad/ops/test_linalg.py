"""Is the matrix product NumPy's for all axes, and its gradient right for empty ones?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad.tape.pending import Products
from minigrad.testing import arrays
from tests.minigrad.helpers import assert_close, assert_equal, leaf

MATMUL = hnp.mutually_broadcastable_shapes(
    signature=np.matmul.signature, min_side=0, max_side=3, max_dims=2
)


@given(drawn=MATMUL, data=st.data())
def test_products_of_all_shapes_are_numpys(drawn, data):
    a, b = (data.draw(arrays(shape)) for shape in drawn.input_shapes)
    x, y = leaf(a), leaf(b)
    z = x @ y
    assert_close(z, a @ b)
    z.sum().backward()
    assert x.grad.shape == a.shape
    assert y.grad.shape == b.shape


@given(a=arrays((2, 3)), b=arrays((3, 2)), c=arrays((2, 2)))
def test_the_gradient_of_a_product_is_its_closed_form(a, b, c):
    x, y = leaf(a), leaf(b)
    (x @ y).backward(c)
    assert_close(x.grad, c @ b.T)
    assert_close(y.grad, a.T @ c)


SIZES = [
    ((2, 3, 0), (0, 4)),
    ((2, 0, 3), (3, 4)),
    ((0, 2, 3), (3, 4)),
    ((2, 3, 4), (4, 0)),
]


@pytest.mark.parametrize(("left", "right"), SIZES)
def test_empty_batches_rows_and_columns(left, right):
    x, w = leaf(np.ones(left)), leaf(np.ones(right))
    y = x @ w
    assert_equal(y, np.ones(left) @ np.ones(right))
    y.sum().backward()
    assert_equal(x.grad, np.full(left, float(right[1])))
    assert_equal(w.grad, np.full(right, float(left[0] * left[1])))


def test_a_batch_times_a_matrix():
    x, w = leaf(np.ones((5, 2, 3)), "float32"), leaf(np.ones((3, 4)), "float32")
    y = x @ w
    assert y.shape == (5, 2, 4)
    assert y.data.flags.c_contiguous
    y.sum().backward()
    assert_equal(w.grad, np.full((3, 4), 10))


def test_a_vector_on_both_sides():
    x = leaf([1.0, 2.0])
    y = x @ x
    y.backward()
    assert_equal(x.grad, [2, 4])
    assert mg.matmul(x, x).shape == ()


USES = {
    "a product": lambda h, W: h @ W,
    "a product with the transpose": lambda h, W: h @ W.T,
    "a row, added": lambda h, W: h + W[0] * 0.1,
    "a batch of products": lambda h, W: (mg.stack([h, h]) @ W)[0],
}


@given(
    size=st.integers(8, 20),
    rows=st.integers(1, 3),
    steps=st.lists(st.sampled_from(sorted(USES)), min_size=1, max_size=25),
    seed=st.integers(0, 2**32 - 1),
)
def test_deferred_products_are_the_products_at_once(size, rows, steps, seed):
    generator = mg.Generator(seed)
    W = leaf(0.3 * generator.normal((size, size), "float64"))
    x = leaf(generator.normal((rows, size), "float64"))

    def loss():
        h = x
        for step in steps:
            h = USES[step](h, W).tanh()
        return (h * h).sum()

    deferred = mg.grad(loss(), [W, x])
    at_once = mg.grad(loss(), [W, x], create_graph=True)
    for ours, theirs in zip(deferred, at_once, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-12)


def test_what_waits_is_never_larger_than_the_gradient(monkeypatch):
    waiting = []
    add = Products.add

    def watched(self, left, right):
        add(self, left, right)
        waiting.append(self.size)

    monkeypatch.setattr(Products, "add", watched)
    W, h = leaf(np.eye(32)), leaf(np.ones((2, 32)))
    y = h
    for _ in range(40):
        y = y @ W
    y.sum().backward()
    assert len(waiting) == 40
    assert max(waiting) <= W.size
