"""Gradients that were made elsewhere: by PyTorch, by JAX, or by hand.

The function takes NumPy arrays and returns one number; its gradients come from another
function, or are there already. Oracles and special points are those for our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.testing.function import Function
from minigrad.testing.oracles import Arrays


class Given(Function):
    """A function of arrays, and what gives its gradients."""

    recorded = False
    says = "grad says"
    way_out = (
        "grad is not the gradient of f here: look for what f does and grad leaves out. "
        "Both must compute in float64 (torch.float64, jax_enable_x64)."
    )

    def __init__(
        self, f: Callable[..., Any], operands: Sequence[Any], grad: Any, *how: Any
    ) -> None:
        self.grad = grad
        super().__init__(f, operands, "cpu", *how)

    def tensors(self, arrays: Sequence[np.ndarray]) -> Any:
        """The arrays as they are."""
        return list(arrays)

    def __call__(self, inputs: Sequence[Any]) -> Any:
        """The value in a list.

        Raises:
            TypeError: it is not one number, or one in less than float64.
        """
        value = np.asarray(self.f(*self.filled([np.array(x) for x in inputs])))
        if value.size != 1 or value.dtype.kind not in "fc":
            raise TypeError(
                f"with grad= the function must return one number, not {value.dtype} of "
                f"shape {value.shape}. Sum its outputs under random weights: lambda x: "
                "(weights * f(x)).sum()."
            )
        if value.dtype.itemsize < 8:
            raise TypeError(
                f"the function returned {value.dtype}, whose rounding hides mistakes: "
                "let it compute in float64 (torch.float64, JAX's jax_enable_x64)."
            )
        return [value.reshape(())]

    def on_arrays(self, arrays: Sequence[np.ndarray]) -> Arrays:
        """The value, as what an oracle differentiates."""
        return self(arrays)

    def draw_cotangents(self, random: np.random.Generator, outputs: Any) -> Arrays:
        """1, so that the gradients are those that `grad` gives."""
        return [np.ones(())]

    def gradients(self, cotangents: Any) -> tuple[Arrays, float]:
        """What `grad` gives at the operands, and the largest number.

        Raises:
            TypeError: that is not one gradient of the shape of each operand of floats.
        """
        given = self.grad
        if callable(given):
            given = given(*self.filled([a.copy() for a in self.operands]))
        alone = len(self.operands) == 1 and not isinstance(given, list | tuple)
        parts = [given] if alone else list(given or [])
        if any(g is None for g in parts):
            raise TypeError(
                "grad returned None: it must return the gradients, such as PyTorch's "
                "x.grad after backward()."
            )
        found = [np.asarray(g, np.float64) for g in parts]
        ours, theirs = [g.shape for g in found], [a.shape for a in self.operands]
        if ours != theirs:
            raise TypeError(
                f"grad gives gradients of shapes {ours} for operands of floats of "
                f"{theirs}: it must give one gradient for each of these, in order."
            )
        values = [*self.on_arrays(self.operands), *found]
        size = max(np.abs(a[np.isfinite(a)]).max(initial=1) for a in values)
        return found, float(size)
