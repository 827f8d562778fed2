"""Max pooling, its gradient, and the gradient of that.

max_pool2d finds the largest of every window. Its gradient puts each number where that
stood (to_largest), and the gradient of that takes it from there (at_largest): these two
are each other's adjoint. What ties them together is a small number for each window, the
index of its largest, which is all that the tape keeps.

Glossary of shapes: N batch, (H, W) image, (K, L) window, (P, Q) its positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minigrad.backend import Array, piece_bytes
from minigrad.ops.elementwise import keep_where
from minigrad.ops.windows import ONE, Pair, counts_of, parts, pieces
from minigrad.tape import primitive


@primitive(
    lambda g, indices, x_shape, size, stride: to_largest(
        g, indices, shape=x_shape[-2:], size=size, stride=stride
    ),
    residuals={"indices": lambda x, y, size, stride: _indices(x, y, size, stride)},
    kinks={"x": {"x": "first"}},
)
def max_pool2d(x: Array, *, size: Pair, stride: Pair) -> Array:
    """The largest of every window. Shapes: (N, ..., H, W) -> (N, ..., P, Q).

    The gradient is the first one's of those that tie, row by row.
    """
    counts = counts_of(x, size, stride, ONE)
    first, *others = (part for _, part in parts(size, counts, stride, ONE))
    largest = np.empty_like(x[first])
    for piece in pieces(x, x[:1].size):
        seen, found = x[piece], largest[piece]
        found[...] = seen[first]
        for part in others:
            np.maximum(found, seen[part], out=found)
    return largest


def _indices(x: Array, largest: Array, size: Pair, stride: Pair) -> Array:
    """Where in each window its largest stands first, counted row by row.

    It is the number of elements before it. A window that holds a NaN has none:
    its number is that of all elements.
    Shapes: x (N, ..., H, W), largest and result (N, ..., P, Q).
    """
    kind = np.uint8 if math.prod(size) < 256 else np.uint32
    result = np.zeros_like(largest, dtype=kind)
    for piece in pieces(x, x[:1].size):
        seen, found, before = x[piece], largest[piece], result[piece]
        here = np.empty_like(found, dtype=bool)
        missed = np.ones_like(here)
        for _, part in parts(size, largest.shape[-2:], stride, ONE):
            np.not_equal(seen[part], found, out=here)
            np.logical_and(missed, here, out=missed)
            np.add(before, missed.view(np.uint8), out=before)
    return result


@primitive(
    lambda g, indices, size, stride: at_largest(g, indices, size=size, stride=stride),
    None,
)
def to_largest(
    v: Array, indices: Array, *, shape: Pair, size: Pair, stride: Pair
) -> Array:
    """Each number to where its window's largest stood; those that meet are added.

    Shapes: v and indices (N, ..., P, Q), result (N, ..., *shape). `indices` counts the
    elements of a window row by row, as `max_pool2d` does for its gradient.
    """
    result = np.empty_like(v, shape=(*v.shape[:-2], *shape))
    tiled = _clear_beyond_tiles(result, v.shape[-2:], size, stride)
    for image, windows in _bands(v, result, size, stride):
        into, given, there = result[image], v[windows], indices[windows]
        share = np.empty_like(given)
        here = np.empty_like(given, dtype=bool)
        moves = parts(size, given.shape[-2:], stride, ONE)
        for number, (offset, part) in enumerate(moves):
            np.equal(there, number, out=here)
            if tiled and offset[0] < stride[0] and offset[1] < stride[1]:
                keep_where(here, given, out=into[part])
                continue
            into[part] += keep_where(here, given, out=share)
    return result


@primitive(
    lambda g, indices, v_shape, size, stride: to_largest(
        g, indices, shape=v_shape[-2:], size=size, stride=stride
    ),
    None,
)
def at_largest(v: Array, indices: Array, *, size: Pair, stride: Pair) -> Array:
    """What stands where each window's largest stood: the adjoint of `to_largest`.

    Shapes: v (N, ..., H, W), indices and result (N, ..., P, Q).
    """
    result = np.zeros_like(indices, dtype=v.dtype)
    moves = parts(size, indices.shape[-2:], stride, ONE)
    for number, (_, part) in enumerate(moves):
        result += keep_where(indices == number, v[part])
    return result


def _clear_beyond_tiles(
    result: Array, counts: Sequence[int], size: Pair, stride: Pair
) -> bool:
    """Write zeros where nothing else is going to be written first.

    Windows at least as large as their steps begin with tiles, which hold each element
    of the image but those at its end just once: they can be written, not added. Returns
    whether it is so; otherwise zeros are everywhere.
    """
    tiled = size[0] >= stride[0] and size[1] >= stride[1]
    if tiled:
        result[..., counts[0] * stride[0] :, :] = 0
        result[..., counts[1] * stride[1] :] = 0
    else:
        result[...] = 0
    return tiled


def _bands(
    v: Array, into: Array, size: Pair, stride: Pair
) -> Iterator[tuple[Any, Any]]:
    """An image and its windows in bands of rows that fit into the cache.

    The last come first, so that rows are written as the beginning of windows before
    windows that begin earlier are added to them.
    """
    row = into[:1, ..., :1, :].size * stride[0] * into.itemsize
    height = max(1, piece_bytes(v) // 4 // max(1, row))
    for image in range(len(v)):
        for begin in range(0, v.shape[-2], height)[::-1]:
            end = min(begin + height, v.shape[-2])
            first, last = begin * stride[0], (end - 1) * stride[0] + size[0]
            above = (image, ..., slice(first, last), slice(None))
            yield above, (image, ..., slice(begin, end), slice(None))
