"""Is a gradient right?  The gradient checker and Hypothesis strategies, public.

`check_gradients` compares the tape with finite differences, in float64, with random
cotangents (ones cannot see a softmax's or a transposition's mistakes) and for every
element of every operand. The strategies draw values on a grid, so that ties and kinks
lie far from the differences' step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minigrad.ops.elementwise import multiply
from minigrad.ops.reduce import sum
from minigrad.tensor import Tensor
from minigrad.transforms import grad

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

STEP = 2.0**-10
ROUNDING = 200 * np.finfo(np.float64).eps


class GradientError(AssertionError):
    """A gradient disagrees with finite differences."""


class Derivative(NamedTuple):
    """Finite differences and how far they can be trusted, element by element."""

    value: np.ndarray
    error: np.ndarray


def numerical_gradient(
    f: Callable[..., float],
    arrays: Sequence[np.ndarray],
    which: int,
    step: float = STEP,
) -> Derivative:
    """Richardson-extrapolated central differences of `f` by one of its arrays.

    The error bound comes from the disagreement between step and half step, and from
    the rounding of `f`'s values.
    """
    array = arrays[which]
    value, error = np.zeros(array.shape), np.zeros(array.shape)

    def moved(index: tuple[int, ...], distance: float) -> float:
        changed = array.copy()
        changed[index] += distance
        return f(*arrays[:which], changed, *arrays[which + 1 :])

    for index in np.ndindex(array.shape):
        ends = [moved(index, d * step) for d in (1, -1, 0.5, -0.5)]
        coarse = (ends[0] - ends[1]) / (2 * step)
        fine = (ends[2] - ends[3]) / step
        value[index] = (4 * fine - coarse) / 3
        rounding = ROUNDING * (1 + np.max(np.abs(ends))) / step
        error[index] = abs(fine - coarse) / 10 + rounding
    return Derivative(value, error)


def check_gradients(
    f: Callable[..., Any],
    *arrays: Any,
    order: int = 2,
    seed: int = 0,
    name: str = "the function",
) -> None:
    """Compare the gradients of `f` with finite differences, up to `order`.

    Args:
        f: takes Tensors, returns a Tensor or a list or tuple of them.
        arrays: the operands, converted to float64; each is differentiated.
        order: 1 for gradients, 2 also for gradients of gradients, and so on.
        seed: of the random cotangents.
        name: what messages call the function.

    Raises:
        GradientError: names function, order, operand, index and both values.
    """
    operands = [np.array(a, np.float64) for a in arrays]
    random = np.random.default_rng(seed)
    weighted = _contracted(f, operands, random)
    _check_once(weighted, operands, f"{name} (order {_level(f)}, seed {seed})")
    if order > 1 and operands:
        derived = _derivative(weighted)
        derived.level = _level(f) + 1  # type: ignore[attr-defined]
        check_gradients(derived, *operands, order=order - 1, seed=seed + 1, name=name)


def _level(f: Callable[..., Any]) -> int:
    return getattr(f, "level", 1)


def _contracted(
    f: Callable[..., Any], operands: list[np.ndarray], random: np.random.Generator
) -> Callable[..., Tensor]:
    """<c, f(x)> for random cotangents c: a single number that sees every output."""
    cotangents = [
        random.standard_normal(y.shape) for y in _as_list(f(*map(Tensor, operands)))
    ]

    def weighted(*inputs: Tensor) -> Tensor:
        outputs = _as_list(f(*inputs))
        terms = [sum(multiply(y, c)) for y, c in zip(outputs, cotangents, strict=True)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    return weighted


def _as_list(outputs: Any) -> list[Tensor]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _derivative(weighted: Callable[..., Tensor]) -> Callable[..., list[Tensor]]:
    """The gradients of `weighted` as a recorded function of the same operands."""

    def derived(*inputs: Tensor) -> list[Tensor]:
        live = [x if x.requires_grad else _leaf(x) for x in inputs]
        return grad(weighted(*live), live, create_graph=True)

    return derived


def _leaf(x: Tensor) -> Tensor:
    return Tensor(x.data, requires_grad=True)


def _check_once(
    weighted: Callable[..., Tensor], operands: list[np.ndarray], name: str
) -> None:
    leaves = [Tensor(a, requires_grad=True) for a in operands]
    found = grad(weighted(*leaves), leaves)

    def number(*values: np.ndarray) -> float:
        return float(weighted(*map(Tensor, values)).item())

    for i, gradient in enumerate(found):
        expected = numerical_gradient(number, operands, i)
        difference = np.abs(gradient.numpy() - expected.value)
        wrong = ~(difference <= expected.error + 1e-9 * np.abs(expected.value))
        if wrong.any():
            index = tuple(int(k) for k in np.argwhere(wrong)[0])
            raise GradientError(
                f"{name}: the gradient by operand {i} of shape {operands[i].shape} is "
                f"wrong at index {index}: the tape says "
                f"{gradient.numpy()[index]:.12g}, "
                f"finite differences {expected.value[index]:.12g} "
                f"(+- {expected.error[index]:.1g}). Operands: {operands!r}. Look at "
                "the "
                "rule of the primitive for that operand."
            )


# -- Hypothesis strategies ---------------------------------------------------------


def _strategies() -> Any:
    try:
        from hypothesis import strategies
    except ImportError as error:
        raise RuntimeError(
            "minigrad's test strategies need Hypothesis, which is not installed. "
            "Install it with: pip install hypothesis"
        ) from error
    return strategies


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 3
) -> SearchStrategy[tuple[int, ...]]:
    """Shapes of small arrays; ``min_side=0`` includes empty ones."""
    st = _strategies()
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
    st = _strategies()
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
    st = _strategies()

    def narrowed(shape: tuple[int, ...]) -> Any:
        keep = st.tuples(*(st.booleans() for _ in shape))
        one = st.tuples(st.integers(0, len(shape)), keep).map(
            lambda drawn: _narrow(shape, *drawn)
        )
        return st.tuples(*(one for _ in range(count)))

    return shapes(0, max_dims, 1, max_side).flatmap(narrowed)


def _narrow(
    shape: tuple[int, ...], dropped: int, keep: tuple[bool, ...]
) -> tuple[int, ...]:
    narrow = [n if kept else 1 for n, kept in zip(shape, keep, strict=True)]
    return tuple(narrow[dropped:])


def axes(ndim: int, none: bool = True) -> SearchStrategy[Any]:
    """Every form an axis argument takes: None, an integer, a negative one, a tuple."""
    st = _strategies()
    forms = [st.none()] if none or ndim == 0 else []
    if ndim:
        forms.append(st.integers(-ndim, ndim - 1))
        forms.append(
            st.lists(
                st.integers(0, ndim - 1), min_size=1, max_size=ndim, unique=True
            ).map(tuple)
        )
    return st.one_of(forms)
