"""What all commands print: through one filter, and mistakes as one message."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from apps.errors import UserError
from apps.printable import PrintableStream, one_line, printable

if TYPE_CHECKING:
    from rich.console import Console


# What to do about the system's errors.
CURES = {
    errno.ENOSPC: "Free space, then try again.",
    errno.EDQUOT: "Free space, then try again.",
    errno.ENOENT: "Check the path.",
    errno.EACCES: "Give a path that you may use, or change its permissions.",
    errno.EPERM: "Give a path that you may use, or change its permissions.",
    errno.EROFS: "Give a path on a disk that can be written to.",
    errno.EISDIR: "Give the name of a file, not of a folder.",
    errno.ENOTDIR: "Check the path: a part of it is no folder.",
    errno.EEXIST: "Check the path: something else has that name.",
    errno.ENAMETOOLONG: "Give a shorter name.",
}


class Command(click.Command):
    """A command that shows the user's mistakes as one message."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        with clear_errors():
            return super().invoke(ctx)


class Group(click.Group):
    """Commands, of which nothing is shown that does not pass the filter."""

    command_class = Command
    group_class = type

    def main(self, *arguments: Any, **settings: Any) -> Any:
        """Run a command. Its messages keep their escapes, on a terminal or not."""
        with filtered():
            return super().main(*arguments, **{"color": True, **settings})


@contextmanager
def filtered() -> Iterator[None]:
    """Filter all that is printed, by whomever; a warning becomes one line."""
    # There is no stream at all where a program has no terminal, as some on Windows.
    out, err = (s and PrintableStream(s) for s in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.showwarning = show_warning
        yield


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning in one line; whose source it came from is of no use to a user."""
    print(f"Warning: {one_line(' '.join(str(message).split()))}", file=sys.stderr)


def show_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a bug, filtered: its message may quote anything."""
    text = "".join(traceback.format_exception(kind, error, trace))
    print(printable(text), end="", file=sys.stderr)


def new_console() -> Console:
    """Open a console on the terminal, or on plain lines where there is none."""
    from apps.screen import Screen

    # It filters what it prints; on a filtered stream its own codes would be escaped.
    return Screen(getattr(sys.stdout, "unfiltered", sys.stdout))


def say(line: str, console: Console) -> None:
    """Print a line as it is, however long."""
    console.print(one_line(line), highlight=False, markup=False, soft_wrap=True)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Show the user's mistakes as one message, not as a traceback."""
    try:
        yield
    except UserError as error:
        lines = [one_line(str(line)) for line in error.args]
        raise click.ClickException("\n".join(lines)) from error
    except OSError as error:
        raise click.ClickException(one_line(_told(error))) from error


def _told(error: OSError) -> str:
    if not error.strerror:
        return str(error)
    path = error.filename2 or error.filename
    place = f"{os.fspath(path)}: " if isinstance(path, str | os.PathLike) else ""
    cure = CURES.get(error.errno or 0, "Check the path, and the disk that it is on.")
    return f"{place}{error.strerror}. {cure}"
