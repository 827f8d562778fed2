"""How do tests edit a checkpoint so that only its content gives the edit away?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

BLOCK = 512


@contextmanager
def edited(path: Path) -> Iterator[h5py.File]:
    """Open a checkpoint for writing; afterwards its checksum fits again."""
    with h5py.File(path, "r+") as file:
        yield file
    content = path.read_bytes()
    version = content[:BLOCK].splitlines()[0]
    digest = hashlib.sha256(content[BLOCK:]).hexdigest().encode()
    block = (version + b"\nsha256 " + digest + b"\n").ljust(BLOCK, b"\0")
    path.write_bytes(block + content[BLOCK:])
