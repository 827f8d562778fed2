"""What do the layers compute? The courses' functions, in the courses' argument order.

Glossary of shapes: N batch, T time steps, D input width, H hidden width, V vocabulary,
M output width. Every weight multiplies from the right, `y = x @ W + b`, and sequences
are batch-major, (N, T, D).

A recurrent layer is its cell's arithmetic in a loop over time. The part of the
pre-activation that does not wait for the state, `x @ Wx + b`, is one matrix product for
all time steps before the loop, and the inputs and outputs of the loop are joined once:
T steps cost O(T), forward and backward.
"""

from __future__ import annotations

import math
from typing import Any

import minigrad as mg
from minigrad.ops.elementwise import gate
from nn.attention import scaled_dot_product_attention
from nn.checks import check_ids, check_shape, integer_array
from nn.conv import avg_pool2d, conv2d, conv_transpose2d, max_pool2d
from nn.dtypes import floats, narrow, wide
from nn.losses import bce_with_logits, cross_entropy, mse_loss, temporal_softmax_loss
from nn.norm import layer_norm

__all__ = [
    "avg_pool2d",
    "bce_with_logits",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "gelu",
    "gru",
    "gru_step",
    "layer_norm",
    "linear",
    "lstm",
    "lstm_sequence",
    "lstm_step",
    "max_pool2d",
    "mse_loss",
    "rnn",
    "rnn_step",
    "scaled_dot_product_attention",
    "temporal_affine",
    "temporal_softmax_loss",
    "word_embedding",
]

# Affine maps and words


def linear(x: Any, W: Any, b: Any = None) -> Any:
    """Give `x @ W + b`, an affine map of the last axis.

    Shapes: x (..., D), W (D, M), b (M,) or None, output (..., M).
    Raises: ValueError where the shapes disagree.
    """
    x, W, b = floats("linear", x=x, W=W, b=b, optional=("b",))
    _check_affine("linear", ("...",), x, W, b)
    y = x @ W
    return y if b is None else y + b


def temporal_affine(x: Any, W: Any, b: Any) -> Any:
    """Give the same affine map at every time step.

    Shapes: x (N, T, D), W (D, M), b (M,), output (N, T, M).
    Raises: ValueError where the shapes disagree.
    """
    x, W, b = floats("temporal_affine", x=x, W=W, b=b)
    _check_affine("temporal_affine", ("N", "T"), x, W, b)
    return x @ W + b


def word_embedding(ids: Any, table: Any) -> Any:
    """Give the rows of a table that integer ids name; repeated ids share a row.

    Shapes: ids (...), usually (N, T), table (V, D), output (..., D).
    Raises: TypeError for ids that are no integers, ValueError for ids out of range.
    """
    (table,) = floats("word_embedding", table=table)
    check_shape("word_embedding", "table", table, ("V", "D"), "A row for each id.")
    ids = integer_array("word_embedding", "ids", ids)
    check_ids("word_embedding", "ids", ids, below=table.shape[0])
    return mg.take(table, ids, axis=0)


def gelu(x: Any) -> Any:
    """Give x times about the probability that a normal number is below x.

    Smooth where the ReLU has its corner. In the form of the paper's first
    approximation, `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`, which is
    within 0.0005 of the exact one and needs no error function.

    Shapes: x and output (...).
    Source: Hendrycks and Gimpel, Gaussian Error Linear Units (2016), section 2.
    """
    (x,) = floats("gelu", x=x)
    y = wide(x)  # the cube of 41 is more than float16 holds
    inner = (y + y * y * y * 0.044715) * math.sqrt(2 / math.pi)
    return narrow(y * mg.sigmoid(inner + inner), x)


# Vanilla RNN


def rnn_step(x: Any, h: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    """Give the next state of a vanilla RNN, `tanh(x @ Wx + h @ Wh + b)`.

    Shapes: x (N, D), h (N, H), Wx (D, H), Wh (H, H), b (H,), output (N, H).
    Raises: ValueError where the shapes disagree.
    Source: Elman, Finding structure in time (1990).
    """
    x, h, Wx, Wh, b = _operands("rnn_step", 1, x, h, Wx, Wh, b=b)
    return mg.tanh(x @ Wx + h @ Wh + b)


def rnn(x: Any, h0: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    """Run a vanilla RNN over whole sequences and give the state at every step.

    Shapes: x (N, T, D), h0 (N, H) or None for zeros, Wx (D, H), Wh (H, H), b (H,),
    output (N, T, H).
    Raises: ValueError where the shapes disagree, or T is 0.
    """
    x, h0, Wx, Wh, b = _operands("rnn", 1, x, h0, Wx, Wh, b=b, sequence=True)
    h, states = h0, []
    for a in _input_part(x, Wx, b):
        h = mg.tanh(a + h @ Wh)
        states.append(h)
    return mg.stack(states, axis=1)


# LSTM


def lstm_step(x: Any, h: Any, c: Any, Wx: Any, Wh: Any, b: Any) -> tuple[Any, Any]:
    """Give the next state (h, c) of an LSTM.

    Shapes: x (N, D), h and c (N, H), Wx (D, 4H), Wh (H, 4H), b (4H,): the gates stand
    in the order i, f, o, g; outputs (N, H) and (N, H).
    Raises: ValueError where the shapes disagree.
    Source: Hochreiter and Schmidhuber, Long short-term memory (1997), with the forget
    gate of Gers, Schmidhuber, Cummins, Learning to forget (2000).
    """
    x, h, Wx, Wh, b, c = _operands("lstm_step", 4, x, h, Wx, Wh, b=b, c=c)
    return _lstm_gates(x @ Wx + h @ Wh + b, c)


def lstm(x: Any, h0: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    """Run an LSTM over whole sequences from cell state 0, giving h at every step.

    Shapes: x (N, T, D), h0 (N, H) or None for zeros, Wx (D, 4H), Wh (H, 4H), b (4H,),
    output (N, T, H).
    Raises: ValueError where the shapes disagree, or T is 0.
    """
    outputs, _, _ = lstm_sequence(x, h0, None, Wx, Wh, b)
    return outputs


def lstm_sequence(
    x: Any, h0: Any, c0: Any, Wx: Any, Wh: Any, b: Any
) -> tuple[Any, Any, Any]:
    """Run an LSTM from a state (h0, c0) and give h at every step, last h and last c.

    Shapes: as in `lstm`, c0 (N, H) or None for zeros; outputs (N, T, H), (N, H) and
    (N, H).
    Raises: ValueError where the shapes disagree, or T is 0.
    """
    x, h0, Wx, Wh, b, c0 = _operands("lstm", 4, x, h0, Wx, Wh, b=b, c=c0, sequence=True)
    h, c, states = h0, c0, []
    for a in _input_part(x, Wx, b):
        h, c = _lstm_gates(a + h @ Wh, c)
        states.append(h)
    return mg.stack(states, axis=1), h, c


def _lstm_gates(a: Any, c: Any) -> tuple[Any, Any]:
    """From the pre-activation a (N, 4H) and the cell state to the next (h, c)."""
    H = c.shape[1]
    gates, candidate = mg.split(a, (3 * H, H), axis=1)
    # The three sigmoids lie side by side: one pass computes them.
    i, f, o = mg.split(gate(gates), 3, axis=1)
    g = mg.tanh(candidate)
    c = f * c + i * g
    return o * mg.tanh(c), c


# GRU


def gru_step(x: Any, h: Any, Wx: Any, Wh: Any, bx: Any, bh: Any) -> Any:
    """Give the next state of a GRU, its reset applied after the matrix product.

    Shapes: x (N, D), h (N, H), Wx (D, 3H), Wh (H, 3H), bx and bh (3H,): the gates
    stand in the order r, z, n; output (N, H).
    Raises: ValueError where the shapes disagree.
    Source: Cho et al., Learning phrase representations using RNN encoder-decoder
    (2014); the reset after the product, with a hidden bias of its own, as in cuDNN.
    """
    x, h, Wx, Wh, bx, bh = _operands("gru_step", 3, x, h, Wx, Wh, bx=bx, bh=bh)
    return _gru_gates(x @ Wx + bx, h @ Wh + bh, h)


def gru(x: Any, h0: Any, Wx: Any, Wh: Any, bx: Any, bh: Any) -> Any:
    """Run a GRU over whole sequences and give the state at every step.

    Shapes: x (N, T, D), h0 (N, H) or None for zeros, Wx (D, 3H), Wh (H, 3H), bx and
    bh (3H,), output (N, T, H).
    Raises: ValueError where the shapes disagree, or T is 0.
    """
    x, h0, Wx, Wh, bx, bh = _operands(
        "gru", 3, x, h0, Wx, Wh, bx=bx, bh=bh, sequence=True
    )
    h, states = h0, []
    for a in _input_part(x, Wx, bx):
        h = _gru_gates(a, h @ Wh + bh, h)
        states.append(h)
    return mg.stack(states, axis=1)


def _gru_gates(a: Any, q: Any, h: Any) -> Any:
    """From the input's part a and the state's part q (N, 3H) to the next h."""
    H = h.shape[1]
    a_gates, a_candidate = mg.split(a, (2 * H, H), axis=1)
    q_gates, q_candidate = mg.split(q, (2 * H, H), axis=1)
    r, z = mg.split(gate(a_gates + q_gates), 2, axis=1)
    n = mg.tanh(a_candidate + r * q_candidate)
    return n + z * (h - n)


# Shared by the recurrent layers


def _input_part(x: Any, Wx: Any, b: Any) -> list[Any]:
    """`x @ Wx + b` for all time steps at once, as one (N, gates * H) for each step."""
    # Time first, so that every step's part lies in one piece of memory.
    return mg.unstack(mg.swapaxes(x, 0, 1) @ Wx + b, axis=0)


def _check_affine(layer: str, leading: Any, x: Any, W: Any, b: Any) -> None:
    axes = x.ndim > 0 if leading == ("...",) else x.ndim == 1 + len(leading)
    fit = axes and W.ndim == 2 and W.shape[0] == x.shape[-1]
    if fit and (b is None or b.shape == W.shape[1:]):
        return  # nothing to explain
    check_shape(layer, "W", W, ("D", "M"), "Its rows are the width of x.")
    way_out = (
        f"W has shape {W.shape}, and its rows are the width of x: give x that width, "
        "or W that many rows."
    )
    check_shape(layer, "x", x, (*leading, W.shape[0]), way_out)
    if b is not None:
        way_out = f"W has shape {W.shape}: give b one entry for each column of W."
        check_shape(layer, "b", b, W.shape[1:], way_out)


def _operands(
    layer: str,
    gates: int,
    x: Any,
    h: Any,
    Wx: Any,
    Wh: Any,
    *,
    sequence: bool = False,
    **others: Any,
) -> list[Any]:
    """The operands of a recurrent layer as floats that fit; a state of None is zeros.

    They come as they are given: x, h, Wx, Wh, biases and, where there is one, c.
    """
    names = {"h": "h0", "c": "c0"} if sequence else {"h": "h", "c": "c"}
    given = {names["h"]: h, "x": x, "Wx": Wx, "Wh": Wh}
    given |= {names.get(name, name): value for name, value in others.items()}
    for name in names.values():
        _check_one_state(layer, name, given.get(name))
    optional = tuple(names.values()) if sequence else ()
    h, x, Wx, Wh, *rest = floats(layer, optional=optional, **given)
    others = dict(zip(others, rest, strict=True))
    if not _fit(gates, x, Wx, Wh, sequence):
        _explain(layer, gates, x, Wx, Wh, sequence)
    N, H = x.shape[0], Wh.shape[0]
    states = {"h": h, **({"c": others.pop("c")} if "c" in others else {})}
    for name, state in states.items():
        if state is None:
            states[name] = mg.zeros((N, H), dtype=Wh.dtype, device=_device_of(Wh))
        elif state.shape != (N, H):
            way_out = f"A state has one row for each of the N={N} rows of x. "
            check_shape(layer, names[name], state, (N, H), way_out + _sizes(gates, Wx))
    for name, bias in others.items():
        if bias.shape != (gates * H,):
            check_shape(layer, name, bias, (gates * H,), _sizes(gates, Wx))
    h, *c = states.values()
    return [x, h, Wx, Wh, *others.values(), *c]


def _fit(gates: int, x: Any, Wx: Any, Wh: Any, sequence: bool) -> bool:
    """Whether x and Wh go with Wx (D, gates * H), and x has steps."""
    H = Wx.shape[-1] // gates if Wx.ndim == 2 else 0
    return (
        H > 0
        and x.ndim == 2 + sequence
        and Wx.shape == (x.shape[-1], gates * H)
        and Wh.shape == (H, gates * H)
        and x.shape[1] > 0
    )


def _explain(layer: str, gates: int, x: Any, Wx: Any, Wh: Any, sequence: bool) -> None:
    """Raise for what does not fit."""
    check_shape(layer, "Wx", Wx, ("D", f"{gates} * H"), "It multiplies x.")
    D, width = Wx.shape
    H = width // gates
    way_out = _sizes(gates, Wx)
    if width % gates:
        raise ValueError(f"{layer}: {way_out} Give it such a number of columns.")
    layout = "Batch first: x is (N, T, D). " if sequence else "x is one step, (N, D). "
    x_shape = ("N", "T", D) if sequence else ("N", D)
    check_shape(layer, "x", x, x_shape, layout + way_out)
    check_shape(layer, "Wh", Wh, (H, gates * H), way_out)
    if sequence and x.shape[1] == 0:
        raise ValueError(
            f"{layer}: x has shape {x.shape}, a sequence of no time steps, so there "
            "is no output to stack. Give at least one step."
        )


def _sizes(gates: int, Wx: Any) -> str:
    return (
        f"Wx has shape {Wx.shape}, which means input width D={Wx.shape[0]} and hidden "
        f"width H={Wx.shape[1] // gates} ({gates} * H columns)."
    )


def _check_one_state(layer: str, name: str, state: Any) -> None:
    if isinstance(state, tuple):
        raise TypeError(
            f"{layer}: {name} is a tuple, but must be one array of shape (N, H). Give "
            "h alone; an LSTM's module takes the pair (h, c)."
        )


def _device_of(x: Any) -> str:
    return x.device if isinstance(x, mg.Tensor) else "cpu"
