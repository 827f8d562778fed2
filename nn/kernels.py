"""Loops that Numba compiles; only `nn.fast` imports this, where Numba is there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any


@njit(cache=True, nogil=True, error_model="numpy")
def adam(
    p: Array,
    gradient: Array,
    m: Array,
    v: Array,
    beta1: Any,
    beta2: Any,
    rate: Any,
    eps: Any,
    kept: Any,
    decay: Any,
) -> None:
    """Adam's step as one pass over memory. Shapes: four flat arrays, six scalars.

    Each number is computed by the operations of `nn.updates.adam_update`, in its order.
    """
    one = p.dtype.type(1)
    for i in range(p.size):
        g = gradient[i]
        if kept != one:
            p[i] *= kept
        if decay != 0:
            g = p[i] * decay + g
        m[i] = m[i] * beta1 + g
        v[i] = v[i] * beta2 + g * g
        p[i] -= m[i] / (np.sqrt(v[i]) + eps) * rate
