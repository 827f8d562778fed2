"""What can be recorded?  Every primitive, forward and gradient rule side by side."""

from minigrad.ops import elementwise, index, linalg, reduce, shape

__all__ = ["elementwise", "index", "linalg", "reduce", "shape"]
