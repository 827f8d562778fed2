"""Pooling: the largest or the mean of every window of an image.

Glossary of shapes: N batch, C channels, (H, W) image, (P, Q) positions of the window.
A pair may be given as one number for both of its sides.
"""

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.backend import beside
from minigrad.ops import windows
from minigrad.ops.windows import Pair
from nn.checks import array_of, check_shapes
from nn.conv import Sides, pair
from nn.dtypes import floats, narrow, numbers, wide
from nn.module import Module


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
    window, step, around = _windows("max_pool2d", x, size, stride, padding, ceil_mode)
    padded = _padded(x, around, _least(x.dtype))
    return mg.max_pool2d(padded, size=window, stride=step)


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
    window, step, around = _windows("avg_pool2d", x, size, stride, padding, ceil_mode)
    padded = _padded(wide(x), around, 0.0)
    total = mg.sum(mg.unfold(padded, size=window, stride=step), (-4, -3))
    counts = _counts(x.shape[2:], window, step, around).astype(total.dtype)
    return narrow(total / beside(counts, array_of(total)), x)


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
        self.settings: Any = {
            "size": pair(kind, "size", size, 1),
            "stride": pair(kind, "stride", size if stride is None else stride, 1),
            "padding": pair(kind, "padding", padding, 0),
            "ceil_mode": ceil_mode,
        }


class MaxPool2d(_Pooling):
    """The largest of every window. Shapes and errors: as `max_pool2d`."""

    def forward(self, x: Any) -> Any:
        """Give the largest of every window."""
        return max_pool2d(x, **self.settings)


class AvgPool2d(_Pooling):
    """The mean of every window. Shapes and errors: as `avg_pool2d`."""

    def forward(self, x: Any) -> Any:
        """Give the mean of every window."""
        return avg_pool2d(x, **self.settings)


def _windows(
    layer: str,
    x: Any,
    size: Sides,
    stride: Sides | None,
    padding: Sides,
    ceil_mode: bool,
) -> tuple[Pair, Pair, list[tuple[int, int, int]]]:
    """Check; give size and stride of the windows, and the padding of both axes.

    Padding is (before, after, beyond): with `ceil_mode` the last windows may need more
    than what was asked for.

    Raises: ValueError.
    """
    check_shapes(layer, "x (N, C, H, W)", x)
    window = pair(layer, "size", size, 1)
    step = pair(layer, "stride", window if stride is None else stride, 1)
    edge = pair(layer, "padding", padding, 0)
    around = []
    for n, k, s, p in zip(x.shape[2:], window, step, edge, strict=True):
        if 2 * p > k:
            raise ValueError(
                f"{layer}: padding {p} is more than half of the window's {k}, so that "
                "some windows would hold nothing else. Give less."
            )
        left = (n + 2 * p - k) % s
        # The window after the last one counts if it begins before the far padding.
        last = n + 2 * p - k - left + s
        around.append((p, p, s - left if ceil_mode and left and last < n + p else 0))
    return window, step, around


def _padded(x: Any, around: list[tuple[int, int, int]], value: float) -> Any:
    """The image as far as the last windows reach."""
    sides = tuple((before, after + beyond) for before, after, beyond in around)
    if not any(map(any, sides)):
        return x
    return mg.pad(x, widths=((0, 0), (0, 0), *sides), value=value)


def _counts(
    image: Pair, size: Pair, stride: Pair, around: list[tuple[int, int, int]]
) -> np.ndarray:
    """How many elements of each window count. Shapes: -> (P, Q)."""
    per_axis = []
    for n, k, s, (before, after, beyond) in zip(
        image, size, stride, around, strict=True
    ):
        inside = n + before + after
        starts = np.arange(windows.positions(inside + beyond, k, s, 1)) * s
        per_axis.append(np.minimum(starts + k, inside) - starts)
    return np.multiply.outer(*per_axis)


def _least(dtype: Any) -> float:
    """The least number of a dtype: minus infinity would give NaN in differences."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).min)
    return 0 if dtype.kind == "b" else int(np.iinfo(dtype).min)
