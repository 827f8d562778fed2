"""What can be recorded?  Every primitive, forward and gradient rule side by side."""

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
