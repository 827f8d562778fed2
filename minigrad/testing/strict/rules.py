"""What CuPy has: its functions and ufuncs, and what waits for the GPU there.

`scripts/list_cupy_names.py` makes `cupy_names.json` from CuPy's package. The tables
here say what its functions do, as read in the sources of CuPy 14.2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

NAMES = json.loads(Path(__file__).with_name("cupy_names.json").read_text("utf-8"))
UFUNCS = frozenset(NAMES["ufuncs"])
FUNCTIONS: dict[str, str | None] = NAMES["functions"] | dict.fromkeys(UFUNCS)

DTYPES = frozenset("?bhilqBHILQefdFD")
SCALARS = frozenset({int, float, bool, complex, *(np.dtype(c).type for c in DTYPES)})

# What a ufunc takes, called or through its methods, and which ufuncs have the method.
CALL = "*operands, out, dtype, casting"
GUFUNC = f"{CALL}, axes, axis, keepdims, signature, order"
METHODS: dict[str, tuple[str, frozenset[str]]] = {
    "outer": (f"A, B, {CALL}", UFUNCS),
    "reduce": ("array, axis, dtype, out, keepdims", frozenset({"add", "multiply"})),
    "accumulate": ("array, axis, dtype, out", frozenset({"add", "multiply"})),
    "reduceat": ("array, indices, axis, dtype, out", frozenset({"add"})),
}

# `ufunc.at` needs atomic operations, which the GPU has for some dtypes only.
WORDS = frozenset({"int32", "uint32"})
INTEGERS = WORDS | {"int64", "uint64"}
NUMBERS = INTEGERS | {"float32", "float64"}
ATOMIC = {
    "add": NUMBERS | {"float16"},
    "subtract": WORDS,
    "maximum": NUMBERS,
    "minimum": NUMBERS,
    "bitwise_and": INTEGERS,
    "bitwise_or": INTEGERS,
    "bitwise_xor": INTEGERS,
}

# The size of the result, or an error, depends on values: the host waits for them.
SYNCING = {"argwhere", "bincount", "choose", "compress", "delete", "extract"}
SYNCING |= {"flatnonzero", "nonzero", "place", "ix_", "isin", "in1d", "trim_zeros"}
SYNCING |= {"histogram", "histogram2d", "histogramdd", "nanmax", "nanmin", "interp"}
SYNCING |= {"unique", "unique_all", "unique_counts", "unique_inverse", "unique_values"}
SYNCING |= {"intersect1d", "setdiff1d", "setxor1d", "union1d", "linalg.matrix_rank"}
SYNCING |= {"array2string", "array_repr", "array_str", "save", "savetxt", "savez"}
SYNCING |= {"savez_compressed", "ravel_multi_index", "unravel_index", "real_if_close"}
GIVES_HOST = {"item", "tobytes", "tofile", "tolist"}

TAKES_HOST = {"array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"}
TAKES_HOST |= {"put", "take", "pad", "split", "array_split"}
GIVES_ARRAY = {"allclose", "array_equal", "array_equiv", "count_nonzero"}
GIVES_ITSELF = {"squeeze", "split", "array_split"}  # where nothing changes
ELEMENTWISE = {"where", "clip"}  # functions that are ufuncs inside
SETTINGS = {"take": {"mode": "wrap"}, "put": {"mode": "wrap"}}


def check_call(name: str, parameters: str | None, args: Any, settings: Any) -> None:
    """Refuse arguments that the other library's function does not have."""
    if parameters is None:
        return
    names = parameters.split(", ") if parameters else []
    star = next((i for i, n in enumerate(names) if n.startswith("*")), len(names))
    many = any(n.startswith("*") and n[1:2] not in ("", "*") for n in names)
    unknown = sorted(set(settings) - {n.lstrip("*") for n in names})
    if unknown and not parameters.rpartition(", ")[2].startswith("**"):
        raise TypeError(f"{name}() got an unexpected keyword argument {unknown[0]!r}")
    if len(args) > star - ("/" in names) and not many:
        raise TypeError(f"{name}() takes {star} positional arguments: {parameters}")


def supported(array: np.ndarray) -> np.ndarray:
    """Refuse an array of a dtype that the GPU does not have."""
    if array.dtype.char not in DTYPES:
        raise ValueError(f"Unsupported dtype {array.dtype}")
    return array
