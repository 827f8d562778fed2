"""Softmax and its logarithm with default axes, and dropout."""

from __future__ import annotations

from typing import Any

from minigrad.backend import device_of
from minigrad.ops import reduce, sources
from minigrad.ops.elementwise import masked
from minigrad.random import Generator, generator_of
from minigrad.tape import Live, array_of, with_shape


def log_softmax(x: Any, axis: int = -1) -> Any:
    """Logarithms of probabilities along an axis: x - logsumexp(x), but exact."""
    return reduce.log_softmax(x, axis=axis)


def softmax(x: Any, axis: int = -1) -> Any:
    """Probabilities along an axis, e ** x over their sum, without overflow."""
    return reduce.softmax(x, axis=axis)


def dropout(x: Any, p: float = 0.5, generator: Generator | None = None) -> Any:
    """Zero each element with probability p and divide the others by 1 - p.

    Raises:
        ValueError: p is not in [0, 1).
        TypeError: x holds no floats, or the generator is none of minigrad's.

    Source: Srivastava et al., "Dropout", JMLR 2014 (in its inverted form).
    """
    if not (isinstance(p, int | float) and 0 <= p < 1):
        raise ValueError(
            f"dropout got p={p}: the probability of zeroing an element lies in [0, 1). "
            "Pass for example p=0.5."
        )
    x = with_shape(x)
    if x.dtype.kind not in "fc":
        raise TypeError(
            f"dropout got {x.dtype}: what it keeps is divided by 1 - p, so it takes "
            "floats. Convert first, with x.astype('float32')."
        )
    generator = generator_of(generator)
    if p == 0:
        return x
    device = device_of(array_of(x))
    state = Live(generator.drawn_from)
    draw = sources.bernoulli(state, shape=x.shape, p=1 - p, device=device)
    kept = array_of(draw)  # so that arrays give arrays
    return masked(x, kept) * (1 / (1 - p))
