"""Damaged files: one message, whatever their reader raises.

Readers of files raise what they like where a file is damaged: zlib.error, struct.error,
KeyError, RecursionError, MemoryError ... A list of them is never complete, so `reading`
takes them all.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import struct
import tokenize
from collections.abc import Iterator

from minigrad.io.errors import RefusedError, UnreadableError
from minigrad.io.limits import is_about_memory

LONGEST = 500  # letters of a reason; a message is for people

# What some errors mean whose own words are none, or are about Python.
MEANINGS: dict[type[Exception], str] = {
    KeyError: "{} is missing in it",
    EOFError: "it ends too early",
    struct.error: "it ends too early",
    RecursionError: "it is nested too deeply",
    UnicodeError: "its text is not in UTF-8 ({})",
    SyntaxError: "its header cannot be read",
    tokenize.TokenError: "its header cannot be read",
    AttributeError: "its content is of another kind than expected ({})",
    TypeError: "its content is of another kind than expected ({})",
}


@contextlib.contextmanager
def reading(
    path: str | os.PathLike[str],
    what: str,
    error: type[Exception] = UnreadableError,
    way_out: str = "Copy or fetch it again",
) -> Iterator[None]:
    """Turn whatever a damaged file makes of its reader into one error.

    Inside, say what is wrong by a ValueError: "its header is no JSON object"; by a
    RefusedError where that text has a way out of its own. Errors of the class that is
    raised here pass, and an UnreadableError becomes one with the same text.

    Args:
        path: the file, which the message names.
        what: what it should be: "a zip".
        error: the class to raise, one of the project's own.
        way_out: the message's last sentence, without its full stop.

    Raises: `error`.
    """
    try:
        yield
    except error:
        raise
    except UnreadableError as found:
        raise error(str(found)) from found
    except Exception as found:
        said = f"{os.fspath(path)!r} cannot be read as {what}: {reason(found)}."
        if not isinstance(found, RefusedError):
            said += f" {way_out}."
        raise error(said) from found


def reason(error: BaseException) -> str:
    """What an error says, in a line that a terminal can show."""
    text = printable(_words(error))
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return cut.rstrip().removesuffix(".")


def _words(error: BaseException) -> str:
    if isinstance(error, RefusedError):
        return str(error)
    if is_about_memory(error):
        return f"there is not enough memory for it ({error or 'MemoryError'})"
    if "integer string conversion" in str(error):
        return "a number in it has thousands of digits"
    for kind, meaning in MEANINGS.items():
        if isinstance(error, kind):
            return meaning.format(error)
    return str(error) or type(error).__name__


def printable(text: str) -> str:
    """The text with what would steer a terminal written as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def require_regular(path: str | os.PathLike[str]) -> None:
    """Raise unless a path is a file with bytes of its own, before it is opened.

    A pipe would keep its reader waiting for ever, and a device has no end.

    Raises: OSError if there is none, or a folder; ValueError for anything else.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        why = os.strerror(errno.EISDIR)
        raise IsADirectoryError(errno.EISDIR, why, os.fspath(path))
    if not stat.S_ISREG(mode):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
        raise UnreadableError(
            f"{os.fspath(path)!r} is {kind}, which cannot be read as a file. Copy what "
            "comes from it into a file, and give that."
        )


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file for reading bytes; raises as `require_regular` and `open`."""
    require_regular(path)
    return open(path, "rb")
