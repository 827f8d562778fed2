"""Affine maps of the last axis: `y = x @ W + b`.

Glossary of shapes: N batch, T time steps, D input width, M output width.
"""

from __future__ import annotations

from typing import Any

import minigrad as mg
from nn import init
from nn.checks import check_shape, check_size
from nn.dtypes import floats
from nn.module import Module, Parameter


def linear(x: Any, W: Any, b: Any = None) -> Any:
    """Give `x @ W + b`, an affine map of the last axis.

    Shapes: x (..., D), W (D, M), b (M,) or None, output (..., M).
    Raises: ValueError where the shapes disagree.
    """
    return _affine("linear", x, W, b, ("...",))


def temporal_affine(x: Any, W: Any, b: Any) -> Any:
    """Give the same affine map at every time step.

    Shapes: x (N, T, D), W (D, M), b (M,), output (N, T, M).
    Raises: ValueError where the shapes disagree.
    """
    return _affine("temporal_affine", x, W, b, ("N", "T"))


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
        return linear(x, self.W, self.b)


def _affine(layer: str, x: Any, W: Any, b: Any, leading: tuple[str, ...]) -> Any:
    """`x @ W + b` for an x with these axes before its last one."""
    x, W, b = floats(layer, x=x, W=W, b=b, optional=("b",))
    axes = x.ndim == 3 if leading == ("N", "T") else x.ndim > 0
    fit = axes and W.ndim == 2 and W.shape[0] == x.shape[-1]
    if not fit or (b is not None and b.shape != W.shape[1:]):
        _explain(layer, x, W, b, leading)
    y = x @ W
    return y if b is None else y + b


def _explain(layer: str, x: Any, W: Any, b: Any, leading: tuple[str, ...]) -> None:
    """Raise for what does not fit."""
    check_shape(layer, "W", W, ("D", "M"), "Its rows are the width of x.")
    way_out = (
        f"W has shape {W.shape}, and its rows are the width of x: give x that width, "
        "or W that many rows."
    )
    check_shape(layer, "x", x, (*leading, W.shape[0]), way_out)
    way_out = f"W has shape {W.shape}: give b one entry for each column of W."
    check_shape(layer, "b", b, W.shape[1:], way_out)
