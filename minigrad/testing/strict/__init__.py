"""A device without a GPU: arrays that obey CuPy's rules and compute with NumPy.

Devices "strict", "strict:1" and so on behave where CuPy differs from NumPy: nothing is
converted to NumPy or mixed with its arrays, results without axes are arrays, integer
ids out of range wrap around, and only what CuPy has exists. `count_syncs` counts where
the program would wait for the GPU.

The rules were read in the sources of CuPy 14.2; what it has stands in
`cupy_names.json`. Three things are stricter here: ids are not wrapped in functions that
NumPy makes of others (`take_along_axis`), a broadcast view cannot be written to, and
arrays on two devices cannot meet at all (CuPy lets GPUs meet that can reach each
other's memory).
"""

from __future__ import annotations

import functools

import numpy as np

from minigrad.backend import Library, add_library
from minigrad.testing.strict.array import StrictArray, change_at, put
from minigrad.testing.strict.syncs import Syncs, count_syncs

__all__ = ["StrictArray", "Syncs", "count_syncs", "put"]

add_library(
    Library(
        name="strict",
        array_type=StrictArray,
        put=put,
        get=lambda array: array.get(),
        index_of=lambda array: array.device.id,
        add_at=functools.partial(change_at, np.add),
    )
)
