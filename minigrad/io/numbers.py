"""The dtypes of bytes in files, also those that NumPy has not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

NUMBERS = "biufc"  # kinds of dtypes whose bytes are the numbers themselves
BFLOAT16 = "bfloat16"
MOST_AXES = 64  # NumPy's own bound
LARGEST = 2**63  # no size, offset or number of bytes reaches that


def are_sizes(values: Any) -> bool:
    """Whether a list or tuple could be a shape, strides or offsets of an array.

    Their product can be counted and written out: a file may have numbers of thousands
    of digits.
    """
    fits = isinstance(values, list | tuple) and len(values) <= MOST_AXES
    return fits and all(type(value) is int and 0 <= value < LARGEST for value in values)


def memory_of(shape: tuple[int, ...], kind: str) -> int:
    """How many bytes an array of a shape takes, once its numbers are read."""
    return math.prod(shape) * dtype_in_memory(kind).itemsize


def size_in_file(kind: str) -> int:
    """How many bytes one number takes: `kind` is a NumPy dtype's name or "bfloat16"."""
    return 2 if kind == BFLOAT16 else np.dtype(kind).itemsize


def dtype_in_memory(kind: str) -> np.dtype:
    """The dtype that numbers of a kind have once read: bfloat16 becomes float32."""
    return np.dtype(np.float32 if kind == BFLOAT16 else kind)


def decode(data: bytes, kind: str, byte_order: str = "<") -> np.ndarray:
    """The numbers in `data` as a new array of one axis, in this machine's byte order.

    bfloat16 is the upper half of a float32, so no value changes. A byte other than 0
    is True.
    """
    if kind == BFLOAT16:
        halves = np.frombuffer(data, byte_order + "u2")
        return (halves.astype(np.uint32) << 16).view(np.float32)
    if kind == "bool":
        return np.frombuffer(data, np.uint8) != 0
    stored = byte_order + np.dtype(kind).str[1:]
    return np.frombuffer(data, stored).astype(kind)
