"""Recurrent layers: RNN, GRU and LSTM, as cells and over sequences.

A layer is its cell's arithmetic in a loop over time. The part of the pre-activation
that does not wait for the state, `x @ Wx + b`, is one matrix product for all time steps
before the loop, and the inputs and outputs of the loop are joined once: T steps cost
O(T), forward and backward.

Glossary of shapes: N batch, T time steps, D input width, H hidden width. Sequences are
batch-major, (N, T, D).
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import minigrad as mg
from minigrad.backend import device_of
from minigrad.ops.elementwise import gate
from nn import init
from nn.checks import FINITE, array_of, check_number, check_size
from nn.dtypes import floats
from nn.module import Module, Parameter


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


def input_part(x: Any, Wx: Any, b: Any) -> list[Any]:
    """`x @ Wx + b` for all time steps at once, as one (N, gates * H) for each step."""
    # Time first, so that every step's part lies in one piece of memory.
    return mg.unstack(mg.swapaxes(x, 0, 1) @ Wx + b, axis=0)


def operands_of(
    layer: str, gates: int, shapes: str, Wx: Any, Wh: Any, x: Any, *others: Any
) -> list[Any]:
    """All operands as floats that fit; a state that is None as zeros.

    `shapes` are those of x and the others, in which G is gates * H.
    """
    for other in others:
        if isinstance(other, tuple) and any(getattr(part, "ndim", 0) for part in other):
            raise TypeError(
                f"{layer}: a state is a tuple, but must be one array of shape (N, H). "
                "Give h alone; an LSTM's module takes the pair (h, c)."
            )
    shapes = f"Wx (D, G), Wh (H, G), {shapes}".replace("G", f"{gates}H".lstrip("1"))
    Wx, Wh, x, *rest = floats(layer, shapes, Wx, Wh, x, *others)
    if x.ndim == 3 and x.shape[1] == 0:
        raise ValueError(
            f"{layer}: x has shape {x.shape}, a sequence of no time steps, so there "
            "is no output to stack. Give at least one step."
        )
    return [Wx, Wh, x, *(_zeros(len(x), Wh) if y is None else y for y in rest)]


def _zeros(batch: int, like: Any) -> mg.Tensor:
    """A state of zeros, for weights (H, gates * H)."""
    device = device_of(array_of(like))
    return mg.zeros((batch, like.shape[0]), dtype=like.dtype, device=device)


class Recurrent(Module):
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
        return _zeros(batch, like=self.Wh) if h is None else h

    @property
    def weights(self) -> list[Any]:
        """Wx, Wh and the biases."""
        return [self.Wx, self.Wh, *(getattr(self, name) for name in self.biases)]


# -- vanilla RNN -------------------------------------------------------------------


def rnn_step(x: Any, h: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    """Give the next state of a vanilla RNN, `tanh(x @ Wx + h @ Wh + b)`.

    Shapes: x (N, D), h (N, H), Wx (D, H), Wh (H, H), b (H,), output (N, H).
    Raises: ValueError where the shapes disagree.
    Source: Elman, Finding structure in time (1990).
    """
    shapes = "x (N, D), h (N, H), b (G,)"
    Wx, Wh, x, h, b = operands_of("rnn_step", 1, shapes, Wx, Wh, x, h, b)
    return mg.tanh(x @ Wx + h @ Wh + b)


def rnn(x: Any, h0: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    """Run a vanilla RNN over whole sequences and give the state at every step.

    Shapes: x (N, T, D), h0 (N, H) or None for zeros, output (N, T, H); weights as
    `rnn_step`.
    Raises: ValueError where the shapes disagree, or T is 0.
    """
    shapes = "x (N, T, D), h0? (N, H), b (G,)"
    Wx, Wh, x, h0, b = operands_of("rnn", 1, shapes, Wx, Wh, x, h0, b)
    return unroll(lambda a, h: mg.tanh(a + h @ Wh), input_part(x, Wx, b), h0)[0]


class RNNCell(Recurrent):
    """One step of a vanilla RNN. Shapes and errors: as `rnn_step`."""

    gates = 1

    def forward(self, x: Any, h: Any) -> Any:
        """Give the next state h."""
        return rnn_step(x, h, *self.weights)


class RNN(Recurrent):
    """A vanilla RNN over whole sequences. Shapes and errors: as `rnn`."""

    gates = 1

    def forward(self, x: Any, h0: Any = None) -> tuple[Any, Any]:
        """Give the state at every step (N, T, H), and the last one again (N, H)."""
        outputs = rnn(x, h0, *self.weights)
        return outputs, outputs[:, -1]


# -- GRU ---------------------------------------------------------------------------


def gru_step(x: Any, h: Any, Wx: Any, Wh: Any, bx: Any, bh: Any) -> Any:
    """Give the next state of a GRU, its reset applied after the matrix product.

    Shapes: x (N, D), h (N, H), Wx (D, 3H), Wh (H, 3H), bx and bh (3H,): the gates
    stand in the order r, z, n; output (N, H).
    Raises: ValueError where the shapes disagree.
    Source: Cho et al., Learning phrase representations using RNN encoder-decoder
    (2014); the reset after the product, with a hidden bias of its own, as in cuDNN.
    """
    shapes = "x (N, D), h (N, H), bx (G,), bh (G,)"
    Wx, Wh, x, h, bx, bh = operands_of("gru_step", 3, shapes, Wx, Wh, x, h, bx, bh)
    return _gru_gates(x @ Wx + bx, h @ Wh + bh, h)


def gru(x: Any, h0: Any, Wx: Any, Wh: Any, bx: Any, bh: Any) -> Any:
    """Run a GRU over whole sequences and give the state at every step.

    Shapes: x (N, T, D), h0 (N, H) or None for zeros, output (N, T, H); weights as
    `gru_step`.
    Raises: ValueError where the shapes disagree, or T is 0.
    """
    shapes = "x (N, T, D), h0? (N, H), bx (G,), bh (G,)"
    Wx, Wh, x, h0, bx, bh = operands_of("gru", 3, shapes, Wx, Wh, x, h0, bx, bh)
    xs = input_part(x, Wx, bx)
    return unroll(lambda a, h: _gru_gates(a, h @ Wh + bh, h), xs, h0)[0]


def _gru_gates(a: Any, q: Any, h: Any) -> Any:
    """From the input's part a and the state's part q (N, 3H) to the next h."""
    H = h.shape[1]
    a_gates, a_candidate = mg.split(a, (2 * H, H), axis=1)
    q_gates, q_candidate = mg.split(q, (2 * H, H), axis=1)
    r, z = mg.split(gate(a_gates + q_gates), 2, axis=1)
    n = mg.tanh(a_candidate + r * q_candidate)
    return n + z * (h - n)


class GRUCell(Recurrent):
    """One step of a GRU. Shapes and errors: as `gru_step`."""

    gates = 3
    biases = ("bx", "bh")

    def forward(self, x: Any, h: Any) -> Any:
        """Give the next state h."""
        return gru_step(x, h, *self.weights)


class GRU(Recurrent):
    """A GRU over whole sequences. Shapes and errors: as `gru`."""

    gates = 3
    biases = ("bx", "bh")

    def forward(self, x: Any, h0: Any = None) -> tuple[Any, Any]:
        """Give the state at every step (N, T, H), and the last one again (N, H)."""
        outputs = gru(x, h0, *self.weights)
        return outputs, outputs[:, -1]


# -- LSTM --------------------------------------------------------------------------


class LSTMState(NamedTuple):
    """The hidden and the cell state of an LSTM. Shapes: h and c (N, H)."""

    h: Any
    c: Any


def lstm_step(x: Any, h: Any, c: Any, Wx: Any, Wh: Any, b: Any) -> LSTMState:
    """Give the next state (h, c) of an LSTM.

    Shapes: x (N, D), h and c (N, H), Wx (D, 4H), Wh (H, 4H), b (4H,): the gates stand
    in the order i, f, o, g; outputs (N, H) and (N, H).
    Raises: ValueError where the shapes disagree.
    Source: Hochreiter and Schmidhuber, Long short-term memory (1997), with the forget
    gate of Gers, Schmidhuber, Cummins, Learning to forget (2000).
    """
    shapes = "x (N, D), h (N, H), c (N, H), b (G,)"
    Wx, Wh, x, h, c, b = operands_of("lstm_step", 4, shapes, Wx, Wh, x, h, c, b)
    return _lstm_gates(x @ Wx + h @ Wh + b, c)


def lstm(x: Any, h0: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    """Run an LSTM over whole sequences from cell state 0, giving h at every step.

    Shapes and errors: as `lstm_sequence`, output (N, T, H).
    """
    return lstm_sequence(x, h0, None, Wx, Wh, b)[0]


def lstm_sequence(
    x: Any, h0: Any, c0: Any, Wx: Any, Wh: Any, b: Any
) -> tuple[Any, Any, Any]:
    """Run an LSTM from a state (h0, c0) and give h at every step, last h and last c.

    Shapes: x (N, T, D), h0 and c0 (N, H) or None for zeros, Wx, Wh and b as
    `lstm_step`, outputs (N, T, H), (N, H) and (N, H).
    Raises: ValueError where the shapes disagree, or T is 0.
    """
    shapes = "x (N, T, D), h0? (N, H), c0? (N, H), b (G,)"
    Wx, Wh, x, h0, c0, b = operands_of("lstm", 4, shapes, Wx, Wh, x, h0, c0, b)

    def cell(a: Any, state: LSTMState) -> LSTMState:
        return _lstm_gates(a + state.h @ Wh, state.c)

    outputs, last = unroll(cell, input_part(x, Wx, b), LSTMState(h0, c0))
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


class _LSTM(Recurrent):
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
        kind = type(state).__name__
        if isinstance(state, tuple | list):
            kind += f" of {len(state)}"
        elif isinstance(state, mg.Tensor):
            kind += f" of shape {state.shape}"
        raise TypeError(
            f"{type(self).__name__}: the state is a {kind}, but an LSTM carries two "
            "arrays. Give the pair (h, c), each (N, H)."
        )


class LSTMCell(_LSTM):
    """One step of an LSTM. Shapes and errors: as `lstm_step`, the state a pair."""

    def forward(self, x: Any, state: tuple[Any, Any]) -> LSTMState:
        """Give the next state (h, c)."""
        return lstm_step(x, *self._parts(state), *self.weights)


class LSTM(_LSTM):
    """An LSTM over sequences. Shapes and errors: as `lstm_sequence`, a state a pair."""

    def forward(
        self, x: Any, state: tuple[Any, Any] | None = None
    ) -> tuple[Any, LSTMState]:
        """Give h at every step (N, T, H), and the last state (h, c)."""
        parts = (None, None) if state is None else self._parts(state)
        outputs, h, c = lstm_sequence(x, *parts, *self.weights)
        return outputs, LSTMState(h, c)
