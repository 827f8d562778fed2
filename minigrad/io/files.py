"""How does a file appear whole or not at all?  Written aside, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give a temporary name beside `path`, renamed to it when all went well.

    The content reaches the disk before the name does, so that not even a power cut
    leaves an empty or half written file. A process that is killed meanwhile leaves its
    `.NAME.*.part`, which `remove_unfinished` clears away.

    Raises: OSError if the disk refuses; what stood under the name before still does.
    """
    path = Path(path)
    # A name of its own: two processes must not write into one file.
    name = str(path.with_name(f".{path.name}.{secrets.token_hex(4)}.part"))
    try:
        yield name
        _flush_to_disk(name)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _flush_folder(path.parent)


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Remove what killed processes left in a folder into which no other writes."""
    for left in Path(folder).glob(".*.part"):
        with contextlib.suppress(OSError):
            left.unlink()


def _flush_to_disk(name: str) -> None:
    with open(name, "rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Let the new name reach the disk too.

    Without it a power cut may bring the old file back, which is whole; not every
    system can flush a folder, and none needs to.
    """
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
