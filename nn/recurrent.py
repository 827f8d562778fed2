"""What recurrent layers share: the loop over time, weights, and checks of operands.

Glossary of shapes: N batch, T time steps, D input width, H hidden width. Sequences are
batch-major, (N, T, D).

A layer is its cell's arithmetic in a loop over time. The part of the pre-activation
that does not wait for the state, `x @ Wx + b`, is one matrix product for all time steps
before the loop, and the inputs and outputs of the loop are joined once: T steps cost
O(T), forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import minigrad as mg
from minigrad.backend import device_of
from nn import init
from nn.checks import array_of, check_shape, check_size
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
        if h is not None:
            return h
        shape = (batch, self.hidden_size)
        return mg.zeros(shape, dtype=self.Wh.dtype, device=self.Wh.device)

    @property
    def weights(self) -> list[Any]:
        """Wx, Wh and the biases."""
        return [self.Wx, self.Wh, *(getattr(self, name) for name in self.biases)]


def input_part(x: Any, Wx: Any, b: Any) -> list[Any]:
    """`x @ Wx + b` for all time steps at once, as one (N, gates * H) for each step."""
    # Time first, so that every step's part lies in one piece of memory.
    return mg.unstack(mg.swapaxes(x, 0, 1) @ Wx + b, axis=0)


def operands_of(
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
    x, Wh = operands["x"], operands["Wh"]
    N, D = (x.shape[0], x.shape[-1]) if x.ndim == 2 + sequence else (0, 0)
    H = Wh.shape[0] if Wh.ndim else 0
    expected: dict[str, Any] = {"Wx": (D, gates * H), "Wh": (H, gates * H)}
    expected |= dict.fromkeys(states, (N, H)) | dict.fromkeys(biases, (gates * H,))
    for name in states:
        if operands[name] is None:
            device = device_of(array_of(Wh))
            operands[name] = mg.zeros((N, H), dtype=Wh.dtype, device=device)
    fit = all(operands[name].shape == shape for name, shape in expected.items())
    if not fit or N == 0 or x.shape[1] == 0:
        _explain(layer, gates, sequence, operands, expected)
    return list(operands.values())


def _explain(
    layer: str, gates: int, sequence: bool, operands: Any, expected: Any
) -> None:
    """Raise for what does not fit, with the sizes that follow from Wx."""
    x, Wx = operands["x"], operands["Wx"]
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
    check_shape(layer, "x", x, ("N", "T", D) if sequence else ("N", D), layout + sizes)
    if sequence and x.shape[1] == 0:
        raise ValueError(
            f"{layer}: x has shape {x.shape}, a sequence of no time steps, so there "
            "is no output to stack. Give at least one step."
        )
    check_shape(layer, "Wh", operands["Wh"], (H, width), sizes)
    rows = f"A state has one row for each of the N={len(x)} rows of x. "
    for name, shape in expected.items():
        way_out = rows + sizes if len(shape) == 2 else sizes
        check_shape(layer, name, operands[name], shape, way_out)
