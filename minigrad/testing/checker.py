"""Is a gradient right?  `check_gradients`, and what it says of one that is not.

The operands are those that are given, and then the special points (0 and -0.0, 1, -1,
equal values) in their places, wherever the function is smooth there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.testing.blame import blamed, calls_with_dtypes, told
from minigrad.testing.function import Function
from minigrad.testing.given import Given, check_given
from minigrad.testing.levels import first_wrong
from minigrad.testing.special import check_special


def check_gradients(
    f: Callable[..., Any],
    *arrays: Any,
    order: int | None = None,
    seed: int = 0,
    name: str | None = None,
    device: str = "cpu",
    special: bool = True,
    grad: Any = None,
) -> None:
    """Compare the gradients of `f` with independent derivatives, up to `order`.

    Where `f` is analytic the oracle is the complex step, and the gradients must be
    right to a few hundred round-offs; elsewhere it is Richardson's differences, and
    the bound is what step and half step disagree by.

    Args:
        f: takes Tensors, returns a Tensor or a list or tuple of them. Random numbers
            that it draws from minigrad's generators are the same in every run.
        arrays: the operands. Floats and lists are differentiated, in float64; integer
            and boolean arrays and `Constant`s are passed as they are.
        order: 1 for gradients, 2 (if not given) also for gradients of gradients, and
            so on.
        seed: of the random cotangents.
        name: what messages call the function.
        device: where to compute.
        special: also with 0, -0.0, 1, -1 and equal values in the operands' places,
            wherever `f` is smooth there.
        grad: gradients that were made elsewhere, to be checked in place of the tape's
            in the first order: a function of the operands that returns one for each
            operand of floats (alone or in a list or tuple), or these gradients. Then
            `f` takes NumPy arrays and returns one number in float64.

    Raises:
        GradientError: names primitive, operand, index and both values, and gives a
            snippet that shows the failure again.
        TypeError: `f` returns no Tensor, or no number where there is `grad`.
        ValueError: an order above 1 of gradients that were made elsewhere.
    """
    name = name or name_of(f)
    if grad is not None:
        if order not in (None, 1):
            raise ValueError(
                f"order={order} cannot be checked of gradients that were made "
                "elsewhere: grad= gives the first order alone. Leave order out."
            )
        check_given(Given(f, arrays, grad), seed, name, special)
        return
    function, order = Function(f, arrays, device), order or 2
    check_orders(function, order, seed, name)
    if special:
        check_special(function, order, seed, name)


def name_of(f: Callable[..., Any]) -> str:
    """What messages call a function."""
    return str(getattr(f, "__name__", "the function"))


def check_orders(function: Function, order: int, seed: int, name: str) -> None:
    """`check_gradients` of a function that is ready.

    Raises:
        GradientError: as `check_gradients`.
        ValueError: the function computes in less than float64.
    """
    check_precision(function, name)
    wrong = first_wrong(function, order, seed)
    if wrong is not None:
        error = blamed(function, wrong, seed, name, check=first_wrong)
        raise error or told(name, function, wrong, seed)


def check_precision(function: Function, name: str) -> None:
    """Refuse a function that rounds to float32 on the way: it hides all mistakes.

    Raises:
        ValueError: names the operation that rounds.
    """
    for call, dtype in calls_with_dtypes(function):
        if dtype.itemsize < np.dtype(float).itemsize:
            raise ValueError(
                f"{name} computes in {dtype} from its {call.made.name} on, which "
                "rounds: gradients are checked in float64, and rounding would be taken "
                "for mistakes and hide them. Leave the conversion out, or convert to "
                "the operand's own dtype: .astype(x.dtype)."
            )
