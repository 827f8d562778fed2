"""Primitives of sliding windows: unfold and fold, and convolutions.

unfold copies every window, fold adds windows back where they came from: each is the
other's adjoint. A convolution multiplies windows by weights. It is linear in both, so
its two gradients are linear as well, and the gradients of those are among the three:

    conv2d(x, w)           windows of x, times w
    conv2d_to_input(g, w)  w times g, folded           (the transposed convolution)
    conv2d_to_weight(x, g) windows of x, times g

A batch is worked on in pieces whose windows fit into the processor's cache: memory is
bounded, and what follows a product (a bias, a ReLU) finds it there.

In memory the results of convolutions have their channels last, whatever the shape says:
windows are then rows of a matrix and short copies become long ones, and `x @ W` is the
whole convolution. Element-wise primitives keep that order, so it lasts to the end.

Glossary of shapes: N batch, C and O channels in and out, (H, W) image, (K, L) window,
(P, Q) positions of the window.

Sources: Dumoulin and Visin, A guide to convolution arithmetic for deep learning (2016),
for sizes and transposed convolutions; Chellapilla, Puri and Simard, High Performance
Convolutional Neural Networks for Document Processing (2006), for unfolding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minigrad.backend import Array, piece_bytes
from minigrad.ops.elementwise import keep_where, masked
from minigrad.ops.reduce import sum
from minigrad.tape import primitive

Pair = tuple[int, int]
ONE: Pair = (1, 1)
NONE: Pair = (0, 0)


def places(size: int, window: int, stride: int, dilation: int) -> int:
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
    windows = _windows(a, size, stride, dilation)
    return np.moveaxis(windows, (-2, -1), (-4, -3)).copy()


@primitive(
    lambda g, a_shape, stride, dilation: unfold(
        g, size=a_shape[-4:-2], stride=stride, dilation=dilation
    )
)
def fold(a: Array, *, shape: Pair, stride: Pair = ONE, dilation: Pair = ONE) -> Array:
    """Add windows where they came from. Shapes: (..., K, L, P, Q) -> (..., H, W)."""
    result = np.empty_like(a, shape=(*a.shape[:-4], *shape))
    _fold(a, result, stride, dilation)
    return result


def _fold(a: Array, into: Array, stride: Pair, dilation: Pair) -> None:
    """Write the sum of windows where they came from."""
    into[...] = 0
    for offset, part in parts(a.shape[-4:-2], a.shape[-2:], stride, dilation):
        into[part] += a[(..., *offset, slice(None), slice(None))]


def _windows(a: Array, size: Pair, stride: Pair, dilation: Pair) -> Array:
    """Every window, without a copy. Shapes: (..., H, W) -> (..., P, Q, K, L)."""
    counts_of(a, size, stride, dilation)  # says what does not fit
    spans = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(a, spans, axis=(-2, -1))
    (s, t), (d, e) = stride, dilation
    return windows[..., ::s, ::t, ::d, ::e]


def counts_of(a: Array, size: Sequence[int], stride: Pair, dilation: Pair) -> Pair:
    """How many positions a window has along each of the last two axes."""
    steps = zip(a.shape[-2:], size, stride, dilation, strict=True)
    P, Q = (places(*step) for step in steps)
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
    return _convolved(x, w, stride, padding, dilation)


def _convolved(
    x: Array,
    w: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    finish: Callable[[Array], object] = lambda rows: None,
) -> Array:
    """Windows times weights; `finish` changes each piece (positions, O) in place."""
    _check_images(x, w, x.shape[1:2] == w.shape[1:2])
    x, w = _of_one_dtype(x, w)
    x = _padded(x, padding)
    size = w.shape[-2:]
    counts = counts_of(x, size, stride, dilation)
    result = _channels_last(x, len(w), counts)
    weights = _matrix(w)
    room = Room(x)
    for piece in pieces(x, max(weights.shape) * counts[0] * counts[1]):
        columns = _columns(x[piece], size, stride, dilation, counts, room)
        rows = _rows(result[piece])
        np.matmul(columns, weights, out=rows)
        finish(rows)
    return result


@primitive(
    lambda g, w, passed, x_shape, stride, padding, dilation: conv2d_relu_to_input(
        g,
        w,
        passed,
        shape=x_shape[-2:],
        stride=stride,
        padding=padding,
        dilation=dilation,
    ),
    lambda g, x, passed, w_shape, stride, padding, dilation: conv2d_to_weight(
        x,
        masked(g, passed),
        size=w_shape[-2:],
        stride=stride,
        padding=padding,
        dilation=dilation,
    ),
    lambda g, passed: sum(masked(g, passed), axis=(0, 2, 3)),
    residuals={"passed": lambda y: y > 0},
    kinks={"y": {0: 0}},
)
def conv2d_relu(
    x: Array,
    w: Array,
    b: Array,
    *,
    stride: Pair = ONE,
    padding: Pair = NONE,
    dilation: Pair = ONE,
) -> Array:
    """relu(conv2d(x, w) + b) in one go, the output touched once. Shapes: b (O,)."""

    def finish(rows: Array) -> None:
        rows += b
        np.maximum(rows, 0, out=rows)

    return _convolved(x, w, stride, padding, dilation, finish)


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
    moves = (stride, padding, dilation)
    return _folded(x, w, shape, *moves, lambda piece: _rows(x[piece]))


def _folded(
    x: Array,
    w: Array,
    shape: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    rows_of: Callable[[slice], Array],
) -> Array:
    """Weights folded; `rows_of` gives each piece of what they are multiplied by."""
    _check_images(x, w, x.shape[1:2] == w.shape[:1])
    x, w = _of_one_dtype(x, w)
    counts = x.shape[-2:]
    C, (K, L) = w.shape[1], w.shape[2:]
    result = _channels_last(x, C, shape)
    weights = _matrix(w)
    columns, image = Room(x), Room(x)
    (top, left), (H, W) = padding, shape
    for piece in pieces(x, max(weights.shape) * counts[0] * counts[1]):
        rows, into = rows_of(piece), result[piece]
        if _copies_nothing((K, L), stride) and padding == NONE:
            np.matmul(rows, weights.T, out=_rows(into))
            continue
        # Positions last: a row of the image is then added at once.
        found = columns.of(len(weights), len(rows))
        np.matmul(weights, rows.T, out=found)
        windows = found.reshape(K, L, C, -1, *counts).transpose(3, 2, 0, 1, 4, 5)
        whole = image.of(len(into), C, H + 2 * top, W + 2 * left)
        _fold(windows, whole, stride, dilation)
        into[...] = whole[..., top : top + H, left : left + W]
    return result


@primitive(
    lambda g, w, passed, stride, padding, dilation: masked(
        conv2d(g, w, stride=stride, padding=padding, dilation=dilation), passed
    ),
    lambda g, v, passed, w_shape, stride, padding, dilation: conv2d_to_weight(
        g,
        masked(v, passed),
        size=w_shape[-2:],
        stride=stride,
        padding=padding,
        dilation=dilation,
    ),
    None,
)
def conv2d_relu_to_input(
    v: Array,
    w: Array,
    passed: Array,
    *,
    shape: Pair,
    stride: Pair = ONE,
    padding: Pair = NONE,
    dilation: Pair = ONE,
) -> Array:
    """conv2d_to_input of v where it has passed, of 0 elsewhere, in one go.

    Shapes: v and passed (N, O, P, Q), the latter booleans.
    """
    room = Room(v)

    def rows_of(piece: slice) -> Array:
        rows = _rows(v[piece])
        return keep_where(_rows(passed[piece]), rows, out=room.of(*rows.shape))

    return _folded(v, w, shape, stride, padding, dilation, rows_of)


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
    _check_images(x, v, len(x) == len(v))
    x, v = _of_one_dtype(x, v)
    x = _padded(x, padding)
    C, outputs = x.shape[1], v.shape[1]
    counts = v.shape[-2:]
    result = np.zeros_like(x, shape=(outputs, size[0] * size[1] * C))
    room = Room(x)
    for piece in pieces(x, result.shape[1] * counts[0] * counts[1]):
        columns = _columns(x[piece], size, stride, dilation, counts, room)
        result += _rows(v[piece]).T @ columns
    return result.reshape(outputs, *size, C).transpose(0, 3, 1, 2).copy()


def _check_images(x: Array, w: Array, fit: bool) -> None:
    if x.ndim != 4 or w.ndim != 4 or not fit:
        raise ValueError(
            f"images of shape {x.shape} and weights of shape {w.shape} do not go "
            "together: images are (N, C, H, W), and weights (O, C, K, L) with as many "
            "channels C"
        )


def _of_one_dtype(x: Array, w: Array) -> tuple[Array, Array]:
    """Both in the dtype of their product; integers, which overflow, as floats."""
    dtype = np.result_type(x.dtype, w.dtype)
    dtype = dtype if dtype.kind in "fc" else np.result_type(dtype, np.float32)
    return x.astype(dtype, copy=False), w.astype(dtype, copy=False)


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
    """The channels at each position. Shapes: (N, C, H, W) -> (N * H * W, C)."""
    return x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])


def _matrix(w: Array) -> Array:
    """The weights of each output. Shapes: (O, C, K, L) -> (K * L * C, O)."""
    return w.transpose(0, 2, 3, 1).reshape(len(w), -1).T


def _copies_nothing(size: Sequence[int], stride: Pair) -> bool:
    """Whether each element is a window by itself."""
    return tuple(size) == ONE and stride == ONE


def _columns(
    x: Array, size: Pair, stride: Pair, dilation: Pair, counts: Pair, room: Room
) -> Array:
    """Windows as rows. Shapes: (N, C, H, W) -> (N * P * Q, K * L * C)."""
    if _copies_nothing(size, stride):
        return _rows(x)
    windows = _windows(x, size, stride, dilation)[:, :, : counts[0], : counts[1]]
    columns = room.of(len(x), *counts, *size, x.shape[1])
    columns[...] = windows.transpose(0, 2, 3, 4, 5, 1)
    return columns.reshape(-1, size[0] * size[1] * x.shape[1])


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
