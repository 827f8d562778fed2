"""Faster updates for compiled steps, where Numba is installed (the extra `fast`).

One loop reads and writes each array once, where NumPy passes over it ten times. It
computes the same bits. Numba compiles it at the first use, which takes a second or two,
and keeps the result on disk.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from nn.updates import adam_rates, adam_update

Array = Any

CHUNK = 131072  # elements: less is not worth another thread
KERNEL_DTYPES = (np.float32, np.float64)


def _is_simple(p: Array, gradient: Array) -> bool:
    """Whether the kernel's flat loop fits: one dtype, row-major, on the host."""
    return (
        isinstance(p, np.ndarray)
        and p.dtype in KERNEL_DTYPES
        and gradient.dtype == p.dtype
        and p.flags.c_contiguous
    )


def make_adam() -> Callable[..., Array] | None:
    """The forward of `adam_update` as one loop, or None without Numba."""
    if importlib.util.find_spec("numba") is None:
        return None
    from nn import kernels

    return functools.partial(_adam, kernels.adam)


def _adam(
    kernel: Callable[..., None],
    p: Array,
    gradient: Array,
    step: Array,
    lr: Array,
    m: Array,
    v: Array,
    **settings: Any,
) -> Array:
    if not _is_simple(p, gradient):
        plain = adam_update.primitive.forward  # type: ignore[attr-defined]
        return plain(p, gradient, step, lr, m, v, **settings)
    rates = adam_rates(step, lr, **settings)
    scalars = (settings["beta1"], settings["beta2"], *rates)
    numbers = tuple(map(p.dtype.type, scalars))
    _in_chunks(kernel, (p.reshape(-1), gradient.reshape(-1), m, v), numbers)
    step += 1
    return p


def _in_chunks(
    kernel: Callable[..., None], arrays: tuple[Array, ...], numbers: tuple[Any, ...]
) -> None:
    """Run a kernel over flat arrays on the cores that there are.

    Threads of a pool wait without spinning, so that a busy machine is not made busier.
    """
    size = arrays[0].size
    count = min(usable_cores(), size // CHUNK)
    if count < 2:
        kernel(*arrays, *numbers)
        return
    ends = [size * i // count for i in range(count + 1)]
    parts = [
        [array[start:end] for array in arrays]
        for start, end in itertools.pairwise(ends)
    ]
    waiting = [_pool().submit(kernel, *part, *numbers) for part in parts[1:]]
    kernel(*parts[0], *numbers)
    for future in waiting:
        future.result()


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=max(usable_cores() - 1, 1))
