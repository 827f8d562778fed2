"""The vanilla RNN: its cell's equation, in a loop and as modules.

Glossary of shapes: N batch, T time steps, D input width, H hidden width. Sequences are
batch-major, (N, T, D).
"""

from typing import Any

import minigrad as mg
from nn.recurrent import Recurrent, input_part, operands_of, unroll


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
