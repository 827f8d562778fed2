"""The checks of a function and of a primitive.

The operands are those that are given or drawn, and then the special points (0 and -0.0,
1, -1, equal values) in their places, wherever the function is smooth there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.tape import Primitive
from minigrad.testing.blame import gradient_error
from minigrad.testing.calls import calls_of
from minigrad.testing.conditions import check_conditions
from minigrad.testing.function import Function
from minigrad.testing.given import Given
from minigrad.testing.kinks import check_kinks
from minigrad.testing.orders import first_wrong
from minigrad.testing.special import check_special
from minigrad.testing.strategies import (
    Case,
    cases_of,
    hypothesis,
    primitive_of,
    whole,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

# Each of these tries all special points; they differ in shapes and settings alone.
SPECIAL_EXAMPLES = 5


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
    if grad is not None:
        if order not in (None, 1):
            raise ValueError(
                f"order={order} cannot be checked with grad=, which gives the first "
                "order alone. Leave order out."
            )
        function: Function = Given(f, arrays, grad, name, seed)
        order, special = 1, special and callable(grad)
    else:
        function, order = Function(f, arrays, device, name, seed), order or 2
    check_orders(function, order)
    if special:
        check_special(function, order)


def check_function(
    f: Callable[..., Any],
    *arrays: Any,
    order: int = 2,
    seed: int = 0,
    name: str | None = None,
    device: str = "cpu",
    special: bool = True,
) -> None:
    """`check_gradients`, and all that must not change a gradient.

    Args: those of `check_gradients`.

    Raises:
        GradientError: as `check_gradients`; it names the condition.
    """
    check_everything(Function(f, arrays, device, name, seed), order, special)


def check_primitive(
    primitive: Callable[..., Any],
    *arrays: Any,
    settings: Mapping[str, Any] | None = None,
    order: int = 3,
    seed: int = 0,
    device: str = "cpu",
    examples: int = 50,
    cases: SearchStrategy[Case] | None = None,
) -> None:
    """Check an operation made with `minigrad.primitive` in every condition.

    Without `arrays`, operands of every shape are drawn (Hypothesis is needed) in the
    domain that the primitive declares and clear of the kinks that it declares.

    Args:
        primitive: the decorated function.
        arrays: its operands.
        settings: its keyword-only settings.
        order: 1 for gradients, 2 also for gradients of gradients, and so on.
        seed: of the random cotangents.
        device: where to compute.
        examples: how many operands to draw.
        cases: what to draw from instead: a Hypothesis strategy of calls (f, operands).

    Raises:
        GradientError: names primitive, operand, index and both values.
        TypeError: operands cannot be drawn, because there are settings to choose.
    """
    declared = primitive_of(primitive)
    if arrays:
        called = functools.partial(primitive, **(settings or {}))
        function = Function(called, arrays, device, declared.name, seed)
        check_everything(function, order, primitive=declared)
        return
    cases = cases_of(primitive) if cases is None else cases

    def check(case: Case, seed: int) -> None:
        function = Function(*case, device, declared.name, seed)
        check_everything(function, order, special=False)

    def at_points(case: Case, seed: int) -> None:
        function = Function(*case, device, declared.name, seed)
        check_at_points(function, order, declared)

    few = min(examples, SPECIAL_EXAMPLES)
    _try(at_points, whole(cases, primitive), few, seed, shrink=False)
    _try(check, cases, examples, seed)


def _try(
    check: Callable[[Case, int], None],
    cases: SearchStrategy[Case],
    examples: int,
    seed: int,
    shrink: bool = True,
) -> None:
    """Run `check` as a Hypothesis test that keeps no memory of earlier runs."""
    tool = hypothesis()
    phases = [tool.Phase.generate, *([tool.Phase.shrink] if shrink else [])]
    settings = tool.settings(
        max_examples=examples,
        phases=phases,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(tool.HealthCheck),
    )
    seeds = tool.strategies.integers(0, 2**32 - 1)
    tool.seed(seed)(settings(tool.given(cases, seeds)(check)))()


# -- the parts of a check ----------------------------------------------------------


def check_everything(
    function: Function,
    order: int,
    special: bool = True,
    primitive: Primitive | None = None,
) -> None:
    """All orders, all conditions, and the special points.

    Raises:
        GradientError: as `check_primitive`.
        ValueError: the function computes in less than float64.
    """
    check_orders(function, order)
    check_conditions(function)
    if special:
        check_at_points(function, order, primitive)


def check_orders(function: Function, order: int) -> None:
    """One order after the other, at the operands; raises as `check_everything`."""
    if function.recorded:
        _check_precision(function)
    wrong = first_wrong(function, order)
    if wrong is not None:
        raise gradient_error(function, wrong, check=first_wrong)


def check_at_points(
    function: Function, order: int, primitive: Primitive | None = None
) -> None:
    """The special points, and the kinks that a primitive declares; raises as above."""
    check_special(function, order, primitive)
    if primitive is not None:
        check_kinks(function, primitive)


def _check_precision(function: Function) -> None:
    """Refuse a function that rounds to float32 on the way: it hides all mistakes."""
    for call in calls_of(function):
        dtype = call.results[0].dtype
        if dtype.itemsize < np.dtype(float).itemsize:
            raise ValueError(
                f"{function.name} computes in {dtype} from its {call.primitive.name} "
                "on, which rounds and would hide mistakes. Leave the conversion out, "
                "or convert to the operand's own dtype: .astype(x.dtype)."
            )
