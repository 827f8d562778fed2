"""How does a network look at pictures? Through windows that slide over them.

Glossary of shapes: N batch, C and O channels in and out, (H, W) picture, (K, L) window,
(P, Q) places of the window. A pair may be given as one number for both of its sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.backend import beside
from minigrad.ops import windows
from minigrad.ops.windows import Pair
from nn import init
from nn.checks import array_of, check_shape, check_size
from nn.dtypes import floats, narrow, numbers, wide
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
    """Give every window's product with the weights, plus b; with `relu`, cut at 0.

    A large batch is worked on in pieces, whose windows and outputs take at most 4 MB
    each (256 MB on a GPU), or one picture's; a window of one element is a matrix
    product, for which nothing is copied. Cutting pieces at 0 is faster than a `relu` of
    the whole.

    Shapes: x (N, C, H, W), W (O, C, K, L), b (O,) or None, output (N, O, P, Q) with
    P = (H + 2 padding - dilation (K - 1) - 1) // stride + 1.
    Raises: ValueError where the shapes disagree, or the window does not fit.
    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition
    (1998), section II.A.
    """
    moves = _moves("conv2d", stride, padding, dilation)
    x, W, b = floats("conv2d", x=x, W=W, b=b, optional=("b",))
    check_shape("conv2d", "W", W, ("O", "C", "K", "L"), "Weights have four axes.")
    way_out = "Pictures are (N, C, H, W), the channels first, as many as W has."
    check_shape("conv2d", "x", x, ("N", W.shape[1], "H", "W"), way_out)
    if relu and b is not None:
        _check_shift("conv2d", W.shape[0], b)
        return mg.conv2d_relu(x, W, b, **moves)
    y = _shifted("conv2d", mg.conv2d(x, W, **moves), b)
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
    """Spread every element over a window: the adjoint of `conv2d` by its picture.

    Shapes: x (N, O, P, Q), W (O, C, K, L), b (C,) or None, output (N, C, H, W) with
    H = (P - 1) stride - 2 padding + dilation (K - 1) + 1.
    Raises: ValueError where the shapes disagree.
    """
    moves = _moves("conv_transpose2d", stride, padding, dilation)
    x, W, b = floats("conv_transpose2d", x=x, W=W, b=b, optional=("b",))
    check_shape("conv_transpose2d", "W", W, ("O", "C", "K", "L"), "It has four axes.")
    way_out = "Pictures are (N, C, H, W), as many channels as W has first."
    check_shape("conv_transpose2d", "x", x, ("N", W.shape[0], "P", "Q"), way_out)
    steps = zip(
        x.shape[2:],
        W.shape[2:],
        moves["stride"],
        moves["padding"],
        moves["dilation"],
        strict=True,
    )
    shape = tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in steps)
    if min(shape) < 1:
        raise ValueError(
            f"conv_transpose2d: the picture would be {shape}. Give less padding."
        )
    return _shifted(
        "conv_transpose2d", mg.conv2d_to_input(x, W, shape=shape, **moves), b
    )


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
    pool = _Pool.of("max_pool2d", x, size, stride, padding, ceil_mode)
    return mg.max_pool2d(
        pool.padded(x, _least(x.dtype)), size=pool.size, stride=pool.stride
    )


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
    (x,) = floats("avg_pool2d", x=x)
    pool = _Pool.of("avg_pool2d", x, size, stride, padding, ceil_mode)
    padded = pool.padded(wide(x), 0.0)
    total = mg.sum(mg.unfold(padded, size=pool.size, stride=pool.stride), (-4, -3))
    counts = pool.counted().astype(total.dtype)
    return narrow(total / beside(counts, array_of(total)), x)


def _least(dtype: Any) -> float:
    """The least number of a dtype: minus infinity would give NaN in differences."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).min)
    return 0 if dtype.kind == "b" else int(np.iinfo(dtype).min)


class _Pool:
    """How a pooling window moves over a picture, and what is put around that."""

    def __init__(self, size: Pair, stride: Pair, around: list[list[int]]) -> None:
        self.size = size
        self.stride = stride
        self.around = around  # (before, after, beyond after) for each axis
        self.shape: Pair = (0, 0)

    @classmethod
    def of(
        cls,
        layer: str,
        x: Any,
        size: Sides,
        stride: Sides | None,
        padding: Sides,
        ceil_mode: bool,
    ) -> _Pool:
        """Check, and find how far the last windows reach.

        Raises: ValueError.
        """
        check_shape(layer, "x", x, ("N", "C", "H", "W"), "The channels come first.")
        window = _pair(layer, "size", size, 1)
        step = _pair(layer, "stride", window if stride is None else stride, 1)
        edge = _pair(layer, "padding", padding, 0)
        around = []
        for n, k, s, p in zip(x.shape[2:], window, step, edge, strict=True):
            if 2 * p > k:
                raise ValueError(
                    f"{layer}: padding {p} is more than half of the window's {k}, so "
                    "that some windows would hold nothing else. Give less."
                )
            left = (n + 2 * p - k) % s
            # The window after the last one counts if it begins before the far padding.
            last = n + 2 * p - k - left + s
            beyond = s - left if ceil_mode and left and last < n + p else 0
            around.append([p, p, beyond])
        pool = cls(window, step, around)
        pool.shape = x.shape[2:]
        return pool

    def padded(self, x: Any, value: float) -> Any:
        """The picture as far as the last windows reach."""
        sides = tuple((before, after + more) for before, after, more in self.around)
        if not any(map(any, sides)):
            return x
        return mg.pad(x, widths=((0, 0), (0, 0), *sides), value=value)

    def counted(self) -> np.ndarray:
        """How many elements of each window count. Shapes: -> (P, Q)."""
        per_axis = []
        for n, k, s, (before, after, more) in zip(
            self.shape, self.size, self.stride, self.around, strict=True
        ):
            inside = n + before + after
            starts = np.arange(windows.places(inside + more, k, s, 1)) * s
            per_axis.append(np.minimum(starts + k, inside) - starts)
        return np.multiply.outer(*per_axis)


class Conv2d(Module):
    """Windows of a picture times weights, the same for all places.

    With `relu`, what they give is cut at 0.
    Shapes: x (N, C, H, W), W (O, C, K, L), b (O,), output (N, O, P, Q). W starts as
    `init.kaiming_normal` of the window's numbers, b as zeros.
    Raises: ValueError for sizes that do not fit.
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
        window = _pair("Conv2d", "size", size, 1)
        self.moves = _moves("Conv2d", stride, padding, dilation)
        self.relu = relu
        fan_in = in_channels * window[0] * window[1]
        flat = init.kaiming_normal((fan_in, out_channels), generator, dtype)
        self.W = Parameter(flat.T.reshape(out_channels, in_channels, *window))
        self.b = (
            Parameter(init.zeros((out_channels,), generator, dtype)) if bias else None
        )

    def forward(self, x: Any) -> Any:
        """Give every window's product with the weights."""
        return conv2d(x, self.W, self.b, relu=self.relu, **self.moves)


class _Pooling(Module):
    """What both poolings have: sizes, and nothing to learn."""

    def __init__(
        self,
        size: Sides,
        *,
        stride: Sides | None = None,
        padding: Sides = 0,
        ceil_mode: bool = False,
    ) -> None:
        kind = type(self).__name__
        self.size = _pair(kind, "size", size, 1)
        self.stride = _pair(kind, "stride", size if stride is None else stride, 1)
        self.padding = _pair(kind, "padding", padding, 0)
        self.ceil_mode = ceil_mode

    @property
    def _settings(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
        }


class MaxPool2d(_Pooling):
    """The largest of every window. Shapes and errors: as `max_pool2d`."""

    def forward(self, x: Any) -> Any:
        """Give the largest of every window."""
        return max_pool2d(x, **self._settings)


class AvgPool2d(_Pooling):
    """The mean of every window. Shapes and errors: as `avg_pool2d`."""

    def forward(self, x: Any) -> Any:
        """Give the mean of every window."""
        return avg_pool2d(x, **self._settings)


def _shifted(layer: str, y: Any, b: Any) -> Any:
    """Add a number to each channel."""
    if b is None:
        return y
    _check_shift(layer, y.shape[1], b)
    return y + mg.reshape(b, shape=(y.shape[1], 1, 1))


def _check_shift(layer: str, channels: int, b: Any) -> None:
    check_shape(layer, "b", b, (channels,), "It has a number for each channel.")


def _moves(layer: str, stride: Sides, padding: Sides, dilation: Sides) -> Any:
    return {
        "stride": _pair(layer, "stride", stride, 1),
        "padding": _pair(layer, "padding", padding, 0),
        "dilation": _pair(layer, "dilation", dilation, 1),
    }


def _pair(layer: str, name: str, value: Sides, least: int) -> Pair:
    """Two numbers, of which both may be given as one.

    Raises: ValueError.
    """
    sides = np.atleast_1d(array_of(value))
    fits = sides.dtype.kind in "iu" and sides.shape in ((1,), (2,))
    if not fits or sides.min() < least:
        raise ValueError(
            f"{layer}: {name} is {value!r}, but must be a whole number of at least "
            f"{least}, or a pair of such."
        )
    first, *rest = sides.tolist()
    return first, (rest or [first])[0]
