"""How does a file appear whole or not at all?  Written aside, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give a temporary name beside `path`, renamed to it when all went well."""
    path = Path(path)
    name = str(path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}"))
    try:
        yield name
        _flush_to_disk(name)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _flush_to_disk(name: str) -> None:
    with open(name, "rb+") as file:
        os.fsync(file.fileno())
