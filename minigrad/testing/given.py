"""Gradients that were made elsewhere: by PyTorch, by JAX, or by hand.

The function takes NumPy arrays and returns one number; its gradients come from another
function, or are there already. Oracles and special points are those for our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.testing.blame import gradient_error
from minigrad.testing.function import Function
from minigrad.testing.oracles import COMPLEX_STEP, SMOOTH, Look, look, sharpest
from minigrad.testing.orders import Order, along_random, random_like
from minigrad.testing.special import Places

Arrays = list[np.ndarray]


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
                "with grad= the function must return one number, as a loss does, not "
                f"{value.dtype} of shape {value.shape}. Weight its outputs and add "
                "them up: lambda x: (weights * f(x)).sum(), with random weights (a "
                "plain sum cannot see the mistakes of a softmax)."
            )
        if value.dtype.itemsize < 8:
            raise TypeError(
                f"the function returned {value.dtype}, whose rounding hides mistakes: "
                "let it compute in float64 (torch.float64, or in JAX "
                "jax.config.update('jax_enable_x64', True))."
            )
        return [value.reshape(())]

    def on_arrays(self, arrays: Sequence[np.ndarray]) -> Arrays:
        """The value, as what an oracle differentiates."""
        return self(arrays)

    def gradients(self) -> Arrays:
        """What `grad` gives at the operands.

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
                "grad returned None: it must return the gradients, of PyTorch's "
                "tensors for example x.grad after backward()."
            )
        found = [np.asarray(g, np.float64) for g in parts]
        ours, theirs = [g.shape for g in found], [a.shape for a in self.operands]
        if ours != theirs:
            raise TypeError(
                f"grad gives gradients of shapes {ours}, but the operands of floats "
                f"have {theirs}: it must give one gradient for each of these, in order."
            )
        return found

    def order(self) -> Order:
        """The gradients at the operands, to be compared with an oracle's."""
        found = self.gradients()
        values = [*self.on_arrays(self.operands), *found]
        size = max(np.abs(a[np.isfinite(a)]).max(initial=1) for a in values)
        return Order(self, [np.ones(())], found, float(size))


def check_given(function: Given, special: bool) -> None:
    """Check the gradients, and at special points too where `grad` is a function.

    Raises:
        GradientError: a gradient is wrong.
        TypeError: `f` or `grad` returns what cannot be checked.
    """
    if not function.operands:
        return
    order = function.order()
    along = along_random(function, np.random.default_rng(function.seed), order.size)
    for wrong in order.compare(along, every_element=along.oracle is not COMPLEX_STEP):
        raise gradient_error(function, wrong)
    if special and callable(function.grad):
        check = lambda operands: _check_at(function.at(operands))  # noqa: E731
        Places(function.operands, check, None).check()


def _check_at(there: Given) -> Look:
    """Check the gradients at a special point, if the function is smooth there."""
    v = random_like(np.random.default_rng(there.seed), there.operands)
    with np.errstate(all="ignore"):
        seen = look(there.on_arrays, there.operands, v)
        if seen.kind == SMOOTH:
            along = sharpest(there.on_arrays, there.operands, seen)
            for wrong in there.order().compare(along):
                raise gradient_error(there, wrong, special=True)
    return seen
