"""Files and folders that appear whole or not at all, and locks."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    suppress,
)
from pathlib import Path

from filelock import FileLock, Timeout

from apps.errors import UserError
from minigrad.io.files import replacing

# Some network disks have no locks.
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


class TakenError(UserError, RuntimeError):
    """Another process is making the same."""


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8, whole or not at all."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


@contextmanager
def whole_folder(folder: Path, wait: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; it gets its name if nothing goes wrong.

    Where the folder exists already, the files move into it, each one whole.
    Raises: TakenError if another process fills the same folder, unless told to `wait`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its later place, so that giving it its name is one step.
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    with held(folder, wait):
        if unfinished.exists():  # left by a process that was killed
            shutil.rmtree(unfinished)
        unfinished.mkdir()
        try:
            yield unfinished
            _put_in_place(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _put_in_place(unfinished: Path, folder: Path) -> None:
    if not folder.exists():
        os.replace(unfinished, folder)
        return
    for path in sorted(unfinished.rglob("*")):
        place = folder / path.relative_to(unfinished)
        if path.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, place)


@contextmanager
def held(path: Path, wait: bool = False) -> Iterator[None]:
    """Lock out other processes from making `path`. Raises: TakenError unless `wait`."""
    name = path.with_name(f".{path.name.lstrip('.')}.lock")
    taken = TakenError(
        f"another process is writing {path}. Wait for its end, or stop it; then try "
        "again."
    )
    try:
        lock = locked(name, taken, wait)
    except OSError as error:
        error.filename = str(path)  # the one that the user knows
        raise
    with lock:
        try:
            yield
        finally:
            with suppress(OSError):  # where what is open cannot be removed
                name.unlink()


def locked(
    file: Path, taken: Exception, wait: bool = False
) -> AbstractContextManager[object]:
    """Take a lock file where the disk has locks, until the end of a `with` statement.

    Raises: `taken` if it has a holder, unless told to `wait`.
    """
    # Its holder may remove it while it is being taken; then it is tried again.
    lock = FileLock(file, timeout=-1 if wait else 0.2, poll_interval=0.01)
    try:
        return lock.acquire()
    except Timeout as error:
        raise taken from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return nullcontext()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; the file gets its name if nothing goes wrong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        yield Path(unfinished)
