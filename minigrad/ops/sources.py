"""Primitives without gradients: filled arrays, ranges, random draws, other devices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.backend import Array, device_of, to_device
from minigrad.ops.elementwise import constant
from minigrad.random import next_draw
from minigrad.tape import primitive


@constant
def filled(
    *, shape: tuple[int, ...], value: float, dtype: Any, device: str = "cpu"
) -> Array:
    """An array of `shape` that holds `value` everywhere."""
    return to_device(np.full(shape, value, dtype), device)


@constant
def arange(*, start: int, stop: int, device: str = "cpu") -> Array:
    """The integers start, ..., stop - 1."""
    return to_device(np.arange(start, stop), device)


@constant
def moved(a: Array, *, device: str) -> Array:
    """The same values on another device."""
    return to_device(a, device)


def beside(array: Array, like: Array) -> Array:
    """An array of the host's on the device of `like`; others stay where they are."""
    if isinstance(like, np.ndarray) or not isinstance(array, np.ndarray):
        return array
    return moved(array, device=device_of(like))


@primitive(advances=("state",))
def bernoulli(
    state: Array, *, shape: tuple[int, ...], p: float, device: str = "cpu"
) -> Array:
    """Booleans, each True with probability p (to 32 bits).

    Element i compares the i-th word of 32 bits of the draw with p: the lower half of
    each of Philox's 64-bit words comes first.
    Shapes: state (3,), the generator's, on the host; result of `shape`.
    """
    count = math.prod(shape)
    words = next_draw(state).bit_generator.random_raw((count + 1) // 2)
    bits = words.astype("<u8", copy=False).view("<u4")[:count]
    return to_device((bits < round(p * 2**32)).reshape(shape), device)
