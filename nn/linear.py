"""What is an affine layer? `y = x @ W + b` on the last axis."""

from __future__ import annotations

from typing import Any

import minigrad as mg
from nn import functional, init
from nn.checks import check_size
from nn.module import Module, Parameter


class Linear(Module):
    """Affine map of the last axis: `y = x @ W + b`.

    Shapes: x (..., in_features), W (in_features, out_features), b (out_features,),
    y (..., out_features). W starts as `init.lecun_normal`, b as zeros.
    Raises: ValueError for sizes below 1 and for an x of another width.
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
        return functional.linear(x, self.W, self.b)
