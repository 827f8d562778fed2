"""The arithmetic of optimisers: primitives that change parameters in place, in tiles.

An update is a handful of element-wise passes over the parameter, its gradient and its
moments. Over whole arrays, every pass of a large parameter goes to main memory; over
tiles that fit a core's cache, only the first does. One scratch tile is all the memory
that an update needs beside the moments.
"""

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minigrad as mg

Array = Any

# Four float32 arrays and the scratch tile of this many elements are 640 KiB: they fit
# the second-level cache of one core.
TILE = 32768

# A dot product of more than 10,000 elements wakes OpenBLAS's threads, which costs more
# than they bring at this size.
NORM_TILE = 8192


@mg.primitive(writes=("p",), advances=("step", "v"))
def sgd_update(
    p: Array,
    gradient: Array,
    step: Array,
    lr: Array,
    *v: Array,
    momentum: float,
    weight_decay: float,
) -> Array:
    """SGD's step in place, with momentum where a moment v is given: see `nn.SGD`.

    Shapes: step () and lr (), on the host; p and gradient alike, v their elements.
    """
    rate = float(lr)

    def update(p: Array, g: Array, scratch: Array, *moments: Array) -> None:
        g = _decayed(p, g, scratch, weight_decay)
        for moment in moments:
            moment *= momentum
            moment += g
            g = moment
        np.multiply(g, rate, out=scratch)
        p -= scratch

    _in_tiles(update, p, gradient, *v)
    step += 1
    return p


@mg.primitive(writes=("p",), advances=("step", "m", "v"))
def adam_update(
    p: Array,
    gradient: Array,
    step: Array,
    lr: Array,
    m: Array,
    v: Array,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> Array:
    """Adam's step in place: see `nn.Adam`, and `nn.AdamW` where it is decoupled.

    Shapes: step () and lr (), on the host; p and gradient alike, m and v their
    elements.
    """
    settings: Any = {"weight_decay": weight_decay, "decoupled": decoupled}
    rates = adam_rates(step, lr, beta1=beta1, beta2=beta2, eps=eps, **settings)
    rate, eps, kept, weight_decay = rates

    def update(p: Array, g: Array, scratch: Array, m: Array, v: Array) -> None:
        if kept != 1:
            p *= kept
        g = _decayed(p, g, scratch, weight_decay)
        m *= beta1
        m += g
        v *= beta2
        np.multiply(g, g, out=scratch)
        v += scratch
        np.sqrt(v, out=scratch)
        scratch += eps
        np.divide(m, scratch, out=scratch)
        scratch *= rate
        p -= scratch

    _in_tiles(update, p, gradient, m, v)
    step += 1
    return p


def adam_rates(
    step: Array,
    lr: Array,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> tuple[float, float, float, float]:
    """Adam's step after `step` others as numbers: rate, eps, kept, decay.

    `p` is first multiplied by `kept`, `g` is `decay * p` larger, and
    `lr * m_hat / (sqrt(v_hat) + eps)` is `rate * m / (sqrt(v) + eps / v_scale)`.
    """
    count = int(step) + 1
    m_scale = (1 - beta1) / (1 - beta1**count)
    v_scale = math.sqrt((1 - beta2) / (1 - beta2**count))
    rate = float(lr) * m_scale / v_scale
    kept = 1 - float(lr) * weight_decay if decoupled else 1.0
    return rate, eps / v_scale, kept, 0.0 if decoupled else weight_decay


def _decayed(p: Array, g: Array, scratch: Array, weight_decay: float) -> Array:
    """The gradient with that of the weights' squared norm added."""
    if not weight_decay:
        return g
    np.multiply(p, weight_decay, out=scratch)
    scratch += g
    return scratch


def _in_tiles(
    update: Callable[..., None], p: Array, gradient: Array, *moments: Array
) -> None:
    """Apply `update(p, g, scratch, *moments)` to one tile after the other."""
    flat, g = p.reshape(-1), gradient.reshape(-1)
    dtype = wide(p.dtype)
    for tile in _tiles(flat, TILE):
        part = flat[tile].astype(dtype, copy=False)
        gradients = g[tile].astype(dtype, copy=False)
        parts = (moment[tile] for moment in moments)
        update(part, gradients, _scratch_like(part), *parts)
        if dtype != p.dtype:
            flat[tile] = part
    if not p.flags.c_contiguous:
        # Then `flat` is a copy, in another order than the parameter's memory.
        p[...] = flat.reshape(p.shape)


def wide(dtype: Any) -> Any:
    """The dtype of an update and its moments: squares of float16 would overflow."""
    return np.promote_types(dtype, np.float32)


def _tiles(flat: Array, length: int) -> Iterator[slice]:
    """Slices of a flat array that fit the cache; on a GPU, all of it at once."""
    step = length if isinstance(flat, np.ndarray) else max(flat.size, 1)
    for start in range(0, flat.size, step):
        yield slice(start, start + step)


# A tile of the host's for each dtype: the same memory from update to update.
_scratch = threading.local()


def _scratch_like(part: Array) -> Array:
    if not isinstance(part, np.ndarray):
        return np.empty_like(part)  # a GPU's memory comes from a pool
    tiles = vars(_scratch)  # this thread's own
    if part.dtype.char not in tiles:
        tiles[part.dtype.char] = np.empty(TILE, part.dtype)
    return tiles[part.dtype.char][: part.size]


# -- clipping ----------------------------------------------------------------------


@mg.primitive()
def joint_norm(*gradients: Array) -> Array:
    """The Euclidean norm of all gradients together, summed in float64."""
    return np.sqrt(sum(_sum_of_squares(gradient) for gradient in gradients))


def _sum_of_squares(array: Array) -> Any:
    flat = array.reshape(-1)
    parts = (flat[s].astype("float64", copy=False) for s in _tiles(flat, NORM_TILE))
    return sum(part.dot(part) for part in parts)


@mg.primitive()
def clipped(gradient: Array, norm: Array, *, most: float) -> Array:
    """The gradient times most / norm, where the norm is finite and larger than that.

    On a GPU the choice is made there, so that nobody waits for it.
    """
    if isinstance(norm, np.ndarray):
        scales = most < float(norm) < math.inf
        return gradient * (most / float(norm)) if scales else gradient
    scales = np.logical_and(norm > most, np.isfinite(norm))
    return gradient * np.where(scales, most / norm, 1.0).astype(gradient.dtype)
