"""Packed features, unpacked once into a temporary file without a name.

HDF5 unpacks a whole chunk for each row that is read of it, so that minibatches of rows
from anywhere would be read 100 times slower than from this file.
"""

from __future__ import annotations

import math
import os
import tempfile
from typing import Any

import numpy as np

from minigrad.io.errors import RefusedError
from minigrad.io.limits import EXPANSION, in_words, is_too_much


def is_slow(dataset: Any) -> bool:
    """Whether to read a row of a dataset is to read or unpack more than that row."""
    if dataset.chunks is None:
        return False
    return dataset.chunks[0] > 1 or dataset.id.get_create_plist().get_nfilters() > 0


def require_sound(dataset: Any, name: str) -> None:
    """Raises: RefusedError if a dataset unpacks to far more than is stored of it."""
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if is_too_much(size, stored):
        raise RefusedError(
            f"{name!r} in it unpacks from {in_words(stored)} to {in_words(size)}, and "
            f"at most {EXPANSION}-fold is believed of features. If they are right, "
            "write them without compression, for example by h5repack -f NONE"
        )


def unpack(dataset: Any) -> np.ndarray:
    """A dataset as float32, on the disk. Shapes: (P, D) -> same.

    Raises: OSError if there is no room, and what h5py raises for a damaged file.
    """
    with tempfile.TemporaryFile(prefix="minigrad-") as file:
        # Writing a mapped file to a full disk would end the process.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, 4 * math.prod(dataset.shape))
        array = np.memmap(file, np.float32, "w+", shape=dataset.shape)
    for where in dataset.iter_chunks():
        # A float64 beyond float32 becomes infinity, which is then refused by name.
        with np.errstate(over="ignore"):
            array[where] = dataset[where]
    return array
