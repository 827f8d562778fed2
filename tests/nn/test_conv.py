"""Do convolutions and poolings give what their windows hold, in any form of them?"""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
from minigrad import backend
from nn import functional as F
from tests.devices import put
from tests.nn.reference import outputs_of, says

pytestmark = pytest.mark.usefixtures("device")

seeds = st.integers(0, 2**32 - 1)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def cases(draw):
    """A picture, weights, and how the window moves."""
    size, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    more = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    random = np.random.default_rng(draw(seeds))
    image = [
        max(1, d * (k - 1) + 1 - 2 * p) + m
        for k, d, p, m in zip(size, dilation, padding, more, strict=True)
    ]
    N, C, outputs = (draw(st.integers(1, 3)) for _ in range(3))
    x = random.standard_normal((N, C, *image))
    w = random.standard_normal((outputs, C, *size))
    return x, w, {"stride": stride, "padding": padding, "dilation": dilation}


def by_hand(x, w, stride, padding, dilation):
    """One place of one window after the other."""
    (top, left), (K, L) = padding, w.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
    P, Q = (
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], (K, L), stride, dilation, strict=True)
    )
    y = np.zeros((len(x), len(w), P, Q))
    for p, q in np.ndindex(P, Q):
        rows = p * stride[0] + np.arange(K) * dilation[0]
        columns = q * stride[1] + np.arange(L) * dilation[1]
        window = x[:, :, rows][..., columns]
        y[:, :, p, q] = np.einsum("nckl,ockl->no", window, w)
    return y


@given(case=cases())
def test_a_convolution_is_every_windows_product(case):
    x, w, moves = case
    (y,) = outputs_of(lambda x, w: F.conv2d(x, w, **moves), [x, w])
    np.testing.assert_allclose(y, by_hand(x, w, **moves), atol=1e-10)


@given(case=cases(), seed=seeds)
def test_the_three_convolutions_are_each_others_adjoints(case, seed):
    """<g, conv(x, w)> = <to_input(g, w), x> = <to_weight(x, g), w>."""
    x, w, moves = case
    y = mg.conv2d(x, w, **moves)
    g = np.random.default_rng(seed).standard_normal(y.shape)
    back = mg.conv2d_to_input(g, w, shape=x.shape[2:], **moves)
    weights = mg.conv2d_to_weight(x, g, size=w.shape[2:], **moves)
    assert np.sum(back * x) == pytest.approx(np.sum(g * y), abs=1e-9)
    assert np.sum(weights * w) == pytest.approx(np.sum(g * y), abs=1e-9)


@given(case=cases())
def test_unfold_and_fold_are_adjoint(case):
    x, w, moves = case
    steps = {"stride": moves["stride"], "dilation": moves["dilation"]}
    size = w.shape[2:]
    spans = [d * (k - 1) + 1 for k, d in zip(size, moves["dilation"], strict=True)]
    if any(n < s for n, s in zip(x.shape[2:], spans, strict=True)):
        with pytest.raises(ValueError, match="does not fit into"):
            mg.unfold(x, size=size, **steps)
        return
    found = mg.unfold(x, size=size, **steps)
    g = np.cos(np.arange(found.size)).reshape(found.shape)
    back = mg.fold(g, shape=x.shape[2:], **steps)
    assert np.sum(back * x) == pytest.approx(np.sum(g * found), abs=1e-9)


@given(case=cases(), seed=seeds)
def test_relu_is_the_same_in_one_go(case, seed):
    x, w, moves = case
    b = np.random.default_rng(seed).standard_normal(len(w))
    (y,) = outputs_of(lambda *o: F.conv2d(*o, **moves, relu=True), [x, w, b])
    apart = np.maximum(by_hand(x, w, **moves) + b[:, None, None], 0)
    np.testing.assert_allclose(y, apart, atol=1e-10)
    (y,) = outputs_of(lambda *o: F.conv2d(*o, **moves, relu=True), [x, w])
    np.testing.assert_allclose(y, np.maximum(by_hand(x, w, **moves), 0), atol=1e-10)


@pytest.mark.parametrize("bytes_", [1, 500, 2**25])
def test_pieces_change_nothing(bytes_, monkeypatch):
    random = np.random.default_rng(0)
    x, w = random.standard_normal((5, 3, 6, 6)), random.standard_normal((4, 3, 3, 3))
    whole = by_hand(x, w, (1, 1), (1, 1), (1, 1))
    monkeypatch.setattr(backend, "CPU_PIECE", bytes_)
    y = mg.conv2d(x, w, padding=(1, 1))
    np.testing.assert_allclose(y, whole, atol=1e-12)
    back = mg.conv2d_to_input(y, w, shape=(6, 6), padding=(1, 1))
    weights = mg.conv2d_to_weight(x, y, size=(3, 3), padding=(1, 1))
    assert np.sum(back * x) == pytest.approx(np.sum(y * y))
    assert np.sum(weights * w) == pytest.approx(np.sum(y * y))


@pytest.mark.only_cpu("NumPy tells tracemalloc of its arrays")
def test_a_large_batch_is_never_unfolded_at_once(monkeypatch):
    monkeypatch.setattr(backend, "CPU_PIECE", 2**20)
    x, w = np.ones((160, 8, 16, 16), "float32"), np.ones((4, 8, 3, 3), "float32")
    unfolded = 160 * 8 * 9 * 14 * 14 * 4  # bytes
    y, memory = with_memory(lambda: mg.conv2d(x, w))
    assert memory - y.nbytes < 3 * backend.CPU_PIECE < unfolded / 2
    back, memory = with_memory(lambda: mg.conv2d_to_input(y, w, shape=(16, 16)))
    assert memory - back.nbytes < 3 * backend.CPU_PIECE
    _, memory = with_memory(lambda: mg.conv2d_to_weight(x, y, size=(3, 3)))
    assert memory < 3 * backend.CPU_PIECE


@pytest.mark.only_cpu("NumPy tells tracemalloc of its arrays")
def test_a_window_of_one_element_is_not_copied():
    random = np.random.default_rng(0)
    x = random.standard_normal((4, 16, 16, 32)).transpose(0, 3, 1, 2)
    w = random.standard_normal((2, 32, 1, 1))
    y, memory = with_memory(lambda: mg.conv2d(x, w))
    assert memory < y.nbytes + 2**14 < x.nbytes
    back, memory = with_memory(lambda: mg.conv2d_to_input(y, w, shape=(16, 16)))
    assert memory < back.nbytes + 2**14


def with_memory(call):
    """What a call gives, and the most bytes it had at a time."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.only_cpu("CuPy's sums have an order in memory of their own")
def test_results_have_their_channels_last_and_elementwise_primitives_keep_that():
    x = put(np.ones((2, 3, 6, 6)))
    y = mg.relu(mg.conv2d(x, put(np.ones((4, 3, 3, 3)))) + put(np.ones((4, 1, 1))))
    settings = {"size": (2, 2), "stride": (2, 2)}
    pooled = mg.max_pool2d(y, **settings)
    spread = mg.to_largest(pooled, pooled > 0, shape=(4, 4), **settings)
    for array in (y, pooled, spread):
        assert array.strides[1] == array.itemsize


@given(case=cases())
def test_what_one_convolution_shrinks_its_transpose_enlarges(case):
    x, w, moves = case
    y = mg.conv2d(x, w, **moves)
    lost = [
        (n + 2 * p - d * (k - 1) - 1) % s
        for n, k, s, p, d in zip(
            x.shape[2:],
            w.shape[2:],
            moves["stride"],
            moves["padding"],
            moves["dilation"],
            strict=True,
        )
    ]
    if min(n - r for n, r in zip(x.shape[2:], lost, strict=True)) < 1:
        return
    (back,) = outputs_of(lambda y, w: F.conv_transpose2d(y, w, **moves), [y, w])
    assert back.shape == (
        *x.shape[:2],
        *(n - r for n, r in zip(x.shape[2:], lost, strict=True)),
    )


@given(seed=seeds, size=pairs, stride=pairs, ceil=st.booleans())
def test_means_and_largest_are_of_the_same_windows(seed, size, stride, ceil):
    x = np.random.default_rng(seed).standard_normal((2, 1, 7, 6))
    settings = {"stride": stride, "ceil_mode": ceil}
    (largest,) = outputs_of(lambda x: F.max_pool2d(x, size, **settings), [x])
    (mean,) = outputs_of(lambda x: F.avg_pool2d(x, size, **settings), [x])
    for p, q in np.ndindex(*largest.shape[2:]):
        rows = slice(p * stride[0], p * stride[0] + size[0])
        window = x[:, :, rows, q * stride[1] : q * stride[1] + size[1]]
        assert window.size, "every window begins inside"
        np.testing.assert_allclose(largest[:, :, p, q], window.max(axis=(2, 3)))
        np.testing.assert_allclose(mean[:, :, p, q], window.mean(axis=(2, 3)))


def test_of_elements_that_tie_the_first_has_the_gradient():
    x = put(mg.Tensor(np.ones((1, 1, 3, 3)), requires_grad=True))
    F.max_pool2d(x, 2, stride=1).sum().backward()
    first_of_each_window = [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    np.testing.assert_array_equal(x.grad.numpy()[0, 0], first_of_each_window)


@given(case=cases(), seed=seeds)
def test_taking_and_putting_at_the_largest_are_adjoint(case, seed):
    x, w, moves = case
    settings = {"size": w.shape[2:], "stride": moves["stride"]}
    if any(n < k for n, k in zip(x.shape[2:], w.shape[2:], strict=True)):
        return
    y = mg.max_pool2d(x, **settings)
    random = np.random.default_rng(seed)
    g, v = random.standard_normal(y.shape), random.standard_normal(x.shape)
    places = random.integers(0, w[0, 0].size, y.shape)
    there = mg.to_largest(g, places, shape=x.shape[2:], **settings)
    here = mg.at_largest(v, places, **settings)
    assert np.sum(there * v) == pytest.approx(np.sum(g * here), abs=1e-9)
    largest = mg.max_pool2d.primitive.residuals["indices"](x, y, **settings)
    np.testing.assert_array_equal(mg.at_largest(x, largest, **settings), y)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda x: F.conv2d(x, mg.zeros((2, 4, 3, 3))), ["conv2d: x", "(N, 4, H, W)"]),
        (lambda x: F.conv2d(x, mg.zeros((2, 3, 3))), ["conv2d: W", "W (O, C, K, L)"]),
        (lambda x: F.conv2d(x, mg.zeros((2, 3, 9, 9))), ["spans 9", "into 5", "pad"]),
        (lambda x: F.conv2d(x, mg.zeros((2, 3, 1, 1)), stride=0), ["stride is 0"]),
        (
            lambda x: F.conv2d(x, mg.zeros((2, 3, 1, 1)), padding=(1, 2, 3)),
            ["padding is (1, 2, 3)", "a pair"],
        ),
        (
            lambda x: F.conv2d(x, mg.zeros((2, 3, 1, 1)), mg.zeros(3)),
            ["conv2d: b", "(2,)", "b (O,)"],
        ),
        (
            lambda x: F.conv_transpose2d(x, mg.zeros((3, 1, 1, 1)), padding=3),
            ["conv_transpose2d", "Give less padding"],
        ),
        (lambda x: F.max_pool2d(x, 2, padding=2), ["padding 2", "half"]),
        (lambda x: F.avg_pool2d(x[0], 2), ["avg_pool2d: x", "(N, C, H, W)"]),
        (lambda x: nn.Conv2d(0, 1, 3), ["Conv2d", "in_channels"]),
        (lambda x: nn.MaxPool2d(0), ["MaxPool2d", "size is 0"]),
    ],
)
def test_what_does_not_fit_is_named(call, parts):
    with pytest.raises(ValueError, match="2d") as error:
        call(mg.zeros((2, 3, 5, 5)))
    says(error, *parts)
