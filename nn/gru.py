"""The GRU: its cell's equations, in a loop and as modules.

Glossary of shapes: N batch, T time steps, D input width, H hidden width. Sequences are
batch-major, (N, T, D).
"""

from typing import Any

import minigrad as mg
from minigrad.ops.elementwise import gate
from nn.recurrent import Recurrent, input_part, operands_of, unroll


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
