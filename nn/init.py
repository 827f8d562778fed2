"""Initialisers: the numbers that weights start as, each with its source.

Every initialiser takes (shape, generator, dtype) and gives a NumPy array, so that one
can replace another. Weights are (in, out): `y = x @ W`. Without a generator the numbers
come from `mg.default_generator`.
"""

import contextlib
import math
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.random import generator_of
from nn.checks import FINITE, NOT_NEGATIVE, check_number

Shape = tuple[int, ...]
Rng = mg.Generator | None

SQRT2 = math.sqrt(2.0)  # a ReLU's gain: half of what comes in is cut off


def zeros(shape: Shape, generator: Rng = None, dtype: Any = "float32") -> np.ndarray:
    """Give zeros, as for biases; the generator is not used."""
    return np.zeros(shape, _float_dtype(dtype))


def ones(shape: Shape, generator: Rng = None, dtype: Any = "float32") -> np.ndarray:
    """Give ones, as for scales; the generator is not used."""
    return np.ones(shape, _float_dtype(dtype))


def uniform(
    shape: Shape,
    generator: Rng = None,
    dtype: Any = "float32",
    *,
    low: float = -0.1,
    high: float = 0.1,
) -> np.ndarray:
    """Draw from the uniform distribution on [low, high)."""
    check_number("uniform", "low", low, FINITE)
    check_number("uniform", "high", high, FINITE)
    return generator_of(generator).uniform(shape, _float_dtype(dtype), low, high)


def normal(
    shape: Shape,
    generator: Rng = None,
    dtype: Any = "float32",
    *,
    mean: float = 0.0,
    std: float = 1.0,
) -> np.ndarray:
    """Draw from the normal distribution of a mean and a standard deviation."""
    check_number("normal", "mean", mean, FINITE)
    check_number("normal", "std", std, NOT_NEGATIVE)
    array = generator_of(generator).normal(shape, _float_dtype(dtype))
    array *= std
    array += mean
    return array


def lecun_normal(
    shape: Shape, generator: Rng = None, dtype: Any = "float32"
) -> np.ndarray:
    """Draw normal weights of standard deviation 1/sqrt(in): outputs scale as inputs.

    Shapes: (in, out).
    Source: LeCun, Bottou, Orr, Mueller, Efficient BackProp (1998), section 4.6.
    """
    return kaiming_normal(shape, generator, dtype, gain=1.0)


def xavier_uniform(
    shape: Shape, generator: Rng = None, dtype: Any = "float32", *, gain: float = 1.0
) -> np.ndarray:
    """Draw uniform weights of variance gain^2 * 2 / (in + out).

    Shapes: (in, out).
    Source: Glorot and Bengio, Understanding the difficulty of training deep
    feedforward neural networks (2010), equation 16.
    """
    check_number("xavier_uniform", "gain", gain, NOT_NEGATIVE)
    bound = gain * math.sqrt(6.0 / sum(_fans(shape)))
    return uniform(shape, generator, dtype, low=-bound, high=bound)


def xavier_normal(
    shape: Shape, generator: Rng = None, dtype: Any = "float32", *, gain: float = 1.0
) -> np.ndarray:
    """Draw normal weights of variance gain^2 * 2 / (in + out).

    Shapes: (in, out).
    Source: Glorot and Bengio, Understanding the difficulty of training deep
    feedforward neural networks (2010), equation 12.
    """
    check_number("xavier_normal", "gain", gain, NOT_NEGATIVE)
    std = gain * math.sqrt(2.0 / sum(_fans(shape)))
    return normal(shape, generator, dtype, std=std)


def kaiming_uniform(
    shape: Shape, generator: Rng = None, dtype: Any = "float32", *, gain: float = SQRT2
) -> np.ndarray:
    """Draw uniform weights of variance gain^2 / in; the default gain is ReLU's.

    Shapes: (in, out).
    Source: He, Zhang, Ren, Sun, Delving Deep into Rectifiers (2015), equation 10.
    """
    check_number("kaiming_uniform", "gain", gain, NOT_NEGATIVE)
    bound = gain * math.sqrt(3.0 / _fans(shape)[0])
    return uniform(shape, generator, dtype, low=-bound, high=bound)


def kaiming_normal(
    shape: Shape, generator: Rng = None, dtype: Any = "float32", *, gain: float = SQRT2
) -> np.ndarray:
    """Draw normal weights of variance gain^2 / in; the default gain is ReLU's.

    Shapes: (in, out).
    Source: He, Zhang, Ren, Sun, Delving Deep into Rectifiers (2015), equation 10.
    """
    check_number("kaiming_normal", "gain", gain, NOT_NEGATIVE)
    return normal(shape, generator, dtype, std=gain / math.sqrt(_fans(shape)[0]))


def orthogonal(
    shape: Shape, generator: Rng = None, dtype: Any = "float32", *, gain: float = 1.0
) -> np.ndarray:
    """Draw a matrix whose rows or columns, whichever are fewer, are orthonormal.

    Shapes: (in, out).
    Source: Saxe, McClelland, Ganguli, Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks (2014), section 3.
    """
    check_number("orthogonal", "gain", gain, NOT_NEGATIVE)
    rows, columns = _fans(shape)
    tall = (max(rows, columns), min(rows, columns))
    dtype = _float_dtype(dtype)
    q, r = np.linalg.qr(normal(tall, generator, "float64"))
    # QR leaves the signs of the columns to the library: fixing them by r's diagonal
    # makes every orthogonal matrix equally likely.
    q *= np.where(np.diagonal(r) < 0, -gain, gain)
    return np.ascontiguousarray(q if rows >= columns else q.T, dtype)


def _float_dtype(dtype: Any) -> np.dtype:
    """Raises: TypeError for what is no dtype of floats."""
    with contextlib.suppress(TypeError):
        if (found := np.dtype(dtype)).kind == "f":
            return found
    raise TypeError(
        f"nn.init: dtype is {dtype!r}, but weights are floats. Give 'float32', "
        "'float64' or 'float16'."
    )


def _fans(shape: Shape) -> tuple[int, int]:
    """How many inputs and outputs a weight (in, out) joins."""
    if np.ndim(shape) == 1 and len(shape) == 2 and min(shape) > 0:
        return shape[0], shape[1]
    raise ValueError(
        "The scale of this initialiser follows from inputs and outputs, but shape "
        f"{shape} is not (in, out) with both at least 1. Give such a shape, or use "
        "nn.init.uniform or nn.init.normal, whose scale you set."
    )
