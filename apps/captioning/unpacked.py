"""Packed features, unpacked once into a nameless file, so that reading is quick.

HDF5 unpacks a whole chunk for each row of it that is read, and a minibatch reads rows
from anywhere: packed features would be unpacked anew with every step, 100 times slower
than they are read. Unpacked once they are read as fast as if they had been stored so.
The file has no name, so that nothing is left of it, however the process ends.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.io.errors import RefusedError
from minigrad.io.limits import EXPANSION, FREE, in_words

BLOCK = 2**22  # bytes unpacked at a time, or one row of chunks
ITEM = 4  # bytes of a number in the unpacked file


def is_slow(dataset: Any) -> bool:
    """Whether to read a row of a dataset is to read or unpack more than that row."""
    if dataset.chunks is None:
        return False
    return dataset.chunks[0] > 1 or dataset.id.get_create_plist().get_nfilters() > 0


def require_sound(dataset: Any, name: str) -> None:
    """Raise where a dataset unpacks to far more than is stored of it.

    Raises: RefusedError, without the file's name.
    """
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if size > max(FREE, EXPANSION * stored):
        raise RefusedError(
            f"{name!r} in it unpacks from {in_words(stored)} to {in_words(size)}, and "
            f"at most {EXPANSION}-fold is believed of features. If they are right, "
            "write them without compression, for example by h5repack -f NONE"
        )


def unpack(dataset: Any) -> np.ndarray:
    """All numbers of a dataset of two axes as float32, in a file without a name.

    Shapes: (P, D) -> (P, D), read from the disk where it is looked at.
    Raises: OSError if there is no room, and what h5py raises for a damaged file.
    """
    with tempfile.TemporaryFile(prefix="minigrad-") as file:
        size = math.prod(dataset.shape) * ITEM
        # A disk that is full would end the process when the numbers are written.
        reserve = getattr(
            os, "posix_fallocate", lambda f, _, size: os.truncate(f, size)
        )
        reserve(file.fileno(), 0, size)
        array = np.memmap(file, np.float32, "r+", shape=dataset.shape)
    for where in blocks(dataset.shape, dataset.chunks):
        # A float64 beyond float32 becomes infinity, which is then refused by name.
        with np.errstate(over="ignore"):
            array[where] = dataset[where]
    return array


def blocks(
    shape: tuple[int, int], chunks: tuple[int, int]
) -> Iterator[tuple[slice, slice]]:
    """Cut an array of chunks into blocks of whole chunks, none of them too large."""
    height, width = (min(c, n) for c, n in zip(chunks, shape, strict=True))
    # A chunk that is not packed may be larger; of such a one parts can be read.
    height = min(height, max(1, FREE // (ITEM * width)))
    rows = max(1, BLOCK // (ITEM * shape[1] * height)) * height
    columns = max(1, FREE // (ITEM * rows * width)) * width
    for top in range(0, shape[0], rows):
        for left in range(0, shape[1], columns):
            yield np.s_[top : top + rows, left : left + columns]
