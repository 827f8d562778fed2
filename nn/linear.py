"""Affine maps of the last axis: `y = x @ W + b`.

Glossary of shapes: N batch, T time steps, D input width, M output width.
"""

from typing import Any

import minigrad as mg
from nn import init
from nn.checks import check_size
from nn.dtypes import floats
from nn.module import Module, Parameter


def linear(x: Any, W: Any, b: Any = None) -> Any:
    """Give `x @ W + b`, an affine map of the last axis.

    Shapes: x (..., D), W (D, M), b (M,) or None, output (..., M).
    Raises: ValueError where the shapes disagree.
    """
    W, x, b = floats("linear", "W (D, M), x (..., D), b? (M,)", W, x, b)
    y = x @ W
    return y if b is None else y + b


def temporal_affine(x: Any, W: Any, b: Any) -> Any:
    """Give the same affine map at every time step.

    Shapes: x (N, T, D), output (N, T, M); others and errors as `linear`.
    """
    W, x, b = floats("temporal_affine", "W (D, M), x (N, T, D), b? (M,)", W, x, b)
    return linear(x, W, b)


class Linear(Module):
    """Affine map of the last axis: `y = x @ W + b`.

    Shapes and errors: as `linear`, D in_features and M out_features. W starts as
    `init.lecun_normal`, b as zeros.
    """

    b: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = "float32",
        generator: mg.Generator | None = None,
    ) -> None:
        check_size("Linear", in_features=in_features, out_features=out_features)
        shape = (in_features, out_features)
        self.W = Parameter(init.lecun_normal(shape, generator, dtype))
        self.b = Parameter(init.zeros(shape[1:], generator, dtype)) if bias else None

    def forward(self, x: Any) -> Any:
        """Give `x @ W + b`."""
        return linear(x, self.W, self.b)
