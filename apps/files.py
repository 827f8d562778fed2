"""How does a file or a folder appear whole or not at all?"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minigrad.io.files import replacing


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8, whole or not at all."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it gets its name when nothing went wrong.

    It lies beside its later place, so that giving it its name is one step. Where the
    folder exists already, the files move into it one by one, each one whole.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield unfinished
        unfinished.chmod(0o755)
        if not folder.exists():
            os.replace(unfinished, folder)
            return
        for path in sorted(unfinished.rglob("*")):
            place = folder / path.relative_to(unfinished)
            if path.is_file():
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a name to write a file under; it gets its own when nothing went wrong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        yield Path(unfinished)
