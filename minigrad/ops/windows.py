"""Primitives of sliding windows: unfold and fold, and what works in windows shares.

unfold copies every window, fold adds windows back where they came from: each is the
other's adjoint. A batch is worked on in pieces whose windows fit into the processor's
cache: memory is bounded, and what follows finds its operands there.

Glossary of shapes: N batch, C channels, (H, W) image, (K, L) window, (P, Q) its
positions.

Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning (2016).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minigrad.backend import Array, piece_bytes
from minigrad.tape import primitive

Pair = tuple[int, int]
ONE: Pair = (1, 1)
NONE: Pair = (0, 0)


def positions(size: int, window: int, stride: int, dilation: int) -> int:
    """How many positions a window has along an axis.

    Raises: ValueError if it does not fit at all, or never moves on.
    """
    if min(window, stride, dilation) < 1:
        raise ValueError(
            f"a window of {window} elements with stride {stride} and dilation "
            f"{dilation}: each is 1 at least"
        )
    span = dilation * (window - 1) + 1
    if span > size:
        raise ValueError(
            f"a window that spans {span} elements does not fit into {size}: pad the "
            "image, or take a smaller window or dilation"
        )
    return (size - span) // stride + 1


@primitive(
    lambda g, a_shape, stride, dilation: fold(
        g, shape=a_shape[-2:], stride=stride, dilation=dilation
    )
)
def unfold(a: Array, *, size: Pair, stride: Pair = ONE, dilation: Pair = ONE) -> Array:
    """Every window of the last two axes. Shapes: (..., H, W) -> (..., K, L, P, Q)."""
    windows = windows_of(a, size, stride, dilation)
    return np.moveaxis(windows, (-2, -1), (-4, -3)).copy()


@primitive(
    lambda g, a_shape, stride, dilation: unfold(
        g, size=a_shape[-4:-2], stride=stride, dilation=dilation
    )
)
def fold(a: Array, *, shape: Pair, stride: Pair = ONE, dilation: Pair = ONE) -> Array:
    """Add windows where they came from. Shapes: (..., K, L, P, Q) -> (..., H, W)."""
    result = np.empty_like(a, shape=(*a.shape[:-4], *shape))
    fold_into(a, result, stride, dilation)
    return result


def fold_into(a: Array, into: Array, stride: Pair, dilation: Pair) -> None:
    """Write the sum of windows where they came from."""
    into[...] = 0
    for offset, part in parts(a.shape[-4:-2], a.shape[-2:], stride, dilation):
        into[part] += a[(..., *offset, slice(None), slice(None))]


def windows_of(a: Array, size: Pair, stride: Pair, dilation: Pair) -> Array:
    """Every window, without a copy. Shapes: (..., H, W) -> (..., P, Q, K, L)."""
    counts_of(a, size, stride, dilation)  # says what does not fit
    spans = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(a, spans, axis=(-2, -1))
    (s, t), (d, e) = stride, dilation
    return windows[..., ::s, ::t, ::d, ::e]


def counts_of(a: Array, size: Sequence[int], stride: Pair, dilation: Pair) -> Pair:
    """How many positions a window has along each of the last two axes."""
    steps = zip(a.shape[-2:], size, stride, dilation, strict=True)
    P, Q = (positions(*step) for step in steps)
    return P, Q


def parts(
    size: Sequence[int], counts: Sequence[int], stride: Pair, dilation: Pair
) -> Iterator[tuple[Any, Any]]:
    """For each element of the window, those of the image that it meets."""
    for offset in np.ndindex(*size):
        steps = zip(offset, counts, stride, dilation, strict=True)
        yield (
            offset,
            (..., *(slice(o * d, o * d + s * (n - 1) + 1, s) for o, n, s, d in steps)),
        )


# -- pieces of a batch ------------------------------------------------------------


class Room:
    """Memory for one piece after another: fresh memory costs more than the work in it.

    What `of` gave is of use until it is asked again.
    """

    def __init__(self, like: Array) -> None:
        self.flat = np.empty_like(like, shape=(0,))

    def of(self, *shape: int) -> Array:
        """Give an array of a shape, of any content."""
        count = math.prod(shape)
        if self.flat.size < count:
            self.flat = np.empty_like(self.flat, shape=(count,))
        return self.flat[:count].reshape(shape)


def pieces(x: Array, each: int) -> Iterator[slice]:
    """The batch in pieces of a bounded size, if `each` image makes so many numbers.

    A piece is of one image at least.
    """
    size = max(1, piece_bytes(x) // max(1, each * x.dtype.itemsize))
    for begin in range(0, len(x), size):
        yield slice(begin, begin + size)
