"""The LSTM: its cell's equations, in a loop and as modules.

Glossary of shapes: N batch, T time steps, D input width, H hidden width. Sequences are
batch-major, (N, T, D).
"""

from typing import Any, NamedTuple

import minigrad as mg
from minigrad.ops.elementwise import gate
from nn.checks import FINITE, check_number
from nn.recurrent import Recurrent, input_part, operands_of, unroll


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
