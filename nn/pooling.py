"""Pooling: the largest or the mean of every window of an image.

Glossary of shapes: N batch, C channels, (H, W) image, (P, Q) positions of the window.
A pair may be given as one number for both of its sides.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import minigrad as mg
from minigrad.ops.windows import Pair
from nn.checks import array_of, check_shapes
from nn.conv import Sides, pairs
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
    counts[:, :, : inside[0], : inside[1]] = 1
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
