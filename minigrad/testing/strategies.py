"""Hypothesis strategies: shapes, values, and the operands of a primitive.

Values lie on a grid, an integer times a spacing plus an offset: ties and kinks stay
far from the differences' step, examples shrink well, and nothing is filtered.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.tape import Primitive
from minigrad.tensor import Tensor
from minigrad.testing.function import Constant

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Case = tuple[Callable[..., Any], list[Any]]  # what is called, and on which operands


def hypothesis() -> Any:
    """The package Hypothesis, which only those who test need."""
    try:
        import hypothesis.extra.numpy
        import hypothesis.strategies
    except ImportError as error:
        raise RuntimeError(
            "minigrad's strategies need Hypothesis, which is not installed: pip "
            "install hypothesis"
        ) from error
    return hypothesis


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 3
) -> SearchStrategy[tuple[int, ...]]:
    """Shapes of small arrays; ``min_side=0`` includes empty ones."""
    st = hypothesis().strategies
    sides = st.integers(min_side, max_side)
    return st.lists(sides, min_size=min_dims, max_size=max_dims).map(tuple)


def arrays(
    shape: tuple[int, ...] | SearchStrategy[tuple[int, ...]],
    low: float = -3.0,
    high: float = 3.0,
    distinct: bool = False,
) -> SearchStrategy[np.ndarray]:
    """float64 arrays of values on a grid: an integer times a spacing plus an offset.

    The offset keeps every value at least a twentieth of the range's 64th part off 0 and
    off the range's ends; `distinct` values differ by a whole spacing, so that no two
    tie. Nothing is filtered.
    """
    st = hypothesis().strategies
    if not isinstance(shape, tuple):
        return shape.flatmap(lambda s: arrays(s, low, high, distinct))
    size = int(np.prod(shape, dtype=int))
    places = max(64, size)
    spacing = (high - low) / places
    numbers = st.lists(
        st.integers(0, places - 1), min_size=size, max_size=size, unique=distinct
    )

    def build(chosen: list[int]) -> np.ndarray:
        return (low + spacing * (np.array(chosen, float) + 0.55)).reshape(shape)

    return numbers.map(build)


def broadcastable(
    count: int = 2, max_dims: int = 3, max_side: int = 3
) -> SearchStrategy[tuple[tuple[int, ...], ...]]:
    """Tuples of shapes that broadcast against each other, in every pattern."""
    drawn = hypothesis().extra.numpy.mutually_broadcastable_shapes(
        num_shapes=count, max_dims=max_dims, max_side=max_side
    )
    return drawn.map(lambda shapes: shapes.input_shapes)


def broadcastable_arrays(
    count: int = 2,
    max_dims: int = 3,
    max_side: int = 3,
    low: float = -3.0,
    high: float = 3.0,
) -> SearchStrategy[tuple[np.ndarray, ...]]:
    """Tuples of float64 arrays whose shapes broadcast against each other."""
    tuples = hypothesis().strategies.tuples
    return broadcastable(count, max_dims, max_side).flatmap(
        lambda chosen: tuples(*(arrays(shape, low, high) for shape in chosen))
    )


def tensors(
    shape: tuple[int, ...] | SearchStrategy[tuple[int, ...]],
    low: float = -3.0,
    high: float = 3.0,
    distinct: bool = False,
    dtype: Any = "float64",
    requires_grad: bool = True,
    device: str = "cpu",
) -> SearchStrategy[Tensor]:
    """Leaves (or plain tensors) of values as `arrays` draws them."""
    return arrays(shape, low, high, distinct).map(
        lambda values: Tensor(values, dtype, requires_grad, device)
    )


def axes(ndim: int, none: bool = True) -> SearchStrategy[Any]:
    """Every form an axis argument takes: None, an integer, a negative one, a tuple."""
    st = hypothesis().strategies
    forms = [st.none()] if none or ndim == 0 else []
    if ndim:
        forms.append(st.integers(-ndim, ndim - 1))
        some = st.lists(st.integers(0, ndim - 1), min_size=1, unique=True)
        forms.append(some.map(tuple))
    return st.one_of(forms)


# -- operands of a primitive -------------------------------------------------------


def primitive_of(call: Callable[..., Any]) -> Primitive:
    """The primitive that a recorded operation calls.

    Raises:
        TypeError: the function was not made with `minigrad.primitive`.
    """
    primitive = getattr(call, "primitive", None)
    if not isinstance(primitive, Primitive):
        raise TypeError(
            f"{getattr(call, '__name__', call)} is no primitive: it was not made with "
            "@minigrad.primitive. For a function that is composed of primitives use "
            "check_function(f, *arrays) or check_gradients(f, *arrays)."
        )
    return primitive


WIDTH = 3.0  # operands lie within this distance of 0, or of the end of their domain
MARGIN = 0.3  # from the ends of a domain


def operand_values(
    primitive: Primitive, name: str, shape: tuple[int, ...]
) -> SearchStrategy[np.ndarray]:
    """Values for one operand: in its domain, clear of the kinks it declares."""
    low, high = primitive.domain.get(name, (-math.inf, math.inf))
    first = low + MARGIN if math.isfinite(low) else min(-WIDTH, high - 2 * WIDTH)
    last = high - MARGIN if math.isfinite(high) else max(WIDTH, low + WIDTH)
    kinks = primitive.kinks.get(name, ())
    # A later operand's values would tie with an earlier one's: its grid is moved.
    earlier = primitive.operand_names[: primitive.operand_names.index(name)]
    shift = 0.03 if set(kinks) & set(earlier) else 0.0
    drawn = arrays(shape, first, last, distinct=name in kinks)
    return drawn.map(lambda values: np.asarray(_clear_of(values, kinks) + shift))


def _clear_of(values: np.ndarray, kinks: tuple[float | str, ...]) -> np.ndarray:
    """Move values away from kinks that are numbers: to either side, by a margin."""
    for kink in (kink for kink in kinks if not isinstance(kink, str)):
        away = np.where(values < kink, -MARGIN, MARGIN)
        values = np.where(np.abs(values - kink) < MARGIN, values + away, values)
    return values


# -- calls of a primitive ----------------------------------------------------------


def cases_of(f: Callable[..., Any]) -> SearchStrategy[Case]:
    """Calls (f, operands) of a primitive whose operands have one shape, or broadcast.

    Raises:
        TypeError: it has settings without defaults, or takes a list of operands.
    """
    primitive = primitive_of(f)
    missing = sorted({*primitive.setting_names} - {*primitive.defaults})
    if missing or primitive.sequence or primitive.rest_name:
        raise TypeError(
            f"operands for {primitive.name!r} cannot be drawn: it takes a list, or has "
            f"settings {missing} without defaults. Pass operands and settings={{...}}, "
            "or a strategy of calls, cases=..., to check_primitive."
        )
    count = len(primitive.operand_names)
    alike = shapes(0, 2).map(lambda shape: (shape,) * count)

    def operand(i: int, shape: tuple[int, ...]) -> SearchStrategy[Any]:
        values = operand_values(primitive, primitive.operand_names[i], shape)
        return values if primitive.differentiable(i) else values.map(Constant)

    def call(chosen: tuple[tuple[int, ...], ...]) -> SearchStrategy[Case]:
        operands = [operand(i, shape) for i, shape in enumerate(chosen)]
        return hypothesis().strategies.tuples(*operands).map(lambda x: (f, list(x)))

    return (broadcastable(count, 2) if primitive.unbroadcast else alike).flatmap(call)


def whole(cases: SearchStrategy[Case], f: Callable[..., Any]) -> SearchStrategy[Case]:
    """Those calls that differentiate by all operands, each of two numbers or more."""
    count = sum(rule is not None for rule in primitive_of(f).rules)
    return cases.filter(
        lambda case: is_full(case, 2) and len(_differentiated(case)) >= count
    )


def is_full(case: Case, least: int = 1) -> bool:
    """Whether there is an operand to differentiate by, and none has fewer elements."""
    operands = _differentiated(case)
    return bool(operands) and all(np.size(x) >= least for x in operands)


def _differentiated(case: Case) -> list[Any]:
    """The operands of floats that are no constants."""
    operands = [x for x in case[1] if not isinstance(x, Constant)]
    return [x for x in operands if np.asarray(x).dtype.kind == "f"]
