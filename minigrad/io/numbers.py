"""Which numbers do the bytes of a file stand for?  Also those NumPy has no type for."""

from __future__ import annotations

import numpy as np

BFLOAT16 = "bfloat16"


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
