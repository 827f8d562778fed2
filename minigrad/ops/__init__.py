"""The primitives: every forward with its gradient rule beside it, by subject."""

from minigrad.ops import (
    convolution,
    elementwise,
    index,
    linalg,
    losses,
    pooling,
    reduce,
    shape,
    sources,
    windows,
)

__all__ = [
    "convolution",
    "elementwise",
    "index",
    "linalg",
    "losses",
    "pooling",
    "reduce",
    "shape",
    "sources",
    "windows",
]
