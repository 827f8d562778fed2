"""The primitives: every forward with its gradient rule beside it, by subject."""

from minigrad.ops import (
    draws,
    elementwise,
    index,
    linalg,
    losses,
    pooling,
    reduce,
    shape,
    windows,
)

__all__ = [
    "draws",
    "elementwise",
    "index",
    "linalg",
    "losses",
    "pooling",
    "reduce",
    "shape",
    "windows",
]
