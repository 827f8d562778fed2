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


def new_console() -> Console:
    """Open a console on the terminal, or on plain lines where there is none."""
    from rich.console import Console

    return Console()


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
