"""Convolution: one set of weights for every window of an image.

Glossary of shapes: N batch, C and O channels in and out, (H, W) image, (K, L) window,
(P, Q) positions of the window. A pair may be given as one number for both of its sides.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.ops.windows import Pair
from nn import init
from nn.checks import array_of, check_size
from nn.dtypes import floats
from nn.module import Module, Parameter

Sides = int | Sequence[int]


def conv2d(
    x: Any,
    W: Any,
    b: Any = None,
    *,
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    relu: bool = False,
) -> Any:
    """Give every window's product with the weights, plus b, with `relu` its ReLU.

    A large batch is worked on in pieces, of which the ReLU is faster than a `relu` of
    the whole.

    Shapes: x (N, C, H, W), W (O, C, K, L), b (O,) or None, output (N, O, P, Q) with
    P = (H + 2 padding - dilation (K - 1) - 1) // stride + 1.
    Raises: ValueError where the shapes disagree, or the window does not fit.
    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition
    (1998), section II.A.
    """
    moves = pairs("conv2d", stride=stride, padding=padding, dilation=dilation)
    W, x, b = floats("conv2d", "W (O, C, K, L), x (N, C, H, W), b? (O,)", W, x, b)
    if relu and b is not None:
        return mg.conv2d_relu(x, W, b, **moves)
    y = _with_bias(mg.conv2d(x, W, **moves), b)
    return mg.relu(y) if relu else y


def conv_transpose2d(
    x: Any,
    W: Any,
    b: Any = None,
    *,
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
) -> Any:
    """Spread every element over a window: the adjoint of `conv2d` in its image.

    Shapes: x (N, O, P, Q), W (O, C, K, L), b (C,) or None, output (N, C, H, W) with
    H = (P - 1) stride - 2 padding + dilation (K - 1) + 1.
    Raises: ValueError where the shapes disagree.
    """
    layer, shapes = "conv_transpose2d", "W (O, C, K, L), x (N, O, P, Q), b? (C,)"
    moves = pairs(layer, stride=stride, padding=padding, dilation=dilation)
    W, x, b = floats(layer, shapes, W, x, b)
    sides = zip(x.shape[2:], W.shape[2:], *moves.values(), strict=True)
    shape = tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in sides)
    if min(shape) < 1:
        raise ValueError(f"{layer}: the image would be {shape}. Give less padding.")
    return _with_bias(mg.conv2d_to_input(x, W, shape=shape, **moves), b)


class Conv2d(Module):
    """Every window of an image times the same weights; with `relu`, its ReLU.

    Shapes and errors: as `conv2d`. W starts as `init.kaiming_normal` of the window's
    numbers, b as zeros.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: Sides,
        *,
        stride: Sides = 1,
        padding: Sides = 0,
        dilation: Sides = 1,
        bias: bool = True,
        relu: bool = False,
        dtype: Any = "float32",
        generator: mg.Generator | None = None,
    ) -> None:
        check_size("Conv2d", in_channels=in_channels, out_channels=out_channels)
        window = pairs("Conv2d", size=size)["size"]
        self.moves: Any = pairs(
            "Conv2d", stride=stride, padding=padding, dilation=dilation
        )
        self.relu = relu
        fan_in = in_channels * window[0] * window[1]
        flat = init.kaiming_normal((fan_in, out_channels), generator, dtype)
        self.W = Parameter(flat.T.reshape(out_channels, in_channels, *window))
        self.b = Parameter(init.zeros((out_channels,), dtype=dtype)) if bias else None

    def forward(self, x: Any) -> Any:
        """Give every window's product with the weights."""
        return conv2d(x, self.W, self.b, relu=self.relu, **self.moves)


def _with_bias(y: Any, b: Any) -> Any:
    """Add a number to each channel of y (N, C, H, W)."""
    return y if b is None else y + mg.reshape(b, shape=(y.shape[1], 1, 1))


def pairs(layer: str, **sides: Sides) -> dict[str, Pair]:
    """Give two numbers for each setting, of which both may be given as one.

    Raises: ValueError.
    """
    return {name: _pair(layer, name, value) for name, value in sides.items()}


def _pair(layer: str, name: str, value: Sides) -> Pair:
    sides, least = np.atleast_1d(array_of(value)), name != "padding"
    fits = sides.dtype.kind in "iu" and sides.shape in ((1,), (2,))
    if not fits or sides.min() < least:
        raise ValueError(
            f"{layer}: {name} is {value!r}, but must be a whole number of at least "
            f"{least:d}, or a pair of such."
        )
    first, *rest = sides.tolist()
    return first, (rest or [first])[0]
