"""How do all commands speak? One console, and mistakes as one message."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from apps.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def new_console() -> Console:
    """Open a console on the terminal, or on plain lines where there is none."""
    from rich.console import Console

    return Console()


def say(line: str, console: Console) -> None:
    """Print a line as it is, however long; brackets in it are no markup."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def plain(text: str) -> Text:
    """A text as it is: rich would take a bracket for markup."""
    from rich.text import Text

    return Text(text)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Show the user's mistakes as one message, not as a traceback."""
    try:
        yield
    except UserError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = ". Free space, then try again." if full else ""
        raise click.ClickException(f"{error}{cure}") from error
