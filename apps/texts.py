"""Texts that are read: in UTF-8, no larger than they may be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from minigrad.io.damaged import open_regular, reading
from minigrad.io.errors import RefusedError
from minigrad.io.limits import in_words

LARGEST_TEXT = 2**26  # bytes; a text larger than this is an attack, or a mistake
LARGEST_JSON = 2**24  # bytes, which become twenty times as many in memory

# How files in other encodings begin, the longer marks first.
OTHER_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def read_bytes(
    path: Path, what: str, error: type[Exception], most: int = LARGEST_TEXT
) -> bytes:
    """Read a file of at most so many bytes; messages tell `what` it should be.

    Raises: `error` if it is larger, no regular file, or cannot be read.
    """
    way_out = "Check that it is the right file, and that you may read it"
    with reading(path, what, error, way_out):
        with open_regular(path) as file:
            content = file.read(min(most, os.fstat(file.fileno()).st_size) + 1)
        if len(content) > most:
            raise RefusedError(
                f"it has more than {in_words(most)}, which no such file has. Check "
                "that it is the right one"
            )
        return content


def read_text(
    path: Path, what: str, error: type[Exception], most: int = LARGEST_TEXT
) -> str:
    """Read a text as `decode` does. Raises: `error` as it and `read_bytes` do."""
    return decode(read_bytes(path, what, error, most), str(path), error)


def read_json(path: Path, what: str, error: type[Exception]) -> Any:
    """Read what a JSON file holds. Raises: `error` if it holds none."""
    text = read_text(path, what, error, LARGEST_JSON)
    with reading(path, what, error):
        return json.loads(text)


def decode(content: bytes, place: str, error: type[Exception]) -> str:
    """Decode UTF-8, with a byte-order mark or without; `place` is told in messages.

    Raises: `error` that names the line where it is no text in UTF-8.
    """
    for mark, encoding in OTHER_MARKS.items():
        if content.startswith(mark):
            only = "only UTF-8 is read here. Save it as UTF-8."
            raise error(f"{place} is in {encoding}, and {only}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as found:
        line = content[: found.start].count(b"\n") + 1
        raise error(
            f"{place}, line {line}: byte {content[found.start]:#04x} is no UTF-8 "
            "there, so it has no certain meaning. Save the file as UTF-8."
        ) from found
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise error(
            f"{place}, line {line}: a NUL stands there, which no text has. Is it the "
            "right file? If so, save it as UTF-8."
        )
    return text


def split_lines(text: str) -> list[str]:
    """Split at line ends: LF, CRLF, or CR where there is no LF; nothing at no others.

    Not splitlines: a name or a sentence may hold what it takes for an end of a line.
    """
    if "\n" not in text:
        text = text.replace("\r", "\n")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
