"""Limits on sizes, checked in one place before memory is allocated.

A file says how large its content is, and a damaged or hostile one says what it likes:
a few bytes may stand for a terabyte. Two limits hold everywhere. What a file unpacks to
may be `FREE` bytes, or `EXPANSION` times what is stored of it, whichever is more; and
nothing may take more memory than there is.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from minigrad.io.errors import RefusedError, TooLargeError

# 64 MiB: no corpus, vocabulary or small network's weights are larger, and a machine
# that trains anything has them.
FREE = 2**26

# Numbers rarely pack to a twentieth; an attack packs zeros to a thousandth.
EXPANSION = 20

# What Python and NumPy say, in errors of several kinds, of sizes beyond every memory.
TOO_BIG = (
    "array is too big",
    "too large to convert",
    "Maximum allowed dimension",
    "Unable to allocate",
)

CGROUP = Path("/sys/fs/cgroup")


def check_size(needed: int, what: str, stored: int | None = None) -> None:
    """Raise unless a thing may take so much memory; call it before allocating.

    Args:
        needed: bytes.
        what: the thing, as the first words of the message: "the features".
        stored: how many bytes of a file it is made of, where it is read from one.

    Raises: TooLargeError that says what needs how much, and the way out.
    """
    if needed <= FREE:
        return
    if stored is not None and is_too_much(needed, stored):
        raise TooLargeError(
            f"{what} would take {in_words(needed)} of memory, but only "
            f"{in_words(stored)} are stored for that; believed are {in_words(FREE)} or "
            f"{EXPANSION} times what is stored. Make it again, or store it uncompressed"
        )
    free = free_memory()
    if free is not None and needed > free:
        raise TooLargeError(
            f"{what} would take {in_words(needed)} of memory, and {in_words(free)} are "
            "free. Take something smaller, or free more memory"
        )


def is_too_much(needed: int, stored: int) -> bool:
    """Whether so many bytes are not believed of what is stored in so many."""
    return needed > max(FREE, EXPANSION * stored)


def is_about_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice."""
    if isinstance(error, MemoryError | TooLargeError):
        return True
    return any(words in str(error) for words in TOO_BIG)


def in_words(count: int) -> str:
    """A number of bytes for people: 1,234 becomes "1.2 kB"."""
    if count >= 10**18:
        return "more than 1,000,000 TB"
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size >= 1000:
            size, unit = size / 1000, larger
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"


# -- what is stored ----------------------------------------------------------------


def stored_bytes(file: BinaryIO) -> int:
    """How many bytes of an open file are stored: holes, which read as zeros, are not.

    Where a file system does not tell of holes, that is the file's size.
    """
    size = os.fstat(file.fileno()).st_size
    if size <= FREE or not hasattr(os, "SEEK_DATA"):
        return size
    place = os.lseek(file.fileno(), 0, os.SEEK_CUR)
    try:
        return sum(end - begin for begin, end in _extents(file.fileno(), size))
    finally:
        os.lseek(file.fileno(), place, os.SEEK_SET)


def _extents(number: int, size: int) -> Iterator[tuple[int, int]]:
    """Where data begins and ends in a file, hole by hole."""
    end = 0
    while end < size:
        try:
            begin = os.lseek(number, end, os.SEEK_DATA)
            end = os.lseek(number, begin, os.SEEK_HOLE)
        except OSError:  # nothing but a hole up to the end
            return
        yield begin, end


def unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """Read a member of a zip that may have `most` bytes, whatever it says it has.

    Raises: TooLargeError, or RefusedError for a compression that cannot be read in
        pieces; and what zipfile raises for a damaged member.
    """
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RefusedError(
            f"{member.filename!r} in it is compressed in another way than deflate: "
            "pack it again, as zip does by itself"
        )
    check_size(member.file_size, repr(member.filename), member.compress_size)
    with archive.open(member) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise TooLargeError(
            f"{member.filename!r} in it unpacks to more than {in_words(most)}, as "
            "nothing of its kind does. Check that it is the right file"
        )
    return content


# -- what is free ------------------------------------------------------------------


def free_memory() -> int | None:
    """How many bytes this process can still have, None where the system won't say."""
    known = [_free_on_machine(), _free_in_container(), _free_of_address_space()]
    return min((count for count in known if count is not None), default=None)


def _free_on_machine() -> int | None:
    """What Linux can give without swapping; elsewhere all the memory there is."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/meminfo").read_text("ascii")
        return int(text.split("MemAvailable:")[1].split()[0]) * 1024
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _free_in_container() -> int | None:
    """A container's limit less what it holds, caches of files aside."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        limit = int((CGROUP / "memory.max").read_text("ascii"))
        held = (CGROUP / "memory.stat").read_text("ascii").split("anon ")[1]
        return max(0, limit - int(held.split()[0]))
    return None


def _free_of_address_space() -> int | None:
    """What a limit such as `ulimit -v` leaves."""
    with contextlib.suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
            return max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))
    return None
