"""The command line: a group of commands for each app."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from apps.captioning.commands import caption
from apps.cola.commands import cola
from apps.console import Group, show_traceback
from apps.doctor import doctor
from apps.image_gradients.commands import look
from apps.printable import printable
from apps.signals import ending_by_signals

HOUSE = Path(__file__).resolve().parents[1]


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def minigrad() -> None:
    """Train and use the networks that are built with minigrad."""


for command in (caption, cola, look, doctor):
    minigrad.add_command(command)


def check_rooms() -> None:
    """Check that `minigrad` and `nn` lie beside `apps`. Raises: SystemExit if not."""
    for room in ("minigrad", "nn"):
        spec = find_spec(room)
        origin = spec.origin if spec else None
        if origin is None or Path(origin).resolve().parents[1] != HOUSE:
            message = (
                f"The package '{room}' that Python finds is {origin or 'missing'}, not "
                f"the one in {HOUSE}. Remove strangers' packages of that name (pip "
                "uninstall minigrad nn), then install this project from its clone (pip "
                "install -e '.[apps]') in a virtual environment of its own."
            )
            sys.exit(printable(message))


def main(group: click.Group = minigrad, **settings: Any) -> None:
    """Run the command line, or a group of it alone."""
    check_rooms()
    sys.excepthook = show_traceback
    with ending_by_signals():
        group(**settings)


if __name__ == "__main__":
    main()
