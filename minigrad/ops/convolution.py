"""Convolutions and their gradients.

A convolution multiplies windows by weights. It is linear in both, so its two gradients
are linear as well, and the gradients of those are among the three:

    conv2d(x, w)           windows of x, times w
    conv2d_to_input(g, w)  w times g, folded           (the transposed convolution)
    conv2d_to_weight(x, g) windows of x, times g

In memory the results have their channels last, whatever the shape says: windows are
then rows of a matrix and short copies become long ones, and `x @ W` is the whole
convolution. Element-wise primitives keep that order, so it lasts to the end. A batch is
worked on in pieces that fit the cache, where what follows (a bias, a ReLU) finds them.

Glossary of shapes: N batch, C and O channels in and out, (H, W) image, (K, L) window,
(P, Q) its positions.

Sources: Dumoulin and Visin, A guide to convolution arithmetic for deep learning (2016),
for sizes and transposed convolutions; Chellapilla, Puri and Simard, High Performance
Convolutional Neural Networks for Document Processing (2006), for unfolding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minigrad.backend import Array
from minigrad.ops.elementwise import keep_where, masked
from minigrad.ops.reduce import sum
from minigrad.ops.windows import (
    NONE,
    ONE,
    Pair,
    Room,
    counts_of,
    fold_into,
    pieces,
    windows_of,
)
from minigrad.tape import primitive


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
        fold_into(windows, whole, stride, dilation)
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
    windows = windows_of(x, size, stride, dilation)[:, :, : counts[0], : counts[1]]
    columns = room.of(len(x), *counts, *size, x.shape[1])
    columns[...] = windows.transpose(0, 2, 3, 4, 5, 1)
    return columns.reshape(-1, size[0] * size[1] * x.shape[1])
