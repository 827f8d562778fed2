"""Recurrent layers: cells take one step, layers run over whole sequences.

Glossary of shapes: N batch, T time steps, D input width, H hidden width. Sequences are
batch-major, (N, T, D).

A layer is its cell's arithmetic in a loop over time. The part of the pre-activation
that does not wait for the state, `x @ Wx + b`, is one matrix product for all time steps
before the loop, and the inputs and outputs of the loop are joined once: T steps cost
O(T), forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import minigrad as mg
from minigrad.ops.elementwise import gate
from nn import init
from nn.checks import FINITE, check_number, check_shape, check_size
from nn.dtypes import floats
from nn.module import Module, Parameter


class LSTMState(NamedTuple):
    """The hidden and the cell state of an LSTM. Shapes: h and c (N, H)."""

    h: Any
    c: Any


def unroll(
    cell: Callable[[Any, Any], Any], xs: Iterable[Any], state: Any
) -> tuple[Any, Any]:
    """Run a cell over a sequence; give the output of every step and the last state.

    `cell(x, state)` gives the next state: an array, which is the step's output, or a
    tuple of arrays, of which the first is.

    Shapes: xs T inputs (N, D), as `mg.unstack(x, axis=1)` gives them, outputs
    (N, T, H).
    """
    outputs = []
    for x in xs:
        state = cell(x, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return mg.stack(outputs, axis=1), state


# -- vanilla RNN -------------------------------------------------------------------


def rnn_step(x: Any, h: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    """Give the next state of a vanilla RNN, `tanh(x @ Wx + h @ Wh + b)`.

    Shapes: x (N, D), h (N, H), Wx (D, H), Wh (H, H), b (H,), output (N, H).
    Raises: ValueError where the shapes disagree.
    Source: Elman, Finding structure in time (1990).
    """
    x, h, Wx, Wh, b = _operands("rnn_step", 1, x, {"h": h}, Wx, Wh, b=b)
    return mg.tanh(x @ Wx + h @ Wh + b)


def rnn(x: Any, h0: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    """Run a vanilla RNN over whole sequences and give the state at every step.

    Shapes: x (N, T, D), h0 (N, H) or None for zeros, Wx (D, H), Wh (H, H), b (H,),
    output (N, T, H).
    Raises: ValueError where the shapes disagree, or T is 0.
    """
    x, h0, Wx, Wh, b = _operands("rnn", 1, x, {"h0": h0}, Wx, Wh, b=b)
    outputs, _ = unroll(lambda a, h: mg.tanh(a + h @ Wh), _input_part(x, Wx, b), h0)
    return outputs


# -- LSTM --------------------------------------------------------------------------


def lstm_step(x: Any, h: Any, c: Any, Wx: Any, Wh: Any, b: Any) -> LSTMState:
    """Give the next state (h, c) of an LSTM.

    Shapes: x (N, D), h and c (N, H), Wx (D, 4H), Wh (H, 4H), b (4H,): the gates stand
    in the order i, f, o, g; outputs (N, H) and (N, H).
    Raises: ValueError where the shapes disagree.
    Source: Hochreiter and Schmidhuber, Long short-term memory (1997), with the forget
    gate of Gers, Schmidhuber, Cummins, Learning to forget (2000).
    """
    states = {"h": h, "c": c}
    x, h, c, Wx, Wh, b = _operands("lstm_step", 4, x, states, Wx, Wh, b=b)
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
    states = {"h0": h0, "c0": c0}
    x, h0, c0, Wx, Wh, b = _operands("lstm", 4, x, states, Wx, Wh, b=b)

    def cell(a: Any, state: LSTMState) -> LSTMState:
        return _lstm_gates(a + state.h @ Wh, state.c)

    outputs, last = unroll(cell, _input_part(x, Wx, b), LSTMState(h0, c0))
    return outputs, *last


def _lstm_gates(a: Any, c: Any) -> LSTMState:
    """From the pre-activation a (N, 4H) and the cell state to the next (h, c)."""
    H = c.shape[1]
    gates, candidate = mg.split(a, (3 * H, H), axis=1)
    # The three sigmoids lie side by side: one pass computes them.
    i, f, o = mg.split(gate(gates), 3, axis=1)
    g = mg.tanh(candidate)
    c = f * c + i * g
    return LSTMState(o * mg.tanh(c), c)


# -- GRU ---------------------------------------------------------------------------


def gru_step(x: Any, h: Any, Wx: Any, Wh: Any, bx: Any, bh: Any) -> Any:
    """Give the next state of a GRU, its reset applied after the matrix product.

    Shapes: x (N, D), h (N, H), Wx (D, 3H), Wh (H, 3H), bx and bh (3H,): the gates
    stand in the order r, z, n; output (N, H).
    Raises: ValueError where the shapes disagree.
    Source: Cho et al., Learning phrase representations using RNN encoder-decoder
    (2014); the reset after the product, with a hidden bias of its own, as in cuDNN.
    """
    operands = _operands("gru_step", 3, x, {"h": h}, Wx, Wh, bx=bx, bh=bh)
    x, h, Wx, Wh, bx, bh = operands
    return _gru_gates(x @ Wx + bx, h @ Wh + bh, h)


def gru(x: Any, h0: Any, Wx: Any, Wh: Any, bx: Any, bh: Any) -> Any:
    """Run a GRU over whole sequences and give the state at every step.

    Shapes: x (N, T, D), h0 (N, H) or None for zeros, Wx (D, 3H), Wh (H, 3H), bx and
    bh (3H,), output (N, T, H).
    Raises: ValueError where the shapes disagree, or T is 0.
    """
    x, h0, Wx, Wh, bx, bh = _operands("gru", 3, x, {"h0": h0}, Wx, Wh, bx=bx, bh=bh)
    outputs, _ = unroll(
        lambda a, h: _gru_gates(a, h @ Wh + bh, h), _input_part(x, Wx, bx), h0
    )
    return outputs


def _gru_gates(a: Any, q: Any, h: Any) -> Any:
    """From the input's part a and the state's part q (N, 3H) to the next h."""
    H = h.shape[1]
    a_gates, a_candidate = mg.split(a, (2 * H, H), axis=1)
    q_gates, q_candidate = mg.split(q, (2 * H, H), axis=1)
    r, z = mg.split(gate(a_gates + q_gates), 2, axis=1)
    n = mg.tanh(a_candidate + r * q_candidate)
    return n + z * (h - n)


# -- modules -----------------------------------------------------------------------


class _Recurrent(Module):
    """The sizes and weights of a recurrent layer with some number of gates.

    Wx and Wh start as `init.lecun_normal`, biases as zeros.
    """

    gates: ClassVar[int]
    biases: ClassVar[tuple[str, ...]] = ("b",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dtype: Any = "float32",
        generator: mg.Generator | None = None,
    ) -> None:
        kind = type(self).__name__
        check_size(kind, input_size=input_size, hidden_size=hidden_size)
        self.hidden_size = hidden_size
        width = self.gates * hidden_size
        self.Wx = Parameter(init.lecun_normal((input_size, width), generator, dtype))
        self.Wh = Parameter(init.lecun_normal((hidden_size, width), generator, dtype))
        for name in self.biases:
            setattr(self, name, Parameter(init.zeros((width,), generator, dtype)))

    def initial_state(self, batch: int, h: Any = None) -> Any:
        """Give the state before the first step: zeros, or the hidden state h (N, H)."""
        if h is not None:
            return h
        shape = (batch, self.hidden_size)
        return mg.zeros(shape, dtype=self.Wh.dtype, device=self.Wh.device)

    @property
    def _weights(self) -> list[Any]:
        return [self.Wx, self.Wh, *(getattr(self, name) for name in self.biases)]


class RNNCell(_Recurrent):
    """One step of a vanilla RNN.

    Shapes: x (N, D), h (N, H), output (N, H); Wx (D, H), Wh (H, H), b (H,).
    Raises: ValueError where the shapes disagree.
    """

    gates = 1

    def forward(self, x: Any, h: Any) -> Any:
        """Give the next state h."""
        return rnn_step(x, h, *self._weights)


class RNN(_Recurrent):
    """A vanilla RNN over whole sequences.

    Shapes: x (N, T, D), h0 (N, H) or None for zeros, outputs (N, T, H), h (N, H);
    Wx (D, H), Wh (H, H), b (H,).
    Raises: ValueError where the shapes disagree.
    """

    gates = 1

    def forward(self, x: Any, h0: Any = None) -> tuple[Any, Any]:
        """Give the state at every step, and the last one again."""
        outputs = rnn(x, h0, *self._weights)
        return outputs, outputs[:, -1]


class GRUCell(_Recurrent):
    """One step of a GRU.

    Shapes: x (N, D), h (N, H), output (N, H); Wx (D, 3H), Wh (H, 3H), bx and bh
    (3H,), gates in the order r, z, n.
    Raises: ValueError where the shapes disagree.
    """

    gates = 3
    biases = ("bx", "bh")

    def forward(self, x: Any, h: Any) -> Any:
        """Give the next state h."""
        return gru_step(x, h, *self._weights)


class GRU(_Recurrent):
    """A GRU over whole sequences.

    Shapes: x (N, T, D), h0 (N, H) or None for zeros, outputs (N, T, H), h (N, H);
    Wx (D, 3H), Wh (H, 3H), bx and bh (3H,), gates in the order r, z, n.
    Raises: ValueError where the shapes disagree.
    """

    gates = 3
    biases = ("bx", "bh")

    def forward(self, x: Any, h0: Any = None) -> tuple[Any, Any]:
        """Give the state at every step, and the last one again."""
        outputs = gru(x, h0, *self._weights)
        return outputs, outputs[:, -1]


class _LSTM(_Recurrent):
    """What the cell and the layer share: the forget gate's bias, and a state of two.

    A forget_bias of 1 lets an LSTM remember from the start of training. Source:
    Jozefowicz, Zaremba, Sutskever, An Empirical Exploration of Recurrent Network
    Architectures (2015).
    """

    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_bias: float = 0.0,
        dtype: Any = "float32",
        generator: mg.Generator | None = None,
    ) -> None:
        kwargs: Any = {"dtype": dtype, "generator": generator}
        super().__init__(input_size, hidden_size, **kwargs)
        check_number(type(self).__name__, "forget_bias", forget_bias, FINITE)
        self.b.data[hidden_size : 2 * hidden_size] = forget_bias

    def initial_state(self, batch: int, h: Any = None) -> LSTMState:
        """Give the state before the first step: zeros, or a hidden state h (N, H)."""
        zeros = super().initial_state(batch)
        return LSTMState(zeros if h is None else h, zeros)

    def _parts(self, state: Any) -> tuple[Any, Any]:
        """The two parts of a state.

        Raises: TypeError for anything else, also for a batch of two.
        """
        if isinstance(state, tuple | list) and len(state) == 2:
            return state[0], state[1]
        what = f"of {len(state)}" if isinstance(state, tuple | list) else ""
        if isinstance(state, mg.Tensor):
            what = f"of shape {state.shape}"
        raise TypeError(
            f"{type(self).__name__}: the state is a {type(state).__name__} "
            f"{what}".rstrip()
            + ", but an LSTM carries two arrays. Give the pair "
            "(h, c), each (N, H)."
        )


class LSTMCell(_LSTM):
    """One step of an LSTM.

    Shapes: x (N, D), state (h, c) of (N, H) each, output (h, c); Wx (D, 4H),
    Wh (H, 4H), b (4H,), gates in the order i, f, o, g.
    Raises: ValueError where the shapes disagree.
    """

    def forward(self, x: Any, state: tuple[Any, Any]) -> LSTMState:
        """Give the next state (h, c)."""
        return lstm_step(x, *self._parts(state), *self._weights)


class LSTM(_LSTM):
    """An LSTM over whole sequences.

    Shapes: x (N, T, D), state (h0, c0) of (N, H) each or None for zeros, outputs
    (N, T, H), last state (h, c); Wx (D, 4H), Wh (H, 4H), b (4H,), gates in the order
    i, f, o, g.
    Raises: ValueError where the shapes disagree.
    """

    def forward(
        self, x: Any, state: tuple[Any, Any] | None = None
    ) -> tuple[Any, LSTMState]:
        """Give h at every step, and the last state (h, c)."""
        parts = (None, None) if state is None else self._parts(state)
        outputs, h, c = lstm_sequence(x, *parts, *self._weights)
        return outputs, LSTMState(h, c)


# -- operands ----------------------------------------------------------------------


def _input_part(x: Any, Wx: Any, b: Any) -> list[Any]:
    """`x @ Wx + b` for all time steps at once, as one (N, gates * H) for each step."""
    # Time first, so that every step's part lies in one piece of memory.
    return mg.unstack(mg.swapaxes(x, 0, 1) @ Wx + b, axis=0)


def _operands(
    layer: str,
    gates: int,
    x: Any,
    states: dict[str, Any],
    Wx: Any,
    Wh: Any,
    **biases: Any,
) -> list[Any]:
    """All operands in this order, as floats that fit.

    States that are named h0 and c0 are those of a sequence: None is zeros there.
    """
    for name, state in states.items():
        if isinstance(state, tuple):
            raise TypeError(
                f"{layer}: {name} is a tuple, but must be one array of shape (N, H). "
                "Give h alone; an LSTM's module takes the pair (h, c)."
            )
    sequence = "h0" in states
    given = {"x": x, **states, "Wx": Wx, "Wh": Wh, **biases}
    optional = tuple(states) if sequence else ()
    operands = dict(zip(given, floats(layer, optional=optional, **given), strict=True))
    x, Wx, Wh = (operands[name] for name in ("x", "Wx", "Wh"))
    sizes = _check_weights(layer, gates, x, Wx, Wh, sequence)
    N, H = x.shape[0], Wh.shape[0]
    for name in states:
        if operands[name] is None:
            device = Wh.device if isinstance(Wh, mg.Tensor) else "cpu"
            operands[name] = mg.zeros((N, H), dtype=Wh.dtype, device=device)
        rows = f"A state has one row for each of the N={N} rows of x. "
        check_shape(layer, name, operands[name], (N, H), rows + sizes)
    for name in biases:
        check_shape(layer, name, operands[name], (gates * H,), sizes)
    return list(operands.values())


def _check_weights(
    layer: str, gates: int, x: Any, Wx: Any, Wh: Any, sequence: bool
) -> str:
    """Raise unless x, Wx and Wh fit; give the sizes that follow from Wx, in words."""
    check_shape(layer, "Wx", Wx, ("D", f"{gates} * H"), "It multiplies x.")
    D, width = Wx.shape
    H = width // gates
    sizes = (
        f"Wx has shape {Wx.shape}, which means input width D={D} and hidden width H={H}"
        f" ({gates} * H columns)."
    )
    if width % gates:
        raise ValueError(f"{layer}: {sizes} Give it such a number of columns.")
    layout = "Batch first: x is (N, T, D). " if sequence else "x is one step, (N, D). "
    axes = ("N", "T", D) if sequence else ("N", D)
    check_shape(layer, "x", x, axes, layout + sizes)
    check_shape(layer, "Wh", Wh, (H, width), sizes)
    if sequence and x.shape[1] == 0:
        raise ValueError(
            f"{layer}: x has shape {x.shape}, a sequence of no time steps, so there "
            "is no output to stack. Give at least one step."
        )
    return sizes
