"""Layer normalisation: each vector by its own mean and standard deviation.

Glossary of shapes: D width of a vector; any axes may come before it.
"""

from typing import Any

import minigrad as mg
from nn import init
from nn.checks import NOT_NEGATIVE, check_number, check_size
from nn.dtypes import floats, narrow, wide
from nn.module import Module, Parameter


def layer_norm(x: Any, W: Any, b: Any, eps: float = 1e-5) -> Any:
    """Give `(x - mean) / sqrt(var + eps) * W + b`, the statistics over the last axis.

    Statistics of float16 are computed in float32.

    Shapes: x (..., D), W and b (D,), output (..., D).
    Raises: ValueError where the shapes disagree.
    Source: Ba, Kiros, Hinton, Layer Normalization (2016), equation 4.
    """
    W, b, x = floats("layer_norm", "W (D,), b (D,), x (..., D)", W, b, x)
    check_number("layer_norm", "eps", eps, NOT_NEGATIVE)
    values = wide(x)
    centred = values - mg.mean(values, axis=-1, keepdims=True)
    variance = mg.mean(centred * centred, axis=-1, keepdims=True)
    return narrow(centred * mg.power(variance + eps, -0.5) * W + b, x, W, b)


class LayerNorm(Module):
    """Mean 0 and variance 1 for each vector, then a learned scale and shift by element.

    Shapes and errors: as `layer_norm`. W starts as ones, b as zeros.
    """

    def __init__(self, size: int, eps: float = 1e-5, *, dtype: Any = "float32") -> None:
        check_size("LayerNorm", size=size)
        check_number("LayerNorm", "eps", eps, NOT_NEGATIVE)
        self.eps = eps
        self.W = Parameter(init.ones((size,), None, dtype))
        self.b = Parameter(init.zeros((size,), None, dtype))

    def forward(self, x: Any) -> Any:
        """Give the normalised vectors, scaled and shifted."""
        return layer_norm(x, self.W, self.b, self.eps)
