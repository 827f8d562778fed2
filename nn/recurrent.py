"""How does a network read a sequence? Cells take one step, layers run over all steps.

Glossary of shapes: N batch, T time steps, D input_size, H hidden_size. Sequences are
batch-major, (N, T, D). What a step computes stands in `nn/functional.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import minigrad as mg
from nn import functional, init
from nn.checks import check_size
from nn.module import Module, Parameter


class _Recurrent(Module):
    """The sizes and weights of a recurrent layer with some number of gates.

    Wx and Wh start as `init.lecun_normal`, biases as zeros.
    """

    gates: ClassVar[int]
    biases: ClassVar[tuple[str, ...]] = ("b",)

    Wx: Parameter
    Wh: Parameter

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

    def zero_state(self, batch: int) -> mg.Tensor:
        """Give the state (N, H) that a sequence starts from by default: zeros."""
        shape = (batch, self.hidden_size)
        return mg.zeros(shape, dtype=self.Wh.dtype, device=self.Wh.device)


class RNNCell(_Recurrent):
    """One step of a vanilla RNN.

    Shapes: x (N, D), h (N, H), output (N, H); Wx (D, H), Wh (H, H), b (H,).
    Raises: ValueError where the shapes disagree.
    """

    gates = 1
    b: Parameter

    def forward(self, x: Any, h: Any) -> Any:
        """Give the next state h."""
        return functional.rnn_step(x, h, self.Wx, self.Wh, self.b)


class RNN(_Recurrent):
    """A vanilla RNN over whole sequences.

    Shapes: x (N, T, D), h0 (N, H) or None for zeros, outputs (N, T, H), h (N, H);
    Wx (D, H), Wh (H, H), b (H,).
    Raises: ValueError where the shapes disagree.
    """

    gates = 1
    b: Parameter

    def forward(self, x: Any, h0: Any = None) -> tuple[Any, Any]:
        """Give the state at every step, and the last one again."""
        outputs = functional.rnn(x, h0, self.Wx, self.Wh, self.b)
        return outputs, outputs[:, -1]


class LSTMCell(_Recurrent):
    """One step of an LSTM.

    Shapes: x (N, D), state (h, c) of (N, H) each, output (h, c); Wx (D, 4H),
    Wh (H, 4H), b (4H,), gates in the order i, f, o, g.
    Raises: ValueError where the shapes disagree.
    """

    gates = 4
    b: Parameter

    def forward(self, x: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        """Give the next state (h, c)."""
        h, c = _pair("LSTMCell", state)
        return functional.lstm_step(x, h, c, self.Wx, self.Wh, self.b)


class LSTM(_Recurrent):
    """An LSTM over whole sequences.

    Shapes: x (N, T, D), state (h0, c0) of (N, H) each or None for zeros, outputs
    (N, T, H), last state (h, c); Wx (D, 4H), Wh (H, 4H), b (4H,), gates in the order
    i, f, o, g.
    Raises: ValueError where the shapes disagree.
    """

    gates = 4
    b: Parameter

    def forward(
        self, x: Any, state: tuple[Any, Any] | None = None
    ) -> tuple[Any, tuple[Any, Any]]:
        """Give h at every step, and the last state (h, c)."""
        h0, c0 = (None, None) if state is None else _pair("LSTM", state)
        weights = (self.Wx, self.Wh, self.b)
        outputs, h, c = functional.lstm_sequence(x, h0, c0, *weights)
        return outputs, (h, c)


class GRUCell(_Recurrent):
    """One step of a GRU.

    Shapes: x (N, D), h (N, H), output (N, H); Wx (D, 3H), Wh (H, 3H), bx and bh
    (3H,), gates in the order r, z, n.
    Raises: ValueError where the shapes disagree.
    """

    gates = 3
    biases = ("bx", "bh")
    bx: Parameter
    bh: Parameter

    def forward(self, x: Any, h: Any) -> Any:
        """Give the next state h."""
        return functional.gru_step(x, h, self.Wx, self.Wh, self.bx, self.bh)


class GRU(_Recurrent):
    """A GRU over whole sequences.

    Shapes: x (N, T, D), h0 (N, H) or None for zeros, outputs (N, T, H), h (N, H);
    Wx (D, 3H), Wh (H, 3H), bx and bh (3H,), gates in the order r, z, n.
    Raises: ValueError where the shapes disagree.
    """

    gates = 3
    biases = ("bx", "bh")
    bx: Parameter
    bh: Parameter

    def forward(self, x: Any, h0: Any = None) -> tuple[Any, Any]:
        """Give the state at every step, and the last one again."""
        outputs = functional.gru(x, h0, self.Wx, self.Wh, self.bx, self.bh)
        return outputs, outputs[:, -1]


def _pair(layer: str, state: Any) -> tuple[Any, Any]:
    """The two parts of an LSTM's state.

    Raises: TypeError for anything else, also for a batch of two.
    """
    if isinstance(state, tuple | list) and len(state) == 2:
        h, c = state
        return h, c
    what = f"of {len(state)}" if isinstance(state, tuple | list) else ""
    if isinstance(state, mg.Tensor):
        what = f"of shape {state.shape}"
    raise TypeError(
        f"{layer}: the state is a {type(state).__name__} {what}".rstrip()
        + ", but an LSTM carries two arrays. Give the pair (h, c), each (N, H)."
    )
