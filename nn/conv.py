"""Convolution and pooling: what every window of an image gives.

Glossary of shapes: N batch, C and O channels in and out, (H, W) image, (K, L) window,
(P, Q) positions of the window. A pair may be given as one number for both of its sides.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

import minigrad as mg
from minigrad.ops.windows import Pair
from minigrad.tape import constant
from nn import init
from nn.checks import array_of, check_shapes, check_size
from nn.dtypes import floats, narrow, numbers, wide
from nn.module import Module, Parameter

Sides = int | Sequence[int]


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


# -- convolution -------------------------------------------------------------------


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


# -- pooling -----------------------------------------------------------------------


def max_pool2d(
    x: Any,
    size: Sides,
    *,
    stride: Sides | None = None,
    padding: Sides = 0,
    ceil_mode: bool = False,
) -> Any:
    """Give the largest of every window; of those that tie, the first has its gradient.

    Shapes: x (N, C, H, W), output (N, C, P, Q). P is rounded down, with `ceil_mode` up;
    a last window then reaches over the edge, but begins inside.
    Raises: ValueError where the window does not fit, or is mostly padding.
    """
    x = numbers("max_pool2d", "x", x)
    least, sides = _least(x.dtype), (size, stride, padding)
    padded, windows, _ = _padded("max_pool2d", x, least, ceil_mode, *sides)
    return mg.max_pool2d(padded, **windows)


def avg_pool2d(
    x: Any,
    size: Sides,
    *,
    stride: Sides | None = None,
    padding: Sides = 0,
    ceil_mode: bool = False,
) -> Any:
    """Give the mean of every window; padding counts as zeros.

    What a last window of `ceil_mode` has beyond the padding does not count.
    Windows of float16 are summed in float32.
    Shapes and Raises: as `max_pool2d`.
    """
    (x,) = floats("avg_pool2d", "x (...)", x)
    sides = (size, stride, padding)
    padded, windows, inside = _padded("avg_pool2d", wide(x), 0.0, ceil_mode, *sides)
    total = mg.sum(mg.unfold(padded, **windows), (-4, -3))
    counts = np.zeros((1, 1, *padded.shape[2:]), total.dtype, like=array_of(padded))
    constant(counts)[:, :, : inside[0], : inside[1]] = 1
    return narrow(total / mg.sum(mg.unfold(counts, **windows), (-4, -3)), x)


class _Pooling(Module):
    """What both poolings have: sizes, and nothing to learn."""

    pool: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        size: Sides,
        *,
        stride: Sides | None = None,
        padding: Sides = 0,
        ceil_mode: bool = False,
    ) -> None:
        kind, stride = type(self).__name__, size if stride is None else stride
        self.sides: Any = pairs(kind, size=size, stride=stride, padding=padding)
        self.ceil_mode = ceil_mode

    def forward(self, x: Any) -> Any:
        """Give the largest or the mean of every window."""
        return type(self).pool(x, **self.sides, ceil_mode=self.ceil_mode)


class MaxPool2d(_Pooling):
    """The largest of every window. Shapes and errors: as `max_pool2d`."""

    pool = max_pool2d


class AvgPool2d(_Pooling):
    """The mean of every window. Shapes and errors: as `avg_pool2d`."""

    pool = avg_pool2d


def _padded(
    layer: str,
    x: Any,
    value: float,
    ceil_mode: bool,
    size: Sides,
    stride: Sides | None,
    padding: Sides,
) -> tuple[Any, dict[str, Pair], list[int]]:
    """The image as far as the last windows reach, the windows, and what counts of it.

    With `ceil_mode` the last windows may need more than the padding, which counts.

    Raises: ValueError.
    """
    check_shapes(layer, "x (N, C, H, W)", x)
    windows = pairs(layer, size=size, stride=size if stride is None else stride)
    edge = pairs(layer, padding=padding)["padding"]
    widths = [(0, 0), (0, 0)]
    for n, k, s, p in zip(x.shape[2:], *windows.values(), edge, strict=True):
        if 2 * p > k:
            raise ValueError(
                f"{layer}: padding {p} is more than half of the window's {k}, so that "
                "some windows would hold nothing else. Give less."
            )
        left = (n + 2 * p - k) % s
        # The window after the last one counts if it begins before the far padding.
        last = n + 2 * p - k - left + s
        widths.append((p, p + (s - left if ceil_mode and left and last < n + p else 0)))
    inside = [n + 2 * p for n, p in zip(x.shape[2:], edge, strict=True)]
    if any(map(any, widths)):
        x = mg.pad(x, widths=tuple(widths), value=value)
    return x, windows, inside


def _least(dtype: Any) -> float:
    """The least number of a dtype: minus infinity would give NaN in differences."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).min)
    return 0 if dtype.kind == "b" else int(np.iinfo(dtype).min)
