"""Which primitives slide windows over an image?  unfold / fold, and convolutions.

unfold copies every window, fold adds windows back where they came from: each is the
other's adjoint. A convolution multiplies windows by weights. It is linear in both, so
its two gradients are linear as well, and the gradients of those are among the three:

    conv2d(x, w)           windows of x, times w
    conv2d_to_input(g, w)  w times g, folded           (the transposed convolution)
    conv2d_to_weight(x, g) windows of x, times g

Glossary of shapes: N batch, C and O channels in and out, (H, W) image, (K, L) window,
(P, Q) places of the window.

Sources: Dumoulin and Visin, A guide to convolution arithmetic for deep learning (2016),
for sizes and transposed convolutions; Chellapilla, Puri and Simard, High Performance
Convolutional Neural Networks for Document Processing (2006), for unfolding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minigrad.backend import Array
from minigrad.tape import primitive

Pair = tuple[int, int]
ONE: Pair = (1, 1)
NONE: Pair = (0, 0)

# A batch is unfolded in pieces of at most so many bytes (but of one image at least).
PIECE = 2**25


def places(size: int, window: int, stride: int, dilation: int) -> int:
    """At how many places a window fits along an axis.

    Raises: ValueError if it does not fit at all.
    """
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
    steps = zip(a.shape[-2:], size, stride, dilation, strict=True)
    counts = tuple(places(*step) for step in steps)
    result = np.empty_like(a, shape=(*a.shape[:-2], *size, *counts))
    for offset, part in _parts(size, counts, stride, dilation):
        result[(..., *offset, slice(None), slice(None))] = a[part]
    return result


@primitive(
    lambda g, a_shape, stride, dilation: unfold(
        g, size=a_shape[-4:-2], stride=stride, dilation=dilation
    )
)
def fold(a: Array, *, shape: Pair, stride: Pair = ONE, dilation: Pair = ONE) -> Array:
    """Add windows where they came from. Shapes: (..., K, L, P, Q) -> (..., H, W)."""
    result = np.zeros_like(a, shape=(*a.shape[:-4], *shape))
    for offset, part in _parts(a.shape[-4:-2], a.shape[-2:], stride, dilation):
        result[part] += a[(..., *offset, slice(None), slice(None))]
    return result


def _parts(
    size: Sequence[int], counts: Sequence[int], stride: Pair, dilation: Pair
) -> Iterator[tuple[Any, Any]]:
    """For each place inside a window, the elements that come to stand there."""
    for offset in np.ndindex(*size):
        steps = zip(offset, counts, stride, dilation, strict=True)
        yield (
            offset,
            (..., *(slice(o * d, o * d + s * (n - 1) + 1, s) for o, n, s, d in steps)),
        )


# -- convolutions ------------------------------------------------------------------


@primitive(
    lambda g, w, x_shape, stride, padding, dilation: conv2d_to_input(
        g,
        w,
        shape=x_shape[-2:],
        stride=stride,
        padding=padding,
        dilation=dilation,
    ),
    lambda g, x, w_shape, stride, padding, dilation: conv2d_to_weight(
        x,
        g,
        size=w_shape[-2:],
        stride=stride,
        padding=padding,
        dilation=dilation,
    ),
)
def conv2d(
    x: Array,
    w: Array,
    *,
    stride: Pair = ONE,
    padding: Pair = NONE,
    dilation: Pair = ONE,
) -> Array:
    """Windows times weights. Shapes: (N, C, H, W), (O, C, K, L) -> (N, O, P, Q)."""
    x = _padded(x, padding)
    steps = zip(x.shape[-2:], w.shape[-2:], stride, dilation, strict=True)
    counts = tuple(places(*step) for step in steps)
    weights = w.reshape(len(w), -1)
    result = np.empty_like(x, shape=(len(x), len(w), *counts))
    for piece in _pieces(x, w.shape, counts):
        columns = _columns(x[piece], w.shape[-2:], stride, dilation)
        product = weights @ columns
        result[piece] = product.reshape(-1, len(w), *counts)
    return result


@primitive(
    lambda g, w, stride, padding, dilation: conv2d(
        g, w, stride=stride, padding=padding, dilation=dilation
    ),
    lambda g, x, w_shape, stride, padding, dilation: conv2d_to_weight(
        g,
        x,
        size=w_shape[-2:],
        stride=stride,
        padding=padding,
        dilation=dilation,
    ),
)
def conv2d_to_input(
    x: Array,
    w: Array,
    *,
    shape: Pair,
    stride: Pair = ONE,
    padding: Pair = NONE,
    dilation: Pair = ONE,
) -> Array:
    """Weights folded. Shapes: (N, O, P, Q), (O, C, K, L) -> (N, C, H, W)."""
    counts = (x.shape[2], x.shape[3])
    C = w.shape[1]
    outer = (shape[0] + 2 * padding[0], shape[1] + 2 * padding[1])
    weights = w.reshape(len(w), -1).T
    result = np.empty_like(x, shape=(len(x), C, *outer))
    for piece in _pieces(result, w.shape, counts):
        columns = weights @ x[piece].reshape(-1, len(w), counts[0] * counts[1])
        windows = columns.reshape(-1, C, *w.shape[-2:], *counts)
        result[piece] = fold(windows, shape=outer, stride=stride, dilation=dilation)
    (top, left), (height, width) = padding, shape
    return result[..., top : top + height, left : left + width]


@primitive(
    lambda g, v, x_shape, stride, padding, dilation: conv2d_to_input(
        v,
        g,
        shape=x_shape[-2:],
        stride=stride,
        padding=padding,
        dilation=dilation,
    ),
    lambda g, x, stride, padding, dilation: conv2d(
        x, g, stride=stride, padding=padding, dilation=dilation
    ),
)
def conv2d_to_weight(
    x: Array,
    v: Array,
    *,
    size: Pair,
    stride: Pair = ONE,
    padding: Pair = NONE,
    dilation: Pair = ONE,
) -> Array:
    """Windows times outputs. Shapes: (N, C, H, W), (N, O, P, Q) -> (O, C, K, L)."""
    x = _padded(x, padding)
    C, outputs = x.shape[1], v.shape[1]
    counts = (v.shape[2], v.shape[3])
    result = np.zeros_like(x, shape=(outputs, C * size[0] * size[1]))
    for piece in _pieces(x, (outputs, C, *size), counts):
        columns = _columns(x[piece], size, stride, dilation, counts)
        told = v[piece].reshape(-1, outputs, counts[0] * counts[1])
        result += (told @ columns.swapaxes(-1, -2)).sum(axis=0)
    return result.reshape(outputs, C, *size)


def _padded(x: Array, padding: Pair) -> Array:
    """Zeros around the last two axes."""
    if padding == NONE:
        return x
    (top, left), (H, W) = padding, x.shape[-2:]
    shape = (*x.shape[:-2], H + 2 * top, W + 2 * left)
    result = np.zeros_like(x, shape=shape)
    result[..., top : top + H, left : left + W] = x
    return result


def _columns(
    x: Array, size: Pair, stride: Pair, dilation: Pair, counts: Pair | None = None
) -> Array:
    """Windows as columns. Shapes: (N, C, H, W) -> (N, C * K * L, P * Q)."""
    N, C = x.shape[:2]
    if size == ONE and stride == ONE:
        return x.reshape(N, C, -1)  # each element is its own window: nothing to copy
    windows = unfold(x, size=size, stride=stride, dilation=dilation)
    if counts is not None:
        windows = windows[..., : counts[0], : counts[1]]
    return windows.reshape(N, C * size[0] * size[1], -1)


def _pieces(
    x: Array, weights: tuple[int, ...], counts: Sequence[int]
) -> Iterator[slice]:
    """The batch in pieces whose windows take no more than `PIECE` bytes."""
    _, C, K, L = weights
    each = C * K * L * counts[0] * counts[1] * x.dtype.itemsize
    size = max(1, PIECE // max(1, each))
    for begin in range(0, len(x), size):
        yield slice(begin, begin + size)
