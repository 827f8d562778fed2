"""Which primitives slide windows over an image?  unfold / fold, convolutions, pooling.

unfold copies every window, fold adds windows back where they came from: each is the
other's adjoint. A convolution multiplies windows by weights. It is linear in both, so
its two gradients are linear as well, and the gradients of those are among the three:

    conv2d(x, w)           windows of x, times w
    conv2d_to_input(g, w)  w times g, folded           (the transposed convolution)
    conv2d_to_weight(x, g) windows of x, times g

In memory the results of convolutions have their channels last, whatever the shape says:
windows are then rows of a matrix and short copies become long ones, and `x @ W` is the
whole convolution. Element-wise primitives keep that order, so it lasts to the end.

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
    windows = _windows(a, size, stride, dilation)
    return np.moveaxis(windows, (-2, -1), (-4, -3)).copy()


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


def _windows(a: Array, size: Pair, stride: Pair, dilation: Pair) -> Array:
    """Every window, without a copy. Shapes: (..., H, W) -> (..., P, Q, K, L)."""
    _counts(a, size, stride, dilation)  # says what does not fit
    spans = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(a, spans, axis=(-2, -1))
    moves = (*stride, *dilation)
    return windows[(..., *(slice(None, None, step) for step in moves))]


def _counts(a: Array, size: Sequence[int], stride: Pair, dilation: Pair) -> Pair:
    """At how many places a window fits along each of the last two axes."""
    steps = zip(a.shape[-2:], size, stride, dilation, strict=True)
    P, Q = (places(*step) for step in steps)
    return P, Q


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
    counts = _counts(x, w.shape[-2:], stride, dilation)
    result = _channels_last(x, len(w), counts)
    for piece in _pieces(x, w.shape, counts):
        columns = _columns(x[piece], w.shape[-2:], stride, dilation, counts)
        np.matmul(columns, _matrix(w), out=_rows(result[piece]))
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
    counts = x.shape[-2:]
    C, (K, L) = w.shape[1], w.shape[2:]
    result = _channels_last(x, C, shape)
    if _copies_nothing((K, L), stride) and padding == NONE:
        np.matmul(_rows(x), _matrix(w).T, out=_rows(result))
        return result
    (top, left), (H, W) = padding, shape
    for piece in _pieces(x, w.shape, counts):
        # The places last: a row of the picture is then added at once.
        columns = _matrix(w) @ _rows(x[piece]).T
        windows = columns.reshape(K, L, C, -1, *counts).transpose(3, 2, 0, 1, 4, 5)
        outer = (H + 2 * top, W + 2 * left)
        whole = fold(windows, shape=outer, stride=stride, dilation=dilation)
        result[piece] = whole[..., top : top + H, left : left + W]
    return result


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
    counts = v.shape[-2:]
    result = np.zeros_like(x, shape=(outputs, size[0] * size[1] * C))
    for piece in _pieces(x, (outputs, C, *size), counts):
        columns = _columns(x[piece], size, stride, dilation, counts)
        result += _rows(v[piece]).T @ columns
    return result.reshape(outputs, *size, C).transpose(0, 3, 1, 2).copy()


def _padded(x: Array, padding: Pair) -> Array:
    """Zeros around the last two axes."""
    if padding == NONE:
        return x
    (top, left), (H, W) = padding, x.shape[-2:]
    shape = (*x.shape[:-2], H + 2 * top, W + 2 * left)
    result = np.zeros_like(x, shape=shape)
    result[..., top : top + H, left : left + W] = x
    return result


def _channels_last(x: Array, channels: int, sides: Pair) -> Array:
    """Room for (N, C, H, W) whose channels are neighbours in memory."""
    room = np.empty_like(x, shape=(len(x), *sides, channels), order="C")
    return room.transpose(0, 3, 1, 2)


def _rows(x: Array) -> Array:
    """The channels of each place. Shapes: (N, C, H, W) -> (N * H * W, C)."""
    return x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])


def _matrix(w: Array) -> Array:
    """The weights of each output. Shapes: (O, C, K, L) -> (K * L * C, O)."""
    return w.transpose(0, 2, 3, 1).reshape(len(w), -1).T


def _copies_nothing(size: Sequence[int], stride: Pair) -> bool:
    """Whether each element is a window by itself."""
    return tuple(size) == ONE and stride == ONE


def _columns(
    x: Array, size: Pair, stride: Pair, dilation: Pair, counts: Pair
) -> Array:
    """Windows as rows. Shapes: (N, C, H, W) -> (N * P * Q, K * L * C)."""
    if _copies_nothing(size, stride):
        return _rows(x)
    windows = _windows(x, size, stride, dilation)[:, :, : counts[0], : counts[1]]
    rows = windows.transpose(0, 2, 3, 4, 5, 1)
    return rows.reshape(-1, size[0] * size[1] * x.shape[1])


def _pieces(
    x: Array, weights: tuple[int, ...], counts: Sequence[int]
) -> Iterator[slice]:
    """The batch in pieces whose windows take no more than `PIECE` bytes."""
    _, C, K, L = weights
    each = C * K * L * counts[0] * counts[1] * x.dtype.itemsize
    size = max(1, PIECE // max(1, each))
    for begin in range(0, len(x), size):
        yield slice(begin, begin + size)


# -- pooling -----------------------------------------------------------------------


@primitive(
    lambda g, x, y, size, stride: to_largest(g, x, y, size=size, stride=stride),
    kinks={"x": ("x",)},
)
def max_pool2d(x: Array, *, size: Pair, stride: Pair) -> Array:
    """The largest of every window. Shapes: (..., H, W) -> (..., P, Q).

    The gradient is the first one's of those that tie, row by row.
    """
    parts = _parts(size, _counts(x, size, stride, ONE), stride, ONE)
    largest = x[next(parts)[1]].copy("K")
    for _, part in parts:
        np.maximum(largest, x[part], out=largest)
    return largest


@primitive(
    lambda g, x, largest, size, stride: at_largest(
        g, x, largest, size=size, stride=stride
    ),
    None,
    None,
)
def to_largest(
    v: Array, x: Array, largest: Array, *, size: Pair, stride: Pair
) -> Array:
    """Each number to where its window's largest stands; those that meet are added.

    Shapes: v and largest = max_pool2d(x) (..., P, Q), x and result (..., H, W).
    """
    result = np.zeros_like(x, dtype=v.dtype)
    for part, first in _firsts(x, largest, size, stride):
        result[part] += v * first
    return result


@primitive(
    lambda g, x, largest, size, stride: to_largest(
        g, x, largest, size=size, stride=stride
    ),
    None,
    None,
)
def at_largest(
    v: Array, x: Array, largest: Array, *, size: Pair, stride: Pair
) -> Array:
    """What stands where each window's largest does: the adjoint of `to_largest`.

    Shapes: v and x (..., H, W), largest = max_pool2d(x) and result (..., P, Q).
    """
    result = np.zeros_like(largest, dtype=v.dtype)
    for part, first in _firsts(x, largest, size, stride):
        result += v[part] * first
    return result


def _firsts(
    x: Array, largest: Array, size: Pair, stride: Pair
) -> Iterator[tuple[Any, Array]]:
    """For each place inside a window, the windows whose largest stands there first."""
    left = np.ones_like(largest, dtype=bool)
    for _, part in _parts(size, largest.shape[-2:], stride, ONE):
        first = x[part] == largest
        first &= left
        left ^= first
        yield part, first
