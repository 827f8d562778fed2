"""Do recurrent modules use the functions, start from zeros, and cost O(T)?"""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
import nn
from nn import functional as F
from tests.devices import put
from tests.nn.reference import says

pytestmark = pytest.mark.usefixtures("device")


LAYERS = [nn.RNN, nn.LSTM, nn.GRU]
CELLS = [nn.RNNCell, nn.LSTMCell, nn.GRUCell]
sizes = st.integers(1, 4)
seeds = st.integers(0, 2**16)


def build(kind, D, H, seed=0):
    return put(kind(D, H, dtype="float64", generator=mg.Generator(seed)))


def halves(state):
    """Return the arrays of a state, whichever layer it is of."""
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize(
    ("kind", "names", "gates"),
    [
        (nn.RNN, ["Wx", "Wh", "b"], 1),
        (nn.LSTM, ["Wx", "Wh", "b"], 4),
        (nn.GRU, ["Wx", "Wh", "bx", "bh"], 3),
        (nn.RNNCell, ["Wx", "Wh", "b"], 1),
        (nn.LSTMCell, ["Wx", "Wh", "b"], 4),
        (nn.GRUCell, ["Wx", "Wh", "bx", "bh"], 3),
    ],
)
def test_weights_are_in_by_gates_times_hidden(kind, names, gates):
    layer = put(kind(100, 64, generator=mg.Generator(0)))
    assert [name for name, _ in layer.named_parameters()] == names
    assert layer.Wx.shape == (100, gates * 64)
    assert layer.Wh.shape == (64, gates * 64)
    assert {p.dtype for p in layer.parameters()} == {np.dtype("float32")}
    assert abs(layer.Wx.numpy().std() * 10 - 1) < 0.05
    assert abs(layer.Wh.numpy().std() * 8 - 1) < 0.05
    for name in names[2:]:
        np.testing.assert_array_equal(
            getattr(layer, name).numpy(), np.zeros(gates * 64)
        )


@pytest.mark.parametrize("kind", LAYERS)
def test_the_default_state_is_zeros(kind):
    layer = build(kind, 3, 4)
    x = put(mg.Tensor(np.random.default_rng(0).standard_normal((2, 5, 3))))
    state = layer.initial_state(2)
    for part in halves(state):
        np.testing.assert_array_equal(part.numpy(), np.zeros((2, 4)))
        assert (part.dtype, part.device) == (layer.Wh.dtype, layer.Wh.device)
    outputs, last = layer(x)
    given_outputs, given_last = layer(x, state)
    np.testing.assert_array_equal(outputs.numpy(), given_outputs.numpy())
    for one, other in zip(halves(last), halves(given_last), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    np.testing.assert_array_equal(halves(last)[0].numpy(), outputs.numpy()[:, -1])


@pytest.mark.parametrize("kind", [*LAYERS, *CELLS])
def test_a_state_starts_from_a_hidden_state(kind):
    layer = build(kind, 3, 4)
    h = put(mg.Tensor(np.random.default_rng(0).standard_normal((2, 4))))
    state = layer.initial_state(2, h)
    if kind in (nn.LSTM, nn.LSTMCell):
        assert isinstance(state, nn.LSTMState)
        assert state.h is h
        np.testing.assert_array_equal(state.c.numpy(), np.zeros((2, 4)))
    else:
        assert state is h


@pytest.mark.parametrize("kind", [nn.LSTM, nn.LSTMCell])
def test_an_lstm_may_start_to_remember(kind):
    layer = put(kind(3, 2, forget_bias=1.0))
    np.testing.assert_array_equal(layer.b.numpy(), [0, 0, 1, 1, 0, 0, 0, 0])
    with pytest.raises(ValueError, match=f"{kind.__name__}: forget_bias is nan"):
        kind(3, 2, forget_bias=float("nan"))


def test_any_cell_can_be_unrolled():
    """A cell of one's own, whose output is the first part of its state."""
    x = put(mg.Tensor(np.arange(12.0).reshape(2, 3, 2)))

    def total_and_count(x, state):
        total, count = state
        return total + x, count + 1

    start = (put(mg.zeros((2, 2), dtype="float64")), 0)
    outputs, (total, count) = nn.unroll(total_and_count, mg.unstack(x, axis=1), start)
    np.testing.assert_array_equal(outputs.numpy(), np.cumsum(x.numpy(), axis=1))
    np.testing.assert_array_equal(total.numpy(), x.numpy().sum(axis=1))
    assert count == 3


@pytest.mark.parametrize(("kind", "cell"), list(zip(LAYERS, CELLS, strict=True)))
def test_a_cell_unrolled_is_its_layer(kind, cell):
    layer, step = build(kind, 3, 4, 1), build(cell, 3, 4)
    step.load_state_dict(layer.state_dict())
    x = put(mg.Tensor(np.random.default_rng(0).standard_normal((2, 5, 3))))
    outputs, last = nn.unroll(step, mg.unstack(x, axis=1), step.initial_state(2))
    expected_outputs, expected_last = layer(x)
    assert type(last) is type(expected_last)
    for one, other in zip(
        (outputs, *halves(last)),
        (expected_outputs, *halves(expected_last)),
        strict=True,
    ):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-10, atol=1e-14)


def test_lstm_function_is_the_layer_from_cell_state_zero():
    layer = build(nn.LSTM, 3, 4)
    x = put(mg.Tensor(np.random.default_rng(0).standard_normal((2, 5, 3))))
    h0 = put(mg.Tensor(np.random.default_rng(1).standard_normal((2, 4))))
    outputs, _ = layer(x, (h0, put(mg.zeros((2, 4), dtype="float64"))))
    expected = F.lstm(x, h0, layer.Wx, layer.Wh, layer.b)
    np.testing.assert_array_equal(outputs.numpy(), expected.numpy())


@pytest.mark.parametrize(("kind", "cell"), list(zip(LAYERS, CELLS, strict=True)))
@given(N=sizes, T=sizes, D=sizes, H=sizes, seed=seeds)
def test_a_layer_is_its_cell_step_by_step(kind, cell, N, T, D, H, seed):
    layer, step = build(kind, D, H, seed), build(cell, D, H)
    step.load_state_dict(layer.state_dict())
    x = put(mg.Tensor(np.random.default_rng(seed).standard_normal((N, T, D))))
    outputs, last = layer(x)
    state = step.initial_state(N)
    for t in range(T):
        state = step(x[:, t], state)
        h = halves(state)[0].numpy()
        np.testing.assert_allclose(outputs.numpy()[:, t], h, rtol=1e-10, atol=1e-14)
    for one, other in zip(halves(last), halves(state), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("kind", LAYERS)
@given(N=sizes, T=st.integers(2, 6), cut=st.integers(1, 5), seed=seeds)
def test_a_sequence_in_two_parts_is_the_whole(kind, N, T, cut, seed):
    cut = min(cut, T - 1)
    layer = build(kind, 3, 4, seed)
    x = put(mg.Tensor(np.random.default_rng(seed).standard_normal((N, T, 3))))
    whole, last = layer(x)
    first, state = layer(x[:, :cut])
    second, state = layer(x[:, cut:], state)
    joined = np.concatenate([first.numpy(), second.numpy()], axis=1)
    np.testing.assert_allclose(joined, whole.numpy(), rtol=1e-10, atol=1e-14)
    for one, other in zip(halves(state), halves(last), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_future_does_not_change_the_past(kind):
    layer = build(kind, 3, 4)
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    before = layer(put(mg.Tensor(x)))[0].numpy()
    x[:, 3:] += 1
    after = layer(put(mg.Tensor(x)))[0].numpy()
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_every_parameter_and_the_first_state_get_gradients(kind):
    layer = build(kind, 3, 4)
    x, *state = (
        put(mg.Tensor(np.random.default_rng(0).standard_normal(s), requires_grad=True))
        for s in ((2, 5, 3), (2, 4), (2, 4))
    )
    h0 = tuple(state) if kind is nn.LSTM else state[0]
    outputs, last = layer(x, h0)
    total = outputs.sum()
    for part in halves(last):
        total = total + (part * part).sum()
    total.backward()
    for tensor in (*layer.parameters(), x, *halves(h0)):
        assert (tensor.grad.numpy() != 0).all()


def peak_of_a_step(layer, T):
    x = np.random.default_rng(0).standard_normal((8, T, 16))
    tracemalloc.start()
    layer(put(mg.Tensor(x)))[0].sum().backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    layer.zero_grad()
    return peak


@pytest.mark.only_cpu("NumPy tells tracemalloc of its arrays")
@pytest.mark.parametrize("kind", LAYERS)
def test_memory_grows_with_the_number_of_steps_and_not_faster(kind):
    layer = build(kind, 16, 16)
    peak_of_a_step(layer, 8)
    assert peak_of_a_step(layer, 512) < 4.5 * peak_of_a_step(layer, 128)


@pytest.mark.parametrize("kind", [*LAYERS, *CELLS])
def test_sizes_below_one_are_refused(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__}: hidden_size is 0") as error:
        put(kind(3, 0))
    says(error, "at least one", "positive integer")


@pytest.mark.parametrize("kind", LAYERS)
def test_a_sequence_that_is_not_batch_major_is_named(kind):
    with pytest.raises(ValueError, match="x has shape") as error:
        put(kind(3, 4))(put(mg.zeros((2, 3))))
    says(error, kind.__name__.lower(), "(2, 3)", "(N, T, 3)", "x (N, T, D)")
