"""Do the courses' functions give the courses' values, gradients and error messages?"""

import numpy as np
import pytest

import minigrad as mg
from nn import functional as F
from tests.devices import put
from tests.nn.reference import (
    draw_cotangents,
    gradient_errors,
    lin,
    rel_error,
    says,
    tape_gradients,
)

pytestmark = pytest.mark.usefixtures("device")


RNN_STEP = [
    [-0.58172089, -0.50182032, -0.41232771, -0.31410098],
    [0.66854692, 0.79562378, 0.87755553, 0.92795967],
    [0.97934501, 0.99144213, 0.99646691, 0.99854353],
]
RNN = [
    [
        [-0.42070749, -0.27279261, -0.11074945, 0.05740409, 0.22236251],
        [-0.39525808, -0.22554661, -0.0409454, 0.14649412, 0.32397316],
        [-0.42305111, -0.24223728, -0.04287027, 0.15997045, 0.35014525],
    ],
    [
        [-0.55857474, -0.39065825, -0.19198182, 0.02378408, 0.23735671],
        [-0.27150199, -0.07088804, 0.13562939, 0.33099728, 0.50158768],
        [-0.51014825, -0.30524429, -0.06755202, 0.17806392, 0.40333043],
    ],
]
LSTM_STEP_H = [
    [0.24635157, 0.28610883, 0.32240467, 0.35525807, 0.38474904],
    [0.49223563, 0.55611431, 0.61507696, 0.66844003, 0.7159181],
    [0.56735664, 0.66310127, 0.74419266, 0.80889665, 0.858299],
]
LSTM_STEP_C = [
    [0.32986176, 0.39145139, 0.451556, 0.51014116, 0.56717407],
    [0.66382255, 0.76674007, 0.87195994, 0.97902709, 1.08751345],
    [0.74192008, 0.90592151, 1.07717006, 1.25120233, 1.42395676],
]
LSTM = [
    [
        [0.01764008, 0.01823233, 0.01882671, 0.0194232],
        [0.11287491, 0.12146228, 0.13018446, 0.13902939],
        [0.31358768, 0.33338627, 0.35304453, 0.37250975],
    ],
    [
        [0.45767879, 0.4761092, 0.4936887, 0.51041945],
        [0.6704845, 0.69350089, 0.71486014, 0.7346449],
        [0.81733511, 0.83677871, 0.85403753, 0.86935314],
    ],
]


def normals(rng, *shapes):
    return [rng.standard_normal(shape) for shape in shapes]


def recurrent_weights(rng, D, H, gates):
    return normals(rng, (D, gates * H), (H, gates * H), (gates * H,))


def parameters(*arrays):
    return [put(mg.Tensor(a, requires_grad=True)) for a in arrays]


# Values


def test_rnn_step_has_the_reference_value():
    h = F.rnn_step(
        put(mg.Tensor(lin(-0.4, 0.7, (3, 10)))),
        put(mg.Tensor(lin(-0.2, 0.5, (3, 4)))),
        put(mg.Tensor(lin(-0.1, 0.9, (10, 4)))),
        put(mg.Tensor(lin(-0.3, 0.7, (4, 4)))),
        put(mg.Tensor(lin(-0.2, 0.4, (4,)))),
    )
    assert rel_error(h.numpy(), RNN_STEP) < 1e-8


def test_rnn_has_the_reference_value():
    h = F.rnn(
        put(mg.Tensor(lin(-0.1, 0.3, (2, 3, 4)))),
        put(mg.Tensor(lin(-0.3, 0.1, (2, 5)))),
        put(mg.Tensor(lin(-0.2, 0.4, (4, 5)))),
        put(mg.Tensor(lin(-0.4, 0.1, (5, 5)))),
        put(mg.Tensor(lin(-0.7, 0.1, (5,)))),
    )
    assert rel_error(h.numpy(), RNN) < 1e-7


def test_lstm_step_has_the_reference_value():
    h, c = F.lstm_step(
        put(mg.Tensor(lin(-0.4, 1.2, (3, 4)))),
        put(mg.Tensor(lin(-0.3, 0.7, (3, 5)))),
        put(mg.Tensor(lin(-0.4, 0.9, (3, 5)))),
        put(mg.Tensor(lin(-2.1, 1.3, (4, 20)))),
        put(mg.Tensor(lin(-0.7, 2.2, (5, 20)))),
        put(mg.Tensor(lin(0.3, 0.7, (20,)))),
    )
    assert rel_error(h.numpy(), LSTM_STEP_H) < 1e-8
    assert rel_error(c.numpy(), LSTM_STEP_C) < 1e-8


def test_lstm_has_the_reference_value():
    h = F.lstm(
        put(mg.Tensor(lin(-0.4, 0.6, (2, 3, 5)))),
        put(mg.Tensor(lin(-0.4, 0.8, (2, 4)))),
        put(mg.Tensor(lin(-0.2, 0.9, (5, 16)))),
        put(mg.Tensor(lin(-0.3, 0.6, (4, 16)))),
        put(mg.Tensor(lin(0.2, 0.7, (16,)))),
    )
    assert rel_error(h.numpy(), LSTM) < 1e-7


def test_word_embedding_has_the_reference_value():
    ids = np.array([[0, 3, 1, 2], [2, 1, 0, 3]])
    table = lin(0, 1, (5, 3))
    words = F.word_embedding(ids, put(mg.Tensor(table)))
    assert words.shape == (2, 4, 3)
    assert rel_error(words.numpy(), table[ids]) < 1e-7
    assert rel_error(words.numpy()[0, 1], [0.64285714, 0.71428571, 0.78571429]) < 1e-7


def test_gru_step_follows_its_equations():
    rng = np.random.default_rng(0)
    x, h = normals(rng, (3, 4), (3, 5))
    Wx, Wh, bx = recurrent_weights(rng, 4, 5, 3)
    bh = rng.standard_normal(15)
    a, q = x @ Wx + bx, h @ Wh + bh
    r = 1 / (1 + np.exp(-(a[:, :5] + q[:, :5])))
    z = 1 / (1 + np.exp(-(a[:, 5:10] + q[:, 5:10])))
    n = np.tanh(a[:, 10:] + r * q[:, 10:])
    ours = F.gru_step(*map(mg.Tensor, (x, h, Wx, Wh, bx, bh)))
    assert rel_error(ours.numpy(), (1 - z) * n + z * h) < 1e-12


# Gradients against central differences. The differences round as well, relatively most
# where a gradient happens to be tiny: a fixed draw keeps that below the tolerances.


def test_rnn_step_gradients():
    rng = np.random.default_rng(1)
    arrays = [*normals(rng, (4, 5), (4, 6)), *recurrent_weights(rng, 5, 6, 1)]
    assert max(gradient_errors(F.rnn_step, arrays, rng)) < 1e-8


def test_rnn_gradients():
    rng = np.random.default_rng(1)
    arrays = [*normals(rng, (2, 10, 3), (2, 5)), *recurrent_weights(rng, 3, 5, 1)]
    assert max(gradient_errors(F.rnn, arrays, rng)) < 5e-7


def test_lstm_step_gradients():
    rng = np.random.default_rng(1)
    states = normals(rng, (4, 5), (4, 6), (4, 6))
    arrays = [*states, *recurrent_weights(rng, 5, 6, 4)]
    assert max(gradient_errors(F.lstm_step, arrays, rng)) < 1e-7


def test_lstm_gradients():
    rng = np.random.default_rng(1)
    arrays = [*normals(rng, (2, 10, 3), (2, 6)), *recurrent_weights(rng, 3, 6, 4)]
    dx, dh0, dWx, dWh, db = gradient_errors(F.lstm, arrays, rng)
    assert max(dx, dh0, dWx, db) < 1e-7
    assert dWh < 1e-5


def test_gru_gradients():
    rng = np.random.default_rng(1)
    weights = recurrent_weights(rng, 3, 5, 3)
    arrays = [*normals(rng, (2, 6, 3), (2, 5)), *weights, rng.standard_normal(15)]
    assert max(gradient_errors(F.gru, arrays, rng)) < 1e-6


def test_word_embedding_gradients():
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 5, (50, 3))
    table = rng.standard_normal((5, 6))
    errors = gradient_errors(lambda t: F.word_embedding(ids, t), [table], rng)
    assert max(errors) < 1e-11


def test_temporal_affine_gradients():
    rng = np.random.default_rng(1)
    arrays = normals(rng, (2, 3, 4), (4, 5), (5,))
    assert max(gradient_errors(F.temporal_affine, arrays, rng)) < 1e-9


# The backward passes that the courses derive by hand, as a second oracle


def rnn_step_backward(dh_next, x, h, Wx, Wh, b):
    h_next = np.tanh(x @ Wx + h @ Wh + b)
    da = dh_next * (1 - h_next**2)
    return da @ Wx.T, da @ Wh.T, x.T @ da, h.T @ da, da.sum(axis=0)


def lstm_step_backward(dh_next, dc_next, x, h, c, Wx, Wh, b):
    i, f, o, g = np.split(x @ Wx + h @ Wh + b, 4, axis=1)
    i, f, o, g = (*(1 / (1 + np.exp(-a)) for a in (i, f, o)), np.tanh(g))
    t = np.tanh(f * c + i * g)
    dc = dc_next + dh_next * o * (1 - t**2)
    da = np.concatenate(
        [
            dc * g * i * (1 - i),
            dc * c * f * (1 - f),
            dh_next * t * o * (1 - o),
            dc * i * (1 - g**2),
        ],
        axis=1,
    )
    return da @ Wx.T, da @ Wh.T, dc * f, x.T @ da, h.T @ da, da.sum(axis=0)


@pytest.mark.parametrize("seed", range(5))
def test_rnn_step_agrees_with_the_hand_derived_backward(seed):
    rng = np.random.default_rng(seed)
    arrays = [*normals(rng, (4, 5), (4, 6)), *recurrent_weights(rng, 5, 6, 1)]
    (dh,) = cotangents = draw_cotangents(F.rnn_step, arrays, rng)
    ours = tape_gradients(F.rnn_step, arrays, cotangents)
    for mine, theirs in zip(ours, rnn_step_backward(dh, *arrays), strict=True):
        assert rel_error(mine, theirs) < 1e-10


@pytest.mark.parametrize("seed", range(5))
def test_lstm_step_agrees_with_the_hand_derived_backward(seed):
    rng = np.random.default_rng(seed)
    states = normals(rng, (4, 5), (4, 6), (4, 6))
    arrays = [*states, *recurrent_weights(rng, 5, 6, 4)]
    dh, dc = cotangents = draw_cotangents(F.lstm_step, arrays, rng)
    ours = tape_gradients(F.lstm_step, arrays, cotangents)
    for mine, theirs in zip(ours, lstm_step_backward(dh, dc, *arrays), strict=True):
        assert rel_error(mine, theirs) < 1e-10


# Sequences are their steps


def test_sequences_are_their_steps():
    rng = np.random.default_rng(3)
    x, h0 = put([*map(mg.Tensor, normals(rng, (2, 4, 3), (2, 5)))])
    Wx, Wh, b = put([*map(mg.Tensor, recurrent_weights(rng, 3, 5, 1))])
    outputs = F.rnn(x, h0, Wx, Wh, b).numpy()
    h = h0
    for t in range(4):
        h = F.rnn_step(x[:, t], h, Wx, Wh, b)
        np.testing.assert_allclose(outputs[:, t], h.numpy(), rtol=1e-12)


def test_lstm_sequence_is_its_steps():
    rng = np.random.default_rng(3)
    x, h0, c0 = put([*map(mg.Tensor, normals(rng, (2, 4, 3), (2, 5), (2, 5)))])
    weights = [put(mg.Tensor(w)) for w in recurrent_weights(rng, 3, 5, 4)]
    outputs, last_h, last_c = F.lstm_sequence(x, h0, c0, *weights)
    h, c = h0, c0
    for t in range(4):
        h, c = F.lstm_step(x[:, t], h, c, *weights)
        np.testing.assert_allclose(outputs.numpy()[:, t], h.numpy(), rtol=1e-12)
    np.testing.assert_allclose(last_h.numpy(), h.numpy(), rtol=1e-12)
    np.testing.assert_allclose(last_c.numpy(), c.numpy(), rtol=1e-12)


def test_gru_sequence_is_its_steps():
    rng = np.random.default_rng(3)
    x, h0 = put([*map(mg.Tensor, normals(rng, (2, 4, 3), (2, 5)))])
    weights = [put(mg.Tensor(w)) for w in recurrent_weights(rng, 3, 5, 3)]
    weights.append(put(mg.Tensor(rng.standard_normal(15))))
    outputs = F.gru(x, h0, *weights).numpy()
    h = h0
    for t in range(4):
        h = F.gru_step(x[:, t], h, *weights)
        np.testing.assert_allclose(outputs[:, t], h.numpy(), rtol=1e-12)


def test_repeated_ids_add_their_gradients():
    (table,) = parameters(np.zeros((4, 2)))
    F.word_embedding(np.array([1, 1, 3, 1]), table).sum().backward()
    np.testing.assert_array_equal(table.grad.numpy()[:, 0], [0, 3, 0, 1])


@pytest.mark.parametrize("ids", [[[0, 2]], put(mg.Tensor(np.array([[0, 2]])))])
def test_ids_may_be_lists_or_tensors(ids):
    table = put(mg.Tensor(lin(0, 1, (3, 2))))
    assert F.word_embedding(ids, table).shape == (1, 2, 2)


def test_float32_stays_float32():
    rng = np.random.default_rng(0)
    x, h0 = (a.astype("float32") for a in normals(rng, (2, 4, 3), (2, 5)))
    weights = [w.astype("float32") for w in recurrent_weights(rng, 3, 5, 4)]
    h = F.lstm(put(mg.Tensor(x)), put(mg.Tensor(h0)), *put([*map(mg.Tensor, weights)]))
    assert h.dtype == np.float32


# Messages: what, why, way out


def lstm_operands(**changed):
    shapes = {"x": (2, 3, 5), "h0": (2, 4), "Wx": (5, 16), "Wh": (4, 16), "b": (16,)}
    return [put(mg.Tensor(np.zeros(shape))) for shape in (shapes | changed).values()]


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({"x": (2, 3, 6)}, ["lstm: x has shape (2, 3, 6)", "(N, T, 5)", "x (N, T, D)"]),
        ({"x": (2, 5)}, ["lstm: x has shape (2, 5)", "(N, T, 5)", "x (N, T, D)"]),
        ({"h0": (3, 4)}, ["lstm: h0 has shape (3, 4)", "(2, 4)", "h0 (N, H)"]),
        ({"Wh": (4, 4)}, ["lstm: Wh has shape (4, 4)", "(4, 16)", "Wx (5, 16)"]),
        ({"b": (4,)}, ["lstm: b has shape (4,)", "(16,)", "b (4H,)"]),
        ({"x": (2, 0, 5)}, ["lstm: x", "no time steps", "Give at least one"]),
    ],
)
def test_lstm_names_the_operand_that_does_not_fit(changed, parts):
    with pytest.raises(ValueError, match="lstm") as error:
        F.lstm(*lstm_operands(**changed))
    says(error, *parts)


def test_steps_name_the_operand_that_does_not_fit():
    x, h, Wx, Wh, b = (np.zeros(s) for s in ((2, 3), (2, 4), (3, 4), (4, 4), (4,)))
    with pytest.raises(ValueError, match="rnn_step: x") as error:
        F.rnn_step(x[None], h, Wx, Wh, b)
    says(error, "(1, 2, 3)", "(N, 3)", "x (N, D)")
    with pytest.raises(ValueError, match="rnn_step: h has") as error:
        F.rnn_step(x, h[:1], Wx, Wh, b)
    says(error, "(1, 4)", "(2, 4)", "h (N, H)")
    with pytest.raises(ValueError, match="gru_step: bh"):
        F.gru_step(x, h, np.zeros((3, 12)), np.zeros((4, 12)), np.zeros(12), b)
    W, b = [np.zeros((n, 16)) for n in (3, 4)], np.zeros(16)
    with pytest.raises(ValueError, match="lstm_step: c"):
        F.lstm_step(x, h, h[:1], *W, b)


def test_affine_maps_name_the_operand_that_does_not_fit():
    x, W, b = np.zeros((2, 3, 4)), np.zeros((4, 5)), np.zeros(5)
    with pytest.raises(ValueError, match="linear: x") as error:
        F.linear(x, W.T, b)
    says(error, "(2, 3, 4)", "(..., 5)", "beside W (5, 4)")
    with pytest.raises(ValueError, match="linear: b") as error:
        F.linear(x, W, np.zeros(4))
    says(error, "(4,)", "(5,)", "b (M,)")
    with pytest.raises(ValueError, match="temporal_affine: x") as error:
        F.temporal_affine(x[0], W, b)
    says(error, "(3, 4)", "(N, T, 4)")


def test_word_embedding_refuses_what_is_no_id():
    table = put(mg.Tensor(np.zeros((4, 2))))
    with pytest.raises(TypeError, match="word_embedding: ids") as error:
        F.word_embedding(np.array([0.0, 1.0]), table)
    says(error, "float64", "must be of integers", "astype")
    for ids in ([0, 4], [-1, 0]):
        with pytest.raises(ValueError, match="word_embedding: ids") as error:
            F.word_embedding(np.array(ids), table)
        says(error, f"from {ids[0]} to {ids[1]}", "only 0 to 3", "vocabulary")
