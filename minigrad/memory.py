"""The C library's memory: what large arrays give back can be kept for the next."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's names and numbers
LARGEST_THRESHOLD = 2**25  # bytes; arrays beyond it are mapped anew each time


def keep_memory(most: int = 2**30) -> bool:
    """Keep memory that large arrays give back for those that come next.

    The C library otherwise returns it to the system, which clears every page before it
    lends it again: a step over large arrays can spend a sixth of its time on that. It
    holds for the whole process; a program decides, a library should not.

    Args:
        most: bytes that may lie idle.

    Returns whether it could be done: on Linux with glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    kept = mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD)
    return bool(kept and mallopt(M_TRIM_THRESHOLD, min(most, 2**31 - 1)))
