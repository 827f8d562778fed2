"""The primitives: every forward with its gradient rule beside it, by subject."""

from minigrad.ops import (
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
    "elementwise",
    "index",
    "linalg",
    "losses",
    "pooling",
    "reduce",
    "shape",
    "windows",
]
