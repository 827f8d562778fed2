"""HDF5 without external data: only what lies in the file itself is read.

HDF5 can refer to other files (external storage, external links, virtual datasets),
promise rows that were never written, and unpack a few bytes to gigabytes. All of that
is refused by name before a number is read. Only `minigrad.io` imports h5py.
"""

from __future__ import annotations

import io
import itertools
import math
import mmap
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad.io.damaged import open_regular, reading
from minigrad.io.errors import RefusedError, UnreadableError
from minigrad.io.limits import FREE, check_size, in_words
from minigrad.io.numbers import NUMBERS

# Filters by their registered numbers; each may stand once, and one of the packers.
DEFLATE, SHUFFLE, FLETCHER32, LZF = 1, 2, 3, 32000

HEAP = b"GCOL"  # how a global heap begins
OBJECT = 16  # bytes of the header of a heap, and of an object in it
LARGEST_SEARCHED = 2**30

# A compressed chunk is unpacked whole for each of its rows.
LARGEST_CHUNK = FREE

# Stored bytes of a chunk that lzf, which makes 88 of one at most, unpacks harmlessly.
LARGEST_LZF = 4 * FREE // 88
CHECKSUM = 4  # bytes that fletcher32 adds

UNPACK = "Write it again without compression, for example by h5repack -f NONE"


def import_h5py() -> Any:
    """Give h5py. Raises: RuntimeError that says how to install it."""
    try:
        import h5py
    except ImportError as error:
        why = "HDF5 files need h5py, which is not installed: pip install h5py"
        raise RuntimeError(why) from error
    return h5py


def open_hdf5(path: str | os.PathLike[str], **settings: Any) -> Any:
    """Open a file for reading, as h5py.File(path, "r", **settings) does.

    Raises: OSError if there is no such file or it may not be read; UnreadableError if
        it is no regular file, no HDF5, damaged, or locked by who writes it.
    """
    h5py = import_h5py()
    with open_regular(path) as file, reading(path, "an HDF5 file"):
        _require_sound_heaps(file)
        try:
            return h5py.File(path, "r", **settings)
        except OSError as error:
            if "unable to lock file" not in str(error):
                raise
            raise UnreadableError(
                f"{os.fspath(path)!r} is locked by a program that writes it. Wait "
                "until it is done; if there is none, set HDF5_USE_FILE_LOCKING=FALSE."
            ) from error


def _require_sound_heaps(file: io.BufferedReader) -> None:
    """Raise where HDF5 would walk through a heap of texts for ever, or out of it.

    It does not look whether a heap's objects lead on. In files that are larger than
    `LARGEST_SEARCHED` nobody looks.

    Source: HDF5 File Format Specification, III.E, Global Heap.
    """
    size = os.fstat(file.fileno()).st_size
    if not 0 < size <= LARGEST_SEARCHED:
        return
    steps = itertools.count()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(HEAP)
        while at >= 0:
            for place in _objects(content, at):
                # Heaps that lie one in the other have more objects than there is room.
                if place > size or next(steps) > size // OBJECT:
                    raise ValueError("a heap of texts in it is damaged")
            at = content.find(HEAP, at + 1)


def _objects(content: mmap.mmap, at: int) -> Iterator[int]:
    """Where a global heap's objects end; beyond the file where they lead astray."""
    size = _number(content, at + 8)
    place, end = at + OBJECT, at + size
    if content[at + 4 : at + 5] != b"\1" or not 4096 <= size <= len(content) - at:
        return  # of this HDF5 says itself that it is no heap
    while place + OBJECT <= end:
        is_free = content[place : place + 2] == b"\0\0"
        length = _number(content, place + 8)
        step = length if is_free else OBJECT + -(-length // 8) * 8
        place = place + step if 0 < step <= end - place else len(content) + 1
        yield place


def _number(content: mmap.mmap, at: int) -> int:
    return int.from_bytes(content[at : at + 8], "little")


def child(group: Any, name: str) -> Any:
    """The group or dataset of a name, if it stands in this very file.

    Raises: ValueError if it is missing, or a link to something else.
    """
    h5py = import_h5py()
    link = group.get(name, getlink=True)
    if link is None:
        raise ValueError(f"{name!r} is missing in it, which holds {_names(group)}")
    if not isinstance(link, h5py.HardLink):
        raise RefusedError(
            f"{name!r} in it is a link to something elsewhere ({type(link).__name__}), "
            "which is not followed: put the data itself there"
        )
    return group[name]


def _names(group: Any, most: int = 20) -> str:
    """The names of a group's first children."""
    names = list(itertools.islice(group, most))
    more = len(group) - len(names)
    return f"{sorted(names)}" + (f" and {more:,} more" if more > 0 else "")


def dataset(group: Any, name: str) -> Any:
    """The dataset of a name, whose numbers all stand in this file and were written.

    Reading rows of it takes no more memory than the rows and one chunk.

    Raises: ValueError that says what it is instead.
    """
    found = child(group, name)
    if not isinstance(found, import_h5py().Dataset):
        raise ValueError(f"{name!r} in it is no dataset")
    _require_own(found, name)
    if found.shape is None or found.dtype.kind not in NUMBERS:
        raise ValueError(f"{name!r} in it holds {found.dtype}, not numbers")
    if found.chunks is not None:
        _require_chunks(found, name)
        return found
    size, stored = _size(found, found.shape), found.id.get_storage_size()
    if stored < size:
        raise ValueError(
            f"{name!r} in it was never written: {in_words(size)} are promised and "
            f"{in_words(stored)} stored"
        )
    return found


def _size(found: Any, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * found.dtype.itemsize


def read_all(found: Any, name: str) -> np.ndarray:
    """All numbers of a dataset that `dataset` gave, if they fit the memory."""
    check_size(_size(found, found.shape), repr(name), found.id.get_storage_size())
    return np.asarray(found[()])


def _require_own(found: Any, name: str) -> None:
    """Raise where the numbers would come from elsewhere; not even a shape is read."""
    h5py = import_h5py()
    plan = found.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        raise RefusedError(
            f"{name!r} in it is virtual: its rows stand in other files, and may be "
            "missing there. Write the rows themselves into one file"
        )
    if plan.get_layout() == h5py.h5d.CONTIGUOUS and plan.get_external_count():
        raise RefusedError(
            f"{name!r} in it has external storage, a file that is not read. Write its "
            "bytes into this one"
        )


# -- chunks ------------------------------------------------------------------------


def _require_chunks(found: Any, name: str) -> None:
    """Raise unless every chunk was written, and unpacks to what it is said to."""
    grid = [-(-n // c) for n, c in zip(found.shape, found.chunks, strict=True)]
    missing = math.prod(grid) - found.id.get_num_chunks()
    if missing > 0:
        raise ValueError(
            f"rows of {name!r} in it were never written: {missing:,} of its "
            f"{math.prod(grid):,} chunks are missing"
        )
    filters, size = _filters(found, name), _size(found, found.chunks)
    if size > LARGEST_CHUNK and {DEFLATE, LZF} & set(filters):
        raise RefusedError(
            f"a chunk of {name!r} in it has {in_words(size)} to be unpacked for every "
            f"row; at most {in_words(LARGEST_CHUNK)} are. {UNPACK}"
        )
    chunks: list[Any] = []
    found.id.chunk_iter(chunks.append)
    for chunk in chunks:
        if not _is_sound(found, chunk, filters, size):
            raise RefusedError(
                f"the chunk at {chunk.chunk_offset} of {name!r} in it does not unpack "
                f"to its {in_words(size)}: it is damaged. Make the file again"
            )


def _filters(found: Any, name: str) -> list[int]:
    """The filters' numbers in their order, if all are known and one at most packs."""
    plan = found.id.get_create_plist()
    filters = [plan.get_filter(i) for i in range(plan.get_nfilters())]
    codes = [code for code, *_ in filters]
    known = [c for c in codes if c in (DEFLATE, SHUFFLE, FLETCHER32, LZF)]
    packers = [code for code in codes if code in (DEFLATE, LZF)]
    shuffled_late = SHUFFLE in codes[codes.index(packers[0]) :] if packers else False
    if codes != known or len(set(codes)) < len(codes) or packers[1:] or shuffled_late:
        raise RefusedError(
            f"{name!r} in it is packed by the filters {codes}; known are one of gzip "
            f"and lzf, shuffle before what packs, and fletcher32, each once. {UNPACK}"
        )
    # lzf unpacks into as many bytes as its last setting says.
    size = _size(found, found.chunks)
    if any(code == LZF and values[2:] != (size,) for code, _, values, _ in filters):
        raise ValueError(f"the chunks of {name!r} in it have another size for lzf")
    return codes


def _is_sound(found: Any, chunk: Any, filters: list[int], size: int) -> bool:
    """Whether a chunk comes out of its filters in its size.

    HDF5 does not look: it unpacks whatever comes, and takes the memory behind a chunk
    that is too short for numbers.
    """
    done = [code for i, code in enumerate(filters) if not chunk.filter_mask >> i & 1]
    added = CHECKSUM if FLETCHER32 in done else 0
    if LZF in done:
        return added < chunk.size <= LARGEST_LZF
    if DEFLATE not in done:
        return bool(chunk.size == size + added)
    if not added < chunk.size <= 2 * size + 1024:  # noise grows a little
        return False
    if added and done.index(FLETCHER32) < done.index(DEFLATE):
        size += added
    stream, unpacker = (
        found.id.read_direct_chunk(chunk.chunk_offset),
        zlib.decompressobj(),
    )
    return len(unpacker.decompress(stream[1], size + 1)) == size and unpacker.eof


# -- texts, and what is where ------------------------------------------------------


def text(found: Any) -> str:
    """The one text that a dataset holds."""
    _require_own(found, found.name)
    return _text(found, found.name, lambda: found[()])


def text_attribute(found: Any, name: str) -> str:
    """The one text of an attribute."""
    if name not in found.attrs:
        raise ValueError(f"its attribute {name!r} is missing")
    return _text(found.attrs.get_id(name), name, lambda: found.attrs[name])


def _text(found: Any, name: str, read: Callable[[], Any]) -> str:
    """Read what is one text, and not many: they could all be the same large one."""
    kind = import_h5py().check_string_dtype(found.dtype)
    if found.shape != () or kind is None or kind.length is not None:
        raise ValueError(f"{name!r} in it is no text")
    content = read()
    return content.decode() if isinstance(content, bytes) else content


def address(found: Any) -> int:
    """Where in its file an object stands: one object may have several names."""
    return int(import_h5py().h5o.get_info(found.id).addr)
