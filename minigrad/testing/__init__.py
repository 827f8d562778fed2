"""Can gradients be trusted?  The checker, its oracles, its strategies.

`check_gradients` holds a function against independent derivatives, `check_primitive`
and `check_module` hold an operation or a layer against everything that can go wrong
with one. The device "strict" has CuPy's rules and needs no GPU.
"""

from minigrad.testing import strict
from minigrad.testing.blame import GradientError
from minigrad.testing.checker import (
    check_function,
    check_gradients,
    check_primitive,
)
from minigrad.testing.function import Constant
from minigrad.testing.modules import check_module
from minigrad.testing.oracles import COMPLEX_STEP, DIFFERENCES, Derivative, Oracle
from minigrad.testing.strategies import (
    arrays,
    axes,
    broadcastable,
    broadcastable_arrays,
    shapes,
    tensors,
)

__all__ = [
    "COMPLEX_STEP",
    "DIFFERENCES",
    "Constant",
    "Derivative",
    "GradientError",
    "Oracle",
    "arrays",
    "axes",
    "broadcastable",
    "broadcastable_arrays",
    "check_function",
    "check_gradients",
    "check_module",
    "check_primitive",
    "shapes",
    "strict",
    "tensors",
]
