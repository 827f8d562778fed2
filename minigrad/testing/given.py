"""Is a gradient right that was made elsewhere?  PyTorch's, JAX's, or by hand.

The function takes NumPy arrays and returns one number; its gradients come from another
function, or are there already. Oracles and special points are those for our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.testing.blame import told
from minigrad.testing.function import Function
from minigrad.testing.levels import check_adjoint, check_elements, clear_of_zero
from minigrad.testing.oracles import (
    COMPLEX_STEP,
    DIFFERENCES,
    SMOOTH,
    agree,
    by_complex_step,
    choose_oracle,
    look,
)
from minigrad.testing.special import check_points, facts_of

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
        self, f: Callable[..., Any], operands: Sequence[Any], grad: Any
    ) -> None:
        self.grad = grad
        super().__init__(f, operands)

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


def check_given(function: Given, seed: int, name: str, special: bool) -> None:
    """Check the gradients, and at special points too where `grad` is a function.

    Raises:
        GradientError: a gradient is wrong.
        TypeError: `f` or `grad` returns what cannot be checked.
    """
    if not function.operands:
        return
    _check(function, function.gradients(), seed, name)
    if special and callable(function.grad):

        def at(operands: Arrays) -> Any:
            return _check_there(function.at(operands), seed, name)

        check_points(function, facts_of(function, None), at, name)


def _check(function: Given, found: Arrays, seed: int, name: str) -> None:
    random = np.random.default_rng(seed)
    oracle = choose_oracle(function.on_arrays, function.operands, random)
    v = [clear_of_zero(random, a.shape) for a in function.operands]
    size = _size(function, found)
    slopes = oracle.along(function.on_arrays, function.operands, v, size)
    one = [np.ones(())]
    wrong = list(check_adjoint(one, slopes, found, v, size, 1))
    if wrong or oracle is not COMPLEX_STEP:
        elements = check_elements(function, one, found, size, oracle, 1)
        wrong = [*elements, *wrong]
    if wrong:
        raise told(name, function, wrong[0], seed)


def _size(function: Given, found: Arrays) -> float:
    values = [*function.on_arrays(function.operands), *found]
    sizes = (float(np.abs(a[np.isfinite(a)]).max(initial=1)) for a in values)
    return max(sizes)


def _check_there(there: Given, seed: int, name: str) -> Any:
    random = np.random.default_rng(seed)
    v = [clear_of_zero(random, a.shape) for a in there.operands]
    with np.errstate(all="ignore"):
        seen = look(there.on_arrays, there.operands, v)
        if seen.kind != SMOOTH:
            return seen
        found, one = there.gradients(), [np.ones(())]
        exact = by_complex_step(there.on_arrays, there.operands, seen.v)
        exact = exact if exact and agree(exact, seen.slopes) else None
        size = _size(there, found)
        slopes = exact or seen.slopes
        wrong = list(check_adjoint(one, slopes, found, seen.v, size, 1))
        if wrong and not seen.at_end:
            oracle = COMPLEX_STEP if exact else DIFFERENCES
            wrong = [*check_elements(there, one, found, size, oracle, 1), *wrong]
    if wrong:
        raise told(name, there, wrong[0], seed, special=True)
    return seen
