"""Atomic writing: a file is written aside, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

LONGEST_NAME = 255  # bytes, on every usual file system


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give a temporary name beside `path`, renamed to it when all went well.

    The content reaches the disk before the name does, so that not even a power cut
    leaves an empty or half written file. A file that is replaced hands on its mode, and
    a symbolic link stays: what it points to is replaced. A process that is killed
    meanwhile leaves its `.NAME.*.part`, which `remove_unfinished` clears away.

    Raises: OSError if the disk refuses, or the name is that of a folder or device; what
        stood under the name before still does.
    """
    path = Path(path)
    mode = _mode_of(path)
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    name = _name_beside(target)
    try:
        _create(name, mode, path)
        yield name
        _flush_to_disk(name)
        if mode not in (None, _mode_of(name)):
            os.chmod(name, mode)
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _flush_folder(target.parent)


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Remove what killed processes left in a folder into which no other writes."""
    for left in Path(folder).glob(".*.part"):
        with contextlib.suppress(OSError):
            left.unlink()


def _mode_of(path: str | os.PathLike[str]) -> int | None:
    """The mode of the file that a path names, None where there is none."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(
            number, "no file can be written there, as it is none", os.fspath(path)
        )
    return stat.S_IMODE(mode)


def _name_beside(path: Path) -> str:
    """A hidden name in the folder of a path, cut where that leaves too little room."""
    # A name of its own: two processes must not write into one file.
    end = f".{secrets.token_hex(8)}.part"
    start = f".{path.name}"
    while len(os.fsencode(start + end)) > LONGEST_NAME:
        start = start[:-1]
    return str(path.with_name(start + end))


def _create(name: str, mode: int | None, path: Path) -> None:
    """Make the empty file: what is private must be so while it is written, too."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        os.close(os.open(name, flags, 0o666 if mode is None else mode | stat.S_IRWXU))
    except OSError as error:
        error.filename = os.fspath(path)  # the one that the user knows
        raise


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
