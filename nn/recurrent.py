"""What recurrent layers share: the loop over time, weights, and checks of operands.

Glossary of shapes: N batch, T time steps, D input width, H hidden width. Sequences are
batch-major, (N, T, D).

A layer is its cell's arithmetic in a loop over time. The part of the pre-activation
that does not wait for the state, `x @ Wx + b`, is one matrix product for all time steps
before the loop, and the inputs and outputs of the loop are joined once: T steps cost
O(T), forward and backward.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import minigrad as mg
from minigrad.backend import device_of
from nn import init
from nn.checks import array_of, check_size
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
        return _zeros(batch, like=self.Wh) if h is None else h

    @property
    def weights(self) -> list[Any]:
        """Wx, Wh and the biases."""
        return [self.Wx, self.Wh, *(getattr(self, name) for name in self.biases)]


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
    shapes = f"Wx (D, G), Wh (H, G), {shapes}".replace("G", f"{gates}H")
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
